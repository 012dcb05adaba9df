"""Convolution on the GPU: products of patches by cuBLAS, direct kernels where those do not pay.

The matrix of patches and its transpose are those of Chellapilla, Puri and Simard, "High performance
convolutional neural networks for document processing" (2006).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ironlearn.nn.backend.cuda.activations import NUMBERS
from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import THREADS, fused
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.activations import FUSED
from ironlearn.nn.backend.ops.convolution import ConvolutionOps, Padding, Pair, output_size

_NONE: Padding = ((0, 0), (0, 0))

#: Bytes that a matrix of patches may take. What needs more is computed in several parts, of whole
#: images or, where one is too large, of bands of its rows (of one row at least).
WORKSPACE = 256 << 20
#: Numbers of a patch, and filters, up to which the direct kernel is taken. A matrix of patches is
#: written and read at the speed of memory however few filters it serves; the direct kernel has
#: about a third of cuBLAS's speed in float32 by its count of instructions. No GPU measured this.
_DIRECT_PATCH, _DIRECT_FILTERS = 96, 64
#: Quads (four outputs) along a side of a direct kernel's tile, and in the whole of it.
_TILE, _TILE_QUADS = 8, 64
#: Bytes of shared memory that every GPU gives a block.
_SHARED = 48 << 10
#: Threads that share a long sum, the least numbers that each of them adds, the most parts.
_SUM_THREADS, _SUM_LEAST, _SUM_PARTS = 1 << 17, 64, 1 << 12


def fitting(row_bytes: int) -> int:
    """Return how many rows of `row_bytes` fit the workspace, 1 at least."""
    return max(1, WORKSPACE // max(1, row_bytes))


def bands(n: int, rows: int, fit: int) -> Iterator[tuple[slice, int, int]]:
    """Split `n` images of `rows` rows into parts of at most `fit` rows.

    Yields the images and the first and the last row (exclusive) of each part: all rows of some
    images, or some rows of one image.

    Examples
    --------
    >>> list(bands(3, 4, 8))
    [(slice(0, 2, None), 0, 4), (slice(2, 3, None), 0, 4)]
    >>> list(bands(1, 4, 3))
    [(slice(0, 1, None), 0, 3), (slice(0, 1, None), 3, 4)]
    """
    if fit >= rows:
        images = fit // max(1, rows)
        for start in range(0, n, images):
            yield slice(start, min(n, start + images)), 0, rows
        return
    for image in range(n):
        for row in range(0, rows, fit):
            yield slice(image, image + 1), row, min(rows, row + fit)


def places(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: Pair,
    padding: Padding,
    dilation: Pair = (1, 1),
) -> Pair:
    """Return the height and the width of the output for images and a kernel of these shapes."""
    return (
        output_size(shape[1], kernel[0], stride[0], padding[0], dilation[0]),
        output_size(shape[2], kernel[1], stride[1], padding[1], dilation[1]),
    )


def step_numbers(stride: Pair, padding: Padding, dilation: Pair = (1, 1)) -> tuple[int, ...]:
    """Return how a kernel is put on an image, in the order of the CUDA kernels' parameters."""
    return (*stride, padding[0][0], padding[1][0], *dilation)


def _is_product(w: Array, stride: Pair, padding: Padding) -> bool:
    """Tell whether every patch is a cell of the image, in the same order."""
    return w.shape[:2] == (1, 1) and stride == (1, 1) and padding == _NONE


def _known(
    x: Array, w: Array, b: Array | None = None, *, activation: str = "linear", **geometry: Any
) -> bool:
    return activation in NUMBERS and 0 not in (*x.shape, *w.shape)


def _fusible(
    gy: Array, y: Array | None, x: Array, w: Array, *, activation: str = "linear", **rest: Any
) -> bool:
    return activation in FUSED and (y is not None or activation == "linear") and gy.size > 0


class CudaConvolution(CudaBase, ConvolutionOps):
    """Convolution and its gradients."""

    @fused(_known)
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
        kh, kw, cin, filters = w.shape
        oh, ow = places(x.shape, w.shape, stride, padding, dilation)
        step = step_numbers(stride, padding, dilation)
        kind = NUMBERS[activation]
        y = self.xp.empty((n, oh, ow, filters), x.dtype)
        if y.size == 0:
            return y
        if groups > 1:
            numbers = (height, width, kh, kw, oh, ow, *step, cin, filters // groups, channels, kind)
            cells = n * oh * ow
            self.kernels.cells("conv_grouped", x, cells, filters, x, w, b, y, *numbers)
            return y
        if self._direct(x, w, b, y, None, (oh, ow), step, activation):
            return y
        matrix = w.reshape(-1, filters)
        if _is_product(w, stride, padding):
            self.xp.matmul(x.reshape(-1, cin), matrix, out=y.reshape(-1, filters))
        else:
            for images, first, last in bands(n, oh, fitting(ow * kh * kw * cin * x.itemsize)):
                columns = self._columns(x[images], w.shape, (first, last), ow, step)
                out = y[images, first:last].reshape(-1, filters)
                self.xp.matmul(columns, matrix, out=out)
        if b is not None or activation != "linear":
            self.kernels.each("conv_bias_activation", y, y.size, y, b, y.size, filters, kind)
        return y

    @fused(lambda gy, w, input_shape, **_: 0 not in (*gy.shape, *w.shape, *input_shape))
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
        n, oh, ow, filters = gy.shape
        kh, kw, cin, _ = w.shape
        _, height, width, channels = input_shape
        step = step_numbers(stride, padding, dilation)
        gx = self.xp.empty(input_shape, gy.dtype)
        if groups > 1:
            numbers = (height, width, kh, kw, oh, ow, *step, cin, filters // groups, filters)
            cells = n * height * width
            self.kernels.cells("conv_grouped_input", gy, cells, channels, gy, w, gx, *numbers)
            return gx
        matrix = w.reshape(-1, filters).T
        if _is_product(w, stride, padding):
            self.xp.matmul(gy.reshape(-1, filters), matrix, out=gx.reshape(-1, channels))
            return gx
        for images, first, last in _input_bands(gx, gy, w, stride[0], dilation[0]):
            low, high = _met(first, last, kh, stride[0], padding[0][0], dilation[0], oh)
            columns = self.matmul(gy[images, low:high].reshape(-1, filters), matrix)
            out = gx[images, first:last]
            numbers = (last - first, width, kh, kw, high - low, ow, low, first, *step)
            cells = len(out) * (last - first) * width
            self.kernels.cells("conv_gather", gy, cells, channels, columns, out, *numbers)
        return gx

    @fused(lambda x, gy, kernel_shape, **_: 0 not in (*x.shape, *gy.shape, *kernel_shape))
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
        n, oh, ow, filters = gy.shape
        kh, kw, cin, _ = kernel_shape
        step = step_numbers(stride, padding, dilation)
        gw = self.xp.empty(kernel_shape, gy.dtype)
        if groups > 1:
            self._grouped_weight(x, gy, gw, step, groups)
            return gw
        matrix = gw.reshape(-1, filters)
        if _is_product(gw, stride, padding):
            self.xp.matmul(x.reshape(-1, cin).T, gy.reshape(-1, filters), out=matrix)
            return gw
        fit = fitting(ow * kh * kw * cin * x.itemsize)
        for part, (images, first, last) in enumerate(bands(n, oh, fit)):
            left = self._columns(x[images], kernel_shape, (first, last), ow, step).T
            right = gy[images, first:last].reshape(-1, filters)
            if part == 0:
                self.xp.matmul(left, right, out=matrix)
            else:
                matrix += self.matmul(left, right)
        return gw

    @fused(_fusible)
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
        """Return the gradients of `conv2d`'s x, w and b, where `needs` asks for them."""
        g, gb = self._slope_and_bias(gy, y, activation, needs[2])
        geometry: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
        }
        return (
            self.conv2d_grad_input(g, w, x.shape, **geometry) if needs[0] else None,
            self.conv2d_grad_weight(x, g, w.shape, **geometry) if needs[1] else None,
            gb,
        )

    def _columns(
        self, x: Array, kernel: tuple[int, ...], rows: Pair, ow: int, step: tuple[int, ...]
    ) -> Array:
        """Return the patches (pixels, kh * kw * cin) of output rows ``rows[0]`` to ``rows[1]``."""
        n, height, width, channels = x.shape
        kh, kw, _, _ = kernel
        first, last = rows
        pixels = n * (last - first) * ow
        columns = self.xp.empty((pixels, kh * kw * channels), x.dtype)
        numbers = (height, width, kh, kw, last - first, ow, first, *step)
        cells = pixels * kh * kw
        self.kernels.cells("conv_columns", x, cells, channels, x, columns, *numbers)
        return columns

    def _direct(
        self,
        x: Array,
        w: Array,
        b: Array | None,
        y: Array,
        argmax: Array | None,
        size: Pair,
        step: tuple[int, ...],
        activation: str,
    ) -> bool:
        """Compute y, or the maxima of its 2 x 2 cells if `argmax` is given.

        Returns
        -------
        bool
            Whether the direct kernel takes the layer; if not, nothing was done.
        """
        n, height, width, cin = x.shape
        kh, kw, _, filters = w.shape
        oh, ow = size
        if kh * kw * cin > _DIRECT_PATCH or filters > _DIRECT_FILTERS:
            return False
        quad = (1, 4) if oh == 1 and argmax is None else (2, 2)
        # Cells that fill no window of the maxima need no quad.
        quads = y.shape[1:3] if argmax is not None else (-(-oh // quad[0]), -(-ow // quad[1]))
        tile_height = min(_TILE, quads[0])
        tile = (tile_height, min(_TILE_QUADS // tile_height, quads[1]))
        seen = [
            (tile[k] * quad[k] - 1) * step[k] + ((kh, kw)[k] - 1) * step[4 + k] + 1 for k in (0, 1)
        ]
        shift = min(5, (filters - 1).bit_length())
        numbers_held = seen[0] * seen[1] * cin + (kh * kw * cin << shift)
        shared = numbers_held * max(4, x.itemsize)
        if shared > _SHARED:
            return False
        tiles = (-(-quads[0] // tile[0]), -(-quads[1] // tile[1]))
        numbers = (height, width, cin, filters, kh, kw, oh, ow, *step, quad[0], *tile, *tiles)
        grid = (n * tiles[0] * tiles[1], -(-filters >> shift))
        arguments = (x, w, b, y, argmax, *numbers, NUMBERS[activation], shift)
        self.kernels.launch("conv_direct", x.dtype, grid, THREADS, *arguments, shared=shared)
        return True

    def _slope_and_bias(
        self, gy: Array, y: Array | None, activation: str, bias: bool
    ) -> tuple[Array, Array | None]:
        """Return `gy` times the activation's slope, and the bias's gradient if it is wanted."""
        if not bias:
            return self.activation_backward(gy, y, activation), None
        channels = gy.shape[-1]
        rows = gy.size // channels
        lanes = 1 << min(5, (channels - 1).bit_length())
        parts = -(-channels // lanes)
        band = _band(rows, parts * THREADS, _SUM_LEAST * THREADS // lanes)
        n_bands = -(-rows // band)
        sums = self._sums(n_bands, channels, gy)
        g = gy if activation == "linear" else self.xp.empty_like(gy)
        out = None if g is gy else g
        grid, block = (parts, n_bands), (lanes, THREADS // lanes)
        arguments = (gy, y, out, sums, rows, channels, band, NUMBERS[activation])
        self.kernels.launch("conv_slope_sums", gy.dtype, grid, block, *arguments)
        gb = self.xp.empty(channels, gy.dtype)
        self.kernels.each("conv_add_bands", gy, channels, sums, gb, n_bands, channels)
        return g, gb

    def _grouped_weight(
        self, x: Array, gy: Array, gw: Array, step: tuple[int, ...], groups: int
    ) -> None:
        n, oh, ow, filters = gy.shape
        kh, kw, cin, _ = gw.shape
        pixels = n * oh * ow
        band = _band(pixels, gw.size, _SUM_LEAST)
        n_bands = -(-pixels // band)
        sums = self._sums(n_bands, gw.size, gy)
        numbers = (*x.shape[1:3], kh, kw, oh, ow, *step, cin, filters // groups, x.shape[3])
        grid = (-(-gw.size // THREADS), n_bands)
        arguments = (x, gy, sums, *numbers, filters, pixels, band)
        self.kernels.launch("conv_grouped_weight", gy.dtype, grid, THREADS, *arguments)
        self.kernels.each("conv_add_bands", gy, gw.size, sums, gw, n_bands, gw.size)

    def _sums(self, n_bands: int, size: int, like: Array) -> Array:
        """Return room for sums of parts, in the precision that kernels add in."""
        dtype = self.xp.float64 if like.dtype == self.xp.float64 else self.xp.float32
        return self.xp.empty((n_bands, size), dtype)


def _band(rows: int, threads: int, least: int) -> int:
    """Return how many of `rows` numbers a part of a sum has, `threads` working on each part.

    It depends on shapes alone, so that the same sum always is added up in the same order.
    """
    parts = max(1, min(_SUM_THREADS // threads, _SUM_PARTS, rows // least))
    return -(-rows // parts)


def _input_bands(
    gx: Array, gy: Array, w: Array, stride: int, dilation: int
) -> Iterator[tuple[slice, int, int]]:
    """Split the input's gradient so that the products it is made of fit the workspace."""
    n, oh, ow, _ = gy.shape
    fit = fitting(ow * w.shape[0] * w.shape[1] * w.shape[2] * gy.itemsize)
    height = gx.shape[1]
    if fit >= oh:
        return ((images, 0, height) for images, _, _ in bands(n, oh, fit))
    # Rows side by side share outputs; a band needs those beyond its edge as well.
    rows = (fit - 1) * stride - dilation * (w.shape[0] - 1) + 1
    return bands(n, height, max(1, min(rows, height)))


def _met(
    first: int, last: int, kernel: int, stride: int, before: int, dilation: int, places: int
) -> Pair:
    """Return the output rows that see input rows `first` to `last` (exclusive)."""
    low = -(-(first + before - dilation * (kernel - 1)) // stride)
    high = (last - 1 + before) // stride + 1
    low = min(max(0, low), places)
    return low, max(low, min(high, places))
