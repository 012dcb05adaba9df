"""MultinomialNB, ComplementNB and BernoulliNB beside scikit-learn and the plain version."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn import naive_bayes as theirs
from sklearn.base import clone
from sklearn.datasets import load_digits

import ironlearn
from ironlearn import _core, _csr, naive_bayes, serving
from ironlearn.reference import discrete_nb as reference

NAMES = ["MultinomialNB", "ComplementNB", "BernoulliNB"]
each = pytest.mark.parametrize("name", NAMES)
FORMATS = ["C", "F", "strided", "csr", "csr64", "csc", "coo", "unsorted"]


def _pair(name: str, **parameters: Any) -> tuple[Any, Any]:
    return getattr(naive_bayes, name)(**parameters), getattr(theirs, name)(**parameters)


def _as(X: np.ndarray, form: str) -> Any:
    if form == "F":
        return np.asfortranarray(X)
    if form == "strided":
        return np.repeat(X, 2, axis=0)[::2]
    if form == "C":
        return X
    if form in ("csc", "coo"):
        return getattr(sparse, f"{form}_array")(X)
    X = sparse.csr_array(X)
    if form == "csr64":
        X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    elif form == "unsorted":
        for a, b in zip(X.indptr[:-1], X.indptr[1:], strict=True):
            X.indices[a:b], X.data[a:b] = X.indices[a:b][::-1].copy(), X.data[a:b][::-1].copy()
        X.has_sorted_indices = False
    return X


def _assert_close(ours: Any, other: Any, X: Any, rtol: float = 1e-9) -> None:
    for attribute in ("class_count_", "class_log_prior_", "feature_count_", "feature_log_prob_"):
        np.testing.assert_allclose(
            getattr(ours, attribute), getattr(other, attribute), rtol=rtol, atol=1e-13
        )
    joint = other.predict_joint_log_proba(X)
    np.testing.assert_allclose(ours.predict_joint_log_proba(X), joint, rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(ours.predict_proba(X), other.predict_proba(X), rtol=1e-7, atol=1e-12)
    best = np.sort(joint, axis=1)
    # Where two classes are equally likely, rounding may decide.
    clear = (
        np.full(len(joint), True)
        if joint.shape[1] == 1
        else best[:, -1] - best[:, -2] > 1e-9 * np.abs(best[:, -1])
    )
    np.testing.assert_array_equal(ours.predict(X)[clear], other.predict(X)[clear])
    assert np.array_equal(ours.classes_, other.classes_)


@given(
    name=st.sampled_from(NAMES),
    rows=st.integers(1, 60),
    width=st.integers(1, 9),
    classes=st.integers(1, 5),
    seed=st.integers(0, 10_000),
    weighted=st.booleans(),
    dtype=st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.int32]),
    form=st.sampled_from(FORMATS),
    alpha=st.sampled_from([1.0, 0.3, 1e-3, "array"]),
    fit_prior=st.booleans(),
)
def test_equals_scikit_learn(
    name: str,
    rows: int,
    width: int,
    classes: int,
    seed: int,
    weighted: bool,
    dtype: Any,
    form: str,
    alpha: Any,
    fit_prior: bool,
) -> None:
    rng = np.random.RandomState(seed)
    X = rng.poisson(rng.uniform(0, 3, width), (rows, width)).astype(dtype)
    if np.dtype(dtype).kind == "f":
        X *= rng.rand(rows, width).astype(dtype)
    X[rng.rand(rows) < 0.2] = 0
    y = rng.randint(classes, size=rows)
    weights = rng.rand(rows) + 0.1 if weighted else None
    if alpha == "array":
        # scikit-learn's BernoulliNB cannot take an array.
        alpha = 0.5 if name == "BernoulliNB" else rng.rand(width) + 0.1
    X = _as(X, form)
    ours, other = _pair(name, alpha=alpha, fit_prior=fit_prior)
    if name == "BernoulliNB":
        ours.binarize = other.binarize = 0.5
    _assert_close(ours.fit(X, y, weights), other.fit(X, y, weights), X)


@given(
    name=st.sampled_from(NAMES),
    rows=st.integers(1, 25),
    width=st.integers(1, 6),
    classes=st.integers(1, 3),
    seed=st.integers(0, 10_000),
    alpha=st.sampled_from([0.0, 0.5]),
    as_csr=st.booleans(),
)
def test_equals_the_plain_version(
    name: str, rows: int, width: int, classes: int, seed: int, alpha: float, as_csr: bool
) -> None:
    rng = np.random.RandomState(seed)
    X = rng.poisson(0.8, (rows, width)).astype(np.float64)
    y = rng.randint(classes, size=rows).astype(np.uint32)
    weights = rng.randint(0, 4, rows).astype(float) if rng.rand() < 0.5 else None
    threshold = 0.5 if name == "BernoulliNB" else None
    input_ = _csr.rows(sparse.csr_array(X)) if as_csr else X
    options: dict[str, Any] = {
        "n_classes": classes,
        "threshold": threshold,
        "non_negative": threshold is None,
        "n_threads": 1,
    }
    native = _core.discrete_nb_counts(input_, y, weights, **options)
    plain = reference.discrete_nb_counts(input_, y, weights, **options)
    np.testing.assert_allclose(native[0], plain[0], rtol=1e-14)
    np.testing.assert_allclose(native[1], plain[1], rtol=1e-14)
    if weights is not None and not weights.any():
        return
    model = getattr(naive_bayes, name)(alpha=alpha)
    model.partial_fit(X, y, classes=range(classes), sample_weight=weights)
    if np.isposinf(model.feature_log_prob_).any():
        return  # weights of ComplementNB without a limit: another test's business
    present, absent, prior, threshold = model._model.arrays()
    other = rng.poisson(0.8, (10, width)).astype(np.float64)
    wanted = reference.joint_log_likelihood(other, present, absent, prior, threshold)
    for rows_ in (other, sparse.csr_array(other)):
        np.testing.assert_allclose(model.predict_joint_log_proba(rows_), wanted, rtol=1e-9)


@each
@pytest.mark.parametrize("form", ["C", "csr"])
def test_partial_fit_equals_scikit_learn(name: str, form: str) -> None:
    X, y = load_digits(return_X_y=True)
    weights = np.random.RandomState(0).rand(len(y))
    ours, other = _pair(name)
    for start in range(0, 1797, 300):
        rows = slice(start, start + 300)
        arguments = _as(X[rows], form), y[rows]
        ours.partial_fit(*arguments, classes=range(10), sample_weight=weights[rows])
        other.partial_fit(*arguments, classes=range(10), sample_weight=weights[rows])
        _assert_close(ours, other, X)
    whole = getattr(naive_bayes, name)().fit(X, y, weights)
    np.testing.assert_allclose(ours.feature_log_prob_, whole.feature_log_prob_, rtol=1e-12)


@each
def test_partial_fit_with_a_class_that_comes_later(name: str) -> None:
    X, y = load_digits(return_X_y=True)
    ours, other = _pair(name)
    known = y < 5
    for rows in (known, ~known):
        ours.partial_fit(X[rows], y[rows], classes=range(10))
        other.partial_fit(X[rows], y[rows], classes=range(10))
        np.testing.assert_array_equal(ours.predict(X), other.predict(X))
    with pytest.raises(ValueError, match=r"label\(s\) \[99\] in y do not exist"):
        ours.partial_fit(X[:1], [99])
    with pytest.raises(ValueError, match="not the same as on last call"):
        ours.partial_fit(X, y, classes=[0, 1])
    before = ours.feature_count_.copy()
    with pytest.raises(ValueError, match="features"):
        ours.partial_fit(X[:, :3], y)
    np.testing.assert_array_equal(ours.feature_count_, before)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("classes", [1, 2, 10])
def test_complement(norm: bool, classes: int) -> None:
    X, y = load_digits(return_X_y=True)
    ours, other = _pair("ComplementNB", norm=norm)
    _assert_close(ours.fit(X, y % classes), other.fit(X, y % classes), X)
    np.testing.assert_allclose(ours.feature_all_, other.feature_all_)


def test_complement_without_smoothing() -> None:
    X = np.array([[2, 1, 0, 1], [0, 1, 4, 0], [1, 1, 0, 0]])
    y = [0, 1, 1]
    model = naive_bayes.ComplementNB(alpha=0).fit(X, y)
    assert np.isposinf(model.feature_log_prob_).tolist() == [
        [False, False, False, True],
        [False, False, True, False],
    ]
    assert model.predict([[0, 0, 0, 1], [0, 0, 1, 0]]).tolist() == [0, 1]
    # With norm, an infinite weight has a limit.
    limit = naive_bayes.ComplementNB(alpha=0, norm=True).fit(X, y).feature_log_prob_
    np.testing.assert_array_equal(limit, [[0, 0, 0, 1], [0, 0, 1, 0]])
    near = naive_bayes.ComplementNB(alpha=1e-300, norm=True).fit(X, y).feature_log_prob_
    np.testing.assert_allclose(near, limit, atol=1e-2)


@pytest.mark.parametrize("binarize", [None, 0.0, 0.3, 7])
@pytest.mark.parametrize("form", ["C", "csr"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_thresholds_of_bernoulli(binarize: float | None, form: str, dtype: Any) -> None:
    X, y = load_digits(return_X_y=True)
    # 0.3 itself occurs: it is above the threshold in neither precision.
    X = np.where(X == 5, 0.3, X).astype(dtype)
    if binarize is None:
        X = (X > 4).astype(dtype)
    ours, other = _pair("BernoulliNB", binarize=binarize)
    X = _as(X, form)
    _assert_close(ours.fit(X, y), other.fit(X, y), X)


def test_bernoulli_counts_elements_stored_in_parts_once() -> None:
    parts = sparse.csr_array(
        (np.full(4, 0.2), np.array([0, 0, 1, 1]), np.array([0, 2, 4])), shape=(2, 2)
    )
    model = naive_bayes.BernoulliNB(binarize=0.3).fit(parts, [0, 1])
    assert model.feature_count_.tolist() == [[1, 0], [0, 1]]
    assert parts.nnz == 4
    dense = naive_bayes.BernoulliNB(binarize=0.3).fit(parts.toarray(), [0, 1])
    np.testing.assert_array_equal(
        model.predict_joint_log_proba(parts), dense.predict_joint_log_proba(parts.toarray())
    )


@pytest.mark.parametrize("name", [*NAMES, "GaussianNB"])
@given(seed=st.integers(0, 10_000))
def test_elements_in_parts_and_in_any_order_are_one_matrix(name: str, seed: int) -> None:
    rng = np.random.RandomState(seed)
    rows, columns, values = rng.randint(8, size=30), rng.randint(5, size=30), rng.rand(30)
    order = np.argsort(rows, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=8))])
    X = sparse.csr_array((values[order], columns[order], indptr), shape=(8, 5))
    y = np.arange(8) % 2
    before = X.data.tobytes()
    ours = getattr(naive_bayes, name)(**({"binarize": 0.5} if name == "BernoulliNB" else {}))
    joint = ours.fit(X, y).predict_joint_log_proba(X)
    whole = clone(ours).fit(X.toarray(), y)
    np.testing.assert_allclose(joint, whole.predict_joint_log_proba(X.toarray()), rtol=1e-7)
    assert X.data.tobytes() == before


def test_bernoulli_takes_an_alpha_for_each_feature() -> None:
    X, y = load_digits(return_X_y=True)
    alpha = np.linspace(0.1, 2, 64)
    model = naive_bayes.BernoulliNB(alpha=alpha).fit(X, y)
    for j in (0, 31, 63):
        one = theirs.BernoulliNB(alpha=alpha[j]).fit(X, y)
        np.testing.assert_allclose(
            model.feature_log_prob_[:, j], one.feature_log_prob_[:, j], rtol=1e-12
        )


@each
def test_without_smoothing_sparse_rows_give_scikit_learn_s_answers(name: str) -> None:
    rng = np.random.RandomState(1)
    X = rng.poisson(1.0, (60, 8)).astype(float)
    y = rng.randint(2, size=60)
    X[y == 0, 0] = 0
    X[y == 1, 1] += 1
    ours, other = _pair(name, alpha=0, force_alpha=True)
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other.fit(X, y)
        ours.fit(X, y)
        np.testing.assert_allclose(ours.feature_log_prob_, other.feature_log_prob_, atol=1e-13)
        wanted = other.predict_joint_log_proba(sparse.csr_array(X))
    found = ours.predict_joint_log_proba(sparse.csr_array(X))
    known = ~np.isnan(wanted)
    assert known.any()
    np.testing.assert_allclose(found[known], wanted[known], rtol=1e-9)
    assert not np.isnan(found).any()
    np.testing.assert_allclose(ours.predict_joint_log_proba(X), found, rtol=1e-12)


@each
def test_small_alpha_is_raised_with_a_warning(name: str) -> None:
    X, y = load_digits(return_X_y=True)
    ours, other = _pair(name, alpha=0, force_alpha=False)
    with pytest.warns(UserWarning, match="alpha too small"):
        ours.fit(X, y)
    with pytest.warns(UserWarning, match="alpha too small"):
        other.fit(X, y)
    if name == "MultinomialNB":
        _assert_close(ours, other, X)
        return
    # scikit-learn loses digits of so small an alpha: by log(1 - p) of a rounded p, and by
    # subtracting a class from the sum of all. Counts are integers here, so ours are exact.
    np.testing.assert_allclose(ours.feature_log_prob_, other.feature_log_prob_, rtol=1e-5)
    counts, n = ours.feature_count_, ours.class_count_[:, None]
    if name == "BernoulliNB":
        absent = np.log(n - counts + 1e-10) - np.log(n + 2e-10)
        np.testing.assert_allclose(ours._model.arrays()[1], absent, rtol=1e-12)
    else:
        others = np.array([counts[np.arange(10) != c].sum(axis=0) + 1e-10 for c in range(10)])
        weights = np.log(others.sum(axis=1, keepdims=True)) - np.log(others)
        np.testing.assert_allclose(ours.feature_log_prob_, weights, rtol=1e-12)


def test_bernoulli_without_threshold_refuses_what_cannot_be_presence() -> None:
    X, y = load_digits(return_X_y=True)
    with pytest.raises(ValueError, match="X must hold zeros and ones"):
        naive_bayes.BernoulliNB(binarize=None).fit(X, y)


@each
def test_bad_settings_are_named(name: str) -> None:
    X, y = load_digits(return_X_y=True)
    for settings, words in [
        ({"alpha": np.ones(3)}, r"should contains `n_features`. Got \(3,\) elements instead of 64"),
        ({"alpha": -np.ones(64)}, "All values in alpha"),
        ({"alpha": np.full(64, np.inf)}, "All values in alpha"),
        ({"alpha": np.full(64, np.nan)}, "All values in alpha"),
        ({"alpha": -1}, "'alpha' parameter"),
        ({"alpha": "much"}, "'alpha' parameter"),
        ({"class_prior": [0.5, 0.5]}, "Number of priors must match number of classes: got 2"),
        ({"class_prior": [-1.0] * 10}, "class_prior must be finite and non-negative"),
        ({"fit_prior": 3}, "'fit_prior' parameter"),
        ({"force_alpha": "yes"}, "'force_alpha' parameter"),
    ]:
        model = getattr(naive_bayes, name)(**settings)
        with pytest.raises(ValueError, match=words):
            model.fit(X, y)
        assert not hasattr(model, "classes_")
    with pytest.raises(ValueError, match="'binarize' parameter"):
        naive_bayes.BernoulliNB(binarize=-1).fit(X, y)
    with pytest.raises(ValueError, match="'norm' parameter"):
        naive_bayes.ComplementNB(norm=3).fit(X, y)


@each
@pytest.mark.parametrize("form", ["C", "csr"])
def test_bad_values_are_named(name: str, form: str) -> None:
    X, y = load_digits(return_X_y=True)
    fitted = getattr(naive_bayes, name)().fit(X, y)
    for value, words in [(np.nan, "NaN"), (np.inf, "infinity")]:
        bad = X.copy()
        bad[77, 20] = value
        with pytest.raises(ValueError, match=words):
            getattr(naive_bayes, name)().fit(_as(bad, form), y)
        with pytest.raises(ValueError, match=words):
            fitted.predict(_as(bad, form))
        with pytest.raises(ValueError, match=words):
            fitted.predict(_as(bad[77:78], form))
    bad = X.copy()
    bad[77, 20] = -0.5
    if name == "BernoulliNB":
        fitted.fit(_as(bad, form), y)
    else:
        words = rf"data passed to {name}.*the negative value -0.5 in row 77, column 20"
        with pytest.raises(ValueError, match=words):
            getattr(naive_bayes, name)().fit(_as(bad, form), y)
    with pytest.raises(ValueError, match="Negative values in sample_weight"):
        fitted.fit(X, y, -np.ones(len(y)))
    with pytest.raises(ValueError, match="All sample_weight values are zero"):
        fitted.fit(X, y, np.zeros(len(y)))


@pytest.mark.parametrize("name", [*NAMES, "GaussianNB"])
@pytest.mark.parametrize("index", [-1, 64, 2**31 - 1])
def test_sparse_indices_out_of_range_are_refused(name: str, index: int) -> None:
    X, y = load_digits(return_X_y=True)
    model = getattr(naive_bayes, name)().fit(X, y)
    bad = sparse.csr_array(X)
    bad.indices[1000] = index
    with pytest.raises(ValueError, match="ind(ex|ices)"):
        getattr(naive_bayes, name)().fit(bad, y)
    with pytest.raises(ValueError, match="ind(ex|ices)"):
        model.predict(bad)
    bad = sparse.csr_array(X)
    data, indices, indptr, width = _csr.rows(bad)
    with pytest.raises(ValueError, match="indptr"):
        model._model.predict_codes((data, indices, indptr[::-1].copy(), width), n_threads=1)
    with pytest.raises(ValueError, match="dtype"):
        model._model.predict_codes((data, indices.astype(np.int64), indptr, width), n_threads=1)


@each
def test_priors(name: str) -> None:
    X, y = load_digits(return_X_y=True)
    prior = np.arange(1.0, 11.0) / 55
    ours, other = _pair(name, class_prior=prior)
    _assert_close(ours.fit(X, y), other.fit(X, y), X)


@each
def test_files_and_pickles_of_sparse_models(name: str, tmp_path: Path) -> None:
    X, y = load_digits(return_X_y=True)
    X = sparse.csr_array(X)
    fitted = getattr(naive_bayes, name)(alpha=0).fit(X, y)
    fitted.save(tmp_path / "model")
    loaded = ironlearn.load(tmp_path / "model")
    for attribute in ("class_count_", "class_log_prior_", "feature_count_", "feature_log_prob_"):
        np.testing.assert_array_equal(getattr(loaded, attribute), getattr(fitted, attribute))
    for other in (loaded, serving.load(tmp_path / "model"), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(other.predict(X), fitted.predict(X))
        np.testing.assert_array_equal(other.predict(X.tocsc()), fitted.predict(X))
    # What was learned is kept: learning goes on.
    np.testing.assert_allclose(
        loaded.partial_fit(X, y).feature_count_, 2 * fitted.feature_count_, rtol=1e-12
    )


@each
def test_same_bits_of_sparse_rows_for_any_number_of_threads(name: str) -> None:
    rng = np.random.RandomState(0)
    X = sparse.random_array((30_000, 40), density=0.2, rng=rng, format="csr")
    y = rng.randint(3, size=30_000)
    first = None
    for n_jobs in (1, 2, 5):
        model = getattr(naive_bayes, name)(n_jobs=n_jobs).fit(X, y)
        bits = model.feature_count_.tobytes(), model.predict_joint_log_proba(X).tobytes()
        first = first or bits
        assert bits == first


@each
def test_attributes_cannot_be_changed_behind_the_model(name: str) -> None:
    X, y = load_digits(return_X_y=True)
    model = getattr(naive_bayes, name)().fit(X, y)
    with pytest.raises(ValueError, match="read-only"):
        model.feature_log_prob_[0, 0] = 1.0
