"""From a fitted estimator or a network to an ONNX model, and from a model to a network."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

from sklearn.utils.validation import check_is_fitted

from ironlearn import _modelfile
from ironlearn.exceptions import InvalidParameterError
from ironlearn.io.onnx import inputs
from ironlearn.nn.inference import require_built
from ironlearn.nn.layers.base import Layer

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
    "CNNClassifier": ("images", "classifier"),
    "LSTMTextClassifier": ("texts", "classifier"),
    "LSTMForecaster": ("forecaster", "forecaster"),
    "SentenceEncoder": ("texts", "sentence_encoder"),
}
#: dtypes of those that take others than numbers.
_DTYPES = {"CNNClassifier": (*inputs.DTYPES, "uint8")}


def to_onnx(estimator: Any, *, dtype: str = "float32", arguments: Sequence[str] = ()) -> Any:
    """Return a fitted estimator or a network as an ONNX model.

    Parameters
    ----------
    estimator : Estimator or Layer
        A fitted estimator of ironlearn, or a built layer or network of its layers.
    dtype : {"float32", "float64", "uint8"}, default="float32"
        Of the input ``X``, shape (n_samples, n_features). CategoricalNB takes int64 codes.
        Where columns have vocabularies (CategoricalNB on a table, `categorical_features`) each
        column is an input of its own, shape (n_samples, 1), named like the column: strings,
        or float64 where the categories are numbers.

        Networks and image classifiers also take ``"uint8"``, bytes from 0 to 255, which the graph
        scales as their preprocessing does. What reads words takes int64 whatever `dtype` is.
    arguments : sequence of str, default=()
        For a layer or network: arguments of its `forward` beside the input that become inputs of
        the graph: ``"mask"`` (bool, which steps count), ``"context"``, ``"context_mask"``,
        ``"segments"``, ``"initial_state"``. What a layer cannot do without is there anyway.

    Returns
    -------
    onnx.ModelProto
        Classifiers give ``label`` and ``probabilities`` or, without `predict_proba`,
        ``scores`` (as `decision_function`); with several outputs ``label_0``,
        ``probabilities_0``, ``label_1`` and so on. SVC with ``probability=True`` gives both
        scores and probabilities. Regressors give ``prediction``; clusterings ``label`` and
        ``distances``. Numbers are float64.

        Images are (n, height, width, channels). Text classifiers take ``ids``, numbers of words
        (n, length) filled up with zeros: words are found and numbered outside of the graph, and
        its metadata ``ironlearn.words`` hold the vocabulary (a word's number is its place plus 2,
        an unknown word's 1). Forecasters take the past ``y`` (n, steps, series), ``X`` and
        ``X_future`` where they were fitted with such, and give ``prediction``
        (n, horizon, series). A SentenceEncoder takes ``ids`` and ``mask`` and gives
        ``embeddings``.

        A network takes ``X`` and gives ``output`` (float32), and ``state_0`` and so on if it
        returns states; axes are those of the layers, lengths that they leave open stay open.
        A `GraphConvolution` takes edges as ``rows``, ``columns`` and ``values``.

    Raises
    ------
    ImportError
        The package onnx is not installed.
    InvalidParameterError
        The estimator is not one of ironlearn's, `dtype` or an argument is another one, or a layer
        of the network has no counterpart in ONNX.
    sklearn.exceptions.NotFittedError
        The estimator is not fitted.
    ValueError
        The model holds what ONNX cannot: a callable kernel, labels of several types. Or the
        network is not built.

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

    A network:

    >>> from ironlearn.nn.layers import LSTM, Dense, Sequential
    >>> network = Sequential([LSTM(8), Dense(2)]).initialize((None, 3))
    >>> model = to_onnx(network, arguments=["mask"])
    >>> [value.name for value in model.graph.input]
    ['X', 'mask']
    """
    layer = _is_layer(estimator)
    builder, dtypes = _of_layer() if layer else _builder(estimator)
    if dtype not in dtypes:
        raise InvalidParameterError(
            f"The 'dtype' parameter of to_onnx must be one of {', '.join(dtypes)}; got {dtype!r}."
        )
    if arguments and not layer:
        raise InvalidParameterError(
            f"The 'arguments' parameter of to_onnx is for layers and networks; got "
            f"{arguments!r} with a {type(estimator).__name__}."
        )
    from ironlearn import __version__
    from ironlearn.io.onnx.graph import Graph

    graph = Graph()
    if layer:
        require_built(estimator)
        builder(graph, estimator, dtype, tuple(arguments))
        return graph.model(__version__, {"ironlearn.network": type(estimator).__name__})
    if hasattr(estimator, "fit"):
        check_is_fitted(estimator)
    builder(graph, estimator, dtype)
    return graph.model(__version__, {"ironlearn.estimator": type(estimator).__name__})


def save_onnx(
    estimator: Any,
    path: str | os.PathLike[str],
    *,
    dtype: str = "float32",
    arguments: Sequence[str] = (),
) -> None:
    """Write a fitted estimator or a network to an ONNX file, atomically.

    Parameters
    ----------
    estimator : Estimator or Layer
        A fitted estimator of ironlearn, or a built layer or network.
    path : str or path-like
        The file to write. An existing one is replaced once the new one is complete.
    dtype : {"float32", "float64", "uint8"}, default="float32"
        Of the input, as in `to_onnx`.
    arguments : sequence of str, default=()
        Further inputs of a network, as in `to_onnx`.
    """
    model = to_onnx(estimator, dtype=dtype, arguments=arguments)
    _modelfile.write_atomically(path, model.SerializeToString())


def from_onnx(
    source: Any, *, output: str | None = None, input_shape: Sequence[int | None] | None = None
) -> Layer:
    """Return the network in an ONNX file.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        The file, or what it holds. Files of unknown origin are safe to read: all sizes are checked
        before memory is taken, no other file is opened, and nothing is executed.
    output : str, optional
        Name of the value to compute: an output, or any value within, such as features before the
        last layer. Not needed where the graph has one output.
    input_shape : tuple of (int or None), optional
        Lengths of the network's input without the batch's axis, where the file leaves some open
        that layers have to know; ``None`` is any.

    Returns
    -------
    Layer
        A built `Sequential`, or a `LayerGraph` where the graph has branches, in single precision.
        Images and sequences that the file has channels first are channels last in the network, at
        its input and at its output, and sequences that it has time first are batch first: as
        everywhere in ironlearn.

    Raises
    ------
    ImportError
        The package onnx is not installed.
    ModelFileError
        The file is damaged; or it has an operator, a setting, a type or a version that no layer
        stands for: the message names the node and the operator.
    InvalidParameterError
        `output` or `input_shape` do not fit the file.
    OSError
        The file cannot be read.

    Notes
    -----
    What is read: Conv, ConvTranspose, Gemm, MatMul with constant weights, BatchNormalization,
    LayerNormalization, InstanceNormalization, GroupNormalization, pooling, LSTM, GRU, RNN (all
    steps, or the last one), embeddings by Gather, attention of a sequence to itself with or without
    later steps left out, Add, Sub, Mul, Div, Max and Concat of branches, Pad, Resize by whole
    numbers, DepthToSpace, Softmax, and elementwise operators in whatever way they write an
    activation. Transpose, Reshape, Flatten, Squeeze and Unsqueeze become layers only where data
    have to move. Operators of versions 9 to 23.

    Examples
    --------
    >>> import numpy as np
    >>> from ironlearn.io.onnx import from_onnx, to_onnx
    >>> from ironlearn.nn.autograd import Tensor
    >>> from ironlearn.nn.layers import Conv2D, Dense, Flatten, Sequential
    >>> network = Sequential([Conv2D(4, 3, activation="relu"), Flatten(), Dense(2)])
    >>> model = to_onnx(network.initialize((6, 6, 1)))
    >>> again = from_onnx(model)
    >>> x = Tensor(np.ones((1, 6, 6, 1), np.float32))
    >>> bool(np.allclose(again(x).data, network(x).data, atol=1e-6))
    True
    """
    found: Layer = _function("reading.network", "network")(source, output, input_shape)
    return found


def _is_layer(estimator: Any) -> bool:
    return isinstance(estimator, Layer)


def _of_layer() -> tuple[Callable[..., None], tuple[str, ...]]:
    return _function("network.network", "network"), (*inputs.DTYPES, "uint8")


def _builder(estimator: Any) -> tuple[Callable[..., None], tuple[str, ...]]:
    # A subclass is exported as what it was made of.
    names = [kind.__name__ for kind in type(estimator).__mro__ if _is_ours(kind)]
    for name in names:
        if name in _BUILDERS:
            return _function(*_BUILDERS[name]), _DTYPES.get(name, inputs.DTYPES)
    raise InvalidParameterError(
        f"The 'estimator' parameter of to_onnx is a {type(estimator).__name__}; accepted are "
        f"networks of ironlearn's layers, and fitted {', '.join(_BUILDERS)}."
    )


def _is_ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "ironlearn"


def _function(module: str, name: str) -> Callable[..., Any]:
    try:
        found = importlib.import_module(f"ironlearn.io.onnx.{module}")
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ImportError(
            "ONNX files need the package onnx: pip install 'ironlearn[onnx]'"
        ) from error
    function: Callable[..., Any] = getattr(found, name)
    return function
