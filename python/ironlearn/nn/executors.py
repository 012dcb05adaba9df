"""Who computes a training step: operation by operation, or in one native call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ironlearn.nn.autograd import backward
from ironlearn.nn.backend.device import Device
from ironlearn.nn.data import Batch, count
from ironlearn.nn.inference import dtype_of, receive, send, tensors
from ironlearn.nn.layers.base import Layer, Mode
from ironlearn.nn.metrics import Metric, Totals, measure


class Eager:
    """Training steps through the tape: any network, any device."""

    name = "eager"

    def __init__(
        self,
        network: Layer,
        loss: Any,
        optimizer: Any,
        metrics: Mapping[str, Metric],
        device: Device,
        seed: int,
    ) -> None:
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = metrics
        self.device = device
        self.seed = seed
        self.dtype = dtype_of(network)

    def run(self, batches: list[Batch], rate: float, step: int) -> tuple[float, dict[str, float]]:
        """Take one step over `batches`, whose gradients are added up.

        Returns
        -------
        weight : float
            Sum of the samples' weights.
        values : dict
            Weighted means of the loss and the metrics.
        """
        weights = [float(count(x) if w is None else w.sum()) for x, _, w in batches]
        whole = sum(weights)
        totals = Totals(list(self.metrics))
        for part, ((x, y, w), weight) in enumerate(zip(batches, weights, strict=True)):
            # Each batch of a step draws other random numbers.
            mode = Mode(training=True, seed=self.seed, step=step * len(batches) + part)
            outputs = self.network(*tensors(self.device, x, self.dtype), mode=mode)
            value = self.loss(
                outputs,
                send(self.device, y, self.dtype),
                send(self.device, w, self.dtype),
            )
            if len(batches) == 1:
                backward(value)
            else:
                share = weight / whole if whole > 0 else 0.0
                backward(value, self.device.xp.full((), share, dtype=value.dtype))
            values = {"loss": float(self.device.receive(value.data))}
            if self.metrics:
                values |= measure(self.metrics, receive(self.device, outputs), y, w)
            totals.add(weight, values)
        self.optimizer.step(rate)
        return whole, totals.means()
