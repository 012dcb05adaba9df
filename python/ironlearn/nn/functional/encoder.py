"""Encoder blocks of the Transformer as one operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ironlearn.nn.autograd import Context, Function, Tensor, as_tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops import Ops


class EncoderBlocks(Function):
    """Blocks in one call; no gradient."""

    @staticmethod
    def forward(ctx: Context, ops: Ops, x: Array, *weights: Array, **settings: Any) -> Array:
        """Compute the outputs."""
        if any(ctx.needs):
            raise RuntimeError("encoder_blocks has no gradient: call it within no_grad().")
        return ops.encoder_blocks(x, weights, **settings)


def encoder_blocks(
    x: Tensor | Array,
    weights: Sequence[Tensor],
    *,
    heads: int,
    activation: str = "relu",
    norm_first: bool = False,
    causal: bool = False,
    eps: float = 1e-5,
    mask: Array | None = None,
) -> Tensor:
    """Return what encoder blocks, one after the other, make of x; for prediction only.

    Parameters
    ----------
    x : Tensor of shape (N, T, D)
    weights : sequence of Tensor
        For each block: kernel (D, 3 h d) and bias of queries, keys and values, kernel (h d, D) and
        bias of the attention's output, gain and offset of its normalization, kernel (D, F) and bias
        of the first dense layer, kernel (F, D) and bias of the second, gain and offset of their
        normalization.
    heads : int
        Number of heads h.
    activation : str, default="relu"
        Of the first dense layer.
    norm_first : bool, default=False
        Normalize what attention and dense layers take, not the sums.
    causal, mask
        As of `attention`.
    eps : float, default=1e-5
        What the normalizations add to the variance.

    Returns
    -------
    Tensor of shape (N, T, D)

    Raises
    ------
    RuntimeError
        A gradient would be needed: there is none, see `ironlearn.nn.autograd.no_grad`.
    """
    return EncoderBlocks.apply(
        as_tensor(x),
        *weights,
        heads=heads,
        activation=activation,
        norm_first=norm_first,
        causal=causal,
        eps=eps,
        mask=mask,
    )
