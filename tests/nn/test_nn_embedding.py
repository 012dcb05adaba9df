"""Embedding: lookup, the table's gradient, masks and bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor, backward
from ironlearn.nn.backend import get_device
from ironlearn.nn.backend.ops import Ops
from ironlearn.nn.layers import Embedding, Sequential, layer_from_spec
from ironlearn.nn.layers.pooling import GlobalAvgPool1D
from nn.gradcheck import check_gradients

BASE = Ops(np)
CPU = get_device("cpu").ops


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 300),
    width=st.integers(1, 70),
    shape=st.lists(st.integers(0, 9), max_size=3),
    dtype=st.sampled_from([np.float32, np.float64]),
    index=st.sampled_from([np.int32, np.int64, np.uint8]),
    strided=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_cpu_equals_base(
    rows: int, width: int, shape: list[int], dtype: Any, index: Any, strided: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, min(rows, 255), shape).astype(index)
    table = rng.standard_normal((rows, 2 * width)).astype(dtype)
    gy = rng.standard_normal((*shape, 2 * width)).astype(dtype)
    if strided:
        table, gy = table[:, ::2], gy[..., ::2]
    got = CPU.embedding(ids, table)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, table[ids])
    np.testing.assert_array_equal(BASE.embedding(ids, table), table[ids])
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    want = BASE.embedding_backward(gy, ids, rows)
    direct = np.zeros((rows, gy.shape[-1]))
    for place in np.ndindex(*shape):
        direct[ids[place]] += gy[place]
    np.testing.assert_allclose(want, direct, rtol=tolerance, atol=tolerance)
    have = CPU.embedding_backward(gy, ids, rows)
    assert have.dtype == dtype
    np.testing.assert_allclose(have, direct, rtol=tolerance, atol=tolerance)
    for ops in (BASE, CPU):
        distinct, parts = ops.embedding_rows(gy, ids)
        np.testing.assert_array_equal(distinct, np.unique(ids))
        np.testing.assert_allclose(parts, direct[distinct], rtol=tolerance, atol=tolerance)


def test_gradient_of_repeated_rows() -> None:
    ids = np.array([[1, 1, 4], [0, 4, 1]])
    check_gradients(lambda t: F.embedding(ids, t), [np.arange(15.0).reshape(5, 3)])


def test_layer() -> None:
    layer = Embedding(7, 3, mask_zero=True)
    assert layer._build((4,), np.random.default_rng(0)) == (4, 3)
    ids = np.array([[1, 2, 0, 0], [6, 0, 1, 1]])
    y = layer(Tensor(ids))
    np.testing.assert_array_equal(y.data, layer.embeddings.data[ids])
    np.testing.assert_array_equal(layer.compute_mask(Tensor(ids), None), ids != 0)
    backward(F.sum(y))
    np.testing.assert_array_equal(
        layer.embeddings.grad, np.bincount(ids.ravel(), minlength=7)[:, None] * np.ones(3)
    )
    again = layer_from_spec(layer.spec())
    assert again.spec() == layer.spec()
    assert again.mask_zero is True
    assert Embedding(7, 3).compute_mask(Tensor(ids), None) is None


def test_mask_reaches_the_pooling() -> None:
    net = Sequential([Embedding(5, 2, mask_zero=True), GlobalAvgPool1D()]).initialize((3,))
    table = net.parameters()[0].data
    out = net(Tensor(np.array([[3, 4, 0]]))).data
    np.testing.assert_allclose(out[0], (table[3] + table[4]) / 2, rtol=1e-6)


def test_strict_device_agrees() -> None:
    layer = Embedding(7, 3)
    layer._build((2,), np.random.default_rng(0))
    ids = np.array([[1, 6], [6, 6]])
    want = layer(Tensor(ids)).data
    device = get_device("strict")
    layer.to_device(device)
    y = layer(Tensor(device.send(ids)))
    np.testing.assert_array_equal(y.numpy(), want)
    backward(F.sum(y))
    np.testing.assert_array_equal(
        device.receive(layer.embeddings.grad)[:, 0], [0, 1, 0, 0, 0, 0, 3]
    )


@pytest.mark.parametrize("bad", [7, -1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_outside_the_table(bad: int, dtype: Any) -> None:
    layer = Embedding(7, 3)
    layer._build((2,), np.random.default_rng(0))
    layer.astype(dtype)
    with pytest.raises(ValueError, match=rf"layer Embedding: .*{bad}.* below 7"):
        layer(Tensor(np.array([[1, bad]])))


def test_bad_input() -> None:
    layer = Embedding(7, 3)
    layer._build((2,), np.random.default_rng(0))
    with pytest.raises(TypeError, match="ids must be integers, got an array of float64"):
        layer(Tensor(np.array([[1.0, 2.0]])))
    with pytest.raises(ValueError, match="expects inputs of shape"):
        layer(Tensor(np.array([[1, 2, 3]])))
    with pytest.raises(ValueError, match="input_dim of Embedding must be an int >= 1, got 0"):
        Embedding(0, 3)


def test_layer_gradients() -> None:
    layer = Embedding(6, 2)
    layer._build((3,), np.random.default_rng(0))
    ids = np.array([[0, 5, 5]])
    layer.astype(np.float64)

    def run(table: Tensor) -> Tensor:
        layer.embeddings.data = table.data
        return F.embedding(ids, table)

    check_gradients(run, [np.random.default_rng(1).standard_normal((6, 2))])


@pytest.mark.oracle
def test_equals_pytorch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    table = rng.standard_normal((50, 16)).astype(np.float32)
    ids = rng.integers(0, 50, (8, 30))
    gy = rng.standard_normal((8, 30, 16)).astype(np.float32)
    t = Tensor(table, requires_grad=True)
    backward(F.embedding(ids, t), gy)
    other = torch.tensor(table, requires_grad=True)
    torch.nn.functional.embedding(torch.tensor(ids), other).backward(torch.tensor(gy))
    np.testing.assert_allclose(t.grad, other.grad.numpy(), rtol=1e-5, atol=1e-5)
