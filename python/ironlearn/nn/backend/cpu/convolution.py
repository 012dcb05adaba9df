"""Convolution on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core, _threads
from ironlearn.nn.backend.cpu.native import native
from ironlearn.nn.backend.ops.activations import FUSED
from ironlearn.nn.backend.ops.convolution import (
    ARRAYS_OF_RESIDUAL,
    Padding,
    Pair,
    check_residuals,
    output_size,
)
from ironlearn.nn.backend.ops.pooling import PoolingOps

F32 = NDArray[np.float32]

_NONE: Padding = ((0, 0), (0, 0))


#: Activations that a tile of products applies in registers.
_IN_REGISTERS = ("linear", "relu", "leaky_relu", "relu6")


def _takes_residuals(
    x: F32,
    weights: tuple[F32 | None, ...],
    *,
    geometry: tuple[tuple[Pair, Padding], ...],
    activation: str = "relu6",
) -> bool:
    """Tell whether the kernel takes these blocks: each convolution needs its bias."""
    pairs = zip(weights[::2], weights[1::2], strict=False)
    whole = all((w is None) == (b is None) for w, b in pairs)
    return bool(x.size) and bool(geometry) and whole and activation in _IN_REGISTERS


#: The kernel gathers: it computes a cell of the input from all the outputs that may have seen it,
#: and multiplies zeros where there are none. Beyond this share of zeros scattering is faster.
_WASTE = 1.6
#: Multiplications below which a call is too short for that to matter.
_LARGE = 1 << 26


def _is_sparse(
    gy: F32,
    w: F32,
    input_shape: tuple[int, ...],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> bool:
    """Tell whether few outputs meet many cells: large kernels on small images, or strides."""
    n, oh, ow, _ = gy.shape
    if groups != 1 or dilation != (1, 1) or n * oh * ow * w.size < _LARGE:
        return False
    cells = (input_shape[1] + sum(padding[0])) * (input_shape[2] + sum(padding[1]))
    return cells > _WASTE * oh * ow * stride[0] * stride[1]


def _scattered(
    gy: F32, w: F32, input_shape: tuple[int, ...], stride: Pair, padding: Padding
) -> F32:
    """Return the input's gradient: one product for each row of the kernel, then added in place."""
    n, oh, ow, filters = gy.shape
    kh, kw, channels, _ = w.shape
    (top, bottom), (left, right) = padding
    _, height, width, _ = input_shape
    flat = gy.reshape(-1, filters)
    gx = np.zeros((n, height + top + bottom, width + left + right, channels), np.float32)
    parts = np.empty((flat.shape[0], kw * channels), np.float32)
    cells = parts.reshape(n, oh, ow, kw, channels)
    down, across = stride[0] * (oh - 1) + 1, stride[1] * (ow - 1) + 1
    for i in range(kh):
        np.matmul(flat, w[i].reshape(kw * channels, filters).T, out=parts)
        for j in range(kw):
            gx[:, i : i + down : stride[0], j : j + across : stride[1]] += cells[:, :, :, j]
    return np.ascontiguousarray(gx[:, top : top + height, left : left + width])


class CpuConvolutionOps(PoolingOps):
    """Convolution without a matrix of patches: tiles of products read the images themselves."""

    @native(lambda x, w, b=None, *, activation="linear", **_: activation in FUSED)
    def conv2d(
        self,
        x: F32,
        w: F32,
        b: F32 | None = None,
        *,
        stride: Pair = (1, 1),
        padding: Padding = _NONE,
        dilation: Pair = (1, 1),
        groups: int = 1,
        activation: str = "linear",
    ) -> F32:
        """Return activation(x * w + b), (N, OH, OW, O)."""
        n, height, width, _ = x.shape
        kh, kw, _, filters = w.shape
        oh = output_size(height, kh, stride[0], padding[0], dilation[0])
        ow = output_size(width, kw, stride[1], padding[1], dilation[1])
        y = np.empty((n, oh, ow, filters), np.float32)
        _core.conv2d(
            x,
            w,
            b,
            y,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            activation=activation,
            n_threads=_threads.resolve(None),
        )
        return y

    @native(_takes_residuals)
    def inverted_residuals(
        self,
        x: F32,
        weights: tuple[F32 | None, ...],
        *,
        geometry: tuple[tuple[Pair, Padding], ...],
        activation: str = "relu6",
    ) -> F32:
        """Return what inverted residuals, one after the other, make of x (N, H, W, C)."""
        check_residuals(weights, geometry)
        (height, width), filters = x.shape[1:3], x.shape[3]
        for i, (stride, padding) in enumerate(geometry):
            kernels: list[Any] = list(
                weights[i * ARRAYS_OF_RESIDUAL : (i + 1) * ARRAYS_OF_RESIDUAL]
            )
            height = output_size(height, kernels[2].shape[0], stride[0], padding[0])
            width = output_size(width, kernels[2].shape[1], stride[1], padding[1])
            filters = kernels[4].shape[3]
        y = np.empty((x.shape[0], height, width, filters), np.float32)
        _core.nn_inverted_residuals(
            x,
            list(weights),
            list(geometry),
            y,
            activation=activation,
            n_threads=_threads.resolve(None),
        )
        return y

    @native()
    def conv2d_grad_input(
        self,
        gy: F32,
        w: F32,
        input_shape: tuple[int, ...],
        *,
        stride: Pair = (1, 1),
        padding: Padding = _NONE,
        dilation: Pair = (1, 1),
        groups: int = 1,
    ) -> F32:
        """Return the gradient of `conv2d`'s input of shape `input_shape`."""
        if _is_sparse(gy, w, input_shape, stride, padding, dilation, groups):
            return _scattered(gy, w, input_shape, stride, padding)
        gx = np.empty(input_shape, np.float32)
        _core.conv2d_grad_input(
            gy,
            w,
            gx,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            n_threads=_threads.resolve(None),
        )
        return gx

    @native()
    def conv2d_grad_weight(
        self,
        x: F32,
        gy: F32,
        kernel_shape: tuple[int, ...],
        *,
        stride: Pair = (1, 1),
        padding: Padding = _NONE,
        dilation: Pair = (1, 1),
        groups: int = 1,
    ) -> F32:
        """Return the gradient of `conv2d`'s kernel of shape `kernel_shape`."""
        gw = np.empty(kernel_shape, np.float32)
        _core.conv2d_grad_weight(
            x,
            gy,
            gw,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            n_threads=_threads.resolve(None),
        )
        return gw

    @native(lambda gy, y, x, w, *, activation="linear", **_: activation in FUSED)
    def conv2d_backward(
        self,
        gy: F32,
        y: F32 | None,
        x: F32,
        w: F32,
        *,
        stride: Pair = (1, 1),
        padding: Padding = _NONE,
        dilation: Pair = (1, 1),
        groups: int = 1,
        activation: str = "linear",
        needs: tuple[bool, ...] = (True, True, True),
    ) -> tuple[F32 | None, F32 | None, F32 | None]:
        """Return the gradients of `conv2d`'s x, w and b, where `needs` asks for them."""
        gz, gb = gy, None
        if needs[2] or activation != "linear":
            gb = np.empty(gy.shape[-1], np.float32)
            if activation == "linear":
                y = gy
            else:
                gz = np.empty(gy.shape, np.float32)
            assert y is not None, "a fused activation needs its output"
            _core.activation_backward_sums(
                gy.reshape(-1),
                y.reshape(-1),
                (np.empty(gy.shape, np.float32) if gz is gy else gz).reshape(-1),
                gb,
                activation=activation,
                n_threads=_threads.resolve(None),
            )
        geometry: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
        }
        return (
            self.conv2d_grad_input(gz, w, x.shape, **geometry) if needs[0] else None,
            self.conv2d_grad_weight(x, gz, w.shape, **geometry) if needs[1] else None,
            gb if needs[2] else None,
        )
