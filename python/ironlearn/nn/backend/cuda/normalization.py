"""Normalization on the GPU.

Statistics and sums are computed in double precision for float64 and in single precision otherwise,
in an order that depends on shapes alone.
"""

from __future__ import annotations

from ironlearn.nn.backend.cuda.activations import NUMBERS
from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import fused, rows_of
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.activations import FUSED
from ironlearn.nn.backend.ops.normalization import NormalizationOps

#: Threads of a block that adds up columns.
_COLUMN_THREADS = 256
#: Rows that a thread of it adds up at least, and blocks from which on it adds up more.
_COLUMN_ROWS = 16
_COLUMN_BLOCKS = 1024


def _row_norm(x: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> bool:
    return x.size > 0 and gamma.shape == beta.shape == x.shape[-1:]


def _sum_norm(x: Array, residual: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> bool:
    return x.shape == residual.shape and _row_norm(x, gamma, beta)


def _row_norm_backward(gy: Array, x: Array, gamma: Array, mean: Array, rstd: Array) -> bool:
    return x.size > 0 and gy.shape == x.shape and gamma.shape == x.shape[-1:]


def _sum_norm_backward(
    gtotal: Array | None, gy: Array, total: Array, gamma: Array, mean: Array, rstd: Array
) -> bool:
    alike = gtotal is None or gtotal.shape == gy.shape
    return alike and _row_norm_backward(gy, total, gamma, mean, rstd)


def _group_norm(x: Array, gamma: Array, beta: Array, groups: int, eps: float = 1e-5) -> bool:
    return x.ndim > 1 and x.shape[-1] % groups == 0 and _row_norm(x, gamma, beta)


def _group_norm_backward(
    gy: Array, x: Array, gamma: Array, mean: Array, rstd: Array, groups: int
) -> bool:
    return _row_norm_backward(gy, x, gamma, mean, rstd)


def _batch_norm(
    x: Array, gamma: Array, beta: Array, eps: float = 1e-5, activation: str = "linear"
) -> bool:
    return activation in NUMBERS and _row_norm(x, gamma, beta)


def _batch_norm_inference(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    eps: float = 1e-5,
    activation: str = "linear",
) -> bool:
    return mean.shape == var.shape == gamma.shape and _batch_norm(x, gamma, beta, eps, activation)


def _batch_norm_backward(
    gy: Array,
    x: Array,
    y: Array,
    gamma: Array,
    mean: Array,
    var: Array,
    eps: float = 1e-5,
    activation: str = "linear",
) -> bool:
    return (
        activation in FUSED and y.shape == x.shape and _row_norm_backward(gy, x, gamma, mean, var)
    )


class CudaNormalization(CudaBase, NormalizationOps):
    """Layer, batch and group normalization."""

    @fused(_row_norm)
    def layer_norm(
        self, x: Array, gamma: Array, beta: Array, eps: float = 1e-5
    ) -> tuple[Array, Array, Array]:
        """Return the last axis normalized, its mean and 1 / its deviation."""
        return self._norm_sets(x, None, gamma, beta, x.shape[:-1], 1, 1, eps)[1:]

    @fused(_row_norm_backward)
    def layer_norm_backward(
        self, gy: Array, x: Array, gamma: Array, mean: Array, rstd: Array
    ) -> tuple[Array, Array, Array]:
        """Return the gradients of `layer_norm`'s x, gamma and beta."""
        return self._norm_sets_backward(None, gy, x, gamma, mean, rstd, 1, 1)

    @fused(_sum_norm)
    def add_layer_norm(
        self, x: Array, residual: Array, gamma: Array, beta: Array, eps: float = 1e-5
    ) -> tuple[Array, Array, Array, Array]:
        """Return the sum x + residual, and `layer_norm`'s three answers for it."""
        return self._norm_sets(x, residual, gamma, beta, x.shape[:-1], 1, 1, eps)

    @fused(_sum_norm_backward)
    def add_layer_norm_backward(
        self,
        gtotal: Array | None,
        gy: Array,
        total: Array,
        gamma: Array,
        mean: Array,
        rstd: Array,
    ) -> tuple[Array, Array, Array]:
        """Return the gradients of either summand, of gamma and of beta."""
        return self._norm_sets_backward(gtotal, gy, total, gamma, mean, rstd, 1, 1)

    @fused(_group_norm)
    def group_norm(
        self, x: Array, gamma: Array, beta: Array, groups: int, eps: float = 1e-5
    ) -> tuple[Array, Array, Array]:
        """Return each sample's groups of channels normalized, mean and 1 / deviation."""
        cells = x.size // (x.shape[0] * x.shape[-1])
        shape = (x.shape[0], groups)
        return self._norm_sets(x, None, gamma, beta, shape, cells, groups, eps)[1:]

    @fused(_group_norm_backward)
    def group_norm_backward(
        self, gy: Array, x: Array, gamma: Array, mean: Array, rstd: Array, groups: int
    ) -> tuple[Array, Array, Array]:
        """Return the gradients of `group_norm`'s x, gamma and beta."""
        cells = x.size // (x.shape[0] * x.shape[-1])
        return self._norm_sets_backward(None, gy, x, gamma, mean, rstd, cells, groups)

    @fused(_batch_norm)
    def batch_norm(
        self, x: Array, gamma: Array, beta: Array, eps: float = 1e-5, activation: str = "linear"
    ) -> tuple[Array, Array, Array]:
        """Return each channel normalized and activated, mean and biased variance."""
        channels = x.shape[-1]
        rows = x.size // channels
        grid, threads, chunk = _columns(rows, channels)
        means, variances = self._norm_parts(x, grid[1])
        mean, var = self.xp.empty_like(gamma), self.xp.empty_like(gamma)
        launch, dtype = self.kernels.launch, x.dtype
        launch("batch_moments", dtype, grid, threads, x, means, variances, rows, channels, chunk)
        launch(
            "batch_moments_total",
            dtype,
            grid[0],
            threads,
            *(means, variances, mean, var, rows, channels, chunk, grid[1]),
        )
        y = self.xp.empty_like(x)
        self.kernels.each(
            "batch_norm_training",
            x,
            x.size,
            *(x, gamma, beta, means, variances, y, x.size, channels),
            *(float(eps), NUMBERS[activation]),
        )
        return y, mean, var

    @fused(_batch_norm_backward)
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
        return self._batch_norm_backward(gy, x, y, gamma, mean, var, eps, activation, False)

    @fused(_batch_norm_inference)
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
        y = self.xp.empty_like(x)
        self.kernels.each(
            "batch_norm_inference",
            x,
            x.size,
            *(x, gamma, beta, mean, var, y, x.size, x.shape[-1]),
            *(float(eps), NUMBERS[activation]),
        )
        return y

    @fused(_batch_norm_backward)
    def batch_norm_inference_backward(
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
        """Return the gradients of `batch_norm_inference`'s x, gamma and beta."""
        return self._batch_norm_backward(gy, x, y, gamma, mean, var, eps, activation, True)

    def _norm_sets(
        self,
        x: Array,
        residual: Array | None,
        gamma: Array,
        beta: Array,
        shape: tuple[int, ...],
        cells: int,
        groups: int,
        eps: float,
    ) -> tuple[Array, Array, Array, Array]:
        """Return x + residual (or x), it normalized, and the statistics, which have `shape`."""
        xp = self.xp
        y = xp.empty_like(x)
        mean, rstd = xp.empty(shape, x.dtype), xp.empty(shape, x.dtype)
        total = None if residual is None else xp.empty_like(x)
        blocks, threads = rows_of(mean.size, x.size // mean.size)
        self.kernels.launch(
            "norm_sets",
            x.dtype,
            blocks,
            threads,
            *(x, residual, gamma, beta, total, y, mean, rstd),
            *(mean.size, cells, x.shape[-1], groups, float(eps)),
        )
        return x if total is None else total, y, mean, rstd

    def _norm_sets_backward(
        self,
        gtotal: Array | None,
        gy: Array,
        x: Array,
        gamma: Array,
        mean: Array,
        rstd: Array,
        cells: int,
        groups: int,
    ) -> tuple[Array, Array, Array]:
        gx = self.xp.empty_like(x)
        blocks, threads = rows_of(mean.size, x.size // mean.size)
        self.kernels.launch(
            "norm_sets_backward",
            x.dtype,
            blocks,
            threads,
            *(gy, gtotal, x, gamma, mean, rstd, gx, mean.size, cells, x.shape[-1], groups),
        )
        ggamma, gbeta, _ = self._norm_parameters(gy, None, x, gamma, mean, rstd, cells, groups)
        return gx, ggamma, gbeta

    def _batch_norm_backward(
        self,
        gy: Array,
        x: Array,
        y: Array,
        gamma: Array,
        mean: Array,
        var: Array,
        eps: float,
        activation: str,
        given: bool,
    ) -> tuple[Array, Array, Array]:
        """Return the gradients; `given` statistics do not depend on x."""
        channels, kind = x.shape[-1], NUMBERS[activation]
        output = None if activation == "linear" else y
        ggamma, gbeta, sums = self._norm_parameters(
            gy, output, x, gamma, mean, var, x.size // channels, channels, eps, kind
        )
        gx = self.xp.empty_like(x)
        self.kernels.each(
            "batch_norm_input_gradient",
            x,
            x.size,
            *(gy, output, x, gamma, mean, var, *((None, None) if given else sums)),
            *(gx, x.size, channels, float(eps), kind),
        )
        return gx, ggamma, gbeta

    def _norm_parameters(
        self,
        gy: Array,
        y: Array | None,
        x: Array,
        gamma: Array,
        mean: Array,
        spread: Array,
        set_rows: int,
        groups: int,
        eps: float | None = None,
        kind: int = 0,
    ) -> tuple[Array, Array, tuple[Array, Array]]:
        """Return the gradients of gamma and beta, and both unrounded in the first rows of a pair.

        `spread` is the variance where `eps` is given, else 1 / the deviation.
        """
        channels = x.shape[-1]
        rows = x.size // channels
        grid, threads, chunk = _columns(rows, channels)
        parts = self._norm_parts(x, grid[1])
        ggamma, gbeta = self.xp.empty_like(gamma), self.xp.empty_like(gamma)
        self.kernels.launch(
            "norm_parameters",
            x.dtype,
            grid,
            threads,
            *(gy, y, x, mean, spread, *parts, rows, channels, chunk, set_rows, groups),
            *(eps is not None, float(eps or 0.0), kind),
        )
        self.kernels.launch(
            "norm_parameters_total",
            x.dtype,
            grid[0],
            threads,
            *(*parts, ggamma, gbeta, grid[1], channels),
        )
        return ggamma, gbeta, parts

    def _norm_parts(self, x: Array, chunks: int) -> tuple[Array, Array]:
        shape, wide = (chunks, x.shape[-1]), self._wide(x.dtype)
        return self.xp.empty(shape, wide), self.xp.empty(shape, wide)


def _columns(rows: int, channels: int) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Return the grid (tiles of columns, chunks of rows), the block and the rows of a chunk."""
    across = 32
    while across // 2 >= channels:
        across //= 2
    down = _COLUMN_THREADS // across
    tiles = -(-channels // across)
    most = max(1, _COLUMN_BLOCKS // tiles)
    chunk = max(down * _COLUMN_ROWS, -(-rows // most))
    return (tiles, -(-rows // chunk)), (across, down), chunk
