"""From a fitted estimator to an ONNX model."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from sklearn.utils.validation import check_is_fitted

from ironlearn import _modelfile
from ironlearn.exceptions import InvalidParameterError
from ironlearn.io.onnx import inputs

#: What builds the graph of each estimator: a module beside this one, and its function.
_BUILDERS: dict[str, tuple[str, str]] = {
    "GaussianNB": ("naive_bayes", "gaussian"),
    "MultinomialNB": ("naive_bayes", "discrete"),
    "ComplementNB": ("naive_bayes", "discrete"),
    "BernoulliNB": ("naive_bayes", "discrete"),
    "CategoricalNB": ("naive_bayes", "categorical"),
    "DecisionTreeClassifier": ("trees", "classifier"),
    "DecisionTreeRegressor": ("trees", "regressor"),
    "RandomForestClassifier": ("trees", "classifier"),
    "RandomForestRegressor": ("trees", "regressor"),
    "ExtraTreesClassifier": ("trees", "classifier"),
    "ExtraTreesRegressor": ("trees", "regressor"),
    "LinearSVC": ("svm", "linear_classifier"),
    "LinearSVR": ("svm", "linear_regressor"),
    "SVC": ("svm", "kernel_classifier"),
    "SVR": ("svm", "kernel_regressor"),
    "MLPClassifier": ("neural_network", "classifier"),
    "MLPRegressor": ("neural_network", "regressor"),
    "KMeans": ("cluster", "centres"),
    "MiniBatchKMeans": ("cluster", "centres"),
    "BisectingKMeans": ("cluster", "bisecting"),
}


def to_onnx(estimator: Any, *, dtype: str = "float32") -> Any:
    """Return a fitted estimator as an ONNX model.

    Parameters
    ----------
    estimator : Estimator
        A fitted estimator of ironlearn.
    dtype : {"float32", "float64"}, default="float32"
        Of the input ``X``, shape (n_samples, n_features). CategoricalNB takes int64 codes.
        Where columns have vocabularies (CategoricalNB on a table, `categorical_features`) each
        column is an input of its own, shape (n_samples, 1), named like the column: strings,
        or float64 where the categories are numbers.

    Returns
    -------
    onnx.ModelProto
        Classifiers give ``label`` and ``probabilities`` or, without `predict_proba`,
        ``scores`` (as `decision_function`); with several outputs ``label_0``,
        ``probabilities_0``, ``label_1`` and so on. SVC with ``probability=True`` gives both
        scores and probabilities. Regressors give ``prediction``; clusterings ``label`` and
        ``distances``. Numbers are float64.

    Raises
    ------
    ImportError
        The package onnx is not installed.
    InvalidParameterError
        The estimator is not one of ironlearn's, or `dtype` is another one.
    sklearn.exceptions.NotFittedError
        The estimator is not fitted.
    ValueError
        The model holds what ONNX cannot: a callable kernel, labels of several types.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ironlearn.ensemble import RandomForestClassifier
    >>> from ironlearn.io.onnx import to_onnx
    >>> X, y = load_iris(return_X_y=True)
    >>> forest = RandomForestClassifier(10, random_state=0).fit(X, y)
    >>> model = to_onnx(forest)
    >>> [value.name for value in model.graph.input]
    ['X']
    """
    builder = _builder(estimator)
    if dtype not in inputs.DTYPES:
        raise InvalidParameterError(
            f"The 'dtype' parameter of to_onnx must be one of {', '.join(inputs.DTYPES)}; got "
            f"{dtype!r}."
        )
    check_is_fitted(estimator)
    from ironlearn import __version__
    from ironlearn.io.onnx.graph import Graph

    graph = Graph()
    builder(graph, estimator, dtype)
    return graph.model(__version__, {"ironlearn.estimator": type(estimator).__name__})


def save_onnx(estimator: Any, path: str | os.PathLike[str], *, dtype: str = "float32") -> None:
    """Write a fitted estimator to an ONNX file, atomically.

    Parameters
    ----------
    estimator : Estimator
        A fitted estimator of ironlearn.
    path : str or path-like
        The file to write. An existing one is replaced once the new one is complete.
    dtype : {"float32", "float64"}, default="float32"
        Of the input, as in `to_onnx`.
    """
    _modelfile.write_atomically(path, to_onnx(estimator, dtype=dtype).SerializeToString())


def _builder(estimator: Any) -> Callable[[Any, Any, str], None]:
    # A subclass is exported as what it was made of.
    names = [kind.__name__ for kind in type(estimator).__mro__ if _is_ours(kind)]
    for name in names:
        if name in _BUILDERS:
            module, function = _BUILDERS[name]
            try:
                return _function(module, function)
            except ModuleNotFoundError as error:
                if error.name != "onnx":
                    raise
                raise ImportError(
                    "exporting to ONNX needs the package onnx: pip install 'ironlearn[onnx]'"
                ) from error
    raise InvalidParameterError(
        f"The 'estimator' parameter of to_onnx is a {type(estimator).__name__}; accepted are "
        f"fitted estimators of ironlearn: {', '.join(_BUILDERS)}."
    )


def _is_ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "ironlearn"


def _function(module: str, name: str) -> Callable[[Any, Any, str], None]:
    import importlib

    function: Callable[[Any, Any, str], None] = getattr(
        importlib.import_module(f"ironlearn.io.onnx.{module}"), name
    )
    return function
