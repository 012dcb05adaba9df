"""Recurrent layers in plans, against the tape."""

from __future__ import annotations

import numpy as np
import pytest

from ironlearn.nn import losses, optimizers
from ironlearn.nn.layers import (
    GRU,
    LSTM,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    Sequential,
    SimpleRNN,
)
from ironlearn.nn.plan import lower
from nn.test_nn_plan import build, compare, samples

STACKS = {
    "lstm": lambda: [LSTM(9, return_sequences=True), LSTM(7), Dense(3)],
    "gru": lambda: [GRU(9, return_sequences=True), Dropout(0.3), GRU(5), Dense(3)],
    "simple": lambda: [SimpleRNN(6, return_sequences=True), SimpleRNN(5, "relu"), Dense(3)],
    "backwards": lambda: [LSTM(5, go_backwards=True, return_sequences=True), GRU(4), Dense(3)],
}


@pytest.mark.parametrize("name", STACKS)
def test_agrees_with_the_tape(name):
    net = build(STACKS[name](), (6, 4))
    x, y, weights = samples((6, 4))
    plan = compare(net, losses.CrossEntropy(), lambda: optimizers.SGD(0.05), x, y, weights=weights)
    assert plan.predict(x[:1]).shape == (1, 3)


@pytest.mark.parametrize("mask_zero", [False, True])
@pytest.mark.parametrize("ends", [False, True])
def test_masks_agree_with_the_tape(mask_zero, ends):
    # A convolution ends the mask: the layer behind it takes every step.
    middle = [Conv1D(5, 3, padding="same")] if ends else [GRU(5, return_sequences=True)]
    net = build([Embedding(30, 8, mask_zero=mask_zero), *middle, LSTM(6), Dense(3)], (9,))
    rng = np.random.default_rng(2)
    x = rng.integers(0, 30, (90, 9)).astype(np.int32)
    x[np.arange(9) >= rng.integers(0, 10, 90)[:, None]] = 0
    compare(net, losses.CrossEntropy(), lambda: optimizers.SGD(0.1), x, rng.integers(0, 3, 90))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (LSTM(3, dropout=0.1), "drops"),
        (GRU(3, recurrent_dropout=0.1), "drops"),
        (SimpleRNN(3, "sigmoid"), "activation sigmoid"),
        (LSTM(300), "so large"),
        (Bidirectional(LSTM(3)), "no lowering"),
    ],
)
def test_what_has_no_lowering_says_why(layer, reason):
    net = Sequential([layer, Dense(3)]).initialize((4, 2))
    plan, given = lower(net, losses.CrossEntropy(), optimizers.SGD().bind(net.parameters()))
    assert plan is None
    assert reason in given
