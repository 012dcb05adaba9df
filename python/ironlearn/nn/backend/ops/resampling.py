"""Enlarging images."""

from __future__ import annotations

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.basic import BasicOps
from ironlearn.nn.backend.ops.convolution import Pair


class ResamplingOps(BasicOps):
    """Repeated cells and the exchange of channels for cells."""

    def upsample2d(self, x: Array, factor: Pair) -> Array:
        """Return `x` with each cell repeated `factor` times along height and width."""
        n, height, width, channels = x.shape
        fh, fw = factor
        shape = (n, height, fh, width, fw, channels)
        wide = self.xp.broadcast_to(x[:, :, None, :, None, :], shape)
        return wide.reshape(n, height * fh, width * fw, channels)

    def upsample2d_backward(self, gy: Array, factor: Pair) -> Array:
        """Return the gradient of `upsample2d`'s input."""
        n, height, width, channels = gy.shape
        fh, fw = factor
        return gy.reshape(n, height // fh, fh, width // fw, fw, channels).sum(axis=(2, 4))

    def pixel_shuffle(self, x: Array, factor: int) -> Array:
        """Return (N, H r, W r, C) of x (N, H, W, r r C): channels become cells (r = `factor`).

        Channel ``(i r + j) C + c`` becomes cell (i, j) of channel c, as in TensorFlow's
        ``depth_to_space``; the idea is of Shi et al. (arXiv:1609.05158).
        """
        n, height, width, channels = x.shape
        r = factor
        parts = x.reshape(n, height, width, r, r, channels // (r * r))
        shape = (n, height * r, width * r, channels // (r * r))
        return parts.transpose(0, 1, 3, 2, 4, 5).reshape(shape)

    def pixel_unshuffle(self, x: Array, factor: int) -> Array:
        """Return what `pixel_shuffle` would turn into `x`."""
        n, height, width, channels = x.shape
        r = factor
        parts = x.reshape(n, height // r, r, width // r, r, channels)
        return parts.transpose(0, 1, 3, 2, 4, 5).reshape(
            n, height // r, width // r, r * r * channels
        )
