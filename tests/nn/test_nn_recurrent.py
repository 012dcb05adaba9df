"""Recurrent operations and layers."""

from __future__ import annotations

import numpy as np
import pytest

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor, backward, no_grad
from ironlearn.nn.backend.cpu import CpuOps
from ironlearn.nn.backend.device import get_device
from ironlearn.nn.backend.ops import Ops
from ironlearn.nn.layers import (
    GRU,
    LSTM,
    Bidirectional,
    Dense,
    Embedding,
    Mode,
    Sequential,
    SimpleRNN,
    layer_from_spec,
)
from nn.gradcheck import check_gradients, check_layer

BLOCKS = {"lstm": 4, "gru": 3, "rnn": 1}


def arrays(kind, n, t, f, h, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    columns = BLOCKS[kind] * h
    scale = 1 / np.sqrt(f + h)
    shapes = [(n, t, f), (f, columns), (h, columns), (columns,)]
    shapes += {"lstm": [(n, h), (n, h)], "gru": [(columns,), (n, h)], "rnn": [(n, h)]}[kind]
    return [
        (rng.standard_normal(s) * (scale if i in (1, 2) else 0.7)).astype(dtype)
        for i, s in enumerate(shapes)
    ]


def some_mask(n, t, seed=0):
    mask = np.random.default_rng(seed).random((n, t)) < 0.7
    mask[:, t // 2] = False
    return mask


def run(kind, *inputs, **settings):
    outputs = getattr(F, kind)(*inputs, **settings)
    n, t, h = outputs[0].shape
    flat = F.reshape(outputs[0], (n, t * h))
    return F.concatenate([flat, *outputs[1:]], axis=1)


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_gradients(kind, reverse, masked):
    mask = some_mask(3, 5) if masked else None
    check_gradients(lambda *a: run(kind, *a, mask=mask, reverse=reverse), arrays(kind, 3, 5, 4, 6))


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "linear"])
def test_gradients_of_other_activations(activation):
    check_gradients(lambda *a: run("rnn", *a, activation=activation), arrays("rnn", 3, 4, 2, 5))


@pytest.mark.parametrize("kind", BLOCKS)
def test_only_the_last_state_has_a_gradient(kind):
    check_gradients(lambda *a: getattr(F, kind)(*a)[1], arrays(kind, 2, 4, 3, 5))


@pytest.mark.parametrize("kind", BLOCKS)
def test_reverse_is_the_forward_walk_over_reversed_time(kind):
    x, *rest = arrays(kind, 3, 6, 4, 5)
    mask = some_mask(3, 6)
    back = run_arrays(kind, x, *rest, mask=mask, reverse=True)
    ahead = run_arrays(kind, x[:, ::-1], *rest, mask=mask[:, ::-1])
    np.testing.assert_allclose(back[0], ahead[0][:, ::-1])
    for one, two in zip(back[1:], ahead[1:], strict=True):
        np.testing.assert_allclose(one, two)


def run_arrays(kind, *inputs, **settings):
    tensors = [Tensor(np.ascontiguousarray(a)) for a in inputs]
    return [t.data for t in getattr(F, kind)(*tensors, **settings)]


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_masked_steps_are_as_if_they_were_not_there(kind, dtype):
    x, *rest = arrays(kind, 3, 4, 2, 5, dtype=dtype)
    # One step between the second and the third that nobody takes, and two at the end.
    filled = np.full((3, 7, 2), 9, dtype)
    places = [0, 1, 3, 4]
    filled[:, places] = x
    mask = np.zeros((3, 7), bool)
    mask[:, places] = True
    tolerance = 1e-6 if dtype == np.float32 else 1e-12
    short, full = run_arrays(kind, x, *rest), run_arrays(kind, filled, *rest, mask=mask)
    np.testing.assert_allclose(full[0][:, places], short[0], rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(full[0][:, 2], full[0][:, 1])
    np.testing.assert_array_equal(full[0][:, 6], full[0][:, 4])
    for one, two in zip(full[1:], short[1:], strict=True):
        np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", BLOCKS)
def test_without_steps_the_state_stays(kind):
    inputs = arrays(kind, 3, 0, 2, 5)
    first = inputs[5 if kind == "gru" else 4]
    outputs = run_arrays(kind, *inputs)
    assert outputs[0].shape == (3, 0, 5)
    np.testing.assert_array_equal(outputs[1], first)


# The native kernels against the definition ----------------------------------------------------

SIZES = [
    # n, t, f, h
    (1, 1, 1, 1),
    (1, 7, 3, 50),
    (3, 4, 5, 17),
    (5, 3, 2, 9),
    (16, 5, 1, 50),
    (17, 6, 64, 31),
    (40, 3, 7, 24),
    (0, 3, 4, 5),
    (4, 0, 3, 5),
    (3, 2, 300, 12),
    # Weights so large that threads share the steps.
    (33, 3, 40, 340),
]


def both(kind, inputs, gradients, **settings):
    """Outputs and gradients by native and base operations."""
    answers = []
    for ops in (CpuOps(np), Ops(np)):
        *outputs, cache = getattr(ops, kind)(*inputs, **settings)
        y = outputs[0]
        grads = getattr(ops, f"{kind}_backward")(*gradients, *inputs, y, cache, **settings)
        answers.append([*outputs, *grads])
    return answers


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("masked", [False, True])
def test_native_equals_base(kind, size, masked):
    n, t, _, h = size
    inputs = arrays(kind, *size, dtype=np.float32)
    copies = [a.copy() for a in inputs]
    rng = np.random.default_rng(1)
    shapes = [(n, t, h), (n, h)] + ([(n, h)] if kind == "lstm" else [])
    gradients = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    settings = {"mask": some_mask(n, t) if masked and t else None, "reverse": masked}
    native, base = both(kind, inputs, gradients, **settings)
    assert len(native) == len(base)
    for a, b in zip(native, base, strict=True):
        assert a.dtype == np.float32
        assert a.shape == b.shape
        scale = max(1.0, float(np.abs(b).max(initial=0)))
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * scale)
    for before, after in zip(copies, inputs, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("part", range(3))
def test_missing_gradients_are_zeros(kind, part):
    inputs = arrays(kind, 18, 4, 3, 10, dtype=np.float32)
    shapes = [(18, 4, 10), (18, 10)] + ([(18, 10)] if kind == "lstm" else [])
    gradients = [None if i == part else np.ones(s, np.float32) for i, s in enumerate(shapes)]
    native, base = both(kind, inputs, gradients)
    for a, b in zip(native, base, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", BLOCKS)
def test_strides_and_lost_gradients(kind):
    x, *rest = arrays(kind, 5, 4, 6, 7, dtype=np.float32)
    wide = np.zeros((5, 4, 12), np.float32)
    wide[:, :, ::2] = x
    one = getattr(CpuOps(np), kind)(wide[:, :, ::2], *rest, keep=False)
    two = getattr(CpuOps(np), kind)(x, *rest, keep=False)
    np.testing.assert_array_equal(one[0], two[0])
    assert one[-1] == ()
    *outputs, cache = getattr(CpuOps(np), kind)(x, *rest)
    grads = [np.ones_like(o) for o in outputs]
    back = getattr(CpuOps(np), f"{kind}_backward")
    assert back(*grads, x, *rest, outputs[0], cache, needs_x=False)[0] is None


@pytest.mark.parametrize("kind", BLOCKS)
def test_few_rows_are_like_many(kind):
    inputs = arrays(kind, 40, 6, 3, 21, dtype=np.float32)
    per_sample = {"lstm": (0, 4, 5), "gru": (0, 5), "rnn": (0, 4)}[kind]
    mask = some_mask(40, 6)
    ops = CpuOps(np)
    many = getattr(ops, kind)(*inputs, mask=mask, keep=False)[:-1]
    for n in (1, 2, 3, 4, 5):
        some = [a[:n] if i in per_sample else a for i, a in enumerate(inputs)]
        few = getattr(ops, kind)(*some, mask=mask[:n], keep=False)[:-1]
        for a, b in zip(few, many, strict=True):
            np.testing.assert_allclose(a, b[:n], rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", BLOCKS)
def test_on_the_strict_device(kind):
    inputs = arrays(kind, 3, 4, 2, 5)
    device = get_device("strict")
    mask = some_mask(3, 4)
    tensors = [Tensor(device.send(a), requires_grad=True) for a in inputs]
    y = run(kind, *tensors, mask=device.send(mask), reverse=True)
    backward(y, device.send(np.ones(y.shape)))
    here = [Tensor(a, requires_grad=True) for a in inputs]
    z = run(kind, *here, mask=mask, reverse=True)
    backward(z, np.ones(z.shape))
    np.testing.assert_allclose(y.numpy(), z.data)
    for a, b in zip(tensors, here, strict=True):
        np.testing.assert_allclose(device.receive(a.grad), b.grad)


# Layers -----------------------------------------------------------------------------------------

LAYERS = [
    LSTM(5, return_sequences=True),
    LSTM(5, go_backwards=True),
    GRU(4, return_sequences=True),
    GRU(4),
    SimpleRNN(6, return_sequences=True),
    SimpleRNN(6, "sigmoid"),
    Bidirectional(LSTM(3, return_sequences=True)),
    Bidirectional(GRU(3), "sum"),
    Bidirectional(SimpleRNN(3), "ave"),
    Bidirectional(SimpleRNN(3), "mul"),
]


@pytest.mark.parametrize("template", LAYERS, ids=repr)
@pytest.mark.parametrize("masked", [False, True])
def test_layers(template, masked):
    layer = layer_from_spec(template.spec())
    assert layer.spec() == template.spec()
    out = layer._build((6, 3), np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((4, 6, 3))
    mask = some_mask(4, 6) if masked else None
    y = layer(Tensor(x.astype(np.float32)), mask=mask)
    assert y.shape == (4, *out)
    check_layer(layer, x, mask=mask)


@pytest.mark.parametrize("make", [LSTM, GRU, SimpleRNN])
def test_states_go_on_where_they_ended(make):
    layer = make(5, return_sequences=True, return_state=True)
    layer._build((None, 3), np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((2, 7, 3)).astype(np.float32)
    whole = layer(Tensor(x))
    first = layer(Tensor(x[:, :4]))
    second = layer(Tensor(x[:, 4:]), initial_state=first[1:])
    joined = np.concatenate([first[0].data, second[0].data], axis=1)
    np.testing.assert_allclose(joined, whole[0].data, atol=1e-6)
    for a, b in zip(second[1:], whole[1:], strict=True):
        np.testing.assert_allclose(a.data, b.data, atol=1e-6)


@pytest.mark.parametrize("make", [LSTM, GRU, SimpleRNN])
@pytest.mark.parametrize("backwards", [False, True])
def test_step_by_step_is_the_same_walk(make, backwards):
    layer = make(4, return_sequences=True, recurrent_dropout=1e-12, go_backwards=backwards)
    layer._build((None, 3), np.random.default_rng(0))
    layer.astype(np.float64)
    x = Tensor(np.random.default_rng(1).standard_normal((2, 5, 3)))
    mask = some_mask(2, 5)
    slow = layer(x, Mode(training=True), mask=mask)
    fast = layer(x, mask=mask)
    np.testing.assert_allclose(slow.data, fast.data, atol=1e-10)


@pytest.mark.parametrize("make", [LSTM, GRU, SimpleRNN])
def test_dropout_changes_training_alone(make):
    layer = make(8, dropout=0.5, recurrent_dropout=0.5)
    layer._build((None, 6), np.random.default_rng(0))
    x = Tensor(np.ones((3, 4, 6), np.float32))
    still = layer(x).data
    np.testing.assert_array_equal(still, layer(x).data)
    moved = [layer(x, Mode(training=True, seed=1, step=s)).data for s in (0, 0, 1)]
    np.testing.assert_array_equal(moved[0], moved[1])
    assert not np.allclose(moved[0], moved[2])
    assert not np.allclose(moved[0], still)


def test_initial_values():
    layer = LSTM(5)
    layer._build((None, 3), np.random.default_rng(0))
    np.testing.assert_array_equal(layer.bias.data.reshape(4, 5).sum(axis=1), [0, 5, 0, 0])
    u = layer.recurrent_kernel.data
    np.testing.assert_allclose(u @ u.T, np.eye(5), atol=1e-6)
    plain = LSTM(5, unit_forget_bias=False)
    plain._build((None, 3), np.random.default_rng(0))
    assert not plain.bias.data.any()
    assert not layer.bias.decay
    assert layer.recurrent_kernel.decay


def test_masks_travel_through_a_chain():
    net = Sequential(
        [Embedding(9, 4, mask_zero=True), LSTM(5, return_sequences=True), GRU(3), Dense(1)]
    ).initialize((6,))
    short = np.array([[3, 1, 4]])
    long = np.array([[3, 1, 4, 0, 0, 0]])
    with no_grad():
        a, b = net(Tensor(long)).data, net(Tensor(np.pad(short, ((0, 0), (0, 3))))).data
        net.layers[0].mask_zero = False
        c = net(Tensor(long)).data
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c)


def test_bad_settings_and_inputs():
    with pytest.raises(ValueError, match="units of LSTM must be an int >= 1, got 0"):
        LSTM(0)
    with pytest.raises(ValueError, match="recurrent_dropout of GRU"):
        GRU(3, recurrent_dropout=1.0)
    with pytest.raises(ValueError, match="activation of SimpleRNN"):
        SimpleRNN(3, "gelu")
    with pytest.raises(ValueError, match="must be a recurrent layer, got Dense"):
        Bidirectional(Dense(3))
    with pytest.raises(ValueError, match="merge_mode"):
        Bidirectional(LSTM(3), "max")
    layer = LSTM(4)
    with pytest.raises(ValueError, match="takes inputs of 3 axes"):
        layer._build((3,), np.random.default_rng(0))
    layer._build((None, 3), np.random.default_rng(0))
    x = Tensor(np.zeros((2, 5, 3), np.float32))
    with pytest.raises(ValueError, match=r"expects mask of shape \(2, 5\), got \(2, 4\)"):
        layer(x, mask=np.ones((2, 4), bool))
    with pytest.raises(ValueError, match="initial_state of 2 arrays"):
        layer(x, initial_state=(Tensor(np.zeros((2, 4), np.float32)),))
    with pytest.raises(ValueError, match="expects inputs of shape"):
        layer(Tensor(np.zeros((2, 5, 4), np.float32)))


def test_an_lstm_learns_to_remember():
    """The sign of the first step of ten, which only a state can carry to the end."""
    from ironlearn.nn.losses import MeanSquaredError
    from ironlearn.nn.optimizers import Adam

    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 10, 1)).astype(np.float32)
    target = np.sign(x[:, 0])
    net = Sequential([LSTM(12), Dense(1)]).initialize((10, 1), random_state=0)
    optimizer = Adam(0.02).bind(net.parameters())
    losses = []
    for _ in range(150):
        loss = MeanSquaredError()(net(Tensor(x)), target)
        backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.data))
    assert losses[0] > 0.8
    assert losses[-1] < 0.3
