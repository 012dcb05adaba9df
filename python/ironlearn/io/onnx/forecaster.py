"""ONNX graphs of forecasters: from the past as it is to the forecast as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.io.onnx.graph import Graph
from ironlearn.io.onnx.network.writer import Writer, value
from ironlearn.series._baselines import seasonal_naive
from ironlearn.series._differencing import difference, integrate

_Array = NDArray[np.float64]


def forecaster(graph: Graph, model: Any, dtype: str) -> None:
    """Logarithm, differences and scales, the network in single precision, and all back again."""
    _Forecast(graph, model._forecaster, dtype).build()


class _Forecast:
    """The steps of a pipeline; numbers around the network are in double precision."""

    def __init__(self, graph: Graph, fitted: Any, dtype: str) -> None:
        self.graph = graph
        self.writer = Writer(graph)
        self.network = fitted.network
        self.pipeline = fitted.pipeline
        self.settings = fitted.pipeline.settings
        self.columns = len(fitted.pipeline.scaler.centre)
        self.exogenous = len(fitted.pipeline.input_scaler.centre)
        self.dtype = dtype

    def build(self) -> None:
        """Add inputs, steps and the output."""
        g, s = self.graph, self.settings
        levels = self._input("y", s.context, self.columns)
        if s.log:
            levels = g.op("Log", levels)
        inputs = self._input("X", s.context, self.exogenous) if self.exogenous else ""
        ahead = self._input("X_future", s.horizon, len(s.known)) if s.known else ""
        past = self._over_time(levels, difference, s.context)
        past = self._scaled(past, self.pipeline.scaler)
        if inputs:
            inputs = self._scaled(self._end(inputs, s.window), self.pipeline.input_scaler)
        if ahead:
            ahead = self._scaled(ahead, self.pipeline.input_scaler, list(s.known))
        forecast = self._own(past, inputs, ahead)
        if s.linear:
            forecast = self._blended(forecast, past, inputs, ahead)
        scaler = self.pipeline.scaler
        forecast = g.op("Mul", forecast, g.constant(scaler.scale))
        forecast = g.op("Add", forecast, g.constant(scaler.centre))
        if s.lags:
            forecast = self._integrated(forecast, levels)
        if s.log:
            forecast = g.op("Exp", forecast)
        g.output("prediction", forecast, np.float64, s.horizon, self.columns)

    def _input(self, name: str, steps: int, width: int) -> str:
        return self.graph.double(self.graph.input(name, self.dtype, steps, width))

    def _end(self, x: str, steps: int) -> str:
        """Return the last steps."""
        g = self.graph
        ends = (g.constant([bound], np.int64) for bound in (-steps, 2**31 - 1, 1))
        return g.op("Slice", x, *ends)

    def _over_time(self, x: str, function: Any, steps: int) -> str:
        """Return a linear function of the steps, (n, steps, columns), as a product."""
        if not self.settings.lags:
            return x
        matrix = function(np.eye(steps)[:, :, None], self.settings.lags)[:, :, 0].T
        return self.graph.op("MatMul", self.graph.constant(matrix), x)

    def _scaled(self, x: str, scaler: Any, chosen: Any = slice(None)) -> str:
        g = self.graph
        x = g.op("Sub", x, g.constant(scaler.centre[chosen]))
        return g.op("Div", x, g.constant(scaler.scale[chosen]))

    def _picked(self, x: str, steps: Any) -> str:
        """Return some steps."""
        return self.graph.op("Gather", x, self.graph.constant(steps, np.int64), axis=1)

    # The network ------------------------------------------------------------------------------

    def _own(self, past: str, inputs: str, ahead: str) -> str:
        """Return the network's scaled forecast, (n, horizon, columns)."""
        g, s = self.graph, self.settings
        read = past
        if s.skip == "last":
            read = g.op("Sub", past, self._picked(past, [s.window - 1]))
        count = self.columns if s.shared else 1
        parts = [read] if count == 1 else self._split(read, count, 2)
        sequences = [self._sequence(part, inputs, ahead) for part in parts]
        # Series that share a network are samples one after the other.
        x = sequences[0] if count == 1 else g.op("Concat", *sequences, axis=0)
        x = g.reshape(g.cast(x, np.float32), 0, *self.pipeline.network_shape)
        out = self.writer.layer(self.network, value(x, self.pipeline.network_shape))
        rest = g.double(self.writer.plain(out).name)
        if s.shared:
            rest = g.reshape(rest, 0, s.horizon, 1)
            rest = rest if count == 1 else g.op("Concat", *self._split(rest, count, 0), axis=2)
        else:
            rest = g.reshape(rest, 0, s.horizon, self.columns)
        rest = g.op("Mul", rest, g.constant(self.pipeline.spread))
        if s.skip == "none":
            return rest
        places = np.arange(s.window, dtype=np.float64)[None, :, None]
        period = s.period if s.skip == "seasonal" else 1
        base = self._picked(past, seasonal_naive(places, period, s.horizon)[0, :, 0])
        return g.op("Add", base, rest)

    def _split(self, x: str, count: int, axis: int) -> tuple[str, ...]:
        return self.graph.ops("Split", count, x, axis=axis)

    def _sequence(self, past: str, inputs: str, ahead: str) -> str:
        """Return what the network reads: `Pipeline.network_inputs`."""
        g, s = self.graph, self.settings
        whole = g.op("Concat", past, inputs, axis=2) if inputs else past
        if not ahead:
            return whole
        width = 1 if s.shared else self.columns
        # Channels of the future: what is known, in its places, and a mark.
        place = np.zeros((len(s.known), width + self.exogenous + 1))
        for row, column in enumerate(s.known):
            place[row, width + column] = 1.0
        mark = np.zeros(width + self.exogenous + 1)
        mark[-1] = 1.0
        future = g.op("Add", g.op("MatMul", ahead, g.constant(place)), g.constant(mark))
        unmarked = np.eye(width + self.exogenous, width + self.exogenous + 1)
        return g.op("Concat", g.op("MatMul", whole, g.constant(unmarked)), future, axis=1)

    # Around it --------------------------------------------------------------------------------

    def _blended(self, own: str, past: str, inputs: str, ahead: str) -> str:
        """Return the average with the linear maps."""
        g, s, p = self.graph, self.settings, self.pipeline
        shared = []
        if inputs:
            shared.append(g.reshape(inputs, 0, s.window * self.exogenous))
        if ahead:
            shared.append(g.reshape(ahead, 0, s.horizon * len(s.known)))
        lines = []
        for c in range(self.columns):
            window = g.reshape(g.op("Gather", past, g.constant(c, np.int64), axis=2), 0, s.window)
            features = g.op("Concat", window, *shared, axis=1) if shared else window
            line = g.op("MatMul", features, g.constant(p.coef[c]))
            line = g.op("Add", line, g.constant(p.intercept[c]))
            lines.append(g.reshape(line, 0, s.horizon, 1))
        whole = lines[0] if len(lines) == 1 else g.op("Concat", *lines, axis=2)
        share = g.op("Mul", own, g.constant(p.blend))
        return g.op("Add", share, g.op("Mul", whole, g.constant(1.0 - p.blend)))

    def _integrated(self, changes: str, levels: str) -> str:
        """Return the series that goes on by these changes: linear in both."""
        g, s = self.graph, self.settings
        steps = sum(s.lags)
        of_past = integrate(np.zeros((steps, s.horizon, 1)), np.eye(steps)[:, :, None], s.lags)[
            :, :, 0
        ].T
        of_changes = integrate(
            np.eye(s.horizon)[:, :, None], np.zeros((s.horizon, steps, 1)), s.lags
        )[:, :, 0].T
        before = g.op("MatMul", g.constant(of_past), self._end(levels, steps))
        return g.op("Add", before, g.op("MatMul", g.constant(of_changes), changes))
