"""Plans against the tape: the same losses, parameters and buffers, for any number of threads."""

from __future__ import annotations

import copy
import itertools
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ironlearn import _core
from ironlearn.nn import losses, optimizers
from ironlearn.nn.autograd import Tensor, backward, no_grad
from ironlearn.nn.layers import (
    Activation,
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    Layer,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    Mode,
    Reshape,
    Sequential,
)
from ironlearn.nn.plan import LoweredNetwork, lower, lower_for_prediction

Array = NDArray[Any]

#: Name, shape of a sample, layers.
STACKS: list[tuple[str, tuple[int, ...], Callable[[], list[Layer]]]] = [
    ("one", (5,), lambda: [Dense(3)]),
    ("tanh", (7,), lambda: [Dense(9, "tanh"), Dense(8, "elu", use_bias=False), Dense(3)]),
    (
        "unfused",
        (7,),
        lambda: [
            Dense(9, "gelu"),
            Dense(8, "silu"),
            Dense(8, "gelu_tanh"),
            Dense(8, "relu6"),
            Activation("softplus"),
            Dense(3),
        ],
    ),
    ("softmax", (7,), lambda: [Dense(6, "softmax"), Dense(3)]),
    ("wide", (300,), lambda: [Dense(256, "relu"), Dense(3)]),
    ("wide inside", (20,), lambda: [Dense(270, "relu"), Dense(260, "leaky_relu"), Dense(3)]),
    ("wide last", (20,), lambda: [Dense(25000, "relu"), Dense(3)]),
    ("dropout", (20,), lambda: [Dropout(0.2), Dense(30, "relu"), Dropout(0.5), Dense(3)]),
    ("norm", (6,), lambda: [Dense(8), BatchNorm(activation="relu"), BatchNorm(0.5), Dense(3)]),
    ("norm first", (6,), lambda: [BatchNorm(), Dense(3)]),
    ("rows", (4, 5), lambda: [Dense(6, "sigmoid"), GlobalMaxPool1D(), Dense(3)]),
    (
        "images",
        (9, 8, 2),
        lambda: [
            Conv2D(4, 3, activation="relu"),
            MaxPool2D(2),
            Conv2D(5, 2, padding="same", strides=2, activation="gelu"),
            Flatten(),
            Dense(3),
        ],
    ),
    (
        "pools",
        (9, 8, 3),
        lambda: [
            MaxPool2D(3, strides=2, padding="same"),
            Conv2D(4, 3, padding="same", activation="tanh", dilation_rate=2),
            AvgPool2D(2, padding="same"),
            Dense(3),
            GlobalAvgPool2D(),
        ],
    ),
    ("global", (4, 4, 3), lambda: [Conv2D(3, 2), BatchNorm(), GlobalMaxPool2D()]),
    (
        "sequences",
        (12, 3),
        lambda: [
            Conv1D(5, 3, padding="causal", activation="relu"),
            MaxPool1D(2),
            AvgPool1D(3),
            Reshape((10,)),
            Dense(3),
        ],
    ),
    ("nested", (6,), lambda: [Sequential([Dense(5, "relu"), Dropout(0.3)]), Dense(3)]),
]

RULES: list[Callable[[], optimizers.Optimizer]] = [
    lambda: optimizers.SGD(0.1),
    lambda: optimizers.SGD(0.1, momentum=0.9, l2=0.01),
    lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True, l1=0.001),
    lambda: optimizers.RMSprop(),
    lambda: optimizers.Adam(weight_decay=0.1),
    lambda: optimizers.Adagrad(),
    lambda: optimizers.Lion(),
]


def build(layers: list[Layer], shape: tuple[int, ...]) -> Sequential:
    net: Sequential = Sequential(layers).initialize(shape, random_state=3)
    rng = np.random.default_rng(8)
    for p in net.parameters():
        if p.data.ndim == 1:
            # Biases that are 0 would hide mistakes.
            p.data += rng.normal(0, 0.1, p.data.shape).astype(np.float32)
    return net


def samples(shape: tuple[int, ...], n: int = 90) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((n, *shape)).astype(np.float32)
    return x, rng.integers(0, 3, n), rng.uniform(0.5, 2.0, n)


def orders(n: int, sizes: list[int]) -> list[Array]:
    rng = np.random.default_rng(6)
    return [rng.permutation(n)[:size] for size in sizes]


SIZES = [32, 40, 7, 1, 65]


def eager(
    net: Sequential,
    loss: losses.Loss,
    optimizer: optimizers.Optimizer,
    x: Array,
    y: Array,
    batches: list[Array],
    rates: list[float],
    weights: Array | None = None,
    seed: int = 0,
) -> list[float]:
    """Take the same steps on the tape, in double precision."""
    net.astype(np.float64)
    optimizer.bind(net.parameters())
    values = []
    for i, (rows, rate) in enumerate(zip(batches, rates, strict=True)):
        mode = Mode(training=True, seed=seed, step=i)
        given = x[rows] if x.dtype.kind == "i" else x[rows].astype(np.float64)
        value = loss(
            net(Tensor(given), mode=mode), y[rows], None if weights is None else weights[rows]
        )
        backward(value)
        values.append(float(value.data))
        optimizer.step(rate)
    return values


def compare(
    net: Sequential,
    loss: losses.Loss,
    make: Callable[[], optimizers.Optimizer],
    x: Array,
    y: Array,
    *,
    weights: Array | None = None,
    sizes: list[int] = SIZES,
    rate: float = 0.01,
    tolerance: float = 1e-4,
) -> LoweredNetwork:
    batches, rates = orders(len(x), sizes), [rate] * len(sizes)
    twin = copy.deepcopy(net)
    expected = eager(twin, loss, make(), x, y, batches, rates, weights, seed=9)
    plan, reason = lower(net, loss, make().bind(net.parameters()))
    assert plan is not None, reason
    steps = plan.train(x, y, batches, rates=rates, weights=weights, seed=9)
    assert steps.diverged is None
    np.testing.assert_allclose(steps.losses, expected, rtol=tolerance, atol=tolerance)
    for name, value in twin.state().items():
        np.testing.assert_allclose(
            net.state()[name], value, rtol=tolerance, atol=tolerance, err_msg=name
        )
    return plan


@pytest.mark.parametrize(("name", "shape", "layers"), STACKS, ids=[s[0] for s in STACKS])
def test_agrees_with_the_tape(
    name: str, shape: tuple[int, ...], layers: Callable[[], list[Layer]]
) -> None:
    net = build(layers(), shape)
    x, y, weights = samples(shape)
    plan = compare(net, losses.CrossEntropy(), lambda: optimizers.SGD(0.05), x, y, weights=weights)
    with no_grad():
        outputs = copy.deepcopy(net).astype(np.float64)(Tensor(x.astype(np.float64))).data
    got = plan.predict(x)
    np.testing.assert_allclose(got, outputs, rtol=1e-4, atol=1e-4)
    # One row takes another way through the products.
    np.testing.assert_allclose(plan.predict(x[3:4]), outputs[3:4], rtol=1e-4, atol=1e-4)
    assert plan.predict(x[:0]).shape == (0, 3)


@pytest.mark.parametrize("rule", range(len(RULES)))
@pytest.mark.parametrize("wide", [False, True])
def test_every_optimizer_agrees_with_the_tape(rule: int, wide: bool) -> None:
    shape = (300,) if wide else (20,)
    net = build([Dense(230, "tanh"), Dense(3)], shape)
    x, y, _ = samples(shape)
    # Rules that divide by the gradient's size, or take its sign, turn rounding of a gradient
    # near 0 into whole steps; the rate bounds what that may change.
    compare(net, losses.CrossEntropy(), RULES[rule], x, y, rate=1e-3, tolerance=1.5e-3)


@pytest.mark.parametrize(
    "loss",
    [
        losses.CrossEntropy(0.1),
        losses.BinaryCrossEntropy(),
        losses.BinaryCrossEntropy(0.2),
        losses.MeanSquaredError(),
        losses.MeanAbsoluteError(),
        losses.Huber(0.3),
    ],
    ids=lambda loss: repr(loss),
)
@pytest.mark.parametrize("weighted", [False, True])
def test_every_loss_agrees_with_the_tape(loss: losses.Loss, weighted: bool) -> None:
    net = build([Dense(8, "tanh"), Dense(3)], (5,))
    x, y, weights = samples((5,))
    if loss.name == "binary_cross_entropy":
        y = (np.random.default_rng(1).random((len(x), 3)) > 0.4).astype(np.float32)
    elif loss.name != "cross_entropy":
        y = np.random.default_rng(1).standard_normal((len(x), 3)).astype(np.float32)
    compare(net, loss, lambda: optimizers.SGD(), x, y, weights=weights if weighted else None)


@pytest.mark.parametrize("mask_zero", [False, True])
def test_embedding_agrees_with_the_tape(mask_zero: bool) -> None:
    net = build([Embedding(900, 40, mask_zero=mask_zero), Flatten(), Dense(3)], (6,))
    rng = np.random.default_rng(2)
    # Some rows are never used, some many times in one batch.
    x = np.minimum(rng.geometric(0.02, (90, 6)), 899).astype(np.int32)
    y = rng.integers(0, 3, 90)
    plan = compare(
        net, losses.CrossEntropy(), lambda: optimizers.Adam(), x, y, rate=1e-3, tolerance=1e-3
    )
    assert plan.predict(x[:2].astype(np.int64)).shape == (2, 3)
    compare(net, losses.CrossEntropy(), lambda: optimizers.SGD(momentum=0.9), x, y)


def test_mean_of_embeddings_agrees_with_the_tape() -> None:
    net = build([Embedding(50, 8), GlobalAvgPool1D(), Dense(1)], (7,))
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 50, (90, 7)).astype(np.int32), rng.integers(0, 2, 90)
    compare(net, losses.BinaryCrossEntropy(), lambda: optimizers.SGD(0.1), x, y)


def all_stacks() -> list[Any]:
    return [pytest.param(shape, layers, id=name) for name, shape, layers in STACKS]


@pytest.mark.parametrize(("shape", "layers"), all_stacks())
def test_threads_do_not_change_the_bits(
    shape: tuple[int, ...], layers: Callable[[], list[Layer]]
) -> None:
    x, y, weights = samples(shape)
    batches = orders(len(x), [48, 33, 80])
    found = []
    for n_jobs in (1, 2, 3):
        net = build(layers(), shape)
        plan, _ = lower(net, losses.CrossEntropy(), optimizers.Adam().bind(net.parameters()))
        assert plan is not None
        steps = plan.train(x, y, batches, rates=[0.01] * 3, weights=weights, seed=4, n_jobs=n_jobs)
        found.append(
            [steps.losses, steps.hits, plan.predict(x, n_jobs=n_jobs), *net.state().values()]
        )
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("shape", "layers"), all_stacks())
def test_steps_may_come_in_several_calls(
    shape: tuple[int, ...], layers: Callable[[], list[Layer]]
) -> None:
    x, y, _ = samples(shape)
    batches = orders(len(x), [40, 33, 17, 20])
    states = []
    for cuts in ([0, 4], [0, 1, 3, 4]):
        net = build(layers(), shape)
        plan, _ = lower(net, losses.CrossEntropy(), optimizers.Adam().bind(net.parameters()))
        assert plan is not None
        for a, b in itertools.pairwise(cuts):
            plan.train(x, y, batches[a:b], rates=[0.01] * (b - a), seed=4, first_draw=a)
        states.append(net.state())
    for name, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][name])


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer signal")
def test_an_interrupt_leaves_whole_steps() -> None:
    assert threading.current_thread() is threading.main_thread()

    def press(*_: Any) -> None:
        raise KeyboardInterrupt

    shape, layers = (300,), lambda: [Dense(300, "relu"), Dropout(0.5), Dense(3)]
    x, y, _ = samples(shape)
    batches = orders(len(x), [64] * 20_000)
    net = build(layers(), shape)
    optimizer = optimizers.Adam().bind(net.parameters())
    plan, _ = lower(net, losses.CrossEntropy(), optimizer)
    assert plan is not None
    before = signal.signal(signal.SIGALRM, press)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            plan.train(x, y, batches, rates=[0.001] * len(batches), seed=4)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    done = plan.completed
    assert 0 < done < len(batches)
    assert optimizer.steps == done
    twin = build(layers(), shape)
    again, _ = lower(twin, losses.CrossEntropy(), optimizers.Adam().bind(twin.parameters()))
    assert again is not None
    again.train(x, y, batches[:done], rates=[0.001] * done, seed=4)
    for name, value in net.state().items():
        np.testing.assert_array_equal(value, twin.state()[name])


def test_a_loss_that_is_not_finite_stops_before_its_update() -> None:
    net = build([Dense(4, "relu"), BatchNorm(), Dense(3)], (5,))
    x, y, _ = samples((5,))
    x[20] = np.nan
    optimizer = optimizers.Adam().bind(net.parameters())
    plan, _ = lower(net, losses.CrossEntropy(), optimizer)
    assert plan is not None
    batches = [np.arange(10), np.arange(10, 30), np.arange(10)]
    steps = plan.train(x, y, batches, rates=[0.01] * 3)
    assert len(steps.losses) == 1
    assert steps.diverged is not None
    assert np.isnan(steps.diverged)
    assert optimizer.steps == plan.completed == 1
    assert all(np.isfinite(value).all() for value in net.state().values())


def test_weights_that_are_all_zero_change_nothing() -> None:
    net = build([Dense(3)], (5,))
    before = net.state()
    x, y, _ = samples((5,))
    plan, _ = lower(net, losses.CrossEntropy(), optimizers.SGD().bind(net.parameters()))
    assert plan is not None
    steps = plan.train(x, y, [np.arange(20)], rates=[0.1], weights=np.zeros(len(x)))
    assert steps.losses.tolist() == [0.0]
    for name, value in net.state().items():
        np.testing.assert_array_equal(value, before[name])


def test_hits_are_the_weighted_accuracy() -> None:
    x, y, weights = samples((5,))
    net = build([Dense(3)], (5,))
    plan, _ = lower(net, losses.CrossEntropy(), optimizers.SGD().bind(net.parameters()))
    assert plan is not None
    right = plan.predict(x).argmax(axis=1) == y
    steps = plan.train(x, y, [np.arange(90)], rates=[0.1], weights=weights)
    assert steps.hits[0] == pytest.approx(np.average(right, weights=weights), rel=1e-5)
    net = build([Dense(2)], (5,))
    plan, _ = lower(net, losses.BinaryCrossEntropy(), optimizers.SGD().bind(net.parameters()))
    assert plan is not None
    targets = np.stack([y > 1, y > 0], axis=1).astype(np.float32)
    right = (plan.predict(x) > 0) == (targets > 0.5)
    steps = plan.train(x, targets, [np.arange(90)], rates=[0.1])
    assert steps.hits[0] == pytest.approx(right.mean(), rel=1e-5)


def test_versions_keep_what_was_packed() -> None:
    net = build([Conv2D(4, 3, activation="relu"), MaxPool2D(2), Flatten(), Dense(3)], (8, 8, 1))
    x, _, _ = samples((8, 8, 1))
    plan, _ = lower_for_prediction(net, "softmax")
    assert plan is not None
    first = plan.predict(x, version=1)
    np.testing.assert_allclose(first.sum(axis=1), 1, rtol=1e-5)
    for p in net.parameters():
        p.data *= 2
    changed = plan.predict(x, version=2)
    assert not np.allclose(first, changed)
    np.testing.assert_array_equal(plan.predict(x), changed)
    np.testing.assert_array_equal(plan.predict(x, version=2), changed)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_outputs_are_transformed(output: str) -> None:
    net = build([Dense(4)], (5,))
    x, _, _ = samples((5,))
    plan, _ = lower_for_prediction(net, output)
    assert plan is not None
    z = x @ net.layers[0].kernel.data + net.layers[0].bias.data  # type: ignore[attr-defined]
    e = np.exp(z)
    expected = e / e.sum(axis=1, keepdims=True) if output == "softmax" else e / (1 + e)
    np.testing.assert_allclose(plan.predict(x), expected, rtol=1e-5)


def test_several_threads_may_predict_at_once() -> None:
    net = build([Dense(20, "relu"), Dense(3)], (5,))
    x, _, _ = samples((5,), 400)
    plan, _ = lower_for_prediction(net)
    assert plan is not None
    expected, wrong = plan.predict(x), []

    def work(version: int) -> None:
        for _ in range(50):
            if not np.array_equal(plan.predict(x, version=version), expected):
                wrong.append(version)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_two_plans_may_train_at_once() -> None:
    """Workers of one call must not be waited for by another that has taken them."""
    x, y, _ = samples((300,))
    batches = orders(len(x), [64] * 30)
    states: list[dict[str, Array]] = []

    def work() -> None:
        net = build([Dense(256, "relu"), Dense(3)], (300,))
        plan, _ = lower(net, losses.CrossEntropy(), optimizers.Adam().bind(net.parameters()))
        assert plan is not None
        plan.train(x, y, batches, rates=[0.01] * 30, n_jobs=2)
        states.append(net.state())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(states) == 3
    for state in states[1:]:
        for name, value in state.items():
            np.testing.assert_array_equal(value, states[0][name])


# What has no lowering -----------------------------------------------------------------------------


class Own(Dense):
    """A layer of the user's."""


@pytest.mark.parametrize(
    ("layers", "shape", "loss", "optimizer", "reason"),
    [
        ([LayerNorm(), Dense(3)], (5,), losses.CrossEntropy(), optimizers.SGD(), "LayerNorm"),
        ([Own(3)], (5,), losses.CrossEntropy(), optimizers.SGD(), "Own"),
        ([Dense(3)], (4, 5), losses.CrossEntropy(), optimizers.SGD(), "sequences"),
        ([Dense(3)], (5,), losses.Hinge(), optimizers.SGD(), "Hinge"),
        ([Dense(3)], (5,), losses.CrossEntropy(), optimizers.SGD(clip_norm=1.0), "clip_norm"),
        ([Dense(3)], (5,), losses.CrossEntropy(), optimizers.SGD(max_norm=1.0), "max_norm"),
        ([Dense(3)], (None, 5), losses.MeanSquaredError(), optimizers.SGD(), "open"),
        (
            [Conv2D(4, 3, groups=2), Flatten(), Dense(3)],
            (5, 5, 2),
            losses.CrossEntropy(),
            optimizers.SGD(),
            "groups",
        ),
        (
            [Embedding(5, 2, mask_zero=True), GlobalAvgPool1D()],
            (5,),
            losses.CrossEntropy(),
            optimizers.SGD(),
            "mask",
        ),
    ],
)
def test_what_has_no_lowering_says_why(
    layers: list[Layer],
    shape: tuple[int, ...],
    loss: losses.Loss,
    optimizer: optimizers.Optimizer,
    reason: str,
) -> None:
    net = Sequential(layers).initialize(shape)
    plan, given = lower(net, loss, optimizer.bind(net.parameters()))
    assert plan is None
    assert reason in given


def test_frozen_shared_and_double_parameters_have_no_lowering() -> None:
    net = build([Dense(4), Dense(3)], (5,))
    net.layers[0].kernel.trainable = False  # type: ignore[attr-defined]
    assert (
        "trained" in lower(net, losses.CrossEntropy(), optimizers.SGD().bind(net.parameters()))[1]
    )
    layer = Dense(5)
    net = build([layer, layer], (5,))
    assert "share" in lower(net, losses.CrossEntropy(), optimizers.SGD().bind(net.parameters()))[1]
    net = build([Dense(3)], (5,)).astype(np.float64)
    assert (
        "float32" in lower(net, losses.CrossEntropy(), optimizers.SGD().bind(net.parameters()))[1]
    )
    assert "chain" in lower(Dense(3), losses.CrossEntropy(), optimizers.SGD())[1]


# Bad input ----------------------------------------------------------------------------------------


def trained(**changes: Any) -> None:
    net = build([Dense(4, "relu"), Dense(3)], (5,))
    before = net.state()
    x, y, weights = samples((5,))
    given = {"x": x, "y": y, "batches": orders(90, [20]), "rates": [0.1], "weights": weights}
    given |= changes
    plan, _ = lower(net, losses.CrossEntropy(), optimizers.Adam().bind(net.parameters()))
    assert plan is not None
    try:
        plan.train(given.pop("x"), given.pop("y"), given.pop("batches"), **given)
    finally:
        for name, value in net.state().items():
            np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.zeros((90, 4), np.float32)}, r"x has shape \[90, 4\].*\[5\]"),
        ({"y": np.zeros(89, np.int64)}, r"targets must have the shape \(90,\)"),
        ({"y": np.full(90, 3)}, "y must be class numbers from 0 to 2, got 3"),
        ({"y": np.full(90, -1)}, "y must be class numbers from 0 to 2, got -1"),
        ({"batches": [np.array([90])]}, "order must be numbers of samples, from 0 to 89, got 90"),
        ({"batches": [np.array([-1])]}, "got -1"),
        ({"batches": [np.array([], np.int64)]}, "offsets"),
        ({"rates": [0.1, 0.1]}, "lr has 2 elements, but 1 is needed"),
        ({"weights": np.ones(89)}, "weights has 89 elements, but 90 is needed"),
    ],
)
def test_bad_input_is_refused_before_anything_changes(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trained(**changes)


def test_wrong_kinds_of_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match="class numbers"):
        trained(y=np.zeros(90, np.float32))
    net = build([Embedding(5, 2), Flatten(), Dense(3)], (4,))
    plan, _ = lower_for_prediction(net)
    assert plan is not None
    with pytest.raises(TypeError, match="integers"):
        plan.predict(np.zeros((1, 4), np.float32))
    for bad in (5, -1):
        with pytest.raises(ValueError, match=f"integers from 0 to 4.*got {bad}"):
            plan.predict(np.full((1, 4), bad))
    with pytest.raises(ValueError, match="no row"):
        plan.predict(np.full((1, 4), 2**40))


def test_prediction_checks_the_shape() -> None:
    net = build([Dense(3)], (5,))
    plan, _ = lower_for_prediction(net)
    assert plan is not None
    with pytest.raises(ValueError, match=r"x has shape \[2, 4\]"):
        plan.predict(np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match="without an optimizer"):
        plan.train(np.zeros((2, 5), np.float32), np.zeros((2, 3)), [], rates=[])


def native(steps: list[tuple[str, dict[str, Any]]], **changes: Any) -> _core.Plan:
    given = {"loss": "mse", "loss_number": 0.0, "output": "linear", "optimizer": "sgd"} | changes
    return _core.Plan([6], steps, **given)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            ("dense", {}),
            r"units must be an integer of at least 1, got nothing in layer 0 \(dense\)",
        ),
        (("dense", {"units": 0}), "units must be an integer of at least 1"),
        (("dense", {"units": 2.5}), "units"),
        (("dense", {"units": 2, "activation": "swash"}), "activation must be one of linear, relu"),
        (("dense", {"units": 2, "colour": 1}), 'options must be .* got "colour"'),
        (("dens", {"units": 2}), 'kind must be .*dense.* got "dens"'),
        (("dropout", {"rate": 1.0}), "rate must be at least 0 and below 1"),
        (("reshape", {"shape": [4, 2]}), "shape must be a shape of as many elements"),
        (("max_pool2d", {}), r"max_pool2d has samples of shape \[6\] before it \(layer 0\)"),
        (("batch_norm", {"epsilon": -1.0}), "epsilon must be at least 0"),
        (("dense", {"units": 1 << 40}), "too large"),
    ],
)
def test_bad_steps_are_refused(step: tuple[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        native([step])


def test_too_many_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="a network is too large"):
        native([("activation", {"name": "relu"})] * 2000)


def test_bad_settings_are_refused() -> None:
    for name, bad in (("loss", "hinge"), ("output", "softmin"), ("optimizer", "magic")):
        with pytest.raises(ValueError, match=bad):
            native([("dense", {"units": 2})], **{name: bad})
    with pytest.raises(ValueError, match="label_smoothing"):
        native([("dense", {"units": 2})], loss="cross_entropy", loss_number=1.0)


def test_arrays_are_borrowed_once_and_writable() -> None:
    plan = native([("dense", {"units": 6, "use_bias": False})] * 2)
    w = np.zeros((6, 6), np.float32)
    given: dict[str, Any] = {
        "weights": None,
        "slots": [],
        "buffers": [],
        "decay": [False, False],
        "rates": np.array([0.1]),
        "first_step": 1,
        "seed": 0,
        "first_draw": 0,
        "hyper_": {},
        "n_threads": 1,
    }
    x = np.ones((2, 6), np.float32)
    order, offsets = np.arange(2), np.array([0, 2])
    with pytest.raises(ValueError, match="each given once"):
        plan.train(x, x, order, offsets, params=[w, w], **given)
    fixed = np.zeros((6, 6), np.float32)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        plan.train(x, x, order, offsets, params=[w, fixed], **given)
    with pytest.raises(ValueError, match="C-contiguous"):
        plan.train(x, x, order, offsets, params=[w, np.zeros((6, 12), np.float32)[:, ::2]], **given)
    with pytest.raises(ValueError, match=r"params has 12 numbers for layer 1 \(dense\)"):
        plan.train(x, x, order, offsets, params=[w, np.zeros((6, 2), np.float32)], **given)
    with pytest.raises(ValueError, match="params has 1 arrays"):
        plan.train(x, x, order, offsets, params=[w], **given)
    given["first_step"] = 0
    with pytest.raises(ValueError, match="first_step"):
        plan.train(x, x, order, offsets, params=[w, w.copy()], **given)
