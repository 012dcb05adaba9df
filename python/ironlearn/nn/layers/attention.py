"""Attention of one head: a weighted sum of the steps of a sequence."""

from __future__ import annotations

import math

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor, no_grad
from ironlearn.nn.backend.device import Array
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Parameter, Shape, positive


def known_width(layer: Layer, input_shape: Shape) -> int:
    """Return the width of the sequences that `layer` is built for."""
    width = input_shape[-1]
    if width is None:
        raise ValueError(f"{layer._title()} needs to know the width of its input.")
    return width


def check_context(layer: Layer, x: Tensor, context: Tensor, width: int) -> None:
    """Refuse a sequence to look at that does not fit the one that looks."""
    shape = context.shape
    if len(shape) != 3 or shape[0] != x.shape[0] or shape[2] != width:
        raise ValueError(
            f"{layer._title()} expects a context of shape ({x.shape[0]}, any, {width}), got "
            f"{shape}."
        )


def check_steps(layer: Layer, name: str, mask: Array | None, x: Tensor) -> None:
    """Refuse a mask of steps that is not one of the sequence `x`."""
    if mask is not None and tuple(mask.shape) != x.shape[:2]:
        raise ValueError(
            f"{layer._title()} expects {name} of shape {x.shape[:2]}, got {tuple(mask.shape)}."
        )


class DotAttention(Layer):
    """For each step, the sum of another sequence's steps weighted by a softmax of dot products.

    Parameters
    ----------
    scaled : bool, default=False
        Divide the products by the square root of the width.
    causal : bool, default=False
        Only steps up to the same place (counted from the end) are looked at.

    Notes
    -----
    Input (N, T, width) and a context (N, S, width), the input itself unless given; output
    (N, T, width). There are no parameters. Luong et al., "Effective approaches to attention-based
    neural machine translation" (arXiv:1508.04025), the score "dot".

    Examples
    --------
    >>> import numpy as np
    >>> layer = DotAttention()
    >>> layer._build((None, 2), np.random.default_rng(0))
    (None, 2)
    >>> query = Tensor(np.array([[[100.0, 0.0]]]))
    >>> context = Tensor(np.array([[[1.0, 0.0], [0.0, 1.0]]]))
    >>> layer(query, context=context).data.round(3)
    array([[[1., 0.]]])
    """

    input_ndim = 3
    takes_mask = True

    def __init__(self, scaled: bool = False, causal: bool = False) -> None:
        self.scaled = scaled
        self.causal = causal

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Check that the width is known."""
        known_width(self, input_shape)

    def _inputs(
        self, x: Tensor, mask: Array | None, context: Tensor | None, context_mask: Array | None
    ) -> tuple[Tensor, Array | None, float]:
        self._expect(x)
        if context is None:
            context, context_mask = x, mask
        else:
            check_context(self, x, context, x.shape[2])
        check_steps(self, "a mask", context_mask, context)
        wide = None if context_mask is None else context_mask[:, None, None, :]
        return context, wide, 1.0 / math.sqrt(x.shape[2]) if self.scaled else 1.0

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
            The queries.
        mode : Mode
            Not used.
        mask : bool array of shape (N, T), optional
            Steps of `x` that count; matters where `x` is its own context.
        context : Tensor of shape (N, S, width), optional
            What is looked at; `x` by default.
        context_mask : bool array of shape (N, S), optional
            Steps of `context` that count.
        """
        context, wide, scale = self._inputs(x, mask, context, context_mask)
        n, length, width = x.shape
        keys = F.reshape(context, (n, 1, context.shape[1], width))
        query = F.reshape(x, (n, 1, length, width))
        out = F.attention(query, keys, keys, mask=wide, causal=self.causal, scale=scale)
        return F.reshape(out, (n, length, width))

    def weights(
        self,
        x: Tensor,
        mask: Array | None = None,
        context: Tensor | None = None,
        context_mask: Array | None = None,
    ) -> Array:
        """Return the weights (N, T, S) of the sums, to look at."""
        context, wide, scale = self._inputs(x, mask, context, context_mask)
        return x.device.ops.attention_weights(
            x.data[:, None], context.data[:, None], mask=wide, causal=self.causal, scale=scale
        )[:, 0]


class AdditiveAttention(Layer):
    """For each step, the sum of another sequence's steps weighted by a softmax of v' tanh(q + k).

    Parameters
    ----------
    units : int
        Width of the space in which queries q = x W and keys k = context U are added.
    context_width : int, optional
        Width of the context; that of the input by default.
    kernel_initializer : str, default="glorot_uniform"
        Initial values of W, U and v.

    Attributes
    ----------
    query_kernel : Parameter of shape (width, units)
    key_kernel : Parameter of shape (context_width, units)
    bias : Parameter of shape (units,)
        Added to the keys.
    score_kernel : Parameter of shape (units, 1)

    Notes
    -----
    Input (N, T, width) and a context (N, S, context_width), the input itself unless given; output
    (N, T, context_width). Bahdanau et al., "Neural machine translation by jointly learning to align
    and translate" (arXiv:1409.0473).

    Examples
    --------
    >>> import numpy as np
    >>> layer = AdditiveAttention(8, context_width=6)
    >>> layer._build((None, 4), np.random.default_rng(0))
    (None, 6)
    >>> layer(Tensor(np.ones((2, 3, 4))), context=Tensor(np.ones((2, 5, 6)))).shape
    (2, 3, 6)
    """

    input_ndim = 3
    takes_mask = True
    query_kernel: Parameter
    key_kernel: Parameter
    bias: Parameter
    score_kernel: Parameter

    def __init__(
        self,
        units: int,
        context_width: int | None = None,
        kernel_initializer: str = "glorot_uniform",
    ) -> None:
        self.units = positive("AdditiveAttention", "units", units)
        if context_width is not None:
            context_width = positive("AdditiveAttention", "context_width", context_width)
        self.context_width = context_width
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create the kernels."""
        width = known_width(self, input_shape)
        kind = self.kernel_initializer
        self.add_parameter("query_kernel", (width, self.units), kind, rng)
        self.add_parameter("key_kernel", (self.context_width or width, self.units), kind, rng)
        self.add_parameter("bias", (self.units,), "zeros", rng, decay=False)
        self.add_parameter("score_kernel", (self.units, 1), kind, rng)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's steps with the context's width."""
        return (*input_shape[:-1], self.context_width or input_shape[-1])

    def _weights(
        self, x: Tensor, mask: Array | None, context: Tensor | None, context_mask: Array | None
    ) -> tuple[Tensor, Tensor]:
        self._expect(x)
        if context is None:
            context, context_mask = x, mask
        check_context(self, x, context, self.key_kernel.shape[0])
        check_steps(self, "a mask", context_mask, context)
        n, length, _ = x.shape
        steps = context.shape[1]
        query = F.reshape(F.affine(x, self.query_kernel), (n, length, 1, self.units))
        keys = F.affine(context, self.key_kernel, self.bias)
        keys = F.reshape(keys, (n, 1, steps, self.units))
        scores = F.affine(F.activation(F.add(query, keys), "tanh"), self.score_kernel)
        scores = F.reshape(scores, (n, length, steps))
        wide = None if context_mask is None else context_mask[:, None, :]
        return F.masked_softmax(scores, wide), context

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
            The queries.
        mode : Mode
            Not used.
        mask : bool array of shape (N, T), optional
            Steps of `x` that count; matters where `x` is its own context.
        context : Tensor of shape (N, S, context_width), optional
            What is looked at; `x` by default.
        context_mask : bool array of shape (N, S), optional
            Steps of `context` that count.
        """
        weights, context = self._weights(x, mask, context, context_mask)
        return F.matmul(weights, context)

    def weights(
        self,
        x: Tensor,
        mask: Array | None = None,
        context: Tensor | None = None,
        context_mask: Array | None = None,
    ) -> Array:
        """Return the weights (N, T, S) of the sums, to look at."""
        with no_grad():
            return self._weights(x, mask, context, context_mask)[0].data


class AttentionPooling(Layer):
    """One vector of a sequence: the sum of its steps weighted by a softmax of trained scores.

    Parameters
    ----------
    units : int, optional
        Width of a hidden layer of the scores: v' tanh(x W + b). Without it they are dot products
        v' x with one trained vector.
    kernel_initializer : str, default="glorot_uniform"
        Initial values of W and v.

    Attributes
    ----------
    score_kernel : Parameter of shape (units or width, 1)
        The vector v.
    kernel : Parameter of shape (width, units)
    bias : Parameter of shape (units,)
        Both only with `units`.

    Notes
    -----
    Input (N, T, width), output (N, width); masked steps have no weight. Yang et al., "Hierarchical
    attention networks for document classification" (NAACL 2016).

    Examples
    --------
    >>> import numpy as np
    >>> layer = AttentionPooling()
    >>> layer._build((None, 4), np.random.default_rng(0))
    (4,)
    >>> layer(Tensor(np.ones((2, 3, 4), np.float32))).data.round(3)
    array([[1., 1., 1., 1.],
           [1., 1., 1., 1.]], dtype=float32)
    """

    input_ndim = 3
    takes_mask = True
    kernel: Parameter
    bias: Parameter
    score_kernel: Parameter

    def __init__(
        self, units: int | None = None, kernel_initializer: str = "glorot_uniform"
    ) -> None:
        self.units = None if units is None else positive("AttentionPooling", "units", units)
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create the kernels."""
        width = known_width(self, input_shape)
        kind = self.kernel_initializer
        if self.units is not None:
            self.add_parameter("kernel", (width, self.units), kind, rng)
            self.add_parameter("bias", (self.units,), "zeros", rng, decay=False)
        self.add_parameter("score_kernel", (self.units or width, 1), kind, rng)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the width."""
        return input_shape[-1:]

    def _pool(self, x: Tensor, mask: Array | None) -> tuple[Tensor, Tensor]:
        self._expect(x)
        check_steps(self, "a mask", mask, x)
        hidden = x if self.units is None else F.affine(x, self.kernel, self.bias, "tanh")
        scores = F.reshape(F.affine(hidden, self.score_kernel), x.shape[:2])
        return F.attention_pool(x, scores, mask)

    def forward(self, x: Tensor, mode: Mode = INFERENCE, mask: Array | None = None) -> Tensor:
        """Compute the output of `x`; `mask` (N, T) tells which steps count."""
        return self._pool(x, mask)[0]

    def weights(self, x: Tensor, mask: Array | None = None) -> Array:
        """Return the weights (N, T) of the sum, to look at."""
        with no_grad():
            return self._pool(x, mask)[1].data

    def compute_mask(self, x: Tensor, mask: Array | None) -> Array | None:
        """Return no mask: there are no steps left."""
        return None
