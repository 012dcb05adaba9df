"""Optimizers and schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import RowGradient, Tensor, backward
from ironlearn.nn.backend import get_device
from ironlearn.nn.layers import Embedding, Parameter
from ironlearn.nn.layers.sequential import initialize
from ironlearn.nn.optimizers import (
    OPTIMIZERS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    Optimizer,
    RMSprop,
    get_optimizer,
)
from ironlearn.nn.schedules import (
    SCHEDULES,
    Cosine,
    OneCycle,
    Plateau,
    Schedule,
    StepDecay,
    WarmUp,
    get_schedule,
)

MAKERS: dict[str, Any] = {
    "sgd": lambda **k: SGD(0.1, **k),
    "momentum": lambda **k: SGD(0.05, 0.9, **k),
    "nesterov": lambda **k: SGD(0.05, 0.9, True, **k),
    "rmsprop": lambda **k: RMSprop(0.05, **k),
    "adam": lambda **k: Adam(0.1, **k),
    "adamw": lambda **k: AdamW(0.1, **k),
    "adagrad": lambda **k: Adagrad(0.5, **k),
    "lion": lambda **k: Lion(0.05, **k),
}


def parameters(dtype: Any = np.float64, device: str = "cpu") -> list[Parameter]:
    rng = np.random.default_rng(0)
    send = get_device(device).send
    return [
        Parameter(send(rng.standard_normal((3, 2)).astype(dtype)), "kernel"),
        Parameter(send(rng.standard_normal(2).astype(dtype)), "bias", decay=False),
    ]


def run(optimizer: Optimizer, steps: int = 30, **kwargs: Any) -> list[Any]:
    """Minimise the distance to fixed points."""
    held = parameters(**kwargs)
    optimizer.bind(held)
    device = held[0].device
    goals = [device.send(np.full(p.shape, 0.5, p.dtype)) for p in held]
    for _ in range(steps):
        for p, goal in zip(held, goals, strict=True):
            p.grad = p.data - goal
        optimizer.step()
    return [device.receive(p.data) for p in held]


@pytest.mark.parametrize("name", MAKERS)
def test_every_rule_goes_downhill(name: str) -> None:
    before = sum(float(((p.data - 0.5) ** 2).sum()) for p in parameters())
    after = sum(float(((p - 0.5) ** 2).sum()) for p in run(MAKERS[name]()))
    assert after < 0.3 * before


@pytest.mark.parametrize("name", MAKERS)
def test_float32_strict_and_float64_agree(name: str) -> None:
    settings = {"l1": 0.01, "l2": 0.02, "weight_decay": 0.03, "clip_norm": 1.0}
    exact = run(MAKERS[name](**settings), 5)
    for kwargs in ({"dtype": np.float32}, {"device": "strict"}):
        for a, b in zip(exact, run(MAKERS[name](**settings), 5, **kwargs), strict=True):
            # A sign flips where the mean of gradients is next to nothing.
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MAKERS)
def test_state_continues_where_it_was(name: str) -> None:
    held = parameters()
    first, second = MAKERS[name]().bind(held), MAKERS[name]()
    grads = np.random.default_rng(1).standard_normal((4, 8))

    def step(optimizer: Optimizer, flat: np.ndarray[Any, Any]) -> None:
        held[0].grad, held[1].grad = flat[:6].reshape(3, 2), flat[6:]
        optimizer.step()

    for g in grads[:2]:
        step(first, g)
    saved, middle = first.state(), [p.data.copy() for p in held]
    for g in grads[2:]:
        step(first, g)
    whole = [p.data.copy() for p in held]
    for p, data in zip(held, middle, strict=True):
        p.data = data
    second.bind(held).load_state(saved)
    for g in grads[2:]:
        step(second, g)
    for a, p in zip(whole, held, strict=True):
        np.testing.assert_array_equal(a, p.data)


def test_decay_leaves_biases_alone() -> None:
    held = parameters()
    before = [p.data.copy() for p in held]
    optimizer = SGD(0.1, weight_decay=0.5, l2=0.3, l1=0.2).bind(held)
    optimizer.step()
    np.testing.assert_array_equal(held[1].data, before[1])
    w = before[0]
    np.testing.assert_allclose(held[0].data, w * (1 - 0.05) - 0.1 * (0.3 * w + 0.2 * np.sign(w)))


def test_clipping_and_the_longest_norm() -> None:
    held = parameters()
    before = [p.data.copy() for p in held]
    for p in held:
        p.grad = np.full(p.shape, 10.0)
    SGD(1.0, clip_norm=2.0).bind(held).step()
    moved = np.concatenate([(b - p.data).ravel() for b, p in zip(before, held, strict=True)])
    np.testing.assert_allclose(np.linalg.norm(moved), 2.0)
    for p in held:
        p.grad = np.full(p.shape, -10.0)
    SGD(1.0, clip_value=0.25, max_norm=0.1).bind(held).step()
    assert np.linalg.norm(held[0].data, axis=0).max() <= 0.1 + 1e-9


def test_frozen_parameters_stay() -> None:
    held = parameters()
    held[0].trainable = False
    before = held[0].data.copy()
    for p in held:
        p.grad = np.ones(p.shape)
    Adam().bind(held).step()
    np.testing.assert_array_equal(held[0].data, before)


def test_state_of_another_optimizer_is_refused() -> None:
    held = parameters()
    with pytest.raises(ValueError, match="does not fit SGD"):
        SGD().bind(held).load_state(Adam().bind(held).state())
    wrong = Adam().bind(held).state()
    wrong["m.0"] = np.zeros((1, 1))
    with pytest.raises(ValueError, match=r"m.0 has the shape \(1, 1\)"):
        Adam().bind(held).load_state(wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam(0.0), r"learning_rate must be a number in \(0.0, inf\), got 0.0"),
        (lambda: Adam(float("nan")), "learning_rate"),
        (lambda: Adam(beta1=1.0), r"beta1 must be a number in \[0.0, 1.0\), got 1.0"),
        (lambda: SGD(momentum=-0.1), "momentum"),
        (lambda: SGD(clip_norm=0), "clip_norm"),
        (lambda: get_optimizer("sgdm"), "optimizer must be one of sgd"),
    ],
)
def test_settings_are_checked(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_configuration_makes_the_same(name: str) -> None:
    made = get_optimizer(name, clip_norm=1.0)
    assert repr(get_optimizer(name, **made.config())) == repr(made)


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_positive_and_below_the_peak(name: str) -> None:
    schedule = get_schedule(name)
    rates = [schedule.rate(0.5, step, 10, 100) for step in range(100)]
    assert all(0 < rate <= 0.5 for rate in rates)


def test_shapes_of_schedules() -> None:
    def rates(schedule: Schedule) -> list[float]:
        return [schedule.rate(1.0, step, 10, 100) for step in range(100)]

    assert rates(StepDecay(3, 0.5))[29:31] == [1.0, 0.5]
    assert rates(Cosine(warmup=0.1))[0] < 0.1
    assert rates(Cosine(final=0.2))[-1] == pytest.approx(0.2, abs=1e-3)
    assert max(rates(WarmUp(20))) == 1.0
    one = rates(OneCycle(0.3))
    assert one.index(max(one)) == 30
    assert one[-1] < 0.002


def test_plateau_remembers() -> None:
    schedule = Plateau(patience=2, factor=0.5)
    for value in (1.0, 0.9, 0.9, 0.9):
        schedule.observe(value)
    assert schedule.rate(1.0, 0, 1, 1) == 0.5
    other = Plateau(patience=2, factor=0.5)
    other.load_state(schedule.state())
    for value in (0.9, 0.9):
        other.observe(value)
    assert other.rate(1.0, 0, 1, 1) == 0.25
    with pytest.raises(ValueError, match="schedule must be one of constant"):
        get_schedule("linear")


@pytest.mark.parametrize("device", ["cpu", "strict"])
@pytest.mark.parametrize("name", MAKERS)
def test_rows_of_a_table_move_as_the_whole_would_and_others_stay(name: str, device: str) -> None:
    place = get_device(device)
    ids = np.array([[3, 1], [3, 3]])
    moved = []
    for sparse in (False, True):
        layer = initialize(Embedding(5, 2, sparse=sparse), (2,), 0).to_device(place)
        before = place.receive(layer.embeddings.data).copy()
        optimizer = MAKERS[name](clip_norm=0.5).bind(layer.parameters())
        for _ in range(3):
            x = Tensor(place.send(ids))
            backward(F.sum(F.square(F.add(layer(x), layer(x)))))
            assert isinstance(layer.embeddings.grad, RowGradient) == sparse
            optimizer.step()
        after = place.receive(layer.embeddings.data)
        np.testing.assert_array_equal(after[[0, 2, 4]], before[[0, 2, 4]])
        moved.append(after)
    np.testing.assert_allclose(moved[0], moved[1], rtol=1e-4, atol=1e-6)


def test_gradients_by_rows_and_dense_ones_add_up() -> None:
    table = Parameter(np.zeros((4, 2)), "table")
    both = F.add(F.sum(F.embedding(np.array([1, 1]), table, sparse=True)), F.sum(table))
    backward(both)
    np.testing.assert_array_equal(table.grad, 1 + np.outer([0, 2, 0, 0], [1, 1]))
