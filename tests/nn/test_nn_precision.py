"""Networks that compute in 16 bits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ironlearn.exceptions import (
    DivergedError,
    InvalidParameterError,
    MissingExtraError,
    ModelFileError,
)
from ironlearn.nn import functional as F
from ironlearn.nn import layers as L
from ironlearn.nn.autograd import Tensor, backward
from ironlearn.nn.callbacks import Callback, Checkpoint
from ironlearn.nn.checkpoint import read_checkpoint, write_checkpoint
from ironlearn.nn.data import ArrayData, IteratorData
from ironlearn.nn.layers import Sequential
from ironlearn.nn.losses import Loss
from ironlearn.nn.optimizers import SGD, Adam
from ironlearn.nn.precision import LossScale
from ironlearn.nn.train import Trainer, evaluate, predict

HALF = ("float16", "bfloat16")


def blobs(n: int = 96) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=n)
    x = rng.standard_normal((n, 4)) + 2.0 * np.eye(3, 4)[y]
    return x.astype(np.float32), y


def network(rate: float = 0.2) -> Sequential:
    layers = [L.Dense(8, "relu"), L.BatchNorm(), L.Dropout(rate), L.Dense(3)]
    return Sequential(layers).initialize((4,), 0)


def states(trainer: Trainer) -> dict[str, Any]:
    history = {k: np.array(v) for k, v in trainer.history_.items() if k != "seconds"}
    slots = {f"slot.{k}": v for k, v in trainer.optimizer.state().items()}
    return {**trainer.network.state(), **slots, **history}


def equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert set(one) == set(other)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


# What networks learn --------------------------------------------------------------------------


def _perceptron() -> Sequential:
    layers = [L.Flatten(), L.Dense(32, "relu"), L.Dense(10)]
    return Sequential(layers).initialize((8, 8, 1), 0)


def _convolutional() -> Sequential:
    layers = [
        L.Conv2D(6, 3, activation="relu"),
        L.BatchNorm(),
        L.MaxPool2D(2),
        L.Flatten(),
        L.Dense(10),
    ]
    return Sequential(layers).initialize((8, 8, 1), 0)


@pytest.mark.parametrize("make", [_perceptron, _convolutional])
def test_digits_are_learnt_as_in_float32(make: Any) -> None:
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    scores = {}
    for precision in ("float32", *HALF):
        net = make()
        trainer = Trainer(net, "cross_entropy", Adam(0.01), precision=precision)
        trainer.fit(ArrayData(x[:900], y[:900], batch_size=50), epochs=4)
        assert trainer.executor_ == ("plan" if precision == "float32" else "eager")
        scores[precision] = evaluate(net, "cross_entropy", (x[900:], y[900:]))["accuracy"]
        half = evaluate(net, "cross_entropy", (x[900:], y[900:]), precision=precision)
        assert half["accuracy"] == pytest.approx(scores[precision], abs=0.01)
    assert scores["float32"] > 0.85
    for precision in HALF:
        assert scores[precision] == pytest.approx(scores["float32"], abs=0.03)


@pytest.mark.parametrize("precision", HALF)
def test_a_step_is_the_one_of_float32_but_for_rounding(precision: str) -> None:
    x, y = blobs(32)
    weights = np.linspace(0.0, 2.0, 32)
    changes = []
    for name in ("float32", precision):
        net = network(0.0)
        before = net.state()
        trainer = Trainer(net, "cross_entropy", SGD(1.0), precision=name, executor="eager")
        trainer.fit(ArrayData(x, y, weights, batch_size=32), epochs=1)
        changes.append({k: v - before[k] for k, v in net.state().items()})
        assert all(p.data.dtype == np.float32 for p in net.parameters())
    for name, change in changes[0].items():
        size = float(np.abs(change).max())
        np.testing.assert_allclose(
            changes[1][name], change, rtol=0, atol=0.06 * size + 1e-4, err_msg=name
        )


@pytest.mark.parametrize("precision", HALF)
def test_layers_compute_in_16_bits(precision: str) -> None:
    x = np.random.default_rng(0).integers(0, 20, (8, 6))
    layers = [
        L.Embedding(20, 8, mask_zero=True),
        L.LSTM(8, return_sequences=True),
        L.LayerNorm(),
        L.TransformerEncoderBlock(2, 12),
        L.GlobalAvgPool1D(),
        L.Dense(2),
    ]
    net = Sequential(layers).initialize((6,), 0)
    seen: list[str] = []
    for layer in net.layers:

        def watch(*args: Any, forward: Any = layer.forward, **kwargs: Any) -> Any:
            out = forward(*args, **kwargs)
            seen.append(str(out.dtype))
            return out

        vars(layer)["forward"] = watch
    trainer = Trainer(net, "cross_entropy", Adam(0.01, clip_norm=1.0), precision=precision)
    history = trainer.fit(ArrayData(x, x[:, 0] % 2, batch_size=4), epochs=2)
    assert seen == [precision] * (6 * 4)
    assert np.isfinite(history["loss"]).all()
    assert {str(v.dtype) for v in net.state().values()} == {"float32"}
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("precision", HALF)
def test_accumulated_batches_are_one_batch(precision: str) -> None:
    x, y = blobs(64)
    ends = []
    for size, accumulate in ((64, 1), (16, 4)):
        net = Sequential([L.Dense(8, "tanh"), L.Dense(3)]).initialize((4,), 0)
        settings = {"accumulate": accumulate, "precision": precision, "executor": "eager"}
        trainer = Trainer(net, "cross_entropy", SGD(0.5), **settings)
        trainer.fit(ArrayData(x, y, batch_size=size), epochs=3)
        ends.append(net.state())
    for name, value in ends[0].items():
        np.testing.assert_allclose(ends[1][name], value, rtol=0, atol=0.02, err_msg=name)


@pytest.mark.parametrize("precision", HALF)
def test_rows_and_frozen_parameters(precision: str) -> None:
    x = np.random.default_rng(0).integers(0, 10, (32, 3))
    ends = []
    for name in ("float32", precision):
        layers = [L.Embedding(20, 4, sparse=True), L.Flatten(), L.Dense(4, "tanh"), L.Dense(2)]
        net = Sequential(layers).initialize((3,), 0)
        net.layers[2].kernel.trainable = False  # type: ignore[attr-defined]
        before = net.state()
        settings = {"precision": name, "executor": "eager"}
        trainer = Trainer(net, "cross_entropy", SGD(0.5), accumulate=2, **settings)
        trainer.fit(ArrayData(x, x[:, 0] % 2, batch_size=8), epochs=2)
        ends.append(net.state())
        np.testing.assert_array_equal(ends[-1]["layers.2.kernel"], before["layers.2.kernel"])
        # Rows that no sample has stay.
        np.testing.assert_array_equal(
            ends[-1]["layers.0.embeddings"][10:], before["layers.0.embeddings"][10:]
        )
        assert not np.array_equal(ends[-1]["layers.0.embeddings"], before["layers.0.embeddings"])
    for name, value in ends[0].items():
        np.testing.assert_allclose(ends[1][name], value, rtol=0, atol=0.02, err_msg=name)


@pytest.mark.parametrize("precision", HALF)
def test_predictions_in_16_bits(precision: str) -> None:
    x, _ = blobs()
    net = network()
    before = net.state()
    expected = predict(net, x)
    outputs = predict(net, x, precision=precision, batch_size=20)
    assert outputs.dtype == np.float32
    assert not np.array_equal(outputs, expected)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=0.1)
    np.testing.assert_array_equal(outputs, outputs.astype(np.dtype(_dtype(precision))))
    equal(net.state(), before)
    with pytest.raises(ValueError, match="expects inputs"):
        predict(net, x[:, :2], precision=precision)
    equal(net.state(), before)


def _dtype(name: str) -> Any:
    import ml_dtypes

    return np.float16 if name == "float16" else ml_dtypes.bfloat16


def test_bytes_are_divided_before_they_are_rounded() -> None:
    x = np.arange(256, dtype=np.uint8)[:, None]
    net = Sequential([L.Dense(1, use_bias=False)]).initialize((1,), 0)
    net.load_state({name: np.ones_like(v) for name, v in net.state().items()})
    outputs = predict(net, x, precision="float16")
    np.testing.assert_array_equal(outputs, (x / np.float32(255)).astype(np.float16))


def test_casts_are_differentiable() -> None:
    x = Tensor(np.array([1.0, 2.0], np.float16), requires_grad=True)
    wide = F.cast(x, np.float32)
    assert wide.dtype == np.float32
    backward(F.sum(F.mul(wide, wide)))
    assert x.grad is not None
    assert x.grad.dtype == np.float16
    np.testing.assert_array_equal(x.grad, [2.0, 4.0])
    assert F.cast(wide, np.float32) is wide


# The loss's factor ----------------------------------------------------------------------------


def test_the_factor_follows_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LossScale, "patience", 3)
    scale = LossScale()
    values = []
    for good in (1, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1):
        if good:
            scale.succeeded()
        else:
            assert scale.overflowed()
        values.append(int(np.log2(scale.value)))
    assert values == [16, 16, 17, 17, 16, 16, 16, 15, 15, 15, 16]
    assert scale.skipped == 2
    scale.value = 1.0
    assert not scale.overflowed()
    assert (scale.value, scale.skipped) == (1.0, 2)
    scale.value = scale.most
    for _ in range(6):
        scale.succeeded()
    assert scale.value == scale.most
    assert (LossScale().start, LossScale.start) == (65536.0, 65536.0)


class Steps(Callback):
    """Notes the optimizer's steps and the factor after each step."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def on_steps(self, trainer: Trainer) -> None:
        assert trainer.precision.scale is not None
        self.seen.append((trainer.optimizer.steps, trainer.precision.scale.value))


def _batches(x: Any, y: Any, first: int) -> IteratorData:
    return IteratorData(lambda: ((x[i : i + 8], y[i : i + 8]) for i in range(8 * first, len(x), 8)))


def test_steps_that_overflow_are_left_out_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs()
    monkeypatch.setattr(LossScale, "start", 2.0**24)
    net = network(0.0)
    steps = Steps()
    trainer = Trainer(net, "cross_entropy", "adam", precision="float16", callbacks=[steps])
    history = trainer.fit(_batches(x, y, 0), epochs=1)
    skipped = int(history["skipped_steps"][0])
    assert 2 < skipped < 12
    assert steps.seen[:skipped] == [(0, 2.0 ** (23 - i)) for i in range(skipped)]
    assert steps.seen[skipped:] == [(i + 1, 2.0 ** (24 - skipped)) for i in range(12 - skipped)]
    assert (trainer.step, trainer.optimizer.steps) == (12, 12 - skipped)
    # The run without these batches, and with the factor that they led to, is the same one.
    monkeypatch.setattr(LossScale, "start", 2.0 ** (24 - skipped))
    other = network(0.0)
    trainer = Trainer(other, "cross_entropy", "adam", precision="float16")
    history = trainer.fit(_batches(x, y, skipped), epochs=1)
    assert history["skipped_steps"] == [0.0]
    equal(net.state(), other.state())


def test_the_factor_grows_and_overflows_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LossScale, "patience", 2)
    x, y = blobs()
    steps = Steps()
    trainer = Trainer(network(), "cross_entropy", "adam", precision="float16", callbacks=[steps])
    history = trainer.fit(ArrayData(x, y, batch_size=8), epochs=5)
    values = [value for _, value in steps.seen]
    assert max(values) > 2.0**16
    assert sum(history["skipped_steps"]) == trainer.step - trainer.optimizer.steps > 0
    assert np.isfinite(history["loss"]).all()


class Root(Loss):
    """A loss that is finite, with a gradient that is not."""

    name = "root"

    def per_sample(self, outputs: Any, targets: Any) -> Any:
        return F.reshape(F.power(F.mul(outputs, 0.0), 0.5), (-1,))


def test_gradients_that_no_factor_helps_end_the_run() -> None:
    x, y = blobs()
    net = Sequential([L.Dense(1)]).initialize((4,), 0)
    before = net.state()
    trainer = Trainer(net, Root(), "sgd", precision="float16")
    with pytest.raises(DivergedError, match=r"a gradient became NaN .*step 17 ") as caught:
        trainer.fit(ArrayData(x, y, batch_size=4), epochs=1)
    assert caught.value.layer == "layer 0 (Dense)"
    equal(net.state(), before)
    assert trainer.totals.weight == 16 * 4
    assert trainer.precision.scale is not None
    assert trainer.precision.scale.skipped == 16


@pytest.mark.parametrize("precision", HALF)
def test_losses_that_are_not_finite_end_the_run(precision: str) -> None:
    x, y = blobs()
    net = network()
    kernel = net.state()["layers.0.kernel"]
    # Infinite in float16; in bfloat16 a sum of its products is.
    x[50] = np.float32(3.3e38) * np.sign(kernel[:, np.abs(kernel).sum(axis=0).argmax()])
    trainer = Trainer(net, "cross_entropy", "adam", precision=precision)
    with np.errstate(all="ignore"), pytest.raises(DivergedError) as caught:
        trainer.fit(ArrayData(x, y, batch_size=8, shuffle=False), epochs=1)
    assert caught.value.step == 7
    assert caught.value.layer in ("layer 0 (Dense)", "layer 1 (BatchNorm)")
    assert {str(v.dtype) for v in net.state().values()} == {"float32"}
    assert np.isfinite(predict(net, x[:8])).all()


# Checkpoints ----------------------------------------------------------------------------------


class Stop(Callback):
    """Ends the run after so many steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_steps(self, trainer: Trainer) -> None:
        trainer.stop = trainer.step >= self.step


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("step", [5, 12, 29])
def test_stopped_runs_go_on_to_the_same_bits(
    precision: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LossScale, "patience", 3)
    x, y = blobs()
    data = ArrayData(x, y, batch_size=8)

    def trainer(*callbacks: Callback) -> Trainer:
        settings = {"precision": precision, "callbacks": callbacks}
        return Trainer(network(), "cross_entropy", "adam", **settings)

    whole = trainer()
    whole.fit(data, epochs=3)
    if precision == "float16":
        assert sum(whole.history_["skipped_steps"]) > 2
    path = tmp_path / "state"
    trainer(Stop(step)).fit(data, epochs=3, checkpoint=Checkpoint(path, every_steps=1))
    resumed = trainer()
    resumed.fit(data, epochs=3, checkpoint=path, resume=True)
    equal(states(resumed), states(whole))
    # Each run writes what a run of another precision does not take.
    other = Trainer(network(), "cross_entropy", "adam", executor="eager")
    with pytest.raises(ModelFileError, match=f"precision is '{precision}' there, but 'float32'"):
        other.fit(data, epochs=3, checkpoint=path, resume=True)


@pytest.mark.parametrize(
    "state",
    [
        None,
        {"value": "1", "good": 0, "skipped": 0},
        {"value": -1.0, "good": 0, "skipped": 0},
        {"value": float("inf"), "good": 0, "skipped": 0},
        {"value": 8.0, "good": 0.5, "skipped": 0},
        {"value": 8.0, "good": 0},
    ],
)
def test_a_factor_that_cannot_be_is_refused(state: Any, tmp_path: Path) -> None:
    x, y = blobs()
    path = tmp_path / "state"
    trainer = Trainer(network(), "cross_entropy", "adam", precision="float16")
    trainer.fit((x, y), epochs=1, checkpoint=path)
    contents = read_checkpoint(path)
    assert contents is not None
    contents.attributes["loss_scale"] = state
    write_checkpoint(path, contents)
    net = network()
    trainer = Trainer(net, "cross_entropy", "adam", precision="float16")
    before = net.state()
    with pytest.raises(ModelFileError, match="holds no valid checkpoint"):
        trainer.fit((x, y), epochs=2, checkpoint=path, resume=True)
    equal(net.state(), before)
    assert trainer.precision.scale is not None
    assert trainer.precision.scale.value == 65536.0


# Bad input ------------------------------------------------------------------------------------


def test_bad_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs()
    for bad in ("half", "float64", 16, None):
        with pytest.raises(InvalidParameterError, match=r"precision must be one of .*bfloat16"):
            Trainer(network(), "cross_entropy", "adam", precision=bad)  # type: ignore[arg-type]
        with pytest.raises(InvalidParameterError, match="precision must be one of"):
            predict(network(), x, precision=bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match="'tf32' needs a GPU, the device is cpu"):
        Trainer(network(), "cross_entropy", "adam", precision="tf32")
    with pytest.raises(InvalidParameterError, match="needs a network of float32, .* float64"):
        Trainer(network().astype(np.float64), "cross_entropy", "adam", precision="float16")
    trainer = Trainer(network(), "cross_entropy", "adam", precision="float16", executor="plan")
    with pytest.raises(InvalidParameterError, match="the precision float16 has no lowering"):
        trainer.fit((x, y), epochs=1)
    with pytest.raises(InvalidParameterError, match="executor='plan' computes in float32"):
        predict(network(), x, precision="float16", executor="plan")
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(MissingExtraError, match="precision='bfloat16' needs ml_dtypes"):
        Trainer(network(), "cross_entropy", "adam", precision="bfloat16")
