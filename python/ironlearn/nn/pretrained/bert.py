"""BERT: a transformer that reads text, and what smaller models of its form share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import ModelFileError
from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Shape, positive
from ironlearn.nn.layers.dropout import Dropout
from ironlearn.nn.layers.embedding import Embedding
from ironlearn.nn.layers.normalization import LayerNorm
from ironlearn.nn.layers.sequential import initialize
from ironlearn.nn.layers.transformer import TransformerEncoderBlock, encode
from ironlearn.nn.pretrained.layout import Weights
from ironlearn.nn.pretrained.loading import loading


class BertEncoder(Layer):
    """Embeddings of words, places and segments, then encoder blocks.

    Parameters
    ----------
    vocab_size : int, default=30522
        Number of word pieces.
    hidden_size : int, default=768
        Width of the vectors.
    num_layers : int, default=12
        Encoder blocks.
    num_heads : int, default=12
        Heads of each block's attention.
    intermediate_size : int, default=3072
        Width of each block's inner dense layer.
    max_positions : int, default=512
        Longest sequence.
    type_vocab_size : int, default=2
        Kinds of segments.
    dropout : float, default=0.1
        Rate of the dropout, in training only.
    eps : float, default=1e-12
        Of the normalizations.

    Notes
    -----
    Input (N, T) of word pieces, output (N, T, hidden_size). Devlin et al., "BERT"
    (arXiv:1810.04805); MiniLM (Wang et al., arXiv:2002.10957) has the same form.

    Examples
    --------
    >>> import numpy as np
    >>> net = BertEncoder(100, 8, 1, 2, 16, 32)
    >>> initialize(net, (None,))(Tensor(np.array([[5, 6, 7]]))).shape
    (1, 3, 8)
    """

    input_ndim = 2
    takes_mask = True

    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        intermediate_size: int = 3072,
        max_positions: int = 512,
        type_vocab_size: int = 2,
        dropout: float = 0.1,
        eps: float = 1e-12,
    ) -> None:
        self.vocab_size = positive("BertEncoder", "vocab_size", vocab_size)
        self.hidden_size = positive("BertEncoder", "hidden_size", hidden_size)
        self.num_layers = positive("BertEncoder", "num_layers", num_layers)
        self.num_heads = positive("BertEncoder", "num_heads", num_heads)
        self.intermediate_size = positive("BertEncoder", "intermediate_size", intermediate_size)
        self.max_positions = positive("BertEncoder", "max_positions", max_positions)
        self.type_vocab_size = positive("BertEncoder", "type_vocab_size", type_vocab_size)
        self.dropout = dropout
        self.eps = eps
        self.words = Embedding(vocab_size, hidden_size)
        self.places = Embedding(max_positions, hidden_size)
        self.segments = Embedding(type_vocab_size, hidden_size)
        self.norm = LayerNorm(eps)
        self.drop = Dropout(dropout)
        self.blocks = [
            TransformerEncoderBlock(num_heads, intermediate_size, "gelu", dropout, eps=eps)
            for _ in range(num_layers)
        ]

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create all parts."""
        inner = (None, self.hidden_size)
        for name in ("words", "places", "segments"):
            getattr(self, name)._build((None,), rng, name)
        self.norm._build(inner, rng, "norm")
        for i, block in enumerate(self.blocks):
            block._build(inner, rng, f"blocks.{i}")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the steps and the width."""
        return (*input_shape, self.hidden_size)

    def forward(
        self,
        x: Tensor,
        mode: Mode = INFERENCE,
        mask: Array | None = None,
        segments: Array | None = None,
    ) -> Tensor:
        """Compute the vectors of word pieces.

        Parameters
        ----------
        x : Tensor of int of shape (N, T)
            Numbers of word pieces.
        mode : Mode
            Whether dropout drops.
        mask : bool array of shape (N, T), optional
            Steps that are no padding.
        segments : int array of shape (N, T), optional
            Kind of each step's segment; 0 by default.
        """
        self._expect(x)
        n, length = x.shape
        if length > self.max_positions:
            raise ValueError(
                f"{self._title()} takes at most {self.max_positions} steps, got {length}."
            )
        xp = x.device.xp
        places = xp.broadcast_to(xp.arange(length), (n, length))
        kinds = xp.zeros((n, length), xp.int64) if segments is None else segments
        y = F.add(self.words(x, mode), self.places(Tensor(places), mode))
        y = self.norm(F.add(y, self.segments(Tensor(kinds), mode)), mode)
        y = self.drop(y, mode)
        return encode(self.blocks, y, mode, mask)

    def load_huggingface(self, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take the weights of a BERT in the names of the library transformers.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            What `ironlearn.nn.pretrained.read_weights` returns; names may begin with ``bert.``.

        Returns
        -------
        BertEncoder
            The network itself, built unless it was.

        Raises
        ------
        ModelFileError
            The weights are of another network; the first array that does not fit is named.
        """
        if not self.built:
            initialize(self, (None,))
        with loading(self, arrays):
            prefix = "bert." if any(name.startswith("bert.") for name in arrays) else ""
            weights = Weights(arrays, prefix)
            width, inner = self.hidden_size, self.intermediate_size
            tables = weights.within("embeddings")
            for layer, name in (
                (self.words, "word_embeddings"),
                (self.places, "position_embeddings"),
                (self.segments, "token_type_embeddings"),
            ):
                layer.embeddings.data = tables.take(f"{name}.weight", (layer.input_dim, width))
            _load_norm(self.norm, tables.within("LayerNorm"), width)
            for i, block in enumerate(self.blocks):
                part = weights.within(f"encoder.layer.{i}")
                own = part.within("attention.self")
                names = ("query", "key", "value")
                attention = block.attention
                attention.kernel.data = np.ascontiguousarray(
                    np.concatenate([own.dense(f"{n}.weight", width, width) for n in names], axis=1)
                )
                attention.bias.data = np.concatenate(
                    [own.take(f"{n}.bias", (width,)) for n in names]
                )
                out = part.within("attention.output")
                attention.output_kernel.data = out.dense("dense.weight", width, width)
                attention.output_bias.data = out.take("dense.bias", (width,))
                _load_norm(block.attention_norm, out.within("LayerNorm"), width)
                block.inner.kernel.data = part.dense("intermediate.dense.weight", width, inner)
                block.inner.bias.data = part.take("intermediate.dense.bias", (inner,))
                block.outer.kernel.data = part.dense("output.dense.weight", inner, width)
                block.outer.bias.data = part.take("output.dense.bias", (width,))
                _load_norm(block.outer_norm, part.within("output.LayerNorm"), width)
            # Poolers and heads may be left, but no further blocks.
            weights.within("encoder").finish()
        return self

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> BertEncoder:
        """Return the network that a ``config.json`` of transformers describes, not built.

        Raises
        ------
        ModelFileError
            The configuration lacks a size, or is of another kind of network.
        """
        if config.get("hidden_act", "gelu") != "gelu":
            raise ModelFileError(f"hidden_act {config['hidden_act']!r} is not 'gelu'.")
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise ModelFileError("only absolute positions are supported.")
        try:
            return cls(
                config["vocab_size"],
                config["hidden_size"],
                config["num_hidden_layers"],
                config["num_attention_heads"],
                config["intermediate_size"],
                config["max_position_embeddings"],
                config["type_vocab_size"],
                float(config.get("hidden_dropout_prob", 0.1)),
                float(config.get("layer_norm_eps", 1e-12)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"the configuration is of no BERT: {error}") from error


def _load_norm(norm: LayerNorm, weights: Weights, width: int) -> None:
    norm.gamma.data = weights.take("weight", (width,))
    norm.beta.data = weights.take("bias", (width,))
