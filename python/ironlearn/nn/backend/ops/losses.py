"""Losses on logits, each with its gradient."""

from __future__ import annotations

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.activations import ActivationOps


class LossOps(ActivationOps):
    """Softmax and the losses that are fused with it or with a sigmoid."""

    def softmax(self, x: Array, axis: int = -1) -> Array:
        """Return exp(x) / sum(exp(x)) over `axis`."""
        if not x.size:
            return x.copy()
        e = self.xp.exp(x - x.max(axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)

    def softmax_backward(self, gy: Array, y: Array, axis: int = -1) -> Array:
        """Return the gradient of `softmax`'s input from its output."""
        return y * (gy - (gy * y).sum(axis=axis, keepdims=True))

    def log_softmax(self, x: Array, axis: int = -1) -> Array:
        """Return log(softmax(x))."""
        if not x.size:
            return x.copy()
        shifted = x - x.max(axis=axis, keepdims=True)
        return shifted - self.xp.log(self.xp.exp(shifted).sum(axis=axis, keepdims=True))

    def log_softmax_backward(self, gy: Array, y: Array, axis: int = -1) -> Array:
        """Return the gradient of `log_softmax`'s input from its output."""
        return gy - self.xp.exp(y) * gy.sum(axis=axis, keepdims=True)

    def softmax_cross_entropy(
        self, logits: Array, targets: Array, label_smoothing: float = 0.0
    ) -> tuple[Array, Array]:
        """Return each row's loss and probabilities.

        Parameters
        ----------
        logits : (N, C)
        targets : (N,) of int
            The class of each row.
        label_smoothing : float
            This share of the target is spread evenly over all classes (Szegedy et al.,
            arXiv:1512.00567).

        Returns
        -------
        losses : (N,)
        probabilities : (N, C)
        """
        n, classes = logits.shape
        logs = self.log_softmax(logits)
        losses = -logs[self.xp.arange(n), targets]
        if label_smoothing:
            smooth = logits.dtype.type(label_smoothing)
            losses = (1 - smooth) * losses - (smooth / classes) * logs.sum(axis=1)
        return losses, self.xp.exp(logs)

    def softmax_cross_entropy_backward(
        self,
        probabilities: Array,
        targets: Array,
        glosses: Array,
        label_smoothing: float = 0.0,
    ) -> Array:
        """Return the gradient of the logits, given that of each row's loss."""
        n, classes = probabilities.shape
        dtype = probabilities.dtype.type
        g = probabilities - dtype(label_smoothing / classes)
        g[self.xp.arange(n), targets] -= dtype(1.0 - label_smoothing)
        return g * glosses[:, None]

    def sigmoid_cross_entropy(self, logits: Array, targets: Array) -> Array:
        """Return -t log s(z) - (1 - t) log(1 - s(z)) elementwise, s the sigmoid."""
        xp = self.xp
        return xp.maximum(logits, 0) - logits * targets + xp.log1p(xp.exp(-xp.abs(logits)))

    def sigmoid_cross_entropy_backward(self, logits: Array, targets: Array, g: Array) -> Array:
        """Return the gradient of the logits."""
        return g * (self.sigmoid(logits) - targets)
