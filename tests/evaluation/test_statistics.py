"""The corrected paired test against numbers worked out by hand and by other means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ironlearn.evaluation import corrected_paired_test, holm


def test_by_hand() -> None:
    # d = 0.1, 0.2, 0.3: mean 0.2, variance 0.01; t = 0.2 / sqrt((1/3 + 1/2) 0.01) = 2.1909;
    # with two degrees of freedom P(|T| > t) = 1 - t / sqrt(t^2 + 2) = 1 - sqrt(4.8 / 6.8).
    test = corrected_paired_test([0.6, 0.8, 1.0], [0.5, 0.6, 0.7], n_train=100, n_test=50)
    assert test.difference == pytest.approx(0.2)
    assert test.statistic == pytest.approx(np.sqrt(4.8))
    assert test.degrees == 2
    assert test.p_value == pytest.approx(1 - np.sqrt(4.8 / 6.8))
    # t(0.975, 2) = 4.302653
    half = 4.302652729911275 * 0.2 / np.sqrt(4.8)
    assert test.interval == pytest.approx((0.2 - half, 0.2 + half))


def test_without_test_rows_it_is_the_plain_paired_test() -> None:
    rng = np.random.RandomState(0)
    a, b = rng.rand(10), rng.rand(10)
    test = corrected_paired_test(a, b, n_train=1e12, n_test=1e-3)
    plain = stats.ttest_rel(a, b)
    assert test.statistic == pytest.approx(plain.statistic)
    assert test.p_value == pytest.approx(plain.pvalue)


def test_equal_and_constant_differences() -> None:
    same = corrected_paired_test([0.5, 0.7], [0.5, 0.7], n_train=2, n_test=1)
    assert (same.difference, same.statistic, same.p_value) == (0.0, 0.0, 1.0)
    # 0.3 - 0.2 and 0.4 - 0.3 differ by rounding alone.
    constant = corrected_paired_test([0.3, 0.4], [0.2, 0.3], n_train=2, n_test=1)
    assert constant.statistic == np.inf
    assert constant.p_value == 0.0


@pytest.mark.parametrize(
    ("a", "b", "n_test", "words"),
    [
        ([1.0], [1.0], 1, "at least 2"),
        ([1.0, 2.0], [1.0], 1, "one length"),
        ([1.0, np.nan], [1.0, 2.0], 1, "finite"),
        ([1.0, 2.0], [1.0, 2.0], 0, "n_train and n_test must be positive"),
    ],
)
def test_bad_input(a: list[float], b: list[float], n_test: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        corrected_paired_test(a, b, n_train=3, n_test=n_test)


def test_the_correction_keeps_the_error_rate() -> None:
    """On overlapping training sets of equal models the plain test is far too sure."""
    rng = np.random.RandomState(0)
    wrong = plain = 0
    rounds, n = 400, 60
    for _ in range(rounds):
        # Two guessing models: the score of a split depends on its test rows, and splits that
        # share rows give correlated scores, as 15 repeats of random halves do.
        right = rng.rand(2, n) < 0.5
        scores = np.array(
            [
                right[:, rows].mean(axis=1)
                for rows in (rng.permutation(n)[: n // 2] for _ in range(15))
            ]
        )
        wrong += corrected_paired_test(*scores.T, n_train=n / 2, n_test=n / 2).p_value < 0.05
        plain += stats.ttest_rel(*scores.T).pvalue < 0.05
    assert wrong / rounds < 0.12
    assert plain / rounds > 0.3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_monotone_and_above_the_plain_values(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(a >= q for a, q in zip(adjusted, p, strict=True))
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
    assert max(adjusted) <= 1.0
    assert min(adjusted) == min(1.0, len(p) * min(p))


def test_holm_example() -> None:
    assert holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm([]) == []
