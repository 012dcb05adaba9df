"""A fitted forecaster: pipeline, network and held-out errors. Needs no scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ironlearn import _modelfile
from ironlearn.exceptions import InvalidParameterError, ModelFileError
from ironlearn.nn.inference import predict
from ironlearn.nn.layers.base import Layer
from ironlearn.nn.state import network_from, network_state
from ironlearn.series._frames import Series, dressed, read, same_columns
from ironlearn.series._intervals import half_widths
from ironlearn.series._pipeline import Pipeline, Windows

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Forecaster:
    """What `LSTMForecaster` learned.

    Attributes
    ----------
    pipeline : Pipeline
    network : Layer
    errors : ndarray of shape (n, horizon, columns)
        Errors on held-out windows, on the scale of levels, of a network that did not see them.
    series : Series
        The end of the training series, as long as a forecast needs.
    inputs : Series or None
        The exogenous inputs of the same steps.
    """

    pipeline: Pipeline
    network: Layer
    errors: _Array
    series: Series
    inputs: Series | None

    def many(self, y: _Array, inputs: _Array, ahead: _Array, device: Any = "cpu") -> _Array:
        """Return forecasts of shape (n, horizon, columns) on the scale of levels.

        Parameters
        ----------
        y : ndarray of shape (n, context, columns)
            The pasts, as the series is.
        inputs : ndarray of shape (n, context, exogenous columns)
        ahead : ndarray of shape (n, horizon, known columns)
        """
        levels = self.pipeline.to_levels(y)
        windows = self.pipeline.windows(levels, inputs, ahead)
        outputs = network_outputs(self.network, self.pipeline, windows, device)
        return self.pipeline.forecast(windows, outputs, levels)

    # Requests ---------------------------------------------------------------------------------

    def predict(
        self,
        horizon: int | None = None,
        y: Any = None,
        X: Any = None,
        X_future: Any = None,
        device: Any = "cpu",
    ) -> Any:
        """Return the forecast in the form of the series; see `LSTMForecaster.predict`."""
        past = self._past(y)
        levels = self._levels(horizon, past, X, X_future, y is None, device)
        return dressed(self.pipeline.from_levels(levels), past)

    def predict_interval(
        self,
        alpha: float,
        horizon: int | None = None,
        y: Any = None,
        X: Any = None,
        X_future: Any = None,
        device: Any = "cpu",
    ) -> tuple[Any, Any]:
        """Return lower and upper bounds; see `LSTMForecaster.predict_interval`."""
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1:
            raise InvalidParameterError(f"alpha must be a number in (0, 1), got {alpha!r}.")
        own = self.pipeline.settings.horizon
        if horizon is not None and horizon > own:
            raise InvalidParameterError(
                f"intervals reach over the {own} steps that the model was fitted for, horizon is "
                f"{horizon}."
            )
        past = self._past(y)
        levels = self._levels(horizon, past, X, X_future, y is None, device)
        width = half_widths(self.errors, float(alpha))[: len(levels)]
        lower, upper = (
            dressed(self.pipeline.from_levels(bound), past)
            for bound in (levels - width, levels + width)
        )
        return lower, upper

    def _past(self, y: Any) -> Series:
        if y is None:
            return self.series
        past = read(y, "y")
        same_columns(past, self.series.names, self.series.values.shape[1], "y")
        need = self.pipeline.settings.context
        if len(past.values) < need:
            raise ValueError(
                f"y has {len(past.values)} steps, but a forecast reads {need} (the window and the "
                "lags of differences)."
            )
        check_positive(past.values, self.pipeline.settings.log, "y")
        return past

    def _levels(
        self, horizon: int | None, past: Series, X: Any, X_future: Any, stored: bool, device: Any
    ) -> _Array:
        s = self.pipeline.settings
        steps = s.horizon if horizon is None else horizon
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
            raise InvalidParameterError(f"horizon must be an int >= 1 or None, got {horizon!r}.")
        y = past.values[-s.context :]
        inputs = self._inputs(X, len(past.values), stored)
        if steps > s.horizon and inputs.shape[1] > len(s.known):
            raise ValueError(
                f"a horizon of {steps} steps goes beyond the {s.horizon} that the model was fitted "
                "for: that needs exogenous inputs which are all known ahead (known_future)."
            )
        ahead = self._ahead(X_future, int(steps))
        found: list[_Array] = []
        done = 0
        while done < steps:
            # Beyond the fitted horizon a forecast is the past of the next one.
            part = ahead[done : done + s.horizon]
            if len(part) < s.horizon:
                fill = part[-1:] if len(part) else np.zeros((1, ahead.shape[1]))
                part = np.concatenate([part, np.repeat(fill, s.horizon - len(part), axis=0)])
            levels = self.many(y[None], inputs[None], part[None], device)[0]
            found.append(levels)
            done += s.horizon
            if done < steps:
                y = np.concatenate([y, self.pipeline.from_levels(levels)])[-s.context :]
                new = np.zeros((s.horizon, inputs.shape[1]))
                new[:, list(s.known)] = part
                inputs = np.concatenate([inputs, new])[-s.context :]
        return np.concatenate(found)[:steps]

    def _inputs(self, X: Any, steps: int, stored: bool) -> _Array:
        context = self.pipeline.settings.context
        if self.inputs is None:
            if X is not None:
                raise ValueError("X was given, but the model was fitted without exogenous inputs.")
            return np.zeros((context, 0))
        if stored:
            if X is not None:
                raise ValueError("X without y: the inputs of the training steps are known already.")
            return self.inputs.values
        if X is None:
            raise ValueError("y needs X, the exogenous inputs of the same steps.")
        given = read(X, "X")
        same_columns(given, self.inputs.names, self.inputs.values.shape[1], "X")
        if len(given.values) != steps:
            raise ValueError(f"X has {len(given.values)} steps, but y {steps}.")
        return given.values[-context:]

    def _ahead(self, X_future: Any, steps: int) -> _Array:
        known = self.pipeline.settings.known
        if not known:
            if X_future is not None:
                raise ValueError(
                    "X_future was given, but no exogenous input is known ahead (known_future)."
                )
            return np.zeros((steps, 0))
        assert self.inputs is not None
        names = self.inputs.names
        wanted = [names[j] if names else j for j in known]
        if X_future is None:
            raise ValueError(f"X_future is needed: the inputs {wanted} of the steps to forecast.")
        given = read(X_future, "X_future")
        if len(given.values) < steps:
            raise ValueError(
                f"X_future has {len(given.values)} steps, but {steps} are to be forecast."
            )
        if names and given.names:
            missing = [name for name in wanted if name not in given.names]
            if missing:
                raise ValueError(f"X_future lacks the columns {missing}.")
            columns = [given.names.index(str(name)) for name in wanted]
        elif given.values.shape[1] == len(known):
            columns = list(range(len(known)))
        elif given.values.shape[1] == self.inputs.values.shape[1]:
            columns = list(known)
        else:
            raise ValueError(
                f"X_future has {given.values.shape[1]} columns; {len(known)} are known ahead: "
                f"{wanted}."
            )
        return given.values[:steps, columns]

    # Pickles ----------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "network": network_state(self.network)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, network=network_from(*state["network"]))

    # Files ------------------------------------------------------------------------------------

    def pack(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        """Return JSON values and arrays. A data frame's index stays behind."""
        network, tensors = network_state(self.network)
        tensors["errors"] = self.errors
        tensors["tail"] = self.series.values
        inputs = self.inputs
        tensors["input_tail"] = (
            np.zeros((len(self.series.values), 0)) if inputs is None else inputs.values
        )
        return {
            "network": network,
            "pipeline": self.pipeline.pack(tensors),
            "names": self.series.names,
            "one": self.series.one,
            "input_names": None if inputs is None else inputs.names,
        }, tensors

    @classmethod
    def unpack(cls, described: Mapping[str, Any], tensors: _modelfile.Tensors) -> Self:
        """Return what `pack` stored.

        Raises
        ------
        ModelFileError
            The parts do not fit each other.
        """
        network = network_from(described["network"], tensors)
        pipeline = Pipeline.unpack(described["pipeline"], tensors)
        s = pipeline.settings
        columns, exogenous = len(pipeline.scaler.centre), len(pipeline.input_scaler.centre)
        errors, tail, input_tail = (tensors[k] for k in ("errors", "tail", "input_tail"))
        _modelfile.check_floats("errors", errors, (max(1, len(errors)), s.horizon, columns))
        _modelfile.check_floats("tail", tail, (s.context, columns))
        _modelfile.check_floats("input_tail", input_tail, (s.context, exogenous))
        if s.log and not (tail > 0).all():
            raise ModelFileError("the series ends with values that have no logarithm.")
        if tuple(network.input_shape or ()) != pipeline.network_shape:
            raise ModelFileError(f"the network takes {network.input_shape}.")
        outputs = s.horizon * (1 if s.shared else columns)
        if network.output_shape(pipeline.network_shape) != (outputs,):
            raise ModelFileError("the network's outputs do not fit the horizon.")
        names = _names(described["names"], columns)
        input_names = _names(described["input_names"], exogenous)
        one = bool(described["one"])
        if one and columns != 1:
            raise ModelFileError(f"a single series has {columns} columns.")
        series = Series(tail, names, None, one)
        inputs = Series(input_tail, input_names) if exogenous else None
        return cls(pipeline, network, errors, series, inputs)


def network_outputs(
    network: Layer, pipeline: Pipeline, windows: Windows, device: Any = "cpu"
) -> NDArray[Any]:
    """Return the network's outputs for windows, (samples, outputs)."""
    return np.asarray(predict(network, pipeline.network_inputs(windows), device=device))


def check_positive(values: _Array, log: bool, name: str) -> None:
    """Refuse values that have no logarithm, where one is to be taken."""
    if log and not (values > 0).all():
        raise ValueError(f"log needs positive values, but {name} has {values.min()}.")


def _names(names: Any, width: int) -> list[str] | None:
    if names is None:
        return None
    if len(names) != width or not all(isinstance(name, str) for name in names):
        raise ModelFileError(f"{names!r} do not name {width} columns.")
    return list(names)
