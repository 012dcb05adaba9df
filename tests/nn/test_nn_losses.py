"""Losses: values against plain formulas, gradients, weights, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ironlearn.nn.autograd import Tensor, backward
from ironlearn.nn.backend import get_device
from ironlearn.nn.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    FocalLoss,
    Hinge,
    Huber,
    KLDivergence,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Quantile,
    Wasserstein,
    get_loss,
)
from ironlearn.nn.pair_losses import BPR, CapsuleMargin, Contrastive
from ironlearn.nn.sequence_losses import CTC
from nn.gradcheck import check_gradients

RNG = np.random.default_rng(3)
LOGITS = RNG.standard_normal((5, 4))
CODES = np.array([0, 3, 1, 1, 2])
STEPS = RNG.standard_normal((3, 6, 4))
SPELLED = np.array([[1, 2, 2], [3, -1, -1], [1, 3, -1]])
PROBABILITIES = np.array([[0.2, 0.8, 0.0, 0.0]] * 5)

CASES: dict[str, tuple[Loss, np.ndarray[Any, Any], Any]] = {
    "cross_entropy": (CrossEntropy(), LOGITS, CODES),
    "cross_entropy smooth": (CrossEntropy(0.2), LOGITS, CODES),
    "cross_entropy steps": (
        CrossEntropy(),
        STEPS,
        np.array([[0, 1, 2, 3, -1, -1], [1] * 6, [-1] * 6]),
    ),
    "binary": (BinaryCrossEntropy(0.1), LOGITS[:, :1], np.array([0, 1, 1, 0, 1])),
    "binary many": (BinaryCrossEntropy(), LOGITS, (LOGITS > 0.3).astype(int)),
    "focal": (FocalLoss(1.5), LOGITS, CODES),
    "focal binary": (FocalLoss(), LOGITS[:, 0], np.array([0, 1, 1, 0, 1])),
    "mse": (MeanSquaredError(), LOGITS, LOGITS[::-1]),
    "mae": (MeanAbsoluteError(), LOGITS, LOGITS[::-1] + 0.1),
    "huber": (Huber(0.7), LOGITS, LOGITS[::-1]),
    "hinge": (Hinge(), LOGITS[:, 0], np.array([1, -1, 1, 1, -1])),
    "wasserstein": (Wasserstein(), LOGITS[:, :1], np.array([1, -1, 1, 1, -1])),
    "kl": (KLDivergence(2.0), LOGITS, PROBABILITIES),
    "quantile": (Quantile((0.1, 0.5, 0.5, 0.9)), LOGITS, LOGITS[::-1] + 0.1),
    "contrastive": (Contrastive(0.8), np.abs(LOGITS[:, 0]), np.array([1, 0, 1, 0, 0])),
    "bpr": (BPR(), LOGITS[:, :2], np.zeros(5)),
    "capsule": (CapsuleMargin(), np.abs(LOGITS) / 3, CODES),
    "ctc": (CTC(), STEPS, SPELLED),
    "ctc lengths": (CTC(blank=3), STEPS, (np.array([[1], [0], [-1]]), np.array([6, 3, 2]))),
}


@pytest.mark.parametrize("case", CASES)
def test_gradient(case: str) -> None:
    loss, outputs, targets = CASES[case]
    check_gradients(lambda x: loss.per_sample(x, targets), [outputs])


@pytest.mark.parametrize("case", CASES)
def test_one_number_a_sample_and_their_weighted_mean(case: str) -> None:
    loss, outputs, targets = CASES[case]
    each = loss.per_sample(Tensor(outputs), targets).data
    assert each.shape == (len(outputs),)
    np.testing.assert_allclose(loss(Tensor(outputs), targets).data, each.mean())
    weights = np.arange(len(outputs), dtype=float)
    weighted = loss(Tensor(outputs), targets, weights).data
    np.testing.assert_allclose(weighted, np.average(each, weights=weights))
    assert loss(Tensor(outputs), targets, np.zeros(len(outputs))).data == 0


@pytest.mark.parametrize("case", CASES)
def test_float32_and_the_strict_device(case: str) -> None:
    loss, outputs, targets = CASES[case]
    exact = loss(Tensor(outputs), targets).data
    strict = get_device("strict")

    def send(value: Any) -> Any:
        return tuple(map(strict.send, value)) if isinstance(value, tuple) else strict.send(value)

    x = Tensor(strict.send(outputs.astype(np.float32)), requires_grad=True)
    y = loss(x, send(targets))
    backward(y)
    assert y.dtype == np.float32
    assert x.grad is not None
    assert x.grad.dtype == np.float32
    np.testing.assert_allclose(strict.receive(y.data), exact, rtol=2e-5)


def test_ctc_sums_over_all_alignments() -> None:
    rng = np.random.default_rng(0)
    steps, classes = 4, 3
    logits = rng.standard_normal((1, steps, classes))
    p = np.exp(logits[0]) / np.exp(logits[0]).sum(axis=1, keepdims=True)
    for target in ([1], [1, 2], [1, 1], [2, 1, 2]):
        total = 0.0
        for path in np.ndindex(*([classes] * steps)):
            spelled = [c for i, c in enumerate(path) if c and (i == 0 or path[i - 1] != c)]
            if spelled == target:
                total += float(np.prod([p[i, c] for i, c in enumerate(path)]))
        loss = CTC().per_sample(Tensor(logits), np.array([target])).data
        np.testing.assert_allclose(loss, -np.log(total))


def test_ctc_ignores_what_cannot_be_spelled() -> None:
    x = Tensor(STEPS[:1, :2], requires_grad=True)
    y = CTC().per_sample(x, np.array([[1, 1]]))
    backward(y, np.ones(1))
    assert y.data == 0
    assert not x.grad.any()  # type: ignore[union-attr]


def test_extreme_logits_stay_finite() -> None:
    x = Tensor(np.array([[1e4, -1e4]], np.float32), requires_grad=True)
    for loss, target in ((CrossEntropy(), np.array([1])), (BinaryCrossEntropy(), np.eye(2)[1:])):
        x.grad = None
        backward(loss(x, target))
        assert np.isfinite(x.grad).all()


def test_names() -> None:
    assert isinstance(get_loss("mse"), MeanSquaredError)
    assert get_loss("ctc", blank=2).config() == {"blank": 2}
    with pytest.raises(ValueError, match=r"loss must be one of cross_entropy.*got 'l2'"):
        get_loss("l2")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossEntropy(1.0), r"label_smoothing must be in \[0, 1\), got 1.0"),
        (lambda: FocalLoss(-1), "gamma must be a number >= 0, got -1"),
        (lambda: Huber(0), "delta must be a number > 0, got 0"),
        (lambda: KLDivergence(0), "temperature must be a number > 0, got 0"),
        (lambda: Quantile((0.5, 1.0)), r"quantiles must lie in \(0, 1\)"),
        (lambda: Contrastive(0), "margin must be a number > 0"),
        (lambda: CapsuleMargin(0.1, 0.9), "lower and upper must satisfy"),
        (lambda: CTC(-1), "blank must be an int >= 0, got -1"),
    ],
)
def test_settings_are_checked(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "message"),
    [
        (CrossEntropy(), np.zeros((2, 3)), np.zeros((2, 3)), r"got \(2, 3\) and \(2, 3\)"),
        (MeanSquaredError(), np.zeros((2, 3)), np.zeros(2), r"shape \(2, 3\), got \(2,\)"),
        (BinaryCrossEntropy(), np.zeros((2, 3)), np.zeros((3, 2)), r"\(2, 3\), got \(3, 2\)"),
        (BPR(), np.zeros((2, 3)), np.zeros(2), r"shape \(N, 2\), got \(2, 3\)"),
        (CTC(9), np.zeros((1, 2, 3)), np.zeros((1, 1), int), "blank=9 is no class of 3"),
        (CTC(), np.zeros((1, 3)), np.zeros((1, 1), int), r"outputs \(N, T, C\)"),
    ],
)
def test_shapes_are_checked(loss: Loss, outputs: Any, targets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss(Tensor(outputs), targets)
