"""Pooling of images (N, H, W, C)."""

from __future__ import annotations

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.convolution import ConvolutionOps, Padding, Pair, output_size

_NONE: Padding = ((0, 0), (0, 0))


class PoolingOps(ConvolutionOps):
    """Maxima and means of windows."""

    def max_pool2d(
        self, x: Array, size: Pair, *, stride: Pair, padding: Padding = _NONE
    ) -> tuple[Array, Array]:
        """Return each window's maximum and its place.

        Returns
        -------
        y : (N, OH, OW, C)
            The maxima; among equal ones the first in row order counts.
        argmax : (N, OH, OW, C) of int32
            The maximum's place in its channel: row * W + column.
        """
        xp = self.xp
        n, height, width, channels = x.shape
        (top, bottom), (left, right) = padding
        oh = output_size(height, size[0], stride[0], padding[0])
        ow = output_size(width, size[1], stride[1], padding[1])
        if padding != _NONE:
            x = xp.pad(
                x,
                ((0, 0), (top, bottom), (left, right), (0, 0)),
                constant_values=x.dtype.type(-xp.inf),
            )
        y = xp.full((n, oh, ow, channels), -xp.inf, x.dtype)
        place = xp.zeros((n, oh, ow, channels), xp.int32)
        rows = (xp.arange(oh, dtype=xp.int32) * stride[0] - top)[:, None, None]
        columns = (xp.arange(ow, dtype=xp.int32) * stride[1] - left)[:, None]
        for i in range(size[0]):
            for j in range(size[1]):
                part = self._window(x, i, j, oh, ow, stride, (1, 1))
                # A NaN must win, and stay: comparisons with it are false.
                better = ~(part <= y) & (y == y)
                y = xp.where(better, part, y)
                place = xp.where(better, (rows + i) * width + (columns + j), place)
        return y, place

    def max_pool2d_backward(
        self,
        gy: Array,
        argmax: Array,
        input_shape: tuple[int, ...],
        size: Pair,
        *,
        stride: Pair,
        padding: Padding = _NONE,
    ) -> Array:
        """Return the gradient of `max_pool2d`'s input.

        The windows tell a device that looks for a cell's gradients where to look; `argmax` alone
        is enough for one that puts gradients in their places.
        """
        xp = self.xp
        n, height, width, channels = input_shape
        images = xp.arange(n)[:, None, None, None]
        index = (images, argmax, xp.arange(channels))
        gx = self.scatter_add((n, height * width, channels), index, gy)
        return gx.reshape(input_shape)

    def avg_pool2d(self, x: Array, size: Pair, *, stride: Pair, padding: Padding = _NONE) -> Array:
        """Return each window's mean; cells of the padding do not count."""
        n, height, width, channels = x.shape
        oh = output_size(height, size[0], stride[0], padding[0])
        ow = output_size(width, size[1], stride[1], padding[1])
        x = self._pad(x, padding)
        y = self.xp.zeros((n, oh, ow, channels), x.dtype)
        for i in range(size[0]):
            for j in range(size[1]):
                y += self._window(x, i, j, oh, ow, stride, (1, 1))
        return y / self._cells(height, width, size, stride, padding, x.dtype)

    def avg_pool2d_backward(
        self,
        gy: Array,
        input_shape: tuple[int, ...],
        size: Pair,
        *,
        stride: Pair,
        padding: Padding = _NONE,
    ) -> Array:
        """Return the gradient of `avg_pool2d`'s input."""
        n, oh, ow, channels = gy.shape
        _, height, width, _ = input_shape
        (top, bottom), (left, right) = padding
        gy = gy / self._cells(height, width, size, stride, padding, gy.dtype)
        gx = self.xp.zeros((n, height + top + bottom, width + left + right, channels), gy.dtype)
        for i in range(size[0]):
            for j in range(size[1]):
                window = self._window(gx, i, j, oh, ow, stride, (1, 1))
                window += gy
        return gx[:, top : top + height, left : left + width]

    def _cells(
        self, height: int, width: int, size: Pair, stride: Pair, padding: Padding, dtype: object
    ) -> Array:
        """Return how many cells of the image each window covers, (OH, OW, 1)."""
        xp = self.xp
        counts = []
        for length, cells, step, pad in zip((height, width), size, stride, padding, strict=True):
            places = output_size(length, cells, step, pad)
            start = xp.arange(places) * step - pad[0]
            inside = xp.minimum(start + cells, length) - xp.maximum(start, 0)
            counts.append(inside.astype(dtype))
        return counts[0][:, None, None] * counts[1][:, None]

    def conv2d_max_pool(
        self,
        x: Array,
        w: Array,
        b: Array | None = None,
        *,
        stride: Pair = (1, 1),
        padding: Padding = _NONE,
        activation: str = "linear",
        pool: Pair = (2, 2),
    ) -> tuple[Array, Array]:
        """Return the maxima of `conv2d`'s windows of `pool` cells, and their places."""
        y = self.conv2d(x, w, b, stride=stride, padding=padding, activation=activation)
        return self.max_pool2d(y, pool, stride=pool)

    def conv2d_max_pool_backward(
        self,
        gy: Array,
        y: Array,
        argmax: Array,
        x: Array,
        w: Array,
        *,
        stride: Pair = (1, 1),
        padding: Padding = _NONE,
        activation: str = "linear",
        pool: Pair = (2, 2),
        needs: tuple[bool, ...] = (True, True, True),
    ) -> tuple[Array | None, Array | None, Array | None]:
        """Return the gradients of `conv2d_max_pool`'s x, w and b, where `needs` asks for them."""
        n, height, width, _ = x.shape
        kh, kw, _, cout = w.shape
        oh = output_size(height, kh, stride[0], padding[0])
        ow = output_size(width, kw, stride[1], padding[1])
        g = self.activation_backward(gy, y, activation)
        gb = g.sum(axis=(0, 1, 2)) if needs[2] else None
        g = self.max_pool2d_backward(g, argmax, (n, oh, ow, cout), pool, stride=pool)
        return (
            self.conv2d_grad_input(g, w, x.shape, stride=stride, padding=padding)
            if needs[0]
            else None,
            self.conv2d_grad_weight(x, g, w.shape, stride=stride, padding=padding)
            if needs[1]
            else None,
            gb,
        )
