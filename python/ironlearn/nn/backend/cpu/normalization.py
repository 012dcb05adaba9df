"""Normalization on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn import _core
from ironlearn._threads import resolve
from ironlearn.nn.backend.cpu.native import native
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.activations import FUSED
from ironlearn.nn.backend.ops.normalization import NormalizationOps


def _first(x: Array, *_: Any, **__: Any) -> bool:
    return bool(x.size)


def _second(gy: Array, x: Array, *_: Any, **__: Any) -> bool:
    return bool(x.size) and gy.shape == x.shape


def _third(gtotal: Array, gy: Array, total: Array, *_: Any, **__: Any) -> bool:
    return bool(total.size) and gy.shape == total.shape


def _same(x: Array, residual: Array, *_: Any, **__: Any) -> bool:
    return bool(x.size) and x.shape == residual.shape


def _batch(
    x: Array, gamma: Array, beta: Array, eps: float = 1e-5, activation: str = "linear"
) -> bool:
    return bool(x.size) and activation in FUSED


def _batch_inference(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    eps: float = 1e-5,
    activation: str = "linear",
) -> bool:
    return bool(x.size) and activation in FUSED


class CpuNormalization(NormalizationOps):
    """Statistics, normalization and gradients in as few passes as the sums allow."""

    @native(_first)
    def layer_norm(
        self, x: Array, gamma: Array, beta: Array, eps: float = 1e-5
    ) -> tuple[Array, Array, Array]:
        """Return `x` normalized over the last axis, its mean and 1/sqrt(var + eps)."""
        y, mean, rstd = np.empty_like(x), _rows(x), _rows(x)
        _core.nn_layer_norm(x, None, gamma, beta, eps, None, y, mean, rstd, resolve(None))
        return y, mean, rstd

    @native(_second)
    def layer_norm_backward(
        self, gy: Array, x: Array, gamma: Array, mean: Array, rstd: Array
    ) -> tuple[Array, Array, Array]:
        """Return the gradients of `layer_norm`'s x, gamma and beta."""
        gx = np.empty_like(x)
        grads = _core.nn_layer_norm_backward(gy, None, x, gamma, mean, rstd, gx, resolve(None))
        return gx, *grads

    @native(_same)
    def add_layer_norm(
        self, x: Array, residual: Array, gamma: Array, beta: Array, eps: float = 1e-5
    ) -> tuple[Array, Array, Array, Array]:
        """Return the sum x + residual, and `layer_norm`'s three answers for it."""
        total, y, mean, rstd = np.empty_like(x), np.empty_like(x), _rows(x), _rows(x)
        _core.nn_layer_norm(x, residual, gamma, beta, eps, total, y, mean, rstd, resolve(None))
        return total, y, mean, rstd

    @native(_third)
    def add_layer_norm_backward(
        self,
        gtotal: Array | None,
        gy: Array,
        total: Array,
        gamma: Array,
        mean: Array,
        rstd: Array,
    ) -> tuple[Array, Array, Array]:
        """Return the gradients of either summand of `add_layer_norm`, of gamma and of beta."""
        gx = np.empty_like(total)
        grads = _core.nn_layer_norm_backward(
            gy, gtotal, total, gamma, mean, rstd, gx, resolve(None)
        )
        return gx, *grads

    @native(_batch)
    def batch_norm(
        self, x: Array, gamma: Array, beta: Array, eps: float = 1e-5, activation: str = "linear"
    ) -> tuple[Array, Array, Array]:
        """Return `x` normalized by channel, mean and biased variance."""
        y = np.empty_like(x)
        return y, *_core.nn_batch_norm(x, gamma, beta, eps, activation, y, resolve(None))

    @native(_second)
    def batch_norm_backward(
        self,
        gy: Array,
        x: Array,
        y: Array,
        gamma: Array,
        mean: Array,
        var: Array,
        eps: float = 1e-5,
        activation: str = "linear",
    ) -> tuple[Array, Array, Array]:
        """Return the gradients of `batch_norm`'s x, gamma and beta."""
        gx = np.empty_like(x)
        grads = _core.nn_batch_norm_backward(
            gy, x, y, gamma, mean, var, eps, activation, gx, resolve(None)
        )
        return gx, *grads

    @native(_batch_inference)
    def batch_norm_inference(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        mean: Array,
        var: Array,
        eps: float = 1e-5,
        activation: str = "linear",
    ) -> Array:
        """Return what `batch_norm` would with the given mean and variance."""
        y = np.empty_like(x)
        _core.nn_batch_norm_inference(x, gamma, beta, mean, var, eps, activation, y, resolve(None))
        return y

    @native(_first)
    def group_norm(
        self, x: Array, gamma: Array, beta: Array, groups: int, eps: float = 1e-5
    ) -> tuple[Array, Array, Array]:
        """Return `x` normalized over each sample's groups of channels."""
        y = np.empty_like(x)
        mean, rstd = (np.empty((x.shape[0], groups), np.float32) for _ in range(2))
        _core.nn_group_norm(x, gamma, beta, groups, eps, y, mean, rstd, resolve(None))
        return y, mean, rstd

    @native(_second)
    def group_norm_backward(
        self, gy: Array, x: Array, gamma: Array, mean: Array, rstd: Array, groups: int
    ) -> tuple[Array, Array, Array]:
        """Return the gradients of `group_norm`'s x, gamma and beta."""
        gx = np.empty_like(x)
        grads = _core.nn_group_norm_backward(gy, x, gamma, mean, rstd, groups, gx, resolve(None))
        return gx, *grads


def _rows(x: Array) -> Array:
    return np.empty(x.shape[:-1], np.float32)
