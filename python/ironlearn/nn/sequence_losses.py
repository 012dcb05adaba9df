"""Losses over alignments of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.exceptions import InvalidParameterError
from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Context, Function, Tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops
from ironlearn.nn.losses import Loss


class _CTC(Function):
    @staticmethod
    def forward(
        ctx: Context, ops: Ops, logs: Array, *, targets: Array, lengths: Array, blank: int
    ) -> Array:
        """Compute the outputs."""
        losses, gradient = ops.ctc(logs, targets, lengths, blank)
        ctx.save(gradient)
        return losses

    @staticmethod
    def backward(ctx: Context, ops: Ops, g: Array) -> Array:
        """Compute the inputs' gradients."""
        return ctx.saved[0] * g[:, None, None]


class CTC(Loss):
    """Connectionist temporal classification: -log of all alignments that spell the target.

    Parameters
    ----------
    blank : int, default=0
        The class that stands for no symbol.

    Notes
    -----
    Outputs are logits (N, T, C); targets are class numbers (N, L), padded at the end by negative
    ones. `per_sample` also takes ``(targets, lengths)`` where sequences have fewer than T steps. A
    target that no alignment can spell in its steps costs nothing and is not learned from. Graves et
    al., "Connectionist temporal classification" (ICML 2006).

    Examples
    --------
    >>> import numpy as np
    >>> loss = CTC()(Tensor(np.zeros((1, 2, 2))), np.array([[1]]))
    >>> round(float(loss.data), 4)  # three of four paths spell 1
    0.2877
    """

    name = "ctc"

    def __init__(self, blank: int = 0) -> None:
        if isinstance(blank, bool) or not isinstance(blank, int) or blank < 0:
            raise InvalidParameterError(f"blank must be an int >= 0, got {blank!r}.")
        self.blank = blank

    def per_sample(self, outputs: Tensor, targets: Any) -> Tensor:
        """Return each sequence's loss."""
        targets, lengths = targets if isinstance(targets, tuple) else (targets, None)
        if outputs.ndim != 3 or targets.ndim != 2 or targets.shape[0] != outputs.shape[0]:
            raise ValueError(
                "CTC needs outputs (N, T, C) and targets (N, L), got "
                f"{tuple(outputs.shape)} and {tuple(targets.shape)}."
            )
        if self.blank >= outputs.shape[2]:
            raise ValueError(f"CTC: blank={self.blank} is no class of {outputs.shape[2]}.")
        device = outputs.device
        if lengths is None:
            lengths = device.xp.full(outputs.shape[0], outputs.shape[1], np.int64)
        logs = F.log_softmax(outputs)
        return _CTC.apply(logs, targets=targets, lengths=lengths, blank=self.blank)
