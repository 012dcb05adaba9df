"""From windows of a series to what a network reads, and from its outputs to forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ironlearn import _modelfile
from ironlearn.exceptions import ModelFileError
from ironlearn.series._baselines import Ridge, seasonal_naive
from ironlearn.series._differencing import difference, integrate
from ironlearn.series._scaling import Scaler
from ironlearn.series._windows import pairs

_Array = NDArray[np.float64]

SKIPS = ("none", "last", "seasonal")
#: Runs of windows for `linear_errors`.
_FOLDS = 5
#: Held-out windows side by side that it takes to trust the network halfway.
_DOUBT = 2.0


@dataclass(frozen=True)
class Settings:
    """What a pipeline does, before anything is learned.

    Attributes
    ----------
    window, horizon : int
        Steps read, steps forecast.
    log : bool
        Work on logarithms.
    lags : tuple of int
        Differences to take.
    scaling : str or None
        Kind of `Scaler`.
    skip : {"none", "last", "seasonal"}
        What the network corrects.
    linear : bool
        Average the network's forecast with that of a linear map.
    shared : bool
        One network for each series, with the same weights.
    segment : int
        Steps that the network reads at once.
    period : int
        Steps of a season.
    known : tuple of int
        Columns of the exogenous inputs that are known ahead.
    """

    window: int
    horizon: int
    log: bool = False
    lags: tuple[int, ...] = ()
    scaling: str | None = "standard"
    skip: str = "none"
    linear: bool = True
    shared: bool = False
    segment: int = 1
    period: int = 1
    known: tuple[int, ...] = ()

    @property
    def context(self) -> int:
        """Steps of the past that a forecast needs."""
        return self.window + sum(self.lags)


@dataclass(frozen=True)
class Windows:
    """Scaled windows: of the past, of exogenous inputs, and of those known ahead.

    Attributes
    ----------
    past : ndarray of shape (n, window, columns)
    inputs : ndarray of shape (n, window, exogenous columns)
    ahead : ndarray of shape (n, horizon, known columns)
    """

    past: _Array
    inputs: _Array
    ahead: _Array

    def rows(self, chosen: Any) -> Windows:
        """Return some of the windows."""
        return Windows(self.past[chosen], self.inputs[chosen], self.ahead[chosen])


@dataclass(frozen=True)
class Pipeline:
    """Settings with what was learned for them from training steps.

    Attributes
    ----------
    settings : Settings
    scaler : Scaler
        Of the series, after logarithm and differences.
    input_scaler : Scaler
        Of the exogenous inputs.
    coef : ndarray of shape (columns, features, horizon)
        The linear map of each series' own window; without features if there is none.
    intercept : ndarray of shape (columns, horizon)
    spread : ndarray of shape (columns,)
        Deviation of what the network has to add to what it corrects: the unit of its outputs.
    blend : ndarray of shape (columns,)
        Share of the network in the average with the linear map.
    """

    settings: Settings
    scaler: Scaler
    input_scaler: Scaler
    coef: _Array
    intercept: _Array
    spread: _Array
    blend: _Array

    # Learning ---------------------------------------------------------------------------------

    @classmethod
    def learn(
        cls, settings: Settings, levels: _Array, inputs: _Array
    ) -> tuple[Self, Windows, _Array]:
        """Learn from all windows of training steps.

        Parameters
        ----------
        settings : Settings
        levels : ndarray of shape (steps, columns)
            From `to_levels`.
        inputs : ndarray of shape (steps, exogenous columns)

        Returns
        -------
        pipeline : Pipeline
        windows : Windows
            The training windows.
        goal : ndarray of shape (n, horizon, columns)
            The steps after them, scaled.
        """
        s = settings
        changes = difference(levels[None], s.lags)[0]
        scaler = Scaler.learn(changes, s.scaling)
        input_scaler = Scaler.learn(inputs, s.scaling)
        past, goal = pairs(scaler.apply(changes), s.window, s.horizon)
        own = input_scaler.apply(inputs)[sum(s.lags) :]
        before, ahead = pairs(own, s.window, s.horizon)
        windows = Windows(past, before, ahead[:, :, list(s.known)])
        columns = range(levels.shape[1])
        coef = np.zeros((len(columns), 0, s.horizon))
        intercept = np.zeros((len(columns), s.horizon))
        if s.linear:
            maps = [Ridge.learn(_features(windows, c), goal[:, :, c]) for c in columns]
            coef = np.stack([m.coef for m in maps])
            intercept = np.stack([m.intercept for m in maps])
        ones = np.ones(len(columns))
        self = cls(s, scaler, input_scaler, coef, intercept, ones, ones)
        spread = np.sqrt(np.mean((goal - self.base(windows)) ** 2, axis=(0, 1)))
        return replace(self, spread=np.where(spread > 1e-9, spread, 1.0)), windows, goal

    # Applying ---------------------------------------------------------------------------------

    def to_levels(self, y: _Array) -> _Array:
        """Return the series on the scale that errors are taken on."""
        return np.log(y) if self.settings.log else y

    def from_levels(self, levels: _Array) -> _Array:
        """Return what `to_levels` was given."""
        return np.exp(levels) if self.settings.log else levels

    def windows(self, levels: _Array, inputs: _Array, ahead: _Array) -> Windows:
        """Return windows as they are learned from.

        Parameters
        ----------
        levels : ndarray of shape (n, context, columns)
        inputs : ndarray of shape (n, context, exogenous columns)
        ahead : ndarray of shape (n, horizon, known columns)
        """
        s = self.settings
        past = self.scaler.apply(difference(levels, s.lags))
        known = list(s.known)
        scaler = self.input_scaler
        scaled = (ahead - scaler.centre[known]) / scaler.scale[known]
        return Windows(past, scaler.apply(inputs)[:, sum(s.lags) :], scaled)

    def base(self, windows: Windows) -> _Array:
        """Return what the network corrects, scaled, (n, horizon, columns)."""
        s = self.settings
        if s.skip == "none":
            return np.zeros((len(windows.past), s.horizon, windows.past.shape[2]))
        return seasonal_naive(windows.past, s.period if s.skip == "seasonal" else 1, s.horizon)

    def lines(self, windows: Windows) -> _Array:
        """Return the forecasts of the linear maps, scaled, (n, horizon, columns)."""
        parts = [
            _features(windows, c) @ self.coef[c] + self.intercept[c]
            for c in range(windows.past.shape[2])
        ]
        return np.stack(parts, axis=2)

    def targets(self, windows: Windows, goal: _Array) -> NDArray[np.float32]:
        """Return what the network shall give for `goal`, (samples, outputs)."""
        rest = (goal - self.base(windows)) / self.spread
        if self.settings.shared:
            rest = rest.transpose(2, 0, 1).reshape(-1, rest.shape[1])
        return rest.reshape(len(rest), -1).astype(np.float32)

    def from_targets(self, outputs: NDArray[Any], n: int) -> _Array:
        """Return the network's outputs for `n` windows as forecasts, (n, horizon, columns)."""
        horizon = self.settings.horizon
        if self.settings.shared:
            rest = outputs.reshape(-1, n, horizon).transpose(1, 2, 0)
        else:
            rest = outputs.reshape(n, horizon, -1)
        return rest.astype(np.float64) * self.spread

    @property
    def network_shape(self) -> tuple[int, int]:
        """Steps and channels that the network reads."""
        s = self.settings
        series = 1 if s.shared else len(self.scaler.centre)
        channels = series + len(self.input_scaler.centre) + bool(s.known)
        return (s.window + (s.horizon if s.known else 0)) // s.segment, channels * s.segment

    def network_inputs(self, windows: Windows) -> NDArray[np.float32]:
        """Return sequences for the network, of shape (samples, *network_shape).

        Channels are the series and the exogenous inputs. Where some of those are known ahead, the
        sequence goes on over the horizon with what is known, and a last channel tells past and
        future apart. If the network corrects the last value, it reads the series relative to that.
        Series that share a network are samples one after the other.
        """
        s = self.settings
        n, _, columns = windows.past.shape
        past = windows.past - windows.past[:, -1:] if s.skip == "last" else windows.past
        width = 1 if s.shared else columns
        exogenous = windows.inputs.shape[2]
        steps = s.window + (s.horizon if s.known else 0)
        whole = np.zeros((n, steps, width + exogenous + bool(s.known)), dtype=np.float32)
        whole[:, : s.window, width : width + exogenous] = windows.inputs
        if s.known:
            whole[:, s.window :, [width + j for j in s.known]] = windows.ahead
            whole[:, s.window :, -1] = 1.0
        parts = []
        for c in range(columns if s.shared else 1):
            part = whole.copy() if s.shared else whole
            part[:, : s.window, :width] = past[:, :, c : c + width]
            parts.append(part.reshape(n, *self.network_shape))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def scaled(self, windows: Windows, outputs: NDArray[Any]) -> _Array:
        """Return scaled forecasts, (n, horizon, columns), of the network's outputs."""
        own = self.base(windows) + self.from_targets(outputs, len(windows.past))
        if not self.settings.linear:
            return own
        return self.blend * own + (1.0 - self.blend) * self.lines(windows)

    def forecast(self, windows: Windows, outputs: NDArray[Any], levels: _Array) -> _Array:
        """Return forecasts on the scale of `levels`, the past (n, context, columns)."""
        changes = self.scaler.undo(self.scaled(windows, outputs))
        if not self.settings.lags:
            return changes
        return integrate(changes, levels, self.settings.lags)

    def blended(self, windows: Windows, outputs: NDArray[Any], goal: _Array) -> Self:
        """Return the pipeline with the share of the network that forecasts held-out windows best.

        The share is within [0, 1]. As windows that overlap tell little more than one, it is
        m / (m + 2) of what fits best, for m windows side by side.
        """
        if not self.settings.linear:
            return self
        lines = self.lines(windows)
        apart = self.base(windows) + self.from_targets(outputs, len(goal)) - lines
        power = (apart**2).sum(axis=(0, 1))
        share = (apart * (goal - lines)).sum(axis=(0, 1)) / np.where(power > 0, power, 1.0)
        side_by_side = len(goal) / self.settings.horizon
        trust = side_by_side / (side_by_side + _DOUBT)
        return replace(self, blend=np.clip(share, 0.0, 1.0) * trust)

    # Files ------------------------------------------------------------------------------------

    def pack(self, tensors: _modelfile.Tensors) -> dict[str, Any]:
        """Store the arrays in `tensors`; return the rest as JSON values."""
        for name, scaler in (("scaler", self.scaler), ("input_scaler", self.input_scaler)):
            tensors[f"{name}.centre"], tensors[f"{name}.scale"] = scaler.centre, scaler.scale
        for name in ("coef", "intercept", "spread", "blend"):
            tensors[name] = getattr(self, name)
        s = self.settings
        return {
            "window": s.window,
            "horizon": s.horizon,
            "log": s.log,
            "lags": list(s.lags),
            "scaling": s.scaling,
            "skip": s.skip,
            "linear": s.linear,
            "shared": s.shared,
            "segment": s.segment,
            "period": s.period,
            "known": list(s.known),
        }

    @classmethod
    def unpack(cls, described: Mapping[str, Any], tensors: _modelfile.Tensors) -> Self:
        """Return what `pack` stored.

        Raises
        ------
        ModelFileError
            Settings or arrays do not fit each other.
        """
        for name in ("window", "horizon", "period", "segment"):
            if type(described[name]) is not int or not 1 <= described[name] < 1 << 31:
                raise ModelFileError(f"{name} is {described[name]!r}, no number of steps.")
        for name in ("lags", "known"):
            low = 1 if name == "lags" else 0
            if any(type(v) is not int or not low <= v < 1 << 31 for v in described[name]):
                raise ModelFileError(f"{name} is {described[name]!r}.")
        if described["skip"] not in SKIPS:
            raise ModelFileError(f"skip is {described['skip']!r}.")
        settings = Settings(
            window=described["window"],
            horizon=described["horizon"],
            log=bool(described["log"]),
            lags=tuple(described["lags"]),
            scaling=described["scaling"],
            skip=described["skip"],
            linear=bool(described["linear"]),
            shared=bool(described["shared"]),
            segment=described["segment"],
            period=described["period"],
            known=tuple(described["known"]),
        )
        scalers = {}
        for name in ("scaler", "input_scaler"):
            centre, scale = tensors[f"{name}.centre"], tensors[f"{name}.scale"]
            for part, value in (("centre", centre), ("scale", scale)):
                _modelfile.check_floats(f"{name}.{part}", value, (centre.shape[0],))
            if not (scale > 0).all():
                raise ModelFileError(f"{name} has a scale that is not positive.")
            scalers[name] = Scaler(centre, scale)
        columns, inputs = len(scalers["scaler"].centre), len(scalers["input_scaler"].centre)
        if any(j >= inputs for j in settings.known):
            raise ModelFileError("a column that is known ahead is outside of the inputs.")
        if settings.window % settings.segment or (
            settings.known and settings.horizon % settings.segment
        ):
            raise ModelFileError("segments do not fill the window.")
        features = settings.window * (1 + inputs) + settings.horizon * len(settings.known)
        shapes = {
            "coef": (columns, features if settings.linear else 0, settings.horizon),
            "intercept": (columns, settings.horizon),
            "spread": (columns,),
            "blend": (columns,),
        }
        for name, shape in shapes.items():
            _modelfile.check_floats(name, tensors[name], shape)
        return cls(
            settings,
            scalers["scaler"],
            scalers["input_scaler"],
            *(tensors[name] for name in shapes),
        )


def _features(windows: Windows, column: int) -> _Array:
    """Return what the linear map of one series reads: its window, and all exogenous inputs."""
    n = len(windows.past)
    parts = [
        windows.past[:, :, column],
        windows.inputs.reshape(n, -1),
        windows.ahead.reshape(n, -1),
    ]
    return np.concatenate(parts, axis=1)


def linear_errors(settings: Settings, levels: _Array, inputs: _Array) -> _Array:
    """Return errors of linear maps on windows that they were not learned from, as levels.

    Windows are cut into runs; the maps for a run are learned from the others, without windows that
    share steps with its targets.

    Returns
    -------
    ndarray of shape (n, horizon, columns)
    """
    pipeline, windows, goal = Pipeline.learn(replace(settings, linear=False), levels, inputs)
    n, horizon, columns = goal.shape
    errors = np.empty_like(goal)
    folds = min(_FOLDS, n)
    bounds = [n * k // folds for k in range(folds + 1)]
    for c in range(columns):
        X, Y = _features(windows, c), goal[:, :, c]
        for start, stop in pairwise(bounds):
            seen = np.r_[0 : max(0, start - horizon + 1), min(n, stop + horizon - 1) : n]
            if len(seen) < 2:
                seen = np.arange(n)
            part = Ridge.learn(X[seen], Y[seen])
            errors[start:stop, :, c] = Y[start:stop] - part.predict(X[start:stop])
    return errors * pipeline.scaler.scale


def held_out(
    pipeline: Pipeline, levels: _Array, inputs: _Array, end: int
) -> tuple[Windows, _Array, _Array, _Array]:
    """Return all windows whose targets lie in steps from `end` on.

    Returns
    -------
    windows : Windows
    goal : ndarray of shape (n, horizon, columns)
        The steps after each, scaled.
    before, after : ndarray of shape (n, context, columns) and (n, horizon, columns)
        The same past and future as levels.
    """
    s = pipeline.settings
    before, after = pairs(levels[end - s.context :], s.context, s.horizon)
    inputs_before, inputs_after = pairs(inputs[end - s.context :], s.context, s.horizon)
    windows = pipeline.windows(before, inputs_before, inputs_after[:, :, list(s.known)])
    changes = difference(np.concatenate([before, after], axis=1), s.lags)
    return windows, pipeline.scaler.apply(changes[:, -s.horizon :]), before, after
