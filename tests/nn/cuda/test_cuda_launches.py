"""How many kernels an operation launches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ironlearn.nn.backend import get_device
from standin import cupy as standin
from standin.cupy import counts


@pytest.fixture
def ops() -> Iterator[Any]:
    with standin.install():
        yield get_device("cuda").ops


def _random(*shape: int, dtype: Any = np.float32) -> Any:
    return standin.module.asarray(np.random.default_rng(0).standard_normal(shape).astype(dtype))


HYPER = {"lr": 0.1, "step": 1.0, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8}


@pytest.mark.parametrize(("arrays", "launches"), [(0, 0), (1, 1), (16, 1), (17, 2), (40, 3)])
def test_an_optimizer_step_takes_sixteen_arrays_a_launch(
    ops: Any, arrays: int, launches: int
) -> None:
    params, grads, m, v = ([_random(5, 2) for _ in range(arrays)] for _ in range(4))
    counts.reset()
    ops.optimizer_step("adam", params, grads, [m, v], HYPER, [True] * arrays)
    assert (counts.launches, counts.to_device) == (launches, 0)


def test_parameters_of_two_precisions_are_stepped_apart(ops: Any) -> None:
    params = [_random(3), _random(3, dtype=np.float64), _random(2)]
    grads = [p * 0 + 1 for p in params]
    before = [p.get() for p in params]
    counts.reset()
    ops.optimizer_step("sgd", params, grads, [], {"lr": 0.5}, [False] * 3)
    assert counts.launches == 2
    for p, was in zip(params, before, strict=True):
        assert p.dtype == was.dtype
        np.testing.assert_array_equal(p.get(), was - was.dtype.type(0.5))


def test_an_unknown_rule_is_refused(ops: Any) -> None:
    with pytest.raises(ValueError, match="kind must be one of .*, got 'newton'"):
        ops.optimizer_step("newton", [_random(3)], [_random(3)], [], {"lr": 0.5}, [False])


@pytest.mark.parametrize(
    ("launches", "act"),
    [
        (1, lambda o: o.affine(_random(4, 3), _random(3, 5), _random(5), "tanh")),
        (
            1,
            lambda o: o.affine_backward(
                _random(4, 5), _random(4, 3), _random(3, 5), _random(4, 5), "tanh"
            ),
        ),
        (
            2,
            lambda o: o.affine_backward(
                _random(400, 5), _random(400, 3), _random(3, 5), _random(400, 5), "tanh"
            ),
        ),
        (1, lambda o: o.softmax(_random(4, 3), 0)),
        (
            1,
            lambda o: o.softmax_cross_entropy(
                _random(4, 3), standin.module.zeros(4, np.int64), 0.1
            ),
        ),
        (1, lambda o: o.dropout(_random(4, 3), 1, 2, 0.5)),
        # Keys, three for the sort by one digit, sums.
        (5, lambda o: o.embedding_backward(_random(4, 3), standin.module.zeros(4, np.int64), 9)),
        (
            5,
            lambda o: o.propagate(
                _random(4, 3),
                standin.module.zeros(6, np.int64),
                standin.module.ones(6, np.int64),
                _random(6),
                4,
            ),
        ),
    ],
)
def test_operations_are_fused(ops: Any, launches: int, act: Any) -> None:
    counts.reset()
    act(ops)
    assert counts.launches == launches
    assert counts.waits == 0
