"""Networks of PyTorch, through its ONNX files."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest

from common.onnx_cases import session
from ironlearn.io.onnx import from_onnx
from ironlearn.nn import layers as L
from ironlearn.nn.autograd import Tensor

pytestmark = pytest.mark.oracle


def exported(network: Any, x: Any, opset: int = 17, **more: Any) -> bytes:
    torch = pytest.importorskip("torch")
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(), (x,), file, opset_version=opset, dynamo=False, input_names=["x"], **more
        )
    return file.getvalue()


def shaken(torch: Any, network: Any) -> Any:
    torch.manual_seed(0)
    for module in network.modules():
        if hasattr(module, "running_var") and module.running_var is not None:
            module.running_var.uniform_(0.5, 2)
            module.running_mean.normal_()
    return network


def check(network: Any, x: Any, order: tuple[int, ...] | None, opset: int = 17) -> Any:
    """Compare PyTorch's, onnxruntime's and our outputs of one batch, and of a larger one."""
    torch = pytest.importorskip("torch")
    free = exported(network, x, opset, dynamic_axes={"x": {0: "n"}})
    fixed = exported(network, x[:1], opset)
    for content in (free, fixed):
        ours = from_onnx(content)
        with torch.no_grad():
            expected = network(x).numpy()
        if content is free:
            (judged,) = session(content).run(None, {"x": x.numpy()})
            np.testing.assert_allclose(judged, expected, atol=1e-4, rtol=1e-4)
        given = x.numpy() if order is None else x.numpy().transpose(order)
        got = ours(Tensor(given)).data
        if expected.ndim == 4:
            expected = expected.transpose(0, 2, 3, 1)
        np.testing.assert_allclose(got, expected, atol=2e-5, rtol=1e-4)
    return ours


IMAGES = (0, 2, 3, 1)


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_a_small_network_for_images(opset: int) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
                nn.Conv2d(8, 6, 3, stride=2), nn.GELU(), nn.AvgPool2d(2, 1),
            )  # fmt: skip
            self.head = nn.Linear(6 * 2 * 2, 5)

        def forward(self, x: Any) -> Any:
            y = self.body(x)
            return self.head(y.view(y.size(0), -1))

    network = check(shaken(torch, Net()), torch.randn(3, 3, 15, 17), IMAGES, opset)
    assert isinstance(network, L.Sequential)


def test_a_residual_network_with_everything_modern() -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, width: int) -> None:
            super().__init__()
            self.wide = nn.Conv2d(width, 2 * width, 1)
            self.deep = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
            self.norm = nn.GroupNorm(2, 2 * width)
            self.squeeze = nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Conv2d(2 * width, 2, 1), nn.SiLU(),
                nn.Conv2d(2, 2 * width, 1), nn.Sigmoid(),
            )  # fmt: skip
            self.out = nn.Conv2d(2 * width, width, 1)

        def forward(self, x: Any) -> Any:
            y = self.norm(torch.nn.functional.silu(self.deep(self.wide(x))))
            return x + self.out(y * self.squeeze(y))

    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU6(), Block(4), Block(4),
        nn.InstanceNorm2d(4), nn.Upsample(scale_factor=2), nn.Conv2d(4, 8, 3), nn.PixelShuffle(2),
        nn.LeakyReLU(), nn.ConvTranspose2d(2, 3, 4, 2, 1), nn.Softplus(),
        nn.ZeroPad2d((1, 0, 2, 0)),
    )  # fmt: skip
    check(shaken(torch, network), torch.randn(2, 3, 10, 8), IMAGES)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("both", [False, True])
def test_recurrent_networks(kind: str, both: bool) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.body = getattr(nn, kind)(3, 5, 2, batch_first=True, bidirectional=both)
            self.head = nn.Linear(10 if both else 5, 2)

        def forward(self, x: Any) -> Any:
            return self.head(self.body(x)[0]).mean(dim=1)

    torch.manual_seed(0)
    network = check(Net(), torch.randn(3, 7, 3), None)
    assert isinstance(network, L.Sequential)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("how", ["step", "state", "both"])
def test_the_last_step_of_a_sequence(kind: str, how: str) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.body = getattr(nn, kind)(3, 5, batch_first=True)
            self.head = nn.Linear(5, 2)

        def forward(self, x: Any) -> Any:
            every, last = self.body(x)
            last = last[0] if kind == "LSTM" else last
            parts = {"step": every[:, -1], "state": last[-1], "both": last[0] + every.mean(1)}
            return self.head(parts[how])

    torch.manual_seed(0)
    network: Any = check(Net(), torch.randn(3, 7, 3), None)
    if how != "both":
        assert [type(layer).__name__ for layer in network.layers][1:] == ["Dense"]


def test_a_block_of_a_transformer() -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.all, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
            self.dense = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

        def forward(self, x: Any) -> Any:
            n, steps, width = x.shape
            parts = self.all(self.norm(x)).chunk(3, -1)
            heads = (part.view(n, steps, 2, 4).transpose(1, 2) for part in parts)
            y = torch.nn.functional.scaled_dot_product_attention(*heads)
            x = x + self.out(y.transpose(1, 2).reshape(n, steps, width))
            return x + self.dense(x)

    torch.manual_seed(0)
    network: Any = check(Net(), torch.randn(3, 7, 8), None)
    assert [type(layer).__name__ for layer in network.layers[:2]] == [
        *("LayerNorm", "MultiHeadAttention"),
    ]


def test_texts_and_convolution_of_sequences() -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(20, 6)
            self.norm = nn.LayerNorm(6)
            self.convs = nn.ModuleList([nn.Conv1d(6, 4, k, padding=k // 2) for k in (2, 3)])
            self.head = nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            y = self.norm(self.words(x)).transpose(1, 2)
            parts = [torch.relu(conv(y)).amax(dim=2) for conv in self.convs]
            return torch.softmax(self.head(torch.cat(parts, 1)), -1)

    torch.manual_seed(0)
    network = Net()
    ids = torch.randint(0, 20, (3, 9))
    content = exported(network, ids, dynamic_axes={"x": {0: "n"}})
    with torch.no_grad():
        expected = network(ids).numpy()
    np.testing.assert_allclose(from_onnx(content)(Tensor(ids.numpy())).data, expected, atol=1e-5)
