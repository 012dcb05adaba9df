"""The training loop on a device that works through a queue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ironlearn.exceptions import DivergedError
from ironlearn.nn import functional as F
from ironlearn.nn import layers as L
from ironlearn.nn import train
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.callbacks import Checkpoint
from ironlearn.nn.data import ArrayData, IteratorData
from ironlearn.nn.executors import Eager
from ironlearn.nn.layers import Sequential
from ironlearn.nn.losses import Loss
from ironlearn.nn.metrics import accuracy
from ironlearn.nn.optimizers import SGD, Adam
from ironlearn.nn.queued import Queued
from ironlearn.nn.train import Trainer, evaluate, predict
from standin.cupy import counts

Parts = tuple[list[Any], Any, Any, str]


def dense() -> Parts:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((48, 5)).astype(np.float32)
    y = x[:, :3].argmax(axis=1).astype(np.int64)
    return [L.Dense(8, "relu"), L.Dropout(0.3), L.Dense(3)], x, y, "cross_entropy"


def images() -> Parts:
    x = np.random.default_rng(0).integers(0, 256, (48, 10, 10, 1)).astype(np.uint8)
    y = (x.mean(axis=(1, 2, 3)) > 127.5).astype(np.int64)
    layers = [
        L.Conv2D(4, 3, activation="relu"),
        L.MaxPool2D(2),
        L.BatchNorm(),
        L.Flatten(),
        L.Dropout(0.2),
        L.Dense(2),
    ]
    return layers, x, y, "cross_entropy"


def words() -> Parts:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 20, (48, 6))
    y = (x == 3).any(axis=1).astype(np.int64)
    layers = [
        L.Embedding(20, 6, mask_zero=True),
        L.LSTM(5, return_sequences=True),
        L.Bidirectional(L.GRU(4)),
        L.Dense(1),
    ]
    return layers, x, y, "binary_cross_entropy"


def attention() -> Parts:
    _, x, y, _ = words()
    layers = [
        L.Embedding(20, 8, mask_zero=True),
        L.PositionEmbedding(6),
        L.TransformerEncoderBlock(2, 12),
        L.GlobalAvgPool1D(),
        L.Dense(2),
    ]
    return layers, x, y, "cross_entropy"


NETWORKS = [dense, images, words, attention]


def make(parts: Any) -> tuple[Sequential, Any, Any, str]:
    layers, x, y, loss = parts()
    return Sequential(layers).initialize(x.shape[1:], 0), x, y, loss


def states(trainer: Trainer) -> dict[str, Any]:
    history = {k: np.array(v) for k, v in trainer.history_.items() if k != "seconds"}
    slots = {f"slot.{k}": v for k, v in trainer.optimizer.state().items()}
    return {**trainer.network.state(), **slots, **history}


def equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert set(one) == set(other)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


@pytest.fixture
def in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first call of a run take all of its steps."""
    monkeypatch.setattr(Queued, "size", 1000)


@pytest.fixture
def by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every call take one step."""
    monkeypatch.setattr(Queued, "seconds", 0.0)


# Waits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", NETWORKS)
def test_many_steps_wait_once(gpu: Any, parts: Any, in_one_go: None) -> None:
    net, x, y, loss = make(parts)
    optimizer = Adam(0.01, clip_norm=1.0, max_norm=3.0, l2=1e-4, weight_decay=1e-4)
    trainer = Trainer(net, loss, optimizer, device=gpu)
    data = ArrayData(x, y, batch_size=4)
    trainer.fit(data, epochs=1)
    counts.reset()
    trainer.fit(data, epochs=1)
    assert trainer.step == 12
    if "standin" in gpu.xp.__version__:
        # What the steps measured, and whether the weights are finite at the epoch's end.
        assert (counts.waits, counts.to_host) == (2, 2)
        assert counts.to_device == 24


def test_one_step_waits_once(gpu: Any, by_itself: None) -> None:
    net, x, y, loss = make(images)
    trainer = Trainer(net, loss, "adam", device=gpu)
    counts.reset()
    trainer.fit(ArrayData(x, y, batch_size=4), epochs=1)
    if "standin" in gpu.xp.__version__:
        assert counts.waits == 12 + 1


def test_measuring_and_predicting_wait_once(gpu: Any) -> None:
    net, x, y, loss = make(images)
    expected = evaluate(net, loss, (x, y, np.arange(48)), metrics=["accuracy", "accuracy"])
    outputs = predict(net, x)
    net.to_device(gpu)
    counts.reset()
    measured = evaluate(net, loss, ArrayData(x, y, np.arange(48), batch_size=7), device=gpu)
    waits = counts.waits
    got = predict(net, x, batch_size=7, device=gpu)
    if "standin" in gpu.xp.__version__:
        assert (waits, counts.waits, counts.to_host) == (1, 2, 2)
    assert measured == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(got, outputs, rtol=1e-4, atol=1e-5)


# What is computed -----------------------------------------------------------------------------


@pytest.mark.parametrize("parts", NETWORKS)
def test_a_run_equals_one_on_the_cpu(gpu: Any, parts: Any) -> None:
    ends, losses = [], []
    for device in ("cpu", gpu):
        net, x, y, loss = make(parts)
        # Not Adam: where a gradient is next to nothing, rounding decides its sign.
        trainer = Trainer(net, loss, SGD(0.05, 0.9), device=device, executor="eager")
        history = trainer.fit(ArrayData(x, y, batch_size=16), epochs=3, validation=(x, y))
        losses.append([history[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")])
        ends.append(net.to_device("cpu").state())
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    for name, value in ends[0].items():
        np.testing.assert_allclose(value, ends[1][name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_gradients_of_rows(gpu: Any) -> None:
    ends = []
    for device in ("cpu", gpu):
        _, x, y, loss = words()
        layers = [L.Embedding(20, 6, sparse=True), L.Flatten(), L.Dense(1)]
        net = Sequential(layers).initialize(x.shape[1:], 0)
        optimizer = SGD(0.05, 0.9, clip_norm=1.0)
        trainer = Trainer(net, loss, optimizer, device=device, executor="eager")
        trainer.fit(ArrayData(x, y, batch_size=4), epochs=2)
        ends.append(states(trainer))
    for name, value in ends[0].items():
        np.testing.assert_allclose(ends[1][name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_one_of_several_gpus(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = []
    for alone in (True, False):
        monkeypatch.setattr(gpu, "alone", alone)
        net, x, y, loss = make(images)
        trainer = Trainer(net, loss, "adam", device=gpu)
        trainer.fit(ArrayData(x, y, batch_size=16), epochs=1, validation=(x, y))
        ends.append(states(trainer))
    equal(*ends)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_calls_of_any_length_give_the_same_bits(
    gpu: Any, accumulate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []
    for size, seconds in ((1, 0.0), (3, 1e-9), (1000, 1.0)):
        monkeypatch.setattr(Queued, "size", size)
        monkeypatch.setattr(Queued, "seconds", seconds)
        net, x, y, loss = make(images)
        weights = np.linspace(0.5, 2.0, len(x))
        trainer = Trainer(net, loss, "adam", device=gpu, accumulate=accumulate)
        trainer.fit(ArrayData(x, y, weights, batch_size=5), epochs=2)
        ends.append(states(trainer))
    equal(ends[0], ends[1])
    equal(ends[0], ends[2])
    # Step by step, with a check before each update.
    monkeypatch.setattr(train, "Queued", Eager)
    net, x, y, loss = make(images)
    trainer = Trainer(net, loss, "adam", device=gpu, accumulate=accumulate)
    trainer.fit(ArrayData(x, y, weights, batch_size=5), epochs=2)
    checked = states(trainer)
    np.testing.assert_allclose(checked.pop("accuracy"), ends[0].pop("accuracy"), rtol=1e-7)
    equal(checked, ends[0])


def test_without_room_for_copies_each_step_is_checked(
    gpu: Any, in_one_go: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []
    for memory in (gpu.memory(), (100, 1 << 30)):
        monkeypatch.setattr(gpu, "memory", lambda memory=memory: memory)
        net, x, y, loss = make(dense)
        trainer = Trainer(net, loss, "adam", device=gpu)
        trainer.fit(ArrayData(x, y, batch_size=4), epochs=2)
        ends.append(states(trainer))
    np.testing.assert_allclose(ends[0].pop("accuracy"), ends[1].pop("accuracy"), rtol=1e-12)
    equal(*ends)


def test_stopped_runs_go_on_to_the_same_bits(gpu: Any, tmp_path: Path) -> None:
    net, x, y, loss = make(images)
    data = ArrayData(x, y, batch_size=4)
    whole = Trainer(net, loss, "adam", device=gpu)
    whole.fit(data, epochs=3)
    net, *_ = make(images)
    trainer = Trainer(net, loss, "adam", device=gpu)

    class Stop(train.Callback):
        def on_steps(self, trainer: Trainer) -> None:
            trainer.stop = trainer.step >= 17

    trainer.callbacks.append(Stop())
    trainer.fit(data, epochs=3, checkpoint=Checkpoint(tmp_path / "state", every_steps=1))
    assert trainer.step == 17
    net, *_ = make(images)
    trainer = Trainer(net, loss, "adam", device=gpu)
    trainer.fit(data, epochs=3, checkpoint=tmp_path / "state", resume=True)
    equal(states(trainer), states(whole))


def test_functions_measure_on_the_host(gpu: Any, in_one_go: None) -> None:
    def hits(outputs: Any, targets: Any) -> Any:
        assert isinstance(outputs, np.ndarray)
        return accuracy(outputs, targets)

    net, x, y, loss = make(dense)
    trainer = Trainer(net, loss, "adam", device=gpu, metrics=["accuracy"])
    measured = trainer.fit(ArrayData(x, y, batch_size=5), epochs=2, validation=(x, y))
    net, *_ = make(dense)
    trainer = Trainer(net, loss, "adam", device=gpu, metrics=[hits])
    history = trainer.fit(ArrayData(x, y, batch_size=5), epochs=2, validation=(x, y))
    np.testing.assert_allclose(history["hits"], measured["accuracy"], rtol=1e-12)
    np.testing.assert_allclose(history["val_hits"], measured["val_accuracy"], rtol=1e-12)


# Going back -----------------------------------------------------------------------------------


class Root(Loss):
    """A loss whose gradient is not finite for one of the targets."""

    name = "root"

    def per_sample(self, outputs: Any, targets: Any) -> Any:
        sound = Tensor((targets != 7)[:, None].astype(outputs.dtype))
        # The root of 0 has no slope.
        root = F.power(F.add(F.mul(outputs, 0.0), sound), 0.5)
        return F.mean(F.add(F.square(outputs), root), axis=1)


def spoil_inputs(x: Any, y: Any) -> str:
    x[21, 2] = np.inf
    return "cross_entropy"


def spoil_products(x: Any, y: Any) -> str:
    x[21] = np.float32(3e38)
    return "cross_entropy"


def spoil_gradient(x: Any, y: Any) -> Any:
    y[:] = 0
    y[21] = 7
    return Root()


@pytest.mark.parametrize("spoil", [spoil_inputs, spoil_products, spoil_gradient])
def test_a_bad_step_ends_as_on_the_cpu(gpu: Any, spoil: Any, in_one_go: None) -> None:
    ends = []
    for device in ("cpu", gpu):
        layers, x, y, _ = dense()
        layers.insert(1, L.BatchNorm())
        net = Sequential(layers).initialize(x.shape[1:], 0)
        loss = spoil(x, y)
        trainer = Trainer(net, loss, SGD(0.05, 0.9), device=device, executor="eager")
        # The order is the first epoch's in both; sample 21 is in some batch in the middle.
        with np.errstate(all="ignore"), pytest.raises(DivergedError) as caught:
            trainer.fit(ArrayData(x, y, batch_size=4), epochs=2)
        ends.append((trainer, str(caught.value), caught.value.step, caught.value.layer))
        assert trainer.optimizer.steps == trainer.step == trainer.position
        assert all(p.grad is None for p in net.parameters())
    (one, *first), (other, *second) = ends
    assert first == second
    assert 1 < first[1] <= 12
    assert other.totals.weight == one.totals.weight
    assert other.totals.sums == pytest.approx(one.totals.sums, rel=1e-4)
    expected, got = states(one), states(other)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_weights_that_diverged_go_back(gpu: Any, in_one_go: None) -> None:
    net, x, y, _ = make(dense)
    before = net.state()
    trainer = Trainer(net, "cross_entropy", SGD(3e38), device=gpu)
    with pytest.raises(DivergedError, match="weights of step 0 again"):
        trainer.fit(ArrayData(100 * x, y, batch_size=4), epochs=1)
    equal(net.state(), before)
    assert trainer.optimizer.steps == 0


def _taken(gpu: Any, steps: int) -> dict[str, Any]:
    """Return the weights after so many steps of the network of `dense`."""
    net, x, y, loss = make(dense)
    trainer = Trainer(net, loss, "adam", device=gpu)
    trainer.fit(ArrayData(x[: 4 * steps], y[: 4 * steps], batch_size=4, shuffle=False), epochs=1)
    assert trainer.step == steps
    return net.state()


def test_a_label_out_of_range_ends_with_the_steps_before(gpu: Any, in_one_go: None) -> None:
    net, x, y, loss = make(dense)
    y[21] = 9
    trainer = Trainer(net, loss, "adam", device=gpu)
    with pytest.raises(ValueError, match="a target is the class 9"):
        trainer.fit(ArrayData(x, y, batch_size=4, shuffle=False), epochs=1)
    assert trainer.step == trainer.position == trainer.optimizer.steps == 5
    equal(net.state(), _taken(gpu, 5))


def test_data_that_break_off_end_with_the_steps_before(gpu: Any, in_one_go: None) -> None:
    net, x, y, loss = make(dense)

    def broken() -> Iterator[Any]:
        for i in range(5):
            yield x[4 * i : 4 * i + 4], y[4 * i : 4 * i + 4]
        raise OSError("the disk is gone")

    trainer = Trainer(net, loss, "adam", device=gpu)
    with pytest.raises(OSError, match="the disk is gone"):
        trainer.fit(IteratorData(broken), epochs=1)
    assert trainer.step == 5
    equal(net.state(), _taken(gpu, 5))


def test_iterators_may_use_their_arrays_again(gpu: Any, in_one_go: None) -> None:
    net, x, y, loss = make(dense)
    x[46] = np.nan

    def reusing() -> Iterator[Any]:
        part, labels = np.empty((4, 5), np.float32), np.empty(4, np.int64)
        for i in range(12):
            part[:], labels[:] = x[4 * i : 4 * i + 4], y[4 * i : 4 * i + 4]
            yield part, labels

    trainer = Trainer(net, loss, "adam", device=gpu)
    # The last step is bad: the ones before are taken again from what was kept of them.
    with pytest.raises(DivergedError, match="step 12 .*the inputs of the batch"):
        trainer.fit(IteratorData(reusing), epochs=1)
    equal(net.state(), _taken(gpu, 11))


# Out of memory --------------------------------------------------------------------------------


class Greedy(L.Layer):
    """Finds no memory in its `last` call and from then on."""

    def __init__(self, gpu: Any, last: int) -> None:
        self.error = gpu.out_of_memory[0]
        self.last = last
        self.calls = 0

    def forward(self, x: Any, mode: Any = L.INFERENCE) -> Any:
        self.calls += 1
        if self.calls >= self.last:
            raise _out_of_memory(self.error)
        return x


def _out_of_memory(kind: Any) -> BaseException:
    try:
        error: BaseException = kind(1 << 40, 0)
    except TypeError:
        error = kind("Out of memory allocating 1099511627776 bytes.")
    return error


def greedy(gpu: Any, last: int) -> tuple[Sequential, Any, Any]:
    layers, x, y, _ = dense()
    return Sequential([*layers, Greedy(gpu, last)]).initialize(x.shape[1:], 0), x, y


def test_a_batch_too_large_is_named_and_nothing_is_lost(gpu: Any, in_one_go: None) -> None:
    net, x, y = greedy(gpu, 6)
    trainer = Trainer(net, "cross_entropy", "adam", device=gpu)
    with pytest.raises(
        MemoryError, match=r"cuda:0 ran out of memory in step 1 with batches of 4"
    ) as e:
        trainer.fit(ArrayData(x, y, batch_size=4, shuffle=False), epochs=1)
    assert "MiB are free" in str(e.value)
    assert "smaller batch_size" in str(e.value)
    # The steps before did not fit any more either, this time.
    assert trainer.step == trainer.optimizer.steps == 0
    assert all(p.grad is None for p in net.parameters())


def test_the_steps_before_are_kept(gpu: Any, in_one_go: None) -> None:
    net, x, y = greedy(gpu, 10**9)
    big = np.concatenate([x, np.repeat(x[:4], 5, axis=0)])
    labels = np.concatenate([y, np.repeat(y[:4], 5)])

    def growing() -> Iterator[Any]:
        for i in range(5):
            yield x[4 * i : 4 * i + 4], y[4 * i : 4 * i + 4]
        yield big, labels

    layer = net.layers[-1]
    assert isinstance(layer, Greedy)
    plain = layer.forward

    def forward(x: Any, mode: Any = L.INFERENCE) -> Any:
        if len(x.data) == len(big):
            raise _out_of_memory(layer.error)
        return plain(x, mode)

    vars(layer)["forward"] = forward
    trainer = Trainer(net, "cross_entropy", "adam", device=gpu)
    with pytest.raises(MemoryError, match=f"step 6 with batches of {len(big)} samples"):
        trainer.fit(IteratorData(growing), epochs=1)
    assert trainer.step == 5
    equal(net.state(), _taken(gpu, 5))


def test_copies_give_way(gpu: Any, in_one_go: None) -> None:
    net, x, y = greedy(gpu, 1)
    layer = net.layers[-1]
    assert isinstance(layer, Greedy)
    plain = layer.forward

    def forward(x: Any, mode: Any = L.INFERENCE) -> Any:
        # Only the first time: as if the copies had taken the room.
        try:
            return plain(x, mode)
        finally:
            layer.last = 10**9

    vars(layer)["forward"] = forward
    trainer = Trainer(net, "cross_entropy", "adam", device=gpu)
    trainer.fit(ArrayData(x, y, batch_size=4, shuffle=False), epochs=1)
    assert trainer.step == 12
    equal(net.state(), _taken(gpu, 12))


def test_networks_too_large_stay_where_they_are(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    net, *_ = make(dense)
    before = net.state()
    plain, sent = gpu.send, []

    def send(array: Any) -> Any:
        sent.append(array)
        if len(sent) == 3:
            raise _out_of_memory(gpu.out_of_memory[0])
        return plain(array)

    monkeypatch.setattr(gpu, "send", send)
    with pytest.raises(MemoryError, match="placing a network of 0 MiB and the optimizer's 2 array"):
        Trainer(net, "cross_entropy", "adam", device=gpu)
    assert all(type(p.data) is np.ndarray for p in net.parameters())
    equal(net.state(), before)


def test_predictions_too_large_name_the_batch(gpu: Any) -> None:
    for last in (1, 3):
        net, x, y = greedy(gpu, last)
        before = net.state()
        with pytest.raises(MemoryError, match="cuda:0 ran out of memory in computing batches of 8"):
            predict(net, x, batch_size=8, device=gpu)
        net.layers[-1].calls = 0  # type: ignore[attr-defined]
        with pytest.raises(MemoryError, match="batches of 8 samples; .* smaller batch_size"):
            evaluate(net, "cross_entropy", ArrayData(x, y, batch_size=8), device=gpu)
        equal(net.state(), before)
