"""How good a regressor is: scores, and the points of its plots."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ironlearn.exceptions import InvalidParameterError

#: Most rows that a report keeps for its plots, evenly spaced.
MOST_POINTS = 400


@dataclass(frozen=True)
class RegressionReport:
    """What `evaluate` found for a regressor.

    Attributes
    ----------
    n_rows : int
        Number of rows.
    r2 : float or None
        Coefficient of determination; ``None`` for fewer than two rows.
    mae, rmse : float
        Mean absolute error and root of the mean squared error.
    pinball : float
        Mean pinball loss of `quantile`.
    quantile : float
        The quantile that the pinball loss is of; at 0.5 it is half the mean absolute error.
    bias : float
        Mean of predicted minus true values.
    true, predicted : list of float
        Up to 400 rows, evenly spaced, for plots.
    """

    n_rows: int
    r2: float | None
    mae: float
    rmse: float
    pinball: float
    quantile: float
    bias: float
    true: list[float]
    predicted: list[float]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"

    def to_text(self) -> str:
        """Return the scores as lines of text."""
        return "\n".join(f"{title:9}{value}" for title, value in self.facts())

    def facts(self) -> list[tuple[str, str]]:
        """Return titles and values as texts."""
        return [
            ("R²", "-" if self.r2 is None else f"{self.r2:.4f}"),
            ("MAE", f"{self.mae:.6g}"),
            ("RMSE", f"{self.rmse:.6g}"),
            ("pinball", f"{self.pinball:.6g} (quantile {self.quantile:g})"),
            ("bias", f"{self.bias:+.6g}"),
            ("rows", str(self.n_rows)),
        ]


def pinball_loss(y: ArrayLike, predicted: ArrayLike, *, quantile: float = 0.5) -> float:
    r"""Return the mean pinball loss of predictions of a quantile.

    .. math:: \frac{1}{n} \sum_i \max\bigl(\alpha (y_i - \hat y_i),
              (\alpha - 1)(y_i - \hat y_i)\bigr)

    Parameters
    ----------
    y, predicted : array-like of shape (n_samples,)
        True and predicted values.
    quantile : float, default=0.5
        The quantile alpha, between 0 and 1.

    Returns
    -------
    float
        The loss, which the true quantile minimises.

    Raises
    ------
    InvalidParameterError
        `quantile` is not between 0 and 1.

    References
    ----------
    R. Koenker and G. Bassett, "Regression Quantiles", Econometrica 46, 1978.

    Examples
    --------
    >>> from ironlearn.evaluation import pinball_loss
    >>> pinball_loss([1.0, 2.0], [2.0, 2.0], quantile=0.1)
    0.45
    """
    check_quantile(quantile)
    error = np.asarray(y, dtype=np.float64) - np.asarray(predicted, dtype=np.float64)
    return float(np.maximum(quantile * error, (quantile - 1) * error).mean())


def check_quantile(quantile: Any) -> float:
    """Return a quantile, or raise where it is none."""
    if (
        isinstance(quantile, bool)
        or not isinstance(quantile, float | int | np.number)
        or not 0 < quantile < 1
    ):
        raise InvalidParameterError(f"quantile must be between 0 and 1, got {quantile!r}.")
    return float(quantile)


def regression_scores(
    y: NDArray[Any], predicted: NDArray[Any], quantile: float = 0.5
) -> dict[str, float]:
    """Return the numbers that a comparison has for each split.

    R² of true values that are all the same is 1 for right predictions, else 0, as in
    scikit-learn.
    """
    y, predicted = y.astype(np.float64), predicted.astype(np.float64)
    error = y - predicted
    squares = float((error**2).sum())
    total = float(((y - y.mean()) ** 2).sum())
    r2 = 1 - squares / total if total > 0 else float(squares == 0)
    return {
        "r2": r2,
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(squares / len(y))),
        "pinball": pinball_loss(y, predicted, quantile=quantile),
    }


def regression_report(
    y: NDArray[Any], predicted: NDArray[Any], quantile: float = 0.5
) -> RegressionReport:
    """Report on given predictions.

    Parameters
    ----------
    y, predicted : ndarray of shape (n_samples,)
        True and predicted values.
    quantile : float, default=0.5
        The quantile of the pinball loss.
    """
    scores: dict[str, Any] = dict(regression_scores(y, predicted, quantile))
    if len(y) < 2:
        scores["r2"] = None
    shown = np.unique(np.linspace(0, len(y) - 1, min(len(y), MOST_POINTS)).astype(np.intp))
    return RegressionReport(
        n_rows=len(y),
        **scores,
        quantile=quantile,
        bias=float((predicted - y).mean()),
        true=_short(y[shown]),
        predicted=_short(predicted[shown]),
    )


def _short(values: NDArray[Any]) -> list[float]:
    """Return numbers with as many digits as a plot can show."""
    return [float(f"{value:.6g}") for value in values.tolist()]
