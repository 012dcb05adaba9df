"""Which differences between two models are real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student


@dataclass(frozen=True)
class PairedTest:
    """Outcome of a paired test over the splits of a cross-validation.

    Attributes
    ----------
    difference : float
        Mean of the differences.
    statistic : float
        Student's t; infinite where all differences are equal and not zero.
    degrees : int
        Degrees of freedom.
    p_value : float
        Probability of such a difference, of either sign, if there were none.
    interval : (float, float)
        Where the difference lies with 95 % confidence.
    """

    difference: float
    statistic: float
    degrees: int
    p_value: float
    interval: tuple[float, float]


def corrected_paired_test(
    first: ArrayLike, second: ArrayLike, *, n_train: float, n_test: float
) -> PairedTest:
    r"""Test whether two models differ, given their scores on the same splits.

    With differences :math:`d_1, ..., d_J` of mean :math:`\bar d` and variance
    :math:`\hat\sigma^2` (over :math:`J - 1`),

    .. math:: t = \bar d \Big/ \sqrt{(1/J + n_{test}/n_{train})\, \hat\sigma^2}

    has about Student's distribution with :math:`J - 1` degrees of freedom. The second term
    makes up for the overlap of the training sets, which the plain test ignores.

    Parameters
    ----------
    first, second : array-like of shape (n_splits,)
        The scores of the models, split by split.
    n_train, n_test : float
        Numbers of rows of the training and test sets.

    Returns
    -------
    PairedTest
        The difference ``first - second`` and how sure it is.

    Raises
    ------
    ValueError
        The scores differ in length, are fewer than two or not finite, or a size is not
        positive.

    References
    ----------
    C. Nadeau and Y. Bengio, "Inference for the Generalization Error", Machine Learning 52,
    2003.

    Examples
    --------
    >>> from ironlearn.evaluation import corrected_paired_test
    >>> test = corrected_paired_test([0.9, 0.8, 1.0], [0.6, 0.6, 0.6], n_train=90, n_test=45)
    >>> round(test.difference, 3), round(test.statistic, 3), test.degrees
    (0.3, 3.286, 2)
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape or len(a) < 2:
        raise ValueError(
            f"first and second must be vectors of one length of at least 2, got shapes {a.shape} "
            f"and {b.shape}."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("first and second must be finite.")
    if not (n_train > 0 and n_test > 0):
        raise ValueError(f"n_train and n_test must be positive, got {n_train} and {n_test}.")
    d = a - b
    j = len(d)
    mean = float(d.mean())
    # Rounding of equal differences is no variance.
    tiny = 4 * np.finfo(np.float64).eps * float(np.maximum(np.abs(a), np.abs(b)).max())
    spread = float(d.std(ddof=1))
    if spread <= tiny:
        same = abs(mean) <= tiny
        return PairedTest(
            0.0 if same else mean,
            0.0 if same else float(np.copysign(np.inf, mean)),
            j - 1,
            1.0 if same else 0.0,
            (0.0, 0.0) if same else (mean, mean),
        )
    error = spread * float(np.sqrt(1 / j + n_test / n_train))
    statistic = mean / error
    half = float(student.ppf(0.975, j - 1)) * error
    p_value = float(2 * student.sf(abs(statistic), j - 1))
    return PairedTest(mean, statistic, j - 1, p_value, (mean - half, mean + half))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of a family of tests by Holm's step-down method.

    Parameters
    ----------
    p_values : sequence of float
        The p-values of the tests.

    Returns
    -------
    list of float
        Adjusted values in the same order: rejecting those below a level keeps the
        probability of any false rejection below it.

    References
    ----------
    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
    of Statistics 6, 1979.

    Examples
    --------
    >>> from ironlearn.evaluation import holm
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted
