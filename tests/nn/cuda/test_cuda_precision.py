"""Mixed precision on a device that works through a queue."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ironlearn.exceptions import DivergedError
from ironlearn.nn import layers as L
from ironlearn.nn import train
from ironlearn.nn.data import ArrayData
from ironlearn.nn.executors import Eager
from ironlearn.nn.layers import Sequential
from ironlearn.nn.optimizers import SGD, Adam
from ironlearn.nn.precision import LossScale
from ironlearn.nn.queued import Queued
from ironlearn.nn.train import Trainer, evaluate, predict
from nn.cuda.test_cuda_training import NETWORKS, Root, dense, equal, images, make, states
from standin.cupy import counts

HALF = ("float16", "bfloat16")


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("parts", NETWORKS)
def test_many_steps_wait_once(
    gpu: Any, parts: Any, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No step overflows with this factor.
    monkeypatch.setattr(LossScale, "start", 2.0**8)
    monkeypatch.setattr(Queued, "size", 1000)
    net, x, y, loss = make(parts)
    trainer = Trainer(net, loss, Adam(0.01, clip_norm=1.0), device=gpu, precision=precision)
    seen: list[str] = []
    for layer in net.layers:

        def watch(*args: Any, forward: Any = layer.forward, **kwargs: Any) -> Any:
            out = forward(*args, **kwargs)
            seen.append(str(out.dtype))
            return out

        vars(layer)["forward"] = watch
    data = ArrayData(x, y, batch_size=8)
    trainer.fit(data, epochs=1)
    counts.reset()
    history = trainer.fit(data, epochs=1)
    if "standin" in gpu.xp.__version__:
        # What the steps measured, and whether the weights are finite at the epoch's end.
        assert (counts.waits, counts.to_host, counts.to_device) == (2, 2, 12)
    assert set(seen) == {precision}
    assert np.isfinite(history["loss"]).all()
    assert {str(p.data.dtype) for p in net.parameters()} == {"float32"}


@pytest.mark.parametrize("precision", HALF)
def test_a_step_is_the_one_of_float32_but_for_rounding(gpu: Any, precision: str) -> None:
    changes = []
    for name, device in (("float32", "cpu"), (precision, gpu)):
        net, x, y, loss = make(dense)
        before = net.state()
        trainer = Trainer(net, loss, SGD(1.0), device=device, precision=name, executor="eager")
        trainer.fit(ArrayData(x, y, batch_size=48), epochs=1)
        changes.append({k: v - before[k] for k, v in net.state().items()})
    for name, change in changes[0].items():
        size = float(np.abs(change).max())
        np.testing.assert_allclose(
            changes[1][name], change, rtol=0, atol=0.06 * size + 1e-4, err_msg=name
        )


def test_calls_of_any_length_skip_the_same_steps(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LossScale, "start", 2.0**20)
    monkeypatch.setattr(LossScale, "patience", 3)
    ends = []
    for executor, size, seconds in ((Eager, 1, 0.0), (Queued, 1, 0.0), (Queued, 1000, 1.0)):
        monkeypatch.setattr(train, "Queued", executor)
        monkeypatch.setattr(Queued, "size", size)
        monkeypatch.setattr(Queued, "seconds", seconds)
        net, x, y, loss = make(images)
        settings = {"device": gpu, "precision": "float16", "metrics": None}
        trainer = Trainer(net, loss, "adam", **settings)
        trainer.fit(ArrayData(x, y, batch_size=4), epochs=2)
        assert trainer.precision.scale is not None
        ends.append(states(trainer) | {"scale": np.array(trainer.precision.scale.value)})
        skipped = sum(trainer.history_["skipped_steps"])
        assert 4 < skipped < 20
        assert trainer.optimizer.steps == trainer.step - skipped
    equal(ends[0], ends[1])
    equal(ends[0], ends[2])


def test_gradients_that_no_factor_helps_end_the_run(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Queued, "size", 1000)
    net, x, y, _ = make(dense)
    before = net.state()
    y[:] = 7
    trainer = Trainer(net, Root(), "sgd", device=gpu, precision="float16")
    with pytest.raises(DivergedError, match=r"a gradient became NaN .*step 17 "):
        trainer.fit(ArrayData(x, y, batch_size=2), epochs=1)
    equal(net.state(), before)
    assert trainer.step == 16


@pytest.mark.parametrize("precision", HALF)
def test_predictions_and_measures_wait_once(gpu: Any, precision: str) -> None:
    net, x, y, loss = make(images)
    expected = predict(net, x)
    net.to_device(gpu)
    counts.reset()
    outputs = predict(net, x, batch_size=7, device=gpu, precision=precision)
    measured = evaluate(net, loss, (x, y), device=gpu, precision=precision)
    if "standin" in gpu.xp.__version__:
        assert (counts.waits, counts.to_host) == (2, 2)
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=0.1)
    assert measured["loss"] == pytest.approx(evaluate(net, loss, (x, y))["loss"], abs=0.05)


def test_tf32_holds_while_the_network_computes(gpu: Any) -> None:
    core = gpu.xp._core
    before = core.get_compute_type(np.float32)
    net, x, y, _ = make(dense)
    seen: list[bool] = []

    class Watch(L.Layer):
        def forward(self, x: Any, mode: Any = L.INFERENCE) -> Any:
            tf32 = core._routines_linalg.COMPUTE_TYPE_TF32
            seen.append(core.get_compute_type(np.float32) == tf32)
            return x

    net = Sequential([*net.layers, Watch()]).initialize(x.shape[1:], 0)
    trainer = Trainer(net, "cross_entropy", "adam", device=gpu, precision="tf32")
    trainer.fit(ArrayData(x, y, batch_size=16), epochs=1, validation=(x, y))
    predict(net, x, device=gpu, precision="tf32")
    assert seen == [True] * 5
    predict(net, x, device=gpu)
    assert not seen[-1]
    assert core.get_compute_type(np.float32) == before
