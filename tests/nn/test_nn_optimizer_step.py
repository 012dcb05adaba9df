"""The native optimizer step against the base operation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ironlearn import _core, _threads
from ironlearn.nn.backend.cpu import CpuOps
from ironlearn.nn.backend.ops import Ops
from ironlearn.nn.backend.ops.optimizer import SLOTS

HYPER = {
    "lr": 0.01,
    "step": 3.0,
    "beta1": 0.9,
    "beta2": 0.99,
    "eps": 1e-7,
    "momentum": 0.8,
    "rho": 0.9,
}


def arrays(shapes: list[tuple[int, ...]], seed: int, dtype: Any = np.float32) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def both(kind: str, shapes: list[tuple[int, ...]], hyper: dict[str, float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    params, grads = arrays(shapes, seed), arrays(shapes, seed + 1)
    slots = [[np.abs(a) for a in arrays(shapes, seed + 2 + i)] for i in range(len(SLOTS[kind]))]
    decay = (rng.random(len(shapes)) > 0.5).tolist()
    kept = [g.copy() for g in grads]
    wide = [[a.astype(np.float64) for a in group] for group in (params, grads, *slots)]
    Ops(np).optimizer_step(kind, wide[0], wide[1], wide[2:], hyper, decay)
    CpuOps(np).optimizer_step(kind, params, grads, slots, hyper, decay)
    for group, expected in zip((params, *slots), (wide[0], *wide[2:]), strict=True):
        for a, b in zip(group, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
    for a, b in zip(grads, kept, strict=True):
        np.testing.assert_array_equal(a, b)


shapes = st.lists(
    st.one_of(st.tuples(st.integers(0, 70)), st.tuples(st.integers(1, 40), st.integers(0, 40))),
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(SLOTS)),
    shapes=shapes,
    seed=st.integers(0, 1000),
    penalties=st.booleans(),
    scale=st.sampled_from([1.0, 0.3]),
)
def test_agrees_with_the_base_operation(
    kind: str, shapes: list[tuple[int, ...]], seed: int, penalties: bool, scale: float
) -> None:
    more = {"l1": 0.01, "l2": 0.02, "weight_decay": 0.1} if penalties else {}
    both(kind, shapes, HYPER | more | {"scale": scale}, seed)


@pytest.mark.parametrize("kind", sorted(SLOTS))
def test_threads_do_not_change_the_bits(kind: str) -> None:
    found = []
    for n_threads in (1, 3):
        params, grads = arrays([(300, 2000), (7,)], 0), arrays([(300, 2000), (7,)], 1)
        slots = [[np.abs(a) for a in arrays([(300, 2000), (7,)], 2)] for _ in SLOTS[kind]]
        with _threads.limited(n_threads):
            CpuOps(np).optimizer_step(kind, params, grads, slots, HYPER, [True, False])
        found.append([*params, *(a for slot in slots for a in slot)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_the_kernel_does_not_take_goes_to_the_base() -> None:
    for dtype, order in ((np.float64, "C"), (np.float32, "F")):
        params = [np.asarray(a, order=order) for a in arrays([(4, 5)], 0, dtype)]
        grads = arrays([(4, 5)], 1, dtype)
        expected = params[0] - 0.01 * grads[0]
        same = params[0]
        CpuOps(np).optimizer_step("sgd", params, grads, [], HYPER, [True])
        np.testing.assert_allclose(params[0], expected, rtol=1e-6)
        # In place, whatever its order.
        assert params[0] is same


def test_gradients_in_any_order_are_taken() -> None:
    params = arrays([(4, 5)], 0)
    grad = np.asfortranarray(arrays([(4, 5)], 1)[0])
    expected = params[0] - np.float32(0.01) * grad
    CpuOps(np).optimizer_step("sgd", params, [grad], [], HYPER, [True])
    np.testing.assert_allclose(params[0], expected, rtol=1e-6)


def test_bad_input_is_refused() -> None:
    w, g = np.zeros(3, np.float32), np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="kind must be one of"):
        CpuOps(np).optimizer_step("magic", [w], [g], [], HYPER, [True])
    for params, grads, slots, decay in (
        ([w], [g[:2]], [], [True]),
        ([w], [], [], [True]),
        ([w], [g], [[w]], [True]),
        ([w], [g], [], []),
        ([w, w], [g, g], [], [True, True]),
    ):
        with pytest.raises(ValueError, match="grads|slots|decay|given once"):
            _core.nn_optimizer_step("sgd", params, grads, slots, HYPER, decay, n_threads=1)
