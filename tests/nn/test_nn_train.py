"""The training loop: what it computes, and that it can be relied on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ironlearn.exceptions import DivergedError, InterruptedWarning, InvalidParameterError
from ironlearn.nn import layers as L
from ironlearn.nn.callbacks import Callback, EarlyStopping
from ironlearn.nn.data import ArrayData, IteratorData
from ironlearn.nn.layers import Dense, Dropout, Sequential
from ironlearn.nn.losses import get_loss
from ironlearn.nn.optimizers import SGD, Adam
from ironlearn.nn.schedules import StepDecay
from ironlearn.nn.train import Trainer, evaluate, predict


def blobs(n: int = 120, width: int = 4, classes: int = 3, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    x = rng.standard_normal((n, width)) + 2.0 * np.eye(classes, width)[y]
    return x.astype(np.float32), y.astype(np.int64)


def network(seed: int = 0, width: int = 4, classes: int = 3, rate: float = 0.0) -> Sequential:
    layers = [Dense(8, "relu"), Dropout(rate), Dense(classes)]
    return Sequential(layers).initialize((width,), seed)


def same(a: Any, b: Any) -> bool:
    one, other = a.state(), b.state()
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_a_step_is_the_gradient_step() -> None:
    x, y = blobs(10)
    net = network()
    before = net.state()
    Trainer(net, "cross_entropy", SGD(0.1), executor="eager").fit(
        ArrayData(x, y, batch_size=10, shuffle=False), epochs=1
    )
    # Finite differences along the change itself: the loss falls by rate times the squared gradient.
    change = {name: net.state()[name] - before[name] for name in before}
    square = sum(float((c.astype(np.float64) ** 2).sum()) for c in change.values()) / 0.1**2

    def loss(t: float) -> float:
        moved = network().astype(np.float64)
        moved.load_state({name: before[name] + t * change[name] for name in before})
        return evaluate(moved, "cross_entropy", (x, y))["loss"]

    slope = (loss(1e-3) - loss(-1e-3)) / 2e-3
    assert slope == pytest.approx(-0.1 * square, rel=1e-3)


@pytest.mark.parametrize("weighted", [False, True])
def test_accumulated_batches_are_one_batch(weighted: bool) -> None:
    x, y = blobs(64)
    weights = np.linspace(0.0, 2.0, 64) if weighted else None
    ends = []
    for size, accumulate in ((32, 1), (8, 4)):
        net = network().astype(np.float64)
        trainer = Trainer(net, "cross_entropy", SGD(0.5), accumulate=accumulate)
        history = trainer.fit(
            ArrayData(x.astype(np.float64), y, weights, batch_size=size), epochs=3
        )
        ends.append((net.state(), history["loss"]))
        assert trainer.step == 6
    for name, value in ends[0][0].items():
        np.testing.assert_allclose(ends[1][0][name], value, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ends[0][1], ends[1][1], rtol=1e-9)


def test_a_weight_is_so_many_copies() -> None:
    x, y = blobs(30)
    times = np.arange(30) % 3
    ends = []
    for data in (
        ArrayData(x, y, times, batch_size=30, shuffle=False),
        ArrayData(np.repeat(x, times, 0), np.repeat(y, times), batch_size=60, shuffle=False),
    ):
        net = network().astype(np.float64)
        history = Trainer(net, "cross_entropy", SGD(0.5)).fit(data, epochs=2)
        ends.append((net.state(), history["loss"], history["accuracy"]))
    for name, value in ends[0][0].items():
        np.testing.assert_allclose(ends[1][0][name], value, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ends[0][1:], ends[1][1:], rtol=1e-9)


def test_a_seed_is_a_run() -> None:
    x, y = blobs()
    runs = []
    for seed in (3, 3, 4):
        net = network(rate=0.5)
        trainer = Trainer(net, "cross_entropy", "adam", random_state=seed)
        trainer.fit(ArrayData(x, y, batch_size=16), epochs=2)
        runs.append(net)
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_history_holds_what_evaluate_measures() -> None:
    x, y = blobs()
    net = network()
    history = Trainer(net, "cross_entropy", "adam").fit(
        ArrayData(x, y, batch_size=16), epochs=3, validation=(x, y, np.linspace(0, 1, 120))
    )
    assert set(history) == {
        "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds",
    }  # fmt: skip
    assert history.epochs == 3
    measured = evaluate(net, "cross_entropy", (x, y, np.linspace(0, 1, 120)))
    assert history["val_loss"][-1] == measured["loss"]
    assert history["val_accuracy"][-1] == measured["accuracy"]
    right = predict(net, x).argmax(1) == y
    assert measured["accuracy"] == pytest.approx(np.average(right, weights=np.linspace(0, 1, 120)))


def test_metrics_by_name_and_by_function() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 3)).astype(np.float32)
    y = x.sum(1, keepdims=True)

    def worst(outputs: Any, targets: Any) -> Any:
        return np.abs(outputs - targets).max()

    net = Sequential([Dense(1)]).initialize((3,))
    trainer = Trainer(net, "mse", Adam(0.05), metrics=("mae", worst))
    history = trainer.fit(ArrayData(x, y, batch_size=50), epochs=30, validation=(x, y))
    errors = np.abs(predict(net, x) - y)
    assert history["val_mae"][-1] == pytest.approx(errors.mean(), rel=1e-5)
    assert history["val_worst"][-1] == pytest.approx(errors.max(), rel=1e-5)
    assert history["val_loss"][-1] < 0.2 * history["val_loss"][0]
    with pytest.raises(InvalidParameterError, match="metrics must hold names among accuracy"):
        Trainer(net, "mse", "adam", metrics=("f1",))


def test_early_stopping_restores_the_best_weights() -> None:
    x, y = blobs(40, seed=1)
    held = blobs(40, seed=2)
    net = network()
    states = []

    def keep(trainer: Trainer, record: dict[str, float]) -> None:
        states.append(trainer.network.state())

    trainer = Trainer(net, "cross_entropy", Adam(0.05), callbacks=[keep])
    history = trainer.fit(
        ArrayData(x, y, batch_size=8), epochs=200, validation=held, early_stopping=True, patience=4
    )
    losses = history["val_loss"]
    best = int(np.argmin(losses))
    assert history.epochs == best + 1 + 4 < 200
    assert history.best_epoch == best
    for name, value in net.state().items():
        np.testing.assert_array_equal(value, states[best][name])
    assert evaluate(net, "cross_entropy", held)["loss"] == losses[best]


def test_early_stopping_takes_large_accuracies() -> None:
    stopping = EarlyStopping("val_accuracy", 2)
    trainer: Any = type("T", (), {"epoch": 0, "stop": False, "network": network()})()
    for trainer.epoch, value in enumerate((0.5, float("nan"), 0.6, 0.6, 0.5)):
        stopping.on_epoch_end(trainer, {"val_accuracy": value})
    assert (stopping.best, stopping.best_epoch, trainer.stop) == (0.6, 2, True)


def test_a_function_ends_the_training() -> None:
    x, y = blobs()
    history = Trainer(
        network(), "cross_entropy", "adam", callbacks=[lambda trainer, record: trainer.epoch == 2]
    ).fit(ArrayData(x, y, batch_size=16), epochs=10)
    assert history.epochs == 3


def test_schedules_set_each_step() -> None:
    x, y = blobs(64)
    history = Trainer(
        network(), "cross_entropy", SGD(1.0), schedule=StepDecay(epochs=2, factor=0.5)
    ).fit(ArrayData(x, y, batch_size=16), epochs=4)
    assert history["learning_rate"] == [1.0, 1.0, 0.5, 0.5]
    with pytest.raises(InvalidParameterError, match="StepDecay needs to know how long an epoch is"):
        Trainer(network(), "cross_entropy", "sgd", schedule=StepDecay()).fit(
            IteratorData(lambda: [(x, y)]), epochs=1
        )


def test_plateau_watches_the_validation() -> None:
    x, y = blobs(64)
    history = Trainer(network(), "cross_entropy", SGD(1e-9), schedule="plateau").fit(
        ArrayData(x, y, batch_size=64), epochs=12, validation=(x, y)
    )
    assert history["learning_rate"][0] == pytest.approx(1e-9)
    assert history["learning_rate"][-1] == pytest.approx(1e-11)


def test_iterators_train_as_arrays_do() -> None:
    x, y = blobs(64)
    nets = []
    for data in (
        ArrayData(x, y, batch_size=16, shuffle=False),
        IteratorData(lambda: ((x[i : i + 16], y[i : i + 16]) for i in range(0, 64, 16))),
    ):
        nets.append(network())
        Trainer(nets[-1], "cross_entropy", "adam").fit(data, epochs=2)
    assert same(*nets)


def test_bytes_stand_for_zero_to_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 4), dtype=np.uint8)
    y = (x[:, 0] > 127).astype(np.int64)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    nets = []
    for inputs in (x, mapped, x.astype(np.float32) * np.float32(1 / 255)):
        nets.append(network(classes=2))
        Trainer(nets[-1], "cross_entropy", "adam").fit(ArrayData(inputs, y, batch_size=8), epochs=2)
    assert same(nets[0], nets[1])
    assert same(nets[0], nets[2])
    np.testing.assert_array_equal(
        predict(nets[0], x), predict(nets[0], x.astype(np.float32) * np.float32(1 / 255))
    )


# Ctrl-C ---------------------------------------------------------------------------------------


class Press(Callback):
    """Sends SIGINT to this process at some step."""

    def __init__(self, step: int, times: int = 1) -> None:
        self.step = step
        self.times = times

    def on_steps(self, trainer: Any) -> None:
        if trainer.step == self.step:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_ctrl_c_leaves_a_usable_network() -> None:
    x, y = blobs(64)
    data = ArrayData(x, y, batch_size=16)
    net, other = network(), network()
    trainer = Trainer(net, "cross_entropy", "adam", executor="eager", callbacks=[Press(7)])
    with pytest.warns(InterruptedWarning, match="in epoch 2 after step 7"):
        history = trainer.fit(data, epochs=100)
    assert trainer.interrupted_
    assert history.interrupted
    assert history.epochs == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    class Stop(Callback):
        def on_steps(self, trainer: Any) -> None:
            trainer.stop = trainer.step == 7

    Trainer(other, "cross_entropy", "adam", executor="eager", callbacks=[Stop()]).fit(
        data, epochs=100
    )
    assert same(net, other)
    assert predict(net, x).shape == (64, 3)
    # The next run begins as if nothing had been.
    trainer.callbacks = []
    assert trainer.fit(data, epochs=2).epochs == 2
    assert not trainer.interrupted_


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_a_second_ctrl_c_is_raised() -> None:
    x, y = blobs(64)
    trainer = Trainer(network(), "cross_entropy", "adam", callbacks=[Press(2, 2)], executor="eager")
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(ArrayData(x, y, batch_size=16), epochs=3)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_train_too() -> None:
    x, y = blobs(64)
    found: list[int] = []

    def work() -> None:
        trainer = Trainer(network(), "cross_entropy", "adam")
        found.append(trainer.fit(ArrayData(x, y, batch_size=16), epochs=2).epochs)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [2]


# Numbers that are not finite ------------------------------------------------------------------


def test_a_loss_that_is_not_finite_names_step_and_layer() -> None:
    x, y = blobs(64)
    net = network()
    seen: list[Any] = []

    def spoil(part: Any, rng: Any) -> Any:
        seen.append(net.state())
        if len(seen) == 6:
            # The product overflows in the first layer, not before.
            return np.float32(3e38) * np.sign(part)
        return part

    trainer = Trainer(net, "cross_entropy", "adam", executor="eager")
    with np.errstate(all="ignore"), pytest.raises(DivergedError) as caught:
        trainer.fit(ArrayData(x, y, batch_size=16, transform=spoil), epochs=3)
    assert caught.value.step == 6
    assert caught.value.layer == "layer 0 (Dense)"
    assert "in step 6 (epoch 2)" in str(caught.value)
    assert trainer.history_.epochs == 1
    assert all(np.array_equal(v, seen[-1][k]) for k, v in net.state().items())
    assert np.isfinite(predict(net, x)).all()


def test_inputs_that_are_not_finite_are_named() -> None:
    x, y = blobs(64)
    x[40, 1] = np.nan
    with pytest.raises(DivergedError, match="the inputs of the batch hold values that are not"):
        Trainer(network(), "cross_entropy", "adam", executor="eager").fit(
            ArrayData(x, y, batch_size=16), epochs=1
        )


def test_a_gradient_that_is_not_finite_is_found() -> None:
    from ironlearn.nn import functional as F
    from ironlearn.nn.losses import Loss

    class Root(Loss):
        name = "root"

        def per_sample(self, outputs: Any, targets: Any) -> Any:
            return F.reshape(F.power(F.mul(outputs, 0.0), 0.5), (-1,))

    net = Sequential([Dense(1)]).initialize((4,))
    before = net.state()
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match="a gradient became") as e:
        Trainer(net, Root(), "sgd", executor="eager", metrics=None).fit(
            ArrayData(*blobs(8), batch_size=8), epochs=1
        )
    assert e.value.layer == "layer 0 (Dense)"
    assert all(np.array_equal(v, before[k]) for k, v in net.state().items())
    assert all(p.grad is None for p in net.parameters())
    assert "forward" not in net.layers[0].__dict__
    assert predict(net, blobs(8)[0]).shape == (8, 1)


@pytest.mark.parametrize("executor", ["eager", "plan"])
@pytest.mark.parametrize("size", [16, 64])
def test_weights_that_diverged_go_back(executor: str, size: int) -> None:
    x, y = blobs(64)
    net = Sequential([Dense(1)]).initialize((4,))
    before = net.state()
    trainer = Trainer(net, "mse", SGD(3e38), executor=executor)
    # The first update overflows: the loss after it is not finite, or there is none in the epoch.
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match="weights of step 0 again"):
        trainer.fit(ArrayData(100 * x, y[:, None], batch_size=size), epochs=1)
    assert all(np.array_equal(v, before[k]) for k, v in net.state().items())
    assert trainer.optimizer.steps == 0


# Bad input ------------------------------------------------------------------------------------


def test_bad_settings_are_named() -> None:
    x, y = blobs(16)
    data = ArrayData(x, y, batch_size=8)
    with pytest.raises(ValueError, match="Sequential is not built"):
        Trainer(Sequential([Dense(2)]), "mse", "sgd")
    for settings, message in (
        ({"accumulate": 0}, "accumulate must be an int >= 1, got 0"),
        ({"executor": "fast"}, "executor must be one of .*, got 'fast'"),
        ({"callbacks": [3]}, "callbacks must hold Callback objects or functions .*, got 3"),
        ({"device": "tpu"}, "device must be 'cpu', .* got 'tpu'"),
    ):
        with pytest.raises(InvalidParameterError, match=message):
            Trainer(network(), "cross_entropy", "adam", **settings)
    trainer = Trainer(network(), "cross_entropy", "adam")
    for settings, message in (
        ({"epochs": -1}, "epochs must be an int >= 0, got -1"),
        ({"epochs": 1, "early_stopping": True}, "'val_loss', .* need validation="),
        ({"epochs": 1, "resume": True}, "resume=True needs checkpoint="),
        ({"epochs": 1, "early_stopping": True, "monitor": "loss", "patience": 0}, "patience must"),
        ({"epochs": 1, "validation": x}, "data must be Batches"),
    ):
        with pytest.raises(InvalidParameterError, match=message):
            trainer.fit(data, **settings)
    with pytest.raises(ValueError, match=r"layer 0 \(Dense\) expects inputs of shape \(N, 4\)"):
        trainer.fit(ArrayData(x[:, :3], y, batch_size=8), epochs=1)


def test_labels_out_of_range_are_refused() -> None:
    x, y = blobs(16)
    y[3] = 7
    with pytest.raises((ValueError, IndexError)):
        Trainer(network(), "cross_entropy", "adam", executor="eager").fit((x, y), epochs=1)


def test_a_batch_that_finds_no_memory_is_named() -> None:
    x, y = blobs(64)

    class Greedy(L.Layer):
        def forward(self, x: Any, mode: Any = L.INFERENCE) -> Any:
            if (mode.training and mode.step == 2) or len(x.data) == 7:
                raise MemoryError("Unable to allocate 8.00 GiB")
            return x

    net = Sequential([Dense(3), Greedy()]).initialize((4,))
    trainer = Trainer(net, "cross_entropy", "adam")
    with pytest.raises(
        MemoryError, match=r"cpu ran out of memory in step 3 with batches of 16 .*accumulate=.*8.00"
    ):
        trainer.fit(ArrayData(x, y, batch_size=16, shuffle=False), epochs=1)
    assert trainer.step == trainer.optimizer.steps == 2
    other = Sequential([Dense(3), Greedy()]).initialize((4,))
    Trainer(other, "cross_entropy", "adam").fit(
        ArrayData(x[:32], y[:32], batch_size=16, shuffle=False), epochs=1
    )
    assert same(net, other)
    assert all(p.grad is None for p in net.parameters())
    with pytest.raises(MemoryError, match="in computing batches of 7 samples"):
        predict(net, x, batch_size=7)


def test_a_missing_device_is_named() -> None:
    from ironlearn.nn.backend.cuda import is_available

    if is_available():
        pytest.skip("there is a GPU")
    with pytest.raises((RuntimeError, ImportError), match="cuda"):
        Trainer(network(), "cross_entropy", "adam", device="cuda")


def test_callbacks_end_also_after_an_error() -> None:
    ended = []

    class Watch(Callback):
        def on_epoch_end(self, trainer: Any, record: Any) -> None:
            raise ZeroDivisionError

        def on_fit_end(self, trainer: Any) -> None:
            ended.append(type(trainer.error_).__name__)

    trainer = Trainer(network(), "cross_entropy", "adam", callbacks=[Watch(), Watch()])
    with pytest.raises(ZeroDivisionError):
        trainer.fit(blobs(16), epochs=1)
    assert ended == ["ZeroDivisionError"] * 2


# Showing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("verbose", [1, 2])
def test_progress_is_shown(verbose: int, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = Trainer(network(), "cross_entropy", "adam", verbose=verbose)
    trainer.fit(blobs(64), epochs=2)
    shown = capsys.readouterr().err
    assert "epoch 2/2" in shown
    assert "accuracy 0." in shown


def test_history_plots(tmp_path: Path) -> None:
    history = Trainer(network(), "cross_entropy", "adam").fit(
        blobs(64), epochs=2, validation=blobs(16)
    )
    figure = history.plot()
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "accuracy"]
    assert [line.get_label() for line in figure.axes[0].lines] == ["training", "validation"]
    figure.savefig(tmp_path / "history.png")
    again = type(history).from_dict(history.to_dict())
    assert again == history


def test_importing_is_light() -> None:
    program = (
        "import sys, ironlearn.nn\n"
        "import ironlearn.nn.train, ironlearn.nn.state\n"
        "heavy = {'sklearn', 'scipy', 'pandas', 'matplotlib', 'rich', 'joblib', 'safetensors'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"


def test_a_run_on_strict_equals_one_on_the_cpu() -> None:
    x, y = blobs(48)
    ends = []
    for device in ("cpu", "strict"):
        net = network(rate=0.25)
        trainer = Trainer(net, get_loss("cross_entropy"), "adam", device=device, executor="eager")
        history = trainer.fit(ArrayData(x, y, batch_size=16), epochs=2, validation=(x, y))
        ends.append((net.state(), history["val_loss"]))
    for name, value in ends[0][0].items():
        np.testing.assert_allclose(ends[1][0][name], value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ends[0][1], ends[1][1], rtol=1e-4)


def test_tables_are_trained_by_rows() -> None:
    from ironlearn.nn.layers import Embedding, Flatten

    ids = np.arange(24).reshape(12, 2) % 7
    y = ids[:, 0] % 2
    ends = []
    for accumulate, size in ((1, 12), (3, 4)):
        net = Sequential([Embedding(7, 3), Flatten(), Dense(2)]).initialize((2,)).astype(np.float64)
        trainer = Trainer(net, "cross_entropy", SGD(0.5), accumulate=accumulate, executor="eager")
        trainer.fit(ArrayData(ids, y, batch_size=size, shuffle=False), epochs=3)
        ends.append(net.state())
    for name, value in ends[0].items():
        np.testing.assert_allclose(value, ends[1][name], rtol=1e-9, atol=1e-12)
    net.layers[2].kernel.data[0, 0] = np.nan
    with pytest.raises(DivergedError, match=r"kernel of layer 2 \(Dense\) was no longer finite"):
        trainer.fit(ArrayData(ids, y, batch_size=4), epochs=1)


def _images() -> tuple[Any, Any, Any, str]:
    x = np.random.default_rng(0).random((48, 10, 10, 1), dtype=np.float32)
    y = (x.mean(axis=(1, 2, 3)) > 0.5).astype(np.int64)
    layers = [
        L.Conv2D(4, 3, activation="relu"),
        L.MaxPool2D(2),
        L.BatchNorm(),
        L.Conv2D(6, 3, activation="gelu"),
        L.Flatten(),
        L.Dropout(0.2),
        L.Dense(2),
    ]
    return layers, x, y, "cross_entropy"


def _words() -> tuple[Any, Any, Any, str]:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 20, (48, 9))
    x[:, 6:] *= rng.integers(0, 2, (48, 1))
    y = (x == 3).any(axis=1).astype(np.int64)
    layers = [
        L.Embedding(20, 6, mask_zero=True),
        L.LSTM(5, return_sequences=True),
        L.Bidirectional(L.GRU(4)),
        L.Dense(1),
    ]
    return layers, x, y, "binary_cross_entropy"


@pytest.mark.parametrize("make", [_images, _words])
def test_whole_runs_on_strict_equal_those_on_the_cpu(make: Any) -> None:
    ends, losses = [], []
    for device in ("cpu", "strict"):
        layers, x, y, loss = make()
        net = Sequential(layers).initialize(x.shape[1:], 0)
        # Not Adam: where a gradient is next to nothing, rounding decides its sign.
        optimizer = SGD(0.05, 0.9)
        trainer = Trainer(net, loss, optimizer, device=device, random_state=1, executor="eager")
        history = trainer.fit(ArrayData(x, y, batch_size=16), epochs=3, validation=(x, y))
        losses.append(history["val_loss"])
        ends.append(net.to_device("cpu").state())
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    for name, value in ends[0].items():
        np.testing.assert_allclose(value, ends[1][name], rtol=1e-3, atol=1e-4, err_msg=name)
