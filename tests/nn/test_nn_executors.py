"""The plan and the tape train the same network."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ironlearn.exceptions import DivergedError, InterruptedWarning, InvalidParameterError
from ironlearn.nn.callbacks import Callback
from ironlearn.nn.data import ArrayData, IteratorData, epoch_generator
from ironlearn.nn.executors import Planned
from ironlearn.nn.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    Layer,
    MaxPool2D,
    Sequential,
)
from ironlearn.nn.optimizers import SGD, Adam
from ironlearn.nn.train import Trainer, evaluate, predict


def dense(seed: int = 0, rate: float = 0.3) -> Sequential:
    layers: list[Layer] = [Dense(16, "relu"), Dropout(rate), Dense(3)]
    return Sequential(layers).initialize((5,), seed)


def convolutional(seed: int = 0) -> Sequential:
    layers: list[Layer] = [
        Conv2D(4, 3, activation="relu"),
        MaxPool2D(2),
        BatchNorm(),
        Flatten(),
        Dense(3),
    ]
    return Sequential(layers).initialize((8, 8, 1), seed)


def rows(n: int = 150) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 5)).astype(np.float32)
    return x, x[:, :3].argmax(axis=1).astype(np.int64)


def images(n: int = 70) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 8, 8, 1)).astype(np.float32)
    return x, rng.integers(3, size=n)


def run(network: Any, data: Any, executor: str, **settings: Any) -> Trainer:
    fit = {"epochs": settings.pop("epochs", 3), "validation": settings.pop("validation", None)}
    optimizer = settings.pop("optimizer", None) or Adam(0.01)
    loss = settings.pop("loss", "cross_entropy")
    trainer = Trainer(network, loss, optimizer, executor=executor, **settings)
    trainer.fit(data, **fit)
    assert trainer.executor_ == executor
    return trainer


def close(a: Trainer, b: Trainer, tolerance: float = 2e-4) -> None:
    for one, other in (
        (a.network.state(), b.network.state()),
        (a.optimizer.state(), b.optimizer.state()),
    ):
        assert set(one) == set(other)
        for name, value in one.items():
            np.testing.assert_allclose(
                other[name], value, rtol=tolerance, atol=tolerance, err_msg=name
            )
    for name, values in a.history_.items():
        if name != "seconds":
            np.testing.assert_allclose(b.history_[name], values, rtol=tolerance, err_msg=name)


def equal(a: Trainer, b: Trainer) -> None:
    for name, value in a.network.state().items():
        np.testing.assert_array_equal(b.network.state()[name], value, err_msg=name)
    for name, values in a.history_.items():
        if name != "seconds":
            assert b.history_[name] == values, name


@pytest.mark.parametrize("weighted", [False, True])
def test_both_train_alike(weighted: bool) -> None:
    x, y = rows()
    weights = np.linspace(0, 2, len(x)) if weighted else None
    data = ArrayData(x, y, weights, batch_size=20)
    trainers = [
        run(dense(), data, executor, validation=(x[:40], y[:40], None), schedule="cosine")
        for executor in ("eager", "plan")
    ]
    close(*trainers)


def test_both_train_images_alike() -> None:
    x, y = images()
    data = ArrayData(x, y, batch_size=32)
    close(*[
        run(convolutional(), data, executor, optimizer=SGD(0.05, momentum=0.9), validation=(x, y))
        for executor in ("eager", "plan")
    ], 1e-3)  # fmt: skip


def test_both_fit_numbers_alike() -> None:
    x, _ = rows()
    y = (x @ np.arange(15.0).reshape(5, 3)).astype(np.float32)
    for loss in ("mse", "mae", "huber"):
        close(*[
            run(
                dense(rate=0.0),
                ArrayData(x, y, batch_size=30),
                executor,
                loss=loss,
                # Adam makes a step of a gradient that is 0 but for rounding.
                optimizer=SGD(0.02),
            )
            for executor in ("eager", "plan")
        ])  # fmt: skip


def test_where_calls_begin_and_end_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rows()
    data = ArrayData(x, y, batch_size=20)
    trainers = []
    for seconds in (0.0, 1e9):
        monkeypatch.setattr(Planned, "seconds", seconds)
        trainers.append(run(dense(), data, "plan", validation=(x, y)))
    equal(*trainers)


def test_threads_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = images()
    data = ArrayData(x, y, batch_size=64)
    trainers = []
    for threads in ("1", "3"):
        monkeypatch.setenv("IRONLEARN_NUM_THREADS", threads)
        trainers.append(run(convolutional(), data, "plan", validation=(x, y)))
    equal(*trainers)


def test_every_source_gives_the_same_bits(tmp_path: Path) -> None:
    x, y = rows()
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "wide.npy", x.astype(np.float64))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    wide = np.load(tmp_path / "wide.npy", mmap_mode="r")
    weights = np.linspace(0, 1, len(x))
    sources = [
        ArrayData(x, y, weights, batch_size=20, shuffle=False),
        ArrayData(mapped, y, weights, batch_size=20, shuffle=False),
        ArrayData(wide, y.astype(np.int32), weights, batch_size=20, shuffle=False),
        ArrayData(x.astype(np.float64), y, weights, batch_size=20, shuffle=False),
        ArrayData(x, y, weights, batch_size=20, shuffle=False, transform=lambda x, rng: x),
        IteratorData(
            lambda: ((x[i : i + 20], y[i : i + 20], weights[i : i + 20]) for i in range(0, 150, 20))
        ),
    ]
    trainers = [run(dense(), source, "plan") for source in sources]
    for other in trainers[1:]:
        equal(trainers[0], other)


def test_bytes_stand_for_zero_to_one() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    y = rng.integers(3, size=60)
    scaled = x.astype(np.float32) * np.float32(1 / 255)
    same = [
        ArrayData(x, y, batch_size=16),
        ArrayData(scaled, y, batch_size=16),
        ArrayData(x, y, batch_size=16, transform=lambda x, rng: x),
    ]
    trainers = [run(convolutional(), data, "plan", validation=(x, y)) for data in same]
    equal(trainers[0], trainers[1])
    equal(trainers[0], trainers[2])
    network = trainers[0].network
    np.testing.assert_array_equal(predict(network, x), predict(network, scaled))


def test_prediction_is_the_same_by_both() -> None:
    x, y = images()
    network = run(convolutional(), ArrayData(x, y, batch_size=32), "plan").network
    np.testing.assert_allclose(
        predict(network, x), predict(network, x, executor="eager"), rtol=1e-4, atol=1e-5
    )
    one, other = (
        evaluate(network, "cross_entropy", (x, y, np.arange(70.0)), executor=executor)
        for executor in ("auto", "eager")
    )
    assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
    assert one["accuracy"] == other["accuracy"]
    for batch_size in (1, 7):
        np.testing.assert_array_equal(
            predict(network, x), predict(network, x, batch_size=batch_size)
        )
    assert predict(network, x[:0]).shape == (0, 3)


def test_prediction_sees_every_change() -> None:
    x, _ = rows(10)
    network = dense()
    before = predict(network, x)
    network.layers[0].kernel.data[...] *= 2
    changed = predict(network, x)
    assert not np.allclose(before, changed)
    np.testing.assert_allclose(changed, predict(network, x, executor="eager"), rtol=1e-5, atol=1e-6)
    network.load_state(dense().state())
    np.testing.assert_array_equal(before, predict(network, x))
    network.layers[0] = dense(1).layers[0]
    np.testing.assert_allclose(
        predict(network, x), predict(network, x, executor="eager"), rtol=1e-5, atol=1e-6
    )
    network.astype(np.float64)
    assert predict(network, x).dtype == np.float64
    network.astype(np.float32).to_device("strict")
    np.testing.assert_allclose(
        predict(network, x), predict(network, x, device="strict"), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(InvalidParameterError, match="executor must be"):
        predict(network, x, executor="fast")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"network": Sequential([Dense(3), GaussianNoise(0.1)]).initialize((5,))}, "GaussianNoise"),
        ({"accumulate": 2}, "accumulating gradients"),
        ({"metrics": ("mae",)}, "the metric mae"),
        ({"optimizer": SGD(clip_norm=1.0)}, "clip_norm"),
        ({"device": "strict"}, "the device is strict"),
    ],
)
def test_what_has_no_lowering_is_run_eagerly(settings: dict[str, Any], reason: str) -> None:
    x, y = rows(20)
    network = settings.pop("network", None)
    optimizer = settings.pop("optimizer", "adam")
    if "metrics" in settings:
        y = np.eye(3, dtype=np.float32)[y]
    loss = "mse" if "metrics" in settings else "cross_entropy"
    data = ArrayData(x, y, batch_size=10)
    trainer = Trainer(network or dense(), loss, optimizer, **settings)
    trainer.fit(data, epochs=1)
    assert trainer.executor_ == "eager"
    trainer = Trainer(network or dense(), loss, optimizer, executor="plan", **settings)
    with pytest.raises(InvalidParameterError, match=f"executor='plan' cannot be used: .*{reason}"):
        trainer.fit(data, epochs=1)


def test_wrong_shapes_name_the_layer_in_both() -> None:
    x, y = rows(20)
    for executor in ("eager", "plan"):
        trainer = Trainer(dense(), "cross_entropy", "adam", executor=executor)
        before = trainer.network.state()
        for bad in (x[:, :4], x[:, :, None]):
            for data in (
                ArrayData(bad, y, batch_size=10),
                IteratorData(lambda bad=bad: [(bad, y)]),
            ):
                with pytest.raises(ValueError, match=r"layer 0 \(Dense\) expects inputs"):
                    trainer.fit(data, epochs=1)
        for labels in (y + 1, y[:, None], y - 1):
            with pytest.raises((ValueError, IndexError)):
                trainer.fit(ArrayData(x, labels, batch_size=10), epochs=1)
        for name, value in trainer.network.state().items():
            np.testing.assert_array_equal(value, before[name])


def test_a_loss_that_is_not_finite_ends_a_plan() -> None:
    x, y = rows()
    data = ArrayData(x, y, batch_size=10)
    batches = list(data.rows(0, epoch_generator(0, 0)))
    # The first layer's product overflows in the eighth batch.
    x[batches[7][4]] = 3e38 * np.sign(x[batches[7][4]])
    ends = []
    for executor in ("plan", "eager"):
        network = dense()
        trainer = Trainer(network, "cross_entropy", "adam", executor=executor)
        with np.errstate(all="ignore"), pytest.raises(DivergedError) as caught:
            trainer.fit(data, epochs=3)
        assert (caught.value.step, caught.value.layer) == (8, "layer 0 (Dense)")
        assert trainer.step == trainer.optimizer.steps == 7
        ends.append(network.state())
    for name, value in ends[0].items():
        np.testing.assert_allclose(value, ends[1][name], rtol=1e-4, atol=1e-5)
    # Seven good steps and no other.
    again = Trainer(dense(), "cross_entropy", "adam", executor="plan")
    again.fit(IteratorData(lambda: [(x[b], y[b]) for b in batches], 7), epochs=1)
    for name, value in ends[0].items():
        np.testing.assert_array_equal(value, again.network.state()[name])


class Press(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def steps_ahead(self, trainer: Any) -> int:
        return max(1, self.step - trainer.step)

    def on_steps(self, trainer: Any) -> None:
        if trainer.step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_ctrl_c_ends_a_plan_after_a_step() -> None:
    x, y = rows()
    data = ArrayData(x, y, batch_size=10)
    network = dense()
    trainer = Trainer(network, "cross_entropy", "adam", executor="plan", callbacks=[Press(22)])
    with pytest.warns(InterruptedWarning, match="in epoch 2 after step 22"):
        history = trainer.fit(data, epochs=50)
    assert history.epochs == 1
    assert trainer.optimizer.steps == trainer.step == 22
    assert trainer.position == 7
