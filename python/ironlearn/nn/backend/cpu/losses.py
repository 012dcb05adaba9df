"""Softmax and cross-entropies on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn import _core
from ironlearn._threads import resolve
from ironlearn.nn.backend.cpu.native import native
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.losses import LossOps


def _last(x: Array, axis: int = -1) -> bool:
    return bool(x.size) and axis in (-1, x.ndim - 1)


def _last_backward(gy: Array, y: Array, axis: int = -1) -> bool:
    return gy.shape == y.shape and _last(y, axis)


def _rows(logits: Array, *_: Any, **__: Any) -> bool:
    return bool(logits.size)


def _alike(logits: Array, targets: Array, *_: Array) -> bool:
    return bool(logits.size) and all(a.shape == logits.shape for a in (targets, *_))


class CpuLosses(LossOps):
    """Each row in one go, while it is in the cache."""

    @native(_last)
    def softmax(self, x: Array, axis: int = -1) -> Array:
        """Return the softmax over the last axis."""
        y = np.empty_like(x)
        _core.nn_softmax(x, False, y, resolve(None))
        return y

    @native(_last_backward)
    def softmax_backward(self, gy: Array, y: Array, axis: int = -1) -> Array:
        """Return the gradient of `softmax`'s input."""
        gx = np.empty_like(y)
        _core.nn_softmax_backward(gy, y, False, gx, resolve(None))
        return gx

    @native(_last)
    def log_softmax(self, x: Array, axis: int = -1) -> Array:
        """Return the logarithm of the softmax over the last axis."""
        y = np.empty_like(x)
        _core.nn_softmax(x, True, y, resolve(None))
        return y

    @native(_last_backward)
    def log_softmax_backward(self, gy: Array, y: Array, axis: int = -1) -> Array:
        """Return the gradient of `log_softmax`'s input."""
        gx = np.empty_like(y)
        _core.nn_softmax_backward(gy, y, True, gx, resolve(None))
        return gx

    @native(_rows)
    def softmax_cross_entropy(
        self, logits: Array, targets: Array, label_smoothing: float = 0.0
    ) -> tuple[Array, Array]:
        """Return each row's loss and probabilities."""
        losses, probabilities = np.empty(logits.shape[0], np.float32), np.empty_like(logits)
        classes = np.asarray(targets, np.int64)
        _core.nn_softmax_cross_entropy(
            logits, classes, label_smoothing, losses, probabilities, resolve(None)
        )
        return losses, probabilities

    @native(_rows)
    def softmax_cross_entropy_backward(
        self,
        probabilities: Array,
        targets: Array,
        glosses: Array,
        label_smoothing: float = 0.0,
    ) -> Array:
        """Return the gradient of the logits."""
        out = np.empty_like(probabilities)
        classes = np.asarray(targets, np.int64)
        _core.nn_softmax_cross_entropy_backward(
            probabilities, classes, glosses, label_smoothing, out, resolve(None)
        )
        return out

    @native(_alike)
    def sigmoid_cross_entropy(self, logits: Array, targets: Array) -> Array:
        """Return the binary cross-entropy of each logit."""
        out = np.empty_like(logits)
        _core.nn_sigmoid_cross_entropy(logits, targets, out, resolve(None))
        return out

    @native(_alike)
    def sigmoid_cross_entropy_backward(self, logits: Array, targets: Array, g: Array) -> Array:
        """Return the gradient of the logits."""
        out = np.empty_like(logits)
        _core.nn_sigmoid_cross_entropy_backward(logits, targets, g, out, resolve(None))
        return out
