"""Encoder blocks of the Transformer as one operation, for prediction."""

from __future__ import annotations

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.attention import AttentionOps
from ironlearn.nn.backend.ops.dense import DenseOps
from ironlearn.nn.backend.ops.normalization import NormalizationOps

#: Arrays of a block: kernel and bias of queries, keys and values, and of the attention's output;
#: gain and offset of its normalization; kernel and bias of both dense layers; gain and offset of
#: their normalization.
ARRAYS_OF_BLOCK = 12


class EncoderOps(AttentionOps, DenseOps, NormalizationOps):
    """Blocks of Vaswani et al. (arXiv:1706.03762) and of Xiong et al. (arXiv:2002.04745)."""

    def encoder_blocks(
        self,
        x: Array,
        weights: tuple[Array, ...],
        *,
        heads: int,
        activation: str = "relu",
        norm_first: bool = False,
        causal: bool = False,
        eps: float = 1e-5,
        mask: Array | None = None,
    ) -> Array:
        """Return what blocks, one after the other, make of x (N, T, D).

        `weights` holds `ARRAYS_OF_BLOCK` arrays for each block: w (D, 3 h d) and b of the
        attention, w (h d, D) and b of its output, gamma and beta (D,); then w (D, F) and b, w (F,
        D) and b of the dense layers, gamma and beta. `activation` is that between the dense layers.
        `norm_first` normalizes what attention and dense layers take, else the sums are normalized.
        `mask` and `causal` are as of `attention`.
        """
        n, steps, _ = x.shape

        def dense(y: Array, w: Array, b: Array, name: str = "linear") -> Array:
            flat = self.affine(y.reshape(-1, y.shape[-1]), w, b, name)
            return flat.reshape(n, steps, w.shape[1])

        for start in range(0, len(weights), ARRAYS_OF_BLOCK):
            w, b, wo, bo, gamma, beta, wi, bi, we, be, gain, offset = weights[
                start : start + ARRAYS_OF_BLOCK
            ]
            y = self.layer_norm(x, gamma, beta, eps)[0] if norm_first else x
            y = self.attention_packed(dense(y, w, b), heads, mask=mask, causal=causal)[0]
            y = dense(y, wo, bo)
            if norm_first:
                x, y, *_ = self.add_layer_norm(y, x, gain, offset, eps)
                x = x + dense(dense(y, wi, bi, activation), we, be)
            else:
                x = self.add_layer_norm(y, x, gamma, beta, eps)[1]
                y = dense(dense(x, wi, bi, activation), we, be)
                x = self.add_layer_norm(y, x, gain, offset, eps)[1]
        return x
