"""Convolution of images: (N, H, W, C) with kernels (height, width, in, out).

One-dimensional convolution is that of images of height 1, depthwise convolution that with as many
groups as channels, and a transposed convolution is `conv2d_grad_input` (kernel (height, width, out,
in)).
"""

from __future__ import annotations

from typing import Any

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.activations import ActivationOps

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

_NONE: Padding = ((0, 0), (0, 0))

#: Arrays of an inverted residual: kernel and bias of the widening, of the depthwise convolution and
#: of the narrowing.
ARRAYS_OF_RESIDUAL = 6


def output_size(size: int, kernel: int, stride: int, padding: Pair, dilation: int = 1) -> int:
    """Return how many places a kernel has on an axis of `size` cells (at least 0)."""
    return max(0, (size + padding[0] + padding[1] - dilation * (kernel - 1) - 1) // stride + 1)


def check_residuals(weights: tuple[Array | None, ...], geometry: tuple[Any, ...]) -> None:
    """Refuse another number of arrays than inverted residuals of this geometry have."""
    if len(weights) != ARRAYS_OF_RESIDUAL * len(geometry):
        raise ValueError(
            f"weights must hold {ARRAYS_OF_RESIDUAL} arrays for each block of geometry, got "
            f"{len(weights)} for {len(geometry)}."
        )


class ConvolutionOps(ActivationOps):
    """Convolution and its two gradients, one kernel cell after the other."""

    def _pad(self, x: Array, padding: Padding) -> Array:
        if padding == _NONE:
            return x
        return self.xp.pad(x, ((0, 0), *padding, (0, 0)))

    def conv2d(
        self,
        x: Array,
        w: Array,
        b: Array | None = None,
        *,
        stride: Pair = (1, 1),
        padding: Padding = _NONE,
        dilation: Pair = (1, 1),
        groups: int = 1,
        activation: str = "linear",
    ) -> Array:
        """Return activation(x * w + b), (N, OH, OW, O)."""
        n, height, width, channels = x.shape
        kh, kw, cin, cout = w.shape
        oh = output_size(height, kh, stride[0], padding[0], dilation[0])
        ow = output_size(width, kw, stride[1], padding[1], dilation[1])
        x = self._pad(x, padding)
        y = self.xp.zeros((n, oh, ow, cout), x.dtype)
        for i in range(kh):
            for j in range(kw):
                part = self._window(x, i, j, oh, ow, stride, dilation)
                if groups == 1:
                    y += self.matmul(part, w[i, j])
                else:
                    part = part.reshape(n, oh, ow, groups, 1, channels // groups)
                    kernel = w[i, j].reshape(cin, groups, cout // groups).transpose(1, 0, 2)
                    y += self.matmul(part, kernel).reshape(n, oh, ow, cout)
        if b is not None:
            y += b
        return self.activation(y, activation)

    def inverted_residuals(
        self,
        x: Array,
        weights: tuple[Array | None, ...],
        *,
        geometry: tuple[tuple[Pair, Padding], ...],
        activation: str = "relu6",
    ) -> Array:
        """Return what inverted residuals, one after the other, make of x (N, H, W, C).

        Sandler et al., "MobileNetV2" (arXiv:1801.04381): pixels are widened, each wide channel is
        convolved, both with `activation`; pixels are narrowed; where the shape is that of the
        input, this is added. `weights` holds `ARRAYS_OF_RESIDUAL` arrays for each block: w (1, 1,
        C, D) and b, or two ``None`` where the input is wide itself; w (kh, kw, 1, D) and b; w (1,
        1, D, O) and b. `geometry` holds stride and padding of each depthwise convolution.
        """
        check_residuals(weights, geometry)
        for i, (stride, padding) in enumerate(geometry):
            start = i * ARRAYS_OF_RESIDUAL
            wide, wide_b, w, b, narrow, narrow_b = weights[start : start + ARRAYS_OF_RESIDUAL]
            y = x if wide is None else self.conv2d(x, wide, wide_b, activation=activation)
            y = self.conv2d(
                y,
                w,
                b,
                stride=stride,
                padding=padding,
                groups=y.shape[3],
                activation=activation,
            )
            y = self.conv2d(y, narrow, narrow_b)
            x = x + y if x.shape == y.shape else y
        return x

    def conv2d_grad_input(
        self,
        gy: Array,
        w: Array,
        input_shape: tuple[int, ...],
        *,
        stride: Pair = (1, 1),
        padding: Padding = _NONE,
        dilation: Pair = (1, 1),
        groups: int = 1,
    ) -> Array:
        """Return the gradient of `conv2d`'s input of shape `input_shape`."""
        n, oh, ow, cout = gy.shape
        kh, kw, cin, _ = w.shape
        _, height, width, channels = input_shape
        (top, bottom), (left, right) = padding
        gx = self.xp.zeros((n, height + top + bottom, width + left + right, channels), gy.dtype)
        for i in range(kh):
            for j in range(kw):
                if groups == 1:
                    part = self.matmul(gy, w[i, j].T)
                else:
                    grouped = gy.reshape(n, oh, ow, groups, 1, cout // groups)
                    kernel = w[i, j].reshape(cin, groups, cout // groups).transpose(1, 2, 0)
                    part = self.matmul(grouped, kernel).reshape(n, oh, ow, channels)
                window = self._window(gx, i, j, oh, ow, stride, dilation)
                window += part
        return gx[:, top : top + height, left : left + width]

    def conv2d_grad_weight(
        self,
        x: Array,
        gy: Array,
        kernel_shape: tuple[int, ...],
        *,
        stride: Pair = (1, 1),
        padding: Padding = _NONE,
        dilation: Pair = (1, 1),
        groups: int = 1,
    ) -> Array:
        """Return the gradient of `conv2d`'s kernel of shape `kernel_shape`."""
        n, oh, ow, cout = gy.shape
        kh, kw, cin, _ = kernel_shape
        x = self._pad(x, padding)
        gw = self.xp.empty(kernel_shape, gy.dtype)
        rows = n * oh * ow
        # (groups, rows, out / groups)
        right = gy.reshape(rows, groups, cout // groups).transpose(1, 0, 2)
        for i in range(kh):
            for j in range(kw):
                part = self._window(x, i, j, oh, ow, stride, dilation)
                left = part.reshape(rows, groups, cin).transpose(1, 2, 0)
                product = self.matmul(left, right)
                gw[i, j] = product.transpose(1, 0, 2).reshape(cin, cout)
        return gw

    def conv2d_backward(
        self,
        gy: Array,
        y: Array | None,
        x: Array,
        w: Array,
        *,
        stride: Pair = (1, 1),
        padding: Padding = _NONE,
        dilation: Pair = (1, 1),
        groups: int = 1,
        activation: str = "linear",
        needs: tuple[bool, ...] = (True, True, True),
    ) -> tuple[Array | None, Array | None, Array | None]:
        """Return the gradients of `conv2d`'s x, w and b, where `needs` asks for them.

        `y` is the output; it may be None if the activation is linear.
        """
        g = self.activation_backward(gy, y, activation)
        geometry: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
        }
        return (
            self.conv2d_grad_input(g, w, x.shape, **geometry) if needs[0] else None,
            self.conv2d_grad_weight(x, g, w.shape, **geometry) if needs[1] else None,
            g.sum(axis=(0, 1, 2)) if needs[2] else None,
        )

    def _window(
        self, x: Array, i: int, j: int, oh: int, ow: int, stride: Pair, dilation: Pair
    ) -> Array:
        """Return the cells of `x` that the kernel's cell (i, j) meets, (N, OH, OW, C)."""
        top, left = i * dilation[0], j * dilation[1]
        return x[
            :,
            top : top + (oh - 1) * stride[0] + 1 if oh else top : stride[0],
            left : left + (ow - 1) * stride[1] + 1 if ow else left : stride[1],
        ]
