"""Checks of scikit-learn's that an estimator is not meant to pass, each with its reason."""

from __future__ import annotations

_BOOTSTRAP = (
    "a bootstrap sample depends on the number of rows, so a row of weight 2 is not the same "
    "as two rows; scikit-learn's own forest fails this check for the same reason"
)

_FRACTIONS = (
    "the check passes fractions without regard to the tag for categorical input, and they are "
    "refused; tests/naive_bayes/test_categorical.py checks the same property on codes"
)

_TOLERANCE = (
    "the check compares decisions to 1e-7, but the solver stops at a violation of tol=1e-3, and "
    "other orders of rows stop elsewhere; tests/svm/test_svc.py checks the same with a small tol"
)

EXPECTED_FAILURES: dict[str, dict[str, str]] = {
    "CategoricalNB": {"check_sample_weight_equivalence_on_dense_data": _FRACTIONS},
    "RandomForestClassifier": {
        "check_sample_weight_equivalence_on_dense_data": _BOOTSTRAP,
        "check_sample_weight_equivalence_on_sparse_data": _BOOTSTRAP,
    },
    "RandomForestRegressor": {
        "check_sample_weight_equivalence_on_dense_data": _BOOTSTRAP,
        "check_sample_weight_equivalence_on_sparse_data": _BOOTSTRAP,
    },
    "SVC": {
        "check_sample_weight_equivalence_on_dense_data": _TOLERANCE,
        "check_sample_weight_equivalence_on_sparse_data": _TOLERANCE,
    },
}
