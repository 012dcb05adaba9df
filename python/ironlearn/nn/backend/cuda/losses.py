"""Softmax and cross-entropies on the GPU, one kernel each."""

from __future__ import annotations

import math

from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import THREADS, fused
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.losses import LossOps

#: Lines up to this long are a warp's work, longer ones a block's.
_WARP_LINE = 1024
_WARP = 32


def _alone(x: Array, axis: int = -1) -> bool:
    return bool(x.size) and -x.ndim <= axis < x.ndim


def _alike(gy: Array, y: Array, axis: int = -1) -> bool:
    return bool(gy.shape == y.shape) and _alone(y, axis)


def _classes(logits: Array, targets: Array, label_smoothing: float = 0.0) -> bool:
    return (
        logits.ndim == 2
        and logits.shape[1] > 0
        and targets.shape == logits.shape[:1]
        and targets.dtype.kind in "iu"
    )


def _classes_backward(
    probabilities: Array, targets: Array, glosses: Array, label_smoothing: float = 0.0
) -> bool:
    return _classes(probabilities, targets) and glosses.shape == targets.shape


def _shapes_alike(logits: Array, targets: Array, *others: Array) -> bool:
    return all(a.shape == logits.shape and a.dtype == logits.dtype for a in (targets, *others))


def _lines(ops: CudaBase, name: str, like: Array, axis: int, logs: bool, *arrays: Array) -> None:
    """Queue a kernel of one team a line along `axis`."""
    n = like.shape[axis]
    inner = math.prod(like.shape[axis % like.ndim + 1 :])
    team = 1
    if inner == 1:
        team = _WARP if n <= _WARP_LINE else THREADS
    lines = like.size // n
    blocks = -(-lines * team // THREADS)
    ops.kernels.launch(name, like.dtype, blocks, THREADS, *arrays, lines, n, inner, team, logs)


def _rows(ops: CudaBase, name: str, like: Array, smoothing: float, *arrays: Array) -> None:
    """Queue a kernel of one team a row of (N, C)."""
    rows, classes = like.shape
    team = _WARP if classes <= _WARP_LINE else THREADS
    blocks = -(-rows * team // THREADS)
    ops.kernels.launch(
        name, like.dtype, blocks, THREADS, *arrays, rows, classes, team, float(smoothing)
    )


class CudaLosses(CudaBase, LossOps):
    """Softmax and the losses that are fused with it or with a sigmoid."""

    @fused(_alone)
    def softmax(self, x: Array, axis: int = -1) -> Array:
        """Return exp(x) / sum(exp(x)) over `axis`."""
        y = self.xp.empty_like(x)
        _lines(self, "softmax", x, axis, False, x, y)
        return y

    @fused(_alike)
    def softmax_backward(self, gy: Array, y: Array, axis: int = -1) -> Array:
        """Return the gradient of `softmax`'s input from its output."""
        gx = self.xp.empty_like(gy)
        _lines(self, "softmax_backward", gy, axis, False, gy, y, gx)
        return gx

    @fused(_alone)
    def log_softmax(self, x: Array, axis: int = -1) -> Array:
        """Return log(softmax(x))."""
        y = self.xp.empty_like(x)
        _lines(self, "softmax", x, axis, True, x, y)
        return y

    @fused(_alike)
    def log_softmax_backward(self, gy: Array, y: Array, axis: int = -1) -> Array:
        """Return the gradient of `log_softmax`'s input from its output."""
        gx = self.xp.empty_like(gy)
        _lines(self, "softmax_backward", gy, axis, True, gy, y, gx)
        return gx

    @fused(_classes)
    def softmax_cross_entropy(
        self, logits: Array, targets: Array, label_smoothing: float = 0.0
    ) -> tuple[Array, Array]:
        """Return each row's loss and probabilities; a target that is no class makes it NaN."""
        losses = self.xp.empty(logits.shape[:1], logits.dtype)
        probabilities = self.xp.empty_like(logits)
        classes = targets.astype("int64", copy=False)
        _rows(
            self,
            "softmax_cross_entropy",
            logits,
            label_smoothing,
            logits,
            classes,
            losses,
            probabilities,
        )
        return losses, probabilities

    @fused(_classes_backward)
    def softmax_cross_entropy_backward(
        self,
        probabilities: Array,
        targets: Array,
        glosses: Array,
        label_smoothing: float = 0.0,
    ) -> Array:
        """Return the gradient of the logits, given that of each row's loss."""
        gx = self.xp.empty_like(probabilities)
        classes = targets.astype("int64", copy=False)
        _rows(
            self,
            "softmax_cross_entropy_backward",
            probabilities,
            label_smoothing,
            probabilities,
            classes,
            glosses,
            gx,
        )
        return gx

    @fused(_shapes_alike)
    def sigmoid_cross_entropy(self, logits: Array, targets: Array) -> Array:
        """Return -t log s(z) - (1 - t) log(1 - s(z)) elementwise, s the sigmoid."""
        out = self.xp.empty_like(logits)
        n = logits.size
        self.kernels.each("sigmoid_cross_entropy", logits, n, logits, targets, out, n)
        return out

    @fused(_shapes_alike)
    def sigmoid_cross_entropy_backward(self, logits: Array, targets: Array, g: Array) -> Array:
        """Return the gradient of the logits."""
        out = self.xp.empty_like(logits)
        n = logits.size
        self.kernels.each("sigmoid_cross_entropy_backward", logits, n, logits, targets, g, out, n)
        return out
