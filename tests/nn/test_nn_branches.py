"""Layers wired to each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ironlearn.nn import layers as L
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.inference import predict
from ironlearn.nn.layers.base import Layer
from ironlearn.nn.layers.sequential import initialize
from ironlearn.nn.state import load_network, save_network
from nn.gradcheck import check_layer


class Wired(Layer):
    """A merge with something in front of each of its inputs."""

    def __init__(self, mode: str, stretched: bool = False) -> None:
        self.one, self.two = L.Dense(3), L.Dense(1 if stretched else 3)
        self.merge = L.Merge(mode)

    def build(self, input_shape: Any, rng: Any) -> None:
        shapes = tuple(part._build(input_shape, rng) for part in (self.one, self.two))
        self.merge._build(shapes, rng)

    def forward(self, x: Tensor, mode: L.Mode = L.INFERENCE) -> Tensor:
        return self.merge([self.one(x, mode), self.two(x, mode)], mode)


@pytest.mark.parametrize("mode", ["add", "sub", "mul", "div", "max", "concat"])
@pytest.mark.parametrize("stretched", [False, True])
def test_merges(mode: str, stretched: bool) -> None:
    layer = initialize(Wired(mode, stretched), (4,), 1)
    x = np.random.default_rng(0).standard_normal((3, 4))
    a, b = layer.one(Tensor(x)).data, layer.two(Tensor(x)).data
    expected = {
        "add": lambda: a + b,
        "sub": lambda: a - b,
        "mul": lambda: a * b,
        "div": lambda: a / b,
        "max": lambda: np.maximum(a, b),
        "concat": lambda: np.concatenate([a, b], axis=1),
    }[mode]()
    np.testing.assert_allclose(layer(Tensor(x)).data, expected, rtol=1e-6)
    if mode != "div":
        check_layer(layer, x)


def test_shapes_of_what_merges_give() -> None:
    assert L.Merge("add").output_shape(((2, 1, 4), (2, 3, 4), (1, 1, 1))) == (2, 3, 4)
    assert L.Merge("mul").output_shape(((None, 4), (None, 1))) == (None, 4)
    assert L.Merge("concat", 1).output_shape(((2, 4), (3, 4))) == (5, 4)
    assert L.Merge("concat").output_shape(((None, 4), (None, 2))) == (None, 6)


def residual() -> L.LayerGraph:
    parts: list[Any] = [L.Conv2D(3, 3, padding="same"), L.Merge("add"), L.Activation("relu")]
    parts += [L.GlobalAvgPool2D(), L.Dense(2)]
    return initialize(L.LayerGraph(parts, [[0], [1, 0], [2], [3], [4]]), (4, 4, 3), 5)


def test_a_residual_network() -> None:
    network = residual()
    x = Tensor(np.random.default_rng(0).standard_normal((2, 4, 4, 3)).astype(np.float32))
    conv, _, _, _, dense = network.layers
    inner = np.maximum(conv(x).data + x.data, 0).mean(axis=(1, 2))
    np.testing.assert_allclose(network(x).data, dense(Tensor(inner)).data, atol=1e-6)
    np.testing.assert_allclose(predict(network, x.data), network(x).data, atol=1e-6)


def test_files_keep_the_wires(tmp_path: Any) -> None:
    network = residual()
    save_network(network, tmp_path / "net")
    again = load_network(tmp_path / "net")
    assert again.spec() == network.spec()
    x = Tensor(np.ones((1, 4, 4, 3), np.float32))
    np.testing.assert_array_equal(again(x).data, network(x).data)


def test_masks_travel_along_the_wires() -> None:
    network = initialize(
        L.LayerGraph(
            [L.Embedding(5, 3, mask_zero=True), L.Dense(3), L.Merge("add"), L.GlobalAvgPool1D()],
            [[0], [1], [2, 1], [3]],
        ),
        (None,),
    )
    long = network(Tensor(np.array([[1, 2, 0, 0]]))).data
    np.testing.assert_allclose(long, network(Tensor(np.array([[1, 2]]))).data, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L.Merge("join"), "mode of Merge must be one of .*got 'join'"),
        (lambda: L.Merge("concat", 0), "axis of Merge must be an int other than 0"),
        (lambda: L.LayerGraph([], []), "layers of LayerGraph must be a list of at least one"),
        (lambda: L.LayerGraph([L.Dense(1)], [[1]]), "sources of LayerGraph must hold a list"),
        (lambda: L.LayerGraph([L.Dense(1)], [[0, 0]]), "several for a Merge alone"),
        (lambda: L.LayerGraph([L.Dense(1)], [0]), "sources of LayerGraph"),
        (lambda: L.LayerGraph([L.Dense(1)], []), "sources of LayerGraph"),
        (lambda: L.LayerGraph([L.Dense(1)], [[True]]), "sources of LayerGraph"),
        (lambda: L.Merge("sub").output_shape(((2,), (2,), (2,))), "takes two tensors, got 3"),
        (lambda: L.Merge("add").output_shape(((2,),)), "at least two tensors, got 1"),
        (lambda: L.Merge("add").output_shape((2, 3)), "takes several tensors, got one"),
        (lambda: L.Merge("add").output_shape(((2,), (3,))), "do not fit for 'add'"),
        (lambda: L.Merge("add").output_shape(((2,), (3, 2))), "do not fit for 'add'"),
        (lambda: L.Merge("concat").output_shape(((2, 3), (1, 3))), "do not fit for 'concat'"),
        (lambda: L.Merge("concat", 3).output_shape(((2, 3), (2, 3))), "have no axis 3"),
        (lambda: L.Merge()([Tensor(np.ones((1, 2))), Tensor(np.ones((1, 3)))]), "do not fit"),
        (lambda: L.Permute((0, 1)), "dims of Permute must hold each of 1 to n once"),
        (lambda: initialize(L.Permute((2, 1)), (3,)), "orders 2 axes behind the batch's"),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
