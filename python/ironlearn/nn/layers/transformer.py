"""Blocks of the Transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor, grad_enabled
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.activations import FUSED, UNFUSED
from ironlearn.nn.layers.attention import check_steps, known_width
from ironlearn.nn.layers.base import (
    INFERENCE,
    Layer,
    Mode,
    Shape,
    check_activation,
    check_rate,
    positive,
)
from ironlearn.nn.layers.dense import Dense
from ironlearn.nn.layers.dropout import Dropout
from ironlearn.nn.layers.multi_head import KeyValueCache, MultiHeadAttention, joined_mask
from ironlearn.nn.layers.normalization import LayerNorm, check_epsilon


class _Block(Layer):
    """Sublayers with residual connections: what encoder and decoder share."""

    input_ndim = 3
    takes_mask = True
    inner: Dense
    outer: Dense
    norm_first: bool
    inner_dropout: Dropout

    def _feed_forward(self, x: Tensor, mode: Mode) -> Tensor:
        return self.outer(self.inner_dropout(self.inner(x, mode), mode), mode)

    def _add(
        self, stream: Tensor, branch: Tensor, dropout: Dropout, norm: LayerNorm, mode: Mode
    ) -> tuple[Tensor, Tensor]:
        """Return the residual stream with `branch` added, and what the next sublayer takes."""
        total, y = norm.add(dropout(branch, mode), stream)
        return (total, y) if self.norm_first else (y, y)


class TransformerEncoderBlock(_Block):
    """Self-attention and two dense layers, each with residual, dropout and normalization.

    Parameters
    ----------
    num_heads : int
        Heads of the attention.
    ff_units : int
        Width of the inner dense layer.
    activation : str, default="relu"
        Of the inner dense layer.
    dropout : float in [0, 1), default=0.1
        Rate of the dropout after each sublayer and after the inner dense layer.
    norm_first : bool, default=False
        Normalize each sublayer's input, not the sums: easier to train when deep (Xiong et al.,
        arXiv:2002.04745). The output is then not normalized: a `LayerNorm` follows the last block.
    causal : bool, default=False
        Only steps up to the same place are looked at: the block of a language model, which also
        computes step by step.
    key_dim : int, optional
        Width of a head; the input's width divided by `num_heads` by default.
    eps : float, default=1e-5
        Of the normalizations.

    Notes
    -----
    Input (N, T, width), output alike. Vaswani et al., "Attention is all you need"
    (arXiv:1706.03762).

    Examples
    --------
    >>> import numpy as np
    >>> block = TransformerEncoderBlock(2, 32)
    >>> block._build((None, 8), np.random.default_rng(0))
    (None, 8)
    >>> block(Tensor(np.ones((3, 5, 8), np.float32))).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        num_heads: int,
        ff_units: int,
        activation: str = "relu",
        dropout: float = 0.1,
        *,
        norm_first: bool = False,
        causal: bool = False,
        key_dim: int | None = None,
        eps: float = 1e-5,
    ) -> None:
        owner = "TransformerEncoderBlock"
        self.num_heads = positive(owner, "num_heads", num_heads)
        self.ff_units = positive(owner, "ff_units", ff_units)
        check_activation(owner, activation)
        self.activation = activation
        self.dropout = check_rate(owner, "dropout", dropout)
        self.norm_first = norm_first
        self.causal = causal
        self.key_dim = key_dim
        self.eps = check_epsilon(owner, eps)
        self.attention = MultiHeadAttention(num_heads, key_dim, causal=causal)
        self.attention_dropout = Dropout(dropout)
        self.attention_norm = LayerNorm(eps)
        self.inner = Dense(ff_units, activation)
        self.inner_dropout = Dropout(dropout)
        self.outer_dropout = Dropout(dropout)
        self.outer_norm = LayerNorm(eps)

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Build the parts."""
        width = known_width(self, input_shape)
        self.outer = Dense(width)
        _build_parts(self, input_shape, rng)

    def forward(
        self,
        x: Tensor,
        mode: Mode = INFERENCE,
        mask: Array | None = None,
        attention_mask: Array | None = None,
    ) -> Tensor:
        """Compute the output of `x`.

        Parameters
        ----------
        x : Tensor of shape (N, T, width)
        mode : Mode
            Whether dropout drops.
        mask : bool array of shape (N, T), optional
            Steps that may be looked at.
        attention_mask : bool array, optional
            Broadcast to (N, h, T, T): which step may look at which.
        """
        return encode([self], x, mode, mask, attention_mask)

    def _alone(
        self, x: Tensor, mode: Mode, mask: Array | None, attention_mask: Array | None
    ) -> Tensor:
        """Return the block's output, part by part."""
        y = self.attention_norm(x, mode) if self.norm_first else x
        y = self.attention(y, mode, mask=mask, attention_mask=attention_mask)
        return self._rest(x, y, mode)

    def _settings(self) -> dict[str, Any] | None:
        """Return how `encoder_blocks` computes this block, ``None`` where it cannot."""
        parts = (
            (self.attention, MultiHeadAttention),
            (self.attention_norm, LayerNorm),
            (self.inner, Dense),
            (self.outer, Dense),
            (self.outer_norm, LayerNorm),
        )
        # A part that is another layer, or a subclass, may compute something else.
        known = all(type(part) is kind and part.built for part, kind in parts)
        if not known or self.activation not in FUSED + UNFUSED:
            return None
        return {
            "heads": self.num_heads,
            "activation": self.activation,
            "norm_first": self.norm_first,
            "causal": self.causal,
            "eps": self.eps,
        }

    def _arrays(self) -> list[Tensor]:
        """Return the parameters in the order of `encoder_blocks`."""
        attention = self.attention
        return [
            attention.kernel,
            attention.bias,
            attention.output_kernel,
            attention.output_bias,
            self.attention_norm.gamma,
            self.attention_norm.beta,
            self.inner.kernel,
            self.inner.bias,
            self.outer.kernel,
            self.outer.bias,
            self.outer_norm.gamma,
            self.outer_norm.beta,
        ]

    def _rest(self, x: Tensor, y: Tensor, mode: Mode) -> Tensor:
        """Return the block's output, given its input and that of its attention."""
        if not self.norm_first:
            x, _ = self._add(x, y, self.attention_dropout, self.attention_norm, mode)
            y = self._feed_forward(x, mode)
            return self._add(x, y, self.outer_dropout, self.outer_norm, mode)[0]
        x, y = self._add(x, y, self.attention_dropout, self.outer_norm, mode)
        y = self._feed_forward(y, mode)
        return F.add(x, self.outer_dropout(y, mode))

    def start(self) -> KeyValueCache:
        """Return the empty cache that `step` takes."""
        return self.attention.start()

    def step(self, x: Tensor, cache: KeyValueCache, mask: Array | None = None) -> Tensor:
        """Compute the output of the next steps (N, t, width) of a sequence, and remember them.

        Equal to what `forward` gives for these steps in the whole sequence.

        Raises
        ------
        ValueError
            The block is not causal: earlier steps would have to see these ones.
        """
        if not self.causal:
            raise ValueError(f"{self._title()} computes step by step only with causal=True.")
        y = self.attention_norm(x) if self.norm_first else x
        return self._rest(x, self.attention.step(y, cache, mask), INFERENCE)


def encode(
    blocks: Sequence[TransformerEncoderBlock],
    x: Tensor,
    mode: Mode = INFERENCE,
    mask: Array | None = None,
    attention_mask: Array | None = None,
) -> Tensor:
    """Return what encoder blocks, one after the other, make of `x`.

    In prediction, without gradients, blocks of equal settings are one operation.

    Parameters
    ----------
    blocks : sequence of TransformerEncoderBlock
    x, mode, mask, attention_mask
        As of `TransformerEncoderBlock.forward`.
    """
    for block in blocks:
        block._expect(x)
    fused = bool(blocks) and not mode.training and not grad_enabled()
    settings = blocks[0]._settings() if fused else None
    if settings is None or any(block._settings() != settings for block in blocks[1:]):
        for block in blocks:
            x = block._alone(x, mode, mask, attention_mask)
        return x
    check_steps(blocks[0], "mask", mask, x)
    weights = [array for block in blocks for array in block._arrays()]
    return F.encoder_blocks(x, weights, mask=joined_mask(mask, attention_mask), **settings)


class TransformerDecoderBlock(_Block):
    """Causal self-attention, attention to a context, and two dense layers.

    Each has a residual connection, dropout and normalization.

    Parameters
    ----------
    num_heads : int
        Heads of both attentions.
    ff_units : int
        Width of the inner dense layer.
    activation : str, default="relu"
        Of the inner dense layer.
    dropout : float in [0, 1), default=0.1
        Rate of the dropout after each sublayer and after the inner dense layer.
    norm_first : bool, default=False
        Normalize each sublayer's input, not the sums; see `TransformerEncoderBlock`.
    context_width : int, optional
        Width of the context, the encoder's output; the input's width by default.
    key_dim : int, optional
        Width of a head; the input's width divided by `num_heads` by default.
    eps : float, default=1e-5
        Of the normalizations.

    Notes
    -----
    Input (N, T, width) and a context (N, S, context_width); output (N, T, width). Vaswani et al.,
    "Attention is all you need" (arXiv:1706.03762).

    Examples
    --------
    Step by step as in one pass:

    >>> import numpy as np
    >>> block = TransformerDecoderBlock(2, 32)
    >>> block._build((None, 8), np.random.default_rng(0))
    (None, 8)
    >>> rng = np.random.default_rng(1)
    >>> x, context = Tensor(rng.normal(size=(1, 2, 8))), Tensor(rng.normal(size=(1, 5, 8)))
    >>> whole = block(x, context=context).data
    >>> cache = block.start(context)
    >>> steps = [block.step(Tensor(x.data[:, t : t + 1]), cache).data for t in range(2)]
    >>> bool(np.allclose(np.concatenate(steps, axis=1), whole))
    True
    """

    def __init__(
        self,
        num_heads: int,
        ff_units: int,
        activation: str = "relu",
        dropout: float = 0.1,
        *,
        norm_first: bool = False,
        context_width: int | None = None,
        key_dim: int | None = None,
        eps: float = 1e-5,
    ) -> None:
        owner = "TransformerDecoderBlock"
        self.num_heads = positive(owner, "num_heads", num_heads)
        self.ff_units = positive(owner, "ff_units", ff_units)
        check_activation(owner, activation)
        self.activation = activation
        self.dropout = check_rate(owner, "dropout", dropout)
        self.norm_first = norm_first
        self.context_width = context_width
        self.key_dim = key_dim
        self.eps = check_epsilon(owner, eps)
        self.attention = MultiHeadAttention(num_heads, key_dim, causal=True)
        self.attention_dropout = Dropout(dropout)
        self.attention_norm = LayerNorm(eps)
        self.cross_dropout = Dropout(dropout)
        self.cross_norm = LayerNorm(eps)
        self.inner = Dense(ff_units, activation)
        self.inner_dropout = Dropout(dropout)
        self.outer_dropout = Dropout(dropout)
        self.outer_norm = LayerNorm(eps)

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Build the parts."""
        width = known_width(self, input_shape)
        self.cross = MultiHeadAttention(
            self.num_heads, self.key_dim, context_width=self.context_width or width
        )
        self.outer = Dense(width)
        _build_parts(self, input_shape, rng)

    def forward(
        self,
        x: Tensor,
        mode: Mode = INFERENCE,
        mask: Array | None = None,
        context: Tensor | None = None,
        context_mask: Array | None = None,
    ) -> Tensor:
        """Compute the output of `x`.

        Parameters
        ----------
        x : Tensor of shape (N, T, width)
        mode : Mode
            Whether dropout drops.
        mask : bool array of shape (N, T), optional
            Steps of `x` that may be looked at.
        context : Tensor of shape (N, S, context_width)
            What the second attention looks at.
        context_mask : bool array of shape (N, S), optional
            Steps of `context` that may be looked at.
        """
        self._expect(x)
        y = self.attention_norm(x, mode) if self.norm_first else x
        y = self.attention(y, mode, mask=mask)
        following = self.cross_norm if self.norm_first else self.attention_norm
        x, y = self._add(x, y, self.attention_dropout, following, mode)
        y = self.cross(y, mode, context=context, context_mask=context_mask)
        return self._rest(x, y, mode)

    def _rest(self, x: Tensor, y: Tensor, mode: Mode) -> Tensor:
        """Return the block's output, given the stream and the second attention's output."""
        following = self.outer_norm if self.norm_first else self.cross_norm
        x, y = self._add(x, y, self.cross_dropout, following, mode)
        y = self._feed_forward(y, mode)
        if self.norm_first:
            return F.add(x, self.outer_dropout(y, mode))
        return self._add(x, y, self.outer_dropout, self.outer_norm, mode)[0]

    def start(
        self, context: Tensor, context_mask: Array | None = None
    ) -> tuple[KeyValueCache, KeyValueCache]:
        """Return the caches that `step` takes, for a context (N, S, context_width)."""
        return self.attention.start(), self.cross.start(context, context_mask)

    def step(
        self,
        x: Tensor,
        cache: tuple[KeyValueCache, KeyValueCache],
        mask: Array | None = None,
    ) -> Tensor:
        """Compute the output of the next steps (N, t, width) of a sequence, and remember them.

        Equal to what `forward` gives for these steps in the whole sequence.
        """
        own, context = cache
        y = self.attention_norm(x) if self.norm_first else x
        y = self.attention.step(y, own, mask)
        following = self.cross_norm if self.norm_first else self.attention_norm
        x, y = self._add(x, y, self.attention_dropout, following, INFERENCE)
        return self._rest(x, self.cross.step(y, context), INFERENCE)


def _build_parts(block: Layer, input_shape: Shape, rng: np.random.Generator) -> None:
    """Build the parts of `block`, all of its width but the outer dense layer's input."""
    for name, part in block._members():
        shape: Shape = input_shape
        if name in ("outer", "inner_dropout"):
            shape = (*input_shape[:-1], block.inner.units)  # type: ignore[attr-defined]
        part._build(shape, rng, f"{block.label}.{name}" if block.label else name)
