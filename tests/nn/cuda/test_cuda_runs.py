"""Whole trainings on the GPU end where those on the CPU do."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ironlearn
from ironlearn import serving
from ironlearn.nn import layers as L
from ironlearn.nn.callbacks import Callback
from ironlearn.nn.data import ArrayData
from ironlearn.nn.layers import Sequential
from ironlearn.nn.optimizers import OPTIMIZERS, SGD, Adam, get_optimizer
from ironlearn.nn.precision import LossScale
from ironlearn.nn.state import load_network, save_network
from ironlearn.nn.train import Trainer, evaluate, predict
from ironlearn.series import LSTMForecaster
from ironlearn.text import LSTMTextClassifier
from ironlearn.vision import CNNClassifier

_RNG = np.random.default_rng(0)
_ROWS = _RNG.standard_normal((40, 6)).astype(np.float32)
_CLASSES = np.arange(40) % 3
_IMAGES = _RNG.integers(0, 256, (24, 8, 8, 1), np.uint8)
_WORDS = _RNG.integers(1, 20, (24, 7)) * (np.arange(7) < _RNG.integers(1, 8, (24, 1)))


def mlp() -> Sequential:
    """Two layers with dropout."""
    layers = [L.Dense(8, "relu"), L.Dropout(0.3), L.Dense(3)]
    return Sequential(layers).initialize((6,))


def cnn() -> Sequential:
    """Convolutions with pooling, dropout and batch normalization."""
    return Sequential(
        [
            L.Conv2D(4, 3, padding="same", activation="relu"),
            L.MaxPool2D(2),
            L.BatchNorm(),
            L.DepthwiseConv2D(3, padding="same"),
            L.SpatialDropout2D(0.2),
            L.AvgPool2D(2),
            L.Flatten(),
            L.Dense(3),
        ]
    ).initialize((8, 8, 1))


def text() -> Sequential:
    """Words of padded texts, read by an LSTM both ways."""
    return Sequential(
        [
            L.Embedding(20, 6, mask_zero=True),
            L.SpatialDropout1D(0.1),
            L.Bidirectional(L.LSTM(5, return_sequences=True)),
            L.GRU(4),
            L.Dense(1),
        ]
    ).initialize((7,))


def transformer() -> Sequential:
    """A Transformer's encoder over words."""
    return Sequential(
        [
            L.Embedding(20, 8, mask_zero=True, embeddings_initializer="glorot_normal"),
            L.PositionEmbedding(7),
            L.TransformerEncoderBlock(2, 16, "gelu", 0.1, norm_first=True),
            L.LayerNorm(),
            L.GlobalAvgPool1D(),
            L.Dense(3),
        ]
    ).initialize((7,))


def autoencoder() -> Sequential:
    """Images to fewer numbers and back."""
    return Sequential(
        [
            L.Conv2D(3, 3, 2, "same", "elu"),
            L.Conv2DTranspose(4, 3, 2, "same", "relu"),
            L.Conv2D(1, 3, padding="same", activation="sigmoid"),
        ]
    ).initialize((8, 8, 1))


_PICTURES = (_IMAGES / 255).astype(np.float32)
#: Network, loss, inputs, targets.
NETWORKS: dict[str, tuple[Callable[[], Sequential], str, Any, Any]] = {
    "mlp": (mlp, "cross_entropy", _ROWS, _CLASSES),
    "cnn": (cnn, "cross_entropy", _IMAGES, _CLASSES[:24]),
    "text": (text, "binary_cross_entropy", _WORDS, _CLASSES[:24] % 2),
    "transformer": (transformer, "cross_entropy", _WORDS, _CLASSES[:24]),
    "autoencoder": (autoencoder, "mse", _PICTURES, _PICTURES),
}


def train(name: str, device: Any, optimizer: Any = None, precision: str = "float32") -> Trainer:
    """Train a network for two epochs, with weights and a validation."""
    make, loss, x, y = NETWORKS[name]
    weights = np.linspace(0.5, 1.5, len(x)).astype(np.float32)
    trainer = Trainer(
        make(),
        loss,
        optimizer or SGD(0.05, momentum=0.9),
        device=device,
        executor="eager",
        precision=precision,
    )
    data = ArrayData(x, y, weights, batch_size=10)
    trainer.fit(data, epochs=2, validation=(x[:10], y[:10]))
    return trainer


def assert_alike(one: Trainer, other: Trainer, tolerance: float = 2e-4) -> None:
    """Compare weights, the optimizers' memory and what was measured."""
    for ours, theirs in (
        (one.network.state(), other.network.state()),
        (one.optimizer.state(), other.optimizer.state()),
    ):
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            np.testing.assert_allclose(
                ours[key], value, rtol=tolerance, atol=tolerance, err_msg=key
            )
    assert one.history_.keys() == other.history_.keys()
    for key, values in other.history_.items():
        if key != "seconds":
            np.testing.assert_allclose(one.history_[key], values, rtol=tolerance, err_msg=key)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_train_alike(gpu: Any, name: str) -> None:
    ours, theirs = train(name, gpu), train(name, "cpu")
    assert all(gpu.owns(p.data) for p in ours.network.parameters())
    assert_alike(ours, theirs)
    _, loss, x, y = NETWORKS[name]
    expected = predict(theirs.network, x)
    network = ours.network
    np.testing.assert_allclose(predict(network, x, device=gpu), expected, rtol=1e-3, atol=1e-4)
    measured = evaluate(network, loss, (x, y), device=gpu)
    for key, value in evaluate(theirs.network, loss, (x, y)).items():
        assert measured[key] == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_train_in_16_bits(
    gpu: Any, name: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From the usual start some gradients overflow: their steps would be left out.
    monkeypatch.setattr(LossScale, "start", 2.0**8)
    ours, theirs = train(name, gpu, precision=precision), train(name, "cpu")
    assert not any(ours.history_.get("skipped_steps", ()))
    for key, value in theirs.network.state().items():
        got = ours.network.state()[key]
        assert got.dtype == value.dtype, key
        np.testing.assert_allclose(got, value, rtol=0, atol=0.03, err_msg=key)
    np.testing.assert_allclose(ours.history_["loss"], theirs.history_["loss"], rtol=0.03)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_step_alike(gpu: Any, name: str) -> None:
    def one() -> Any:
        return get_optimizer(name, learning_rate=0.01, weight_decay=0.01, l1=1e-4, clip_norm=1.0)

    # Where a gradient is nearly 0, some of them divide by it.
    assert_alike(train("mlp", gpu, one()), train("mlp", "cpu", one()), 2e-3)


def test_accumulated_batches_train_alike(gpu: Any) -> None:
    x, y = _ROWS, _CLASSES
    trainers = []
    for device in (gpu, "cpu"):
        trainer = Trainer(mlp(), "cross_entropy", SGD(0.1), accumulate=2, device=device)
        trainer.fit(ArrayData(x, y, batch_size=10), epochs=2)
        trainers.append(trainer)
    assert_alike(*trainers)


def test_a_run_repeats_itself_bit_for_bit(gpu: Any) -> None:
    one, other = train("cnn", gpu), train("cnn", gpu)
    for key, value in one.network.state().items():
        np.testing.assert_array_equal(other.network.state()[key], value, err_msg=key)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_move_and_are_saved(gpu: Any, name: str, tmp_path: Path) -> None:
    make, _, x, _ = NETWORKS[name]
    network = make()
    state = network.state()
    expected = predict(network, x, executor="eager")
    network.to_device(gpu)
    assert all(gpu.owns(p.data) for p in network.parameters())
    save_network(network, tmp_path / "network")
    for again in (load_network(tmp_path / "network"), network.to_device("cpu")):
        assert again.state().keys() == state.keys()
        for key, value in state.items():
            np.testing.assert_array_equal(again.state()[key], value)
        np.testing.assert_array_equal(predict(again, x, executor="eager"), expected)
    loaded = load_network(tmp_path / "network").to_device(gpu)
    np.testing.assert_allclose(predict(loaded, x, device=gpu), expected, rtol=1e-4, atol=1e-5)


class _Stop(Callback):
    """Ends a run at a step."""

    def steps_ahead(self, trainer: Any) -> int:
        return max(1, 3 - trainer.step)

    def on_steps(self, trainer: Any) -> None:
        trainer.stop = trainer.step >= 3


@pytest.mark.parametrize("first", ["gpu", "cpu"])
@pytest.mark.parametrize("then", ["gpu", "cpu"])
def test_checkpoints_are_of_no_device(gpu: Any, first: str, then: str, tmp_path: Path) -> None:
    """A run that was stopped goes on, on the same device to the same bits."""

    def run(device: str, folder: str, callbacks: Any = ()) -> Trainer:
        trainer = Trainer(
            mlp(),
            "cross_entropy",
            Adam(0.01),
            device=gpu if device == "gpu" else "cpu",
            executor="eager",
            callbacks=callbacks,
        )
        trainer.fit(
            ArrayData(_ROWS, _CLASSES, batch_size=10),
            epochs=2,
            checkpoint=tmp_path / folder,
            resume=True,
        )
        return trainer

    assert run(first, "stopped", [_Stop()]).step == 3
    ours, whole = run(then, "stopped"), run(then, "whole")
    assert ours.resumed
    assert_alike(ours, whole, 2e-3)
    if first == then:
        for key, value in whole.network.state().items():
            np.testing.assert_array_equal(ours.network.state()[key], value, err_msg=key)


def _images() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.random((10, 14, 14), np.float32), np.arange(10) % 2


def _texts() -> tuple[Any, Any]:
    return ["a fine film", "a dull film", "fine acting", "dull and slow"] * 4, [1, 0, 1, 0] * 4


def _series() -> tuple[Any]:
    return (5 + np.sin(np.arange(50) / 2),)


ESTIMATORS: dict[str, tuple[Callable[..., Any], Callable[[], Any], tuple[str, ...]]] = {
    "CNNClassifier": (
        lambda **more: CNNClassifier(epochs=1, batch_size=5, dropout=0.1, **more),
        _images,
        ("predict", "predict_proba"),
    ),
    "LSTMTextClassifier": (
        lambda **more: LSTMTextClassifier(epochs=2, embedding_dim=6, units=5, **more),
        _texts,
        ("predict", "predict_proba"),
    ),
    "LSTMForecaster": (
        lambda **more: LSTMForecaster(window=6, horizon=2, units=4, epochs=2, **more),
        _series,
        (),
    ),
}


def _says(model: Any, data: Any, methods: tuple[str, ...]) -> list[Any]:
    if not methods:
        return [model.predict()]
    return [np.asarray(getattr(model, method)(data[0])) for method in methods]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators(gpu: Any, name: str, tmp_path: Path) -> None:
    make, data_of, methods = ESTIMATORS[name]
    data = data_of()
    model = make(device="cuda", random_state=0).fit(*data)
    assert all(gpu.owns(p.data) for p in model._model.parameters())
    other = make(device="cpu", random_state=0).fit(*data)
    # The plan of the CPU draws the same numbers, but adds in another order.
    answers = _says(model, data, methods)
    for ours, theirs in zip(answers, _says(other, data, methods), strict=True):
        if ours.dtype.kind == "f":
            np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-3)
        else:
            np.testing.assert_array_equal(ours, theirs)
    model.save(tmp_path / "model")
    for again in (ironlearn.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        for device in ("cpu", "cuda"):
            again.set_params(device=device)
            for ours, theirs in zip(_says(again, data, methods), answers, strict=True):
                if ours.dtype.kind == "f":
                    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
                else:
                    np.testing.assert_array_equal(ours, theirs)
    if methods:
        served = serving.load(tmp_path / "model")
        np.testing.assert_allclose(served.predict_proba(data[0]), answers[1], rtol=1e-4, atol=1e-5)


def test_every_estimator_with_a_device_has_a_case() -> None:
    from ironlearn.base import TASK_TYPES

    assert set(TASK_TYPES) <= set(ESTIMATORS)
