"""Which device computes, and what is said where it cannot."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ironlearn.exceptions import InvalidParameterError, MissingExtraError
from ironlearn.nn import functional as F
from ironlearn.nn import layers as L
from ironlearn.nn.autograd import Tensor, backward
from ironlearn.nn.backend import device as devices
from ironlearn.nn.backend import get_device
from ironlearn.nn.layers import INFERENCE, Mode, Sequential
from ironlearn.nn.losses import get_loss
from ironlearn.nn.optimizers import SGD
from ironlearn.nn.train import Trainer, predict
from ironlearn.text import LSTMTextClassifier
from nn.cuda.test_cuda_layers import CASES, LOSSES, _run
from nn.cuda.test_cuda_runs import NETWORKS, assert_alike, train
from standin import cupy as standin_cupy
from standin import runtime as standin_runtime


@pytest.fixture
def second() -> Iterator[Any]:
    """The second of two GPUs, while the first is the current one."""
    with standin_cupy.install():
        yield get_device("cuda:1")
        assert standin_runtime.Device().id == 0


@pytest.mark.parametrize("name", CASES)
def test_layers_compute_on_the_second_gpu(second: Any, name: str) -> None:
    # What `_run` asserts of every array: that it is the second one's.
    _run(CASES[name], second, Mode(training=True, seed=1, step=4))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_train_on_the_second_gpu(second: Any, name: str) -> None:
    trainer = train(name, second)
    assert all(second.owns(p.data) for p in trainer.network.parameters())
    assert_alike(trainer, train(name, "cpu"))
    make, _, x, _ = NETWORKS[name]
    network = make()
    expected = predict(network, x, executor="eager")
    for device in ("cuda:1", "cuda:0"):
        answer = predict(network, x, device=device)
        np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5)
        assert all(get_device(device).owns(p.data) for p in network.parameters())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_compute_on_the_second_gpu(second: Any, name: str, weighted: bool) -> None:
    loss, outputs, targets = LOSSES[name]

    def send(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(send, value))
        value = value.astype(np.float32) if value.dtype.kind == "f" else value
        return second.send(np.ascontiguousarray(value))

    x = Tensor(send(outputs), requires_grad=True)
    value = loss(x, send(targets), send(np.ones(len(outputs))) if weighted else None)
    backward(value)
    assert second.owns(value.data)
    assert second.owns(x.grad)


@pytest.fixture
def gpu() -> Iterator[Any]:
    """The first GPU."""
    with standin_cupy.install():
        yield get_device("cuda")


def _mixed(device: Any) -> dict[str, Any]:
    """Return calls that combine arrays of `device` with arrays of the CPU."""
    x = np.ones((2, 3, 4), np.float32)
    there = Tensor(device.send(x))
    mask = np.ones((2, 3), bool)
    dense = Sequential([L.Dense(2)]).initialize((3, 4))
    lstm = Sequential([L.LSTM(2)]).initialize((None, 4)).to_device(device)
    pool = L.GlobalAvgPool1D()
    loss = get_loss("mse")
    entropy = get_loss("cross_entropy")
    codes = np.zeros(2, np.int64)
    logits = Tensor(device.send(x[:, 0]))
    return {
        "sum": lambda: F.add(there, Tensor(x)),
        "network": lambda: dense(there),
        "input": lambda: lstm(Tensor(x)),
        "mask": lambda: lstm.layers[0](there, INFERENCE, mask=mask),
        "pooling's mask": lambda: pool(there, INFERENCE, mask=mask),
        "mask there": lambda: pool(Tensor(x), INFERENCE, mask=device.send(mask)),
        "targets": lambda: loss(there, x),
        "classes": lambda: entropy(logits, codes),
        "targets there": lambda: loss(Tensor(x), device.send(x)),
        "weights": lambda: loss(there, device.send(x), np.ones(2, np.float32)),
        "index": lambda: F.getitem(there, np.array([1, 0])),
        "words": lambda: F.embedding(codes, logits),
    }


@pytest.mark.parametrize("what", list(_mixed(get_device("strict"))))
def test_arrays_of_two_devices_are_refused(gpu: Any, what: str) -> None:
    with pytest.raises(ValueError, match="arrays of two devices cannot be combined") as error:
        _mixed(gpu)[what]()
    assert "cpu" in str(error.value)
    assert "cuda:0" in str(error.value)
    assert "to_device" in str(error.value)


def test_arrays_of_two_gpus_are_refused(gpu: Any) -> None:
    x = np.ones((2, 3), np.float32)
    one, other = Tensor(gpu.send(x)), Tensor(get_device("cuda:1").send(x))
    with pytest.raises(ValueError, match="two devices cannot be combined: cuda:0 and cuda:1"):
        F.mul(one, other)
    with pytest.raises(ValueError, match="two devices cannot be combined: cuda:1 and cuda:0"):
        get_loss("mse")(other, gpu.send(x))


def test_the_first_gpu_is_taken_by_itself(gpu: Any) -> None:
    assert get_device("auto") is gpu is get_device("cuda:0")


def test_other_mistakes_keep_their_message(gpu: Any) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'rate'"):
        L.Flatten()(Tensor(gpu.send(np.ones((2, 3)))), rate=1)


# Where there is no GPU -------------------------------------------------------------------------


def _uses() -> dict[str, Any]:
    """Return what users do with a GPU, each as a function of the device's name."""
    x = np.ones((4, 3), np.float32)
    network = Sequential([L.Dense(2)]).initialize((3,))
    return {
        "get_device": get_device,
        "to_device": network.to_device,
        "predict": lambda device: predict(network, x, device=device),
        "Trainer": lambda device: Trainer(network, "mse", SGD(0.1), device=device),
        "fit": lambda device: LSTMTextClassifier(epochs=1, device=device).fit(
            ["one", "two"] * 2, [0, 1] * 2
        ),
    }


@pytest.fixture
def forgotten() -> Iterator[None]:
    """No device of a GPU is remembered, before and after."""
    standin_cupy._forget(devices._devices)
    yield
    standin_cupy._forget(devices._devices)


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("use", list(_uses()))
def test_cupy_is_missing(use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ironlearn\[gpu\]'"):
        _uses()[use]("cuda")
    assert get_device("auto").name == "cpu"


def _broken(**changes: Any) -> SimpleNamespace:
    """Return the runtime of a machine whose GPU cannot be used."""
    return SimpleNamespace(**{**vars(standin_runtime.Cuda.runtime), **changes})


def _without_driver() -> int:
    raise standin_runtime.CUDARuntimeError(
        "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
    )


@pytest.mark.parametrize("use", list(_uses()))
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"getDeviceCount": _without_driver},
            "needs a GPU and its driver: cudaErrorInsufficientDriver",
        ),
        ({"getDeviceCount": lambda: 0}, "'cuda:0' is not there: no GPU was found"),
        ({"runtimeGetVersion": lambda: 11080}, r"needs CUDA 12 or newer.* on CUDA 11\.8"),
    ],
    ids=["driver", "none", "old"],
)
def test_the_gpu_cannot_be_used(
    use: str, changes: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standin_cupy.install():
        monkeypatch.setattr(standin_runtime.Cuda, "runtime", _broken(**changes))
        with pytest.raises(RuntimeError, match=message):
            _uses()[use]("cuda")
        assert get_device("auto").name == "cpu"


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("use", list(_uses()))
def test_a_gpu_is_not_there(use: str) -> None:
    with pytest.raises(RuntimeError, match="'cuda:7' is not there: 2 GPUs were found"):
        _uses()[use]("cuda:7")


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("use", ["get_device", "to_device", "predict", "Trainer"])
@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cuda:x", "CUDA", None, 0])
def test_names_are_checked(use: str, name: Any) -> None:
    with pytest.raises(InvalidParameterError, match="device must be 'cpu', 'cuda'"):
        _uses()[use](name)


def test_a_failed_move_changes_nothing(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Sequential([L.Dense(2), L.BatchNorm()]).initialize((3,))
    held = [*network.parameters(), *network.named_buffers().values()]
    before = [value.data for value in held]
    with pytest.raises(RuntimeError, match="cuda:7"):
        network.to_device("cuda:7")
    sent = 0
    send = gpu.send

    def full(array: Any) -> Any:
        nonlocal sent
        sent += 1
        if sent == 3:
            raise standin_runtime.OutOfMemoryError("Out of memory allocating 512 bytes")
        return send(array)

    monkeypatch.setattr(gpu, "send", full)
    with pytest.raises(MemoryError, match="Out of memory"):
        network.to_device(gpu)
    assert all(value.data is was for value, was in zip(held, before, strict=True))
