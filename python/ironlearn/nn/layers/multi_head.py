"""Attention of several heads, and what it remembers while a sequence grows."""

from __future__ import annotations

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor, no_grad
from ironlearn.nn.backend.device import Array
from ironlearn.nn.layers.attention import check_context, check_steps, known_width
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Parameter, Shape, positive


class KeyValueCache:
    """Keys and values of the steps so far, so that a new step costs only its own.

    Parameters
    ----------
    keys, values : array of shape (N, h, S, d), optional
        Where it starts; empty by default.
    mask : bool array of shape (N, S), optional
        Steps that count.

    Examples
    --------
    >>> import numpy as np
    >>> cache = KeyValueCache()
    >>> cache.append(np.zeros((1, 2, 3, 4)), np.zeros((1, 2, 3, 4)))
    >>> cache.append(np.zeros((1, 2, 1, 4)), np.zeros((1, 2, 1, 4)))
    >>> cache.length, cache.keys.shape
    (4, (1, 2, 4, 4))
    """

    def __init__(self, keys: Array = None, values: Array = None, mask: Array | None = None) -> None:
        self._keys = keys
        self._values = values
        self._mask = mask
        self.length = 0 if keys is None else int(keys.shape[2])

    @property
    def keys(self) -> Array:
        """Keys of the steps so far."""
        return self._keys[:, :, : self.length]

    @property
    def values(self) -> Array:
        """Values of the steps so far."""
        return self._values[:, :, : self.length]

    @property
    def mask(self) -> Array | None:
        """Which of the steps so far count; ``None`` where all do."""
        return None if self._mask is None else self._mask[:, : self.length]

    def append(self, keys: Array, values: Array, mask: Array | None = None) -> None:
        """Add keys and values (N, h, t, d) of further steps, and which of these count."""
        end = self.length + keys.shape[2]
        self._keys = self._extended(self._keys, keys, end)
        self._values = self._extended(self._values, values, end)
        if mask is not None or self._mask is not None:
            xp = Tensor(keys).device.xp
            n, t = keys.shape[0], keys.shape[2]
            before = xp.ones((n, self.length), bool) if self.mask is None else self.mask
            new = xp.ones((n, t), bool) if mask is None else mask
            self._mask = xp.concatenate([before, new], axis=1)
        self.length = end

    def _extended(self, held: Array, new: Array, end: int) -> Array:
        # Room doubles, so that a sequence of S steps copies O(S), not O(S^2), elements.
        if held is None or held.shape[2] < end:
            n, heads, _, width = new.shape
            room = end if held is None else max(end, 2 * held.shape[2])
            wider = Tensor(new).device.xp.empty((n, heads, room, width), new.dtype)
            if held is not None:
                wider[:, :, : self.length] = held[:, :, : self.length]
            held = wider
        held[:, :, self.length : end] = new
        return held

    def select(self, rows: Array) -> KeyValueCache:
        """Return the cache of the samples `rows` (an index array), as beam search reorders them."""
        mask = self.mask
        return KeyValueCache(
            self.keys[rows], self.values[rows], None if mask is None else mask[rows]
        )


class MultiHeadAttention(Layer):
    """Attention in `num_heads` projections side by side, projected back to the input's width.

    Parameters
    ----------
    num_heads : int
        Number of heads h.
    key_dim : int, optional
        Width d of a head; the input's width divided by `num_heads` by default.
    context_width : int, optional
        Width of the sequence that is looked at. By default there is none: the input looks at
        itself.
    causal : bool, default=False
        Only steps up to the same place are looked at.
    use_bias : bool, default=True
        Add biases to queries, keys, values and output.
    kernel_initializer : str, default="glorot_uniform"
        Initial values of the kernels.

    Attributes
    ----------
    kernel : Parameter of shape (width, 3 h d)
        Makes queries, keys and values of the input in one product. With a context there are
        ``query_kernel`` (width, h d) and ``context_kernel`` (context_width, 2 h d) instead.
    bias : Parameter of shape (3 h d,)
        With a context, ``query_bias`` and ``context_bias``.
    output_kernel, output_bias : Parameter of shapes (h d, width) and (width,)

    Notes
    -----
    Input (N, T, width), output alike. Vaswani et al., "Attention is all you need"
    (arXiv:1706.03762).

    Examples
    --------
    >>> import numpy as np
    >>> layer = MultiHeadAttention(2)
    >>> layer._build((None, 8), np.random.default_rng(0))
    (None, 8)
    >>> layer(Tensor(np.ones((3, 5, 8), np.float32))).shape
    (3, 5, 8)
    """

    input_ndim = 3
    takes_mask = True
    kernel: Parameter
    bias: Parameter
    query_kernel: Parameter
    query_bias: Parameter
    context_kernel: Parameter
    context_bias: Parameter
    output_kernel: Parameter
    output_bias: Parameter

    def __init__(
        self,
        num_heads: int,
        key_dim: int | None = None,
        *,
        context_width: int | None = None,
        causal: bool = False,
        use_bias: bool = True,
        kernel_initializer: str = "glorot_uniform",
    ) -> None:
        owner = "MultiHeadAttention"
        self.num_heads = positive(owner, "num_heads", num_heads)
        self.key_dim = None if key_dim is None else positive(owner, "key_dim", key_dim)
        if context_width is not None:
            context_width = positive(owner, "context_width", context_width)
            if causal:
                raise ValueError("causal of MultiHeadAttention needs context_width=None.")
        self.context_width = context_width
        self.causal = causal
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create kernels and biases."""
        width = known_width(self, input_shape)
        if self.key_dim is None and width % self.num_heads:
            raise ValueError(
                f"{self._title()}: num_heads={self.num_heads} must divide the input's width "
                f"{width}, or key_dim must be given."
            )
        inner = self.num_heads * (self.key_dim or width // self.num_heads)
        if self.context_width is None:
            self._map("kernel", "bias", width, inner, 3, rng)
        else:
            self._map("query_kernel", "query_bias", width, inner, 1, rng)
            self._map("context_kernel", "context_bias", self.context_width, inner, 2, rng)
        self._map("output_kernel", "output_bias", inner, width, 1, rng)

    def _map(
        self, kernel: str, bias: str, rows: int, columns: int, times: int, rng: np.random.Generator
    ) -> None:
        # Each of the maps side by side is drawn as if it stood alone.
        fans = (float(rows), float(columns))
        shape = (rows, times * columns)
        self.add_parameter(kernel, shape, self.kernel_initializer, rng, fans=fans)
        if self.use_bias:
            self.add_parameter(bias, (times * columns,), "zeros", rng, decay=False)

    def _bias(self, name: str) -> Parameter | None:
        return getattr(self, name) if self.use_bias else None

    def _split(self, x: Tensor, parts: int) -> list[Tensor]:
        """Return x (N, T, parts h d) as `parts` tensors (N, h, T, d)."""
        n, length, width = x.shape
        inner = width // parts
        by_head = (n, length, self.num_heads, inner // self.num_heads)
        pieces = (
            [x]
            if parts == 1
            else [
                F.getitem(x, (slice(None), slice(None), slice(i * inner, (i + 1) * inner)))
                for i in range(parts)
            ]
        )
        return [F.transpose(F.reshape(piece, by_head), (0, 2, 1, 3)) for piece in pieces]

    def _output(self, heads: Tensor) -> Tensor:
        n, _, length, _ = heads.shape
        flat = F.reshape(F.transpose(heads, (0, 2, 1, 3)), (n, length, -1))
        return F.affine(flat, self.output_kernel, self._bias("output_bias"))

    def forward(
        self,
        x: Tensor,
        mode: Mode = INFERENCE,
        mask: Array | None = None,
        context: Tensor | None = None,
        context_mask: Array | None = None,
        attention_mask: Array | None = None,
    ) -> Tensor:
        """Compute the output of `x`.

        Parameters
        ----------
        x : Tensor of shape (N, T, width)
            The queries.
        mode : Mode
            Not used.
        mask : bool array of shape (N, T), optional
            Steps of `x` that may be looked at.
        context : Tensor of shape (N, S, context_width)
            What is looked at, if the layer was made for one.
        context_mask : bool array of shape (N, S), optional
            Steps of `context` that may be looked at.
        attention_mask : bool array, optional
            Broadcast to (N, h, T, S): which query may look at which key, besides the other masks.
        """
        self._expect(x)
        if self.context_width is None:
            if context is not None:
                raise ValueError(f"{self._title()} takes no context: context_width is None.")
            check_steps(self, "mask", mask, x)
            packed = F.affine(x, self.kernel, self._bias("bias"))
            allowed = joined_mask(mask, attention_mask)
            out = F.attention_packed(packed, self.num_heads, mask=allowed, causal=self.causal)
            return F.affine(out, self.output_kernel, self._bias("output_bias"))
        if context is None:
            raise ValueError(f"{self._title()} needs a context.")
        check_context(self, x, context, self.context_width)
        check_steps(self, "context_mask", context_mask, context)
        (query,) = self._split(F.affine(x, self.query_kernel, self._bias("query_bias")), 1)
        projected = F.affine(context, self.context_kernel, self._bias("context_bias"))
        keys, values = self._split(projected, 2)
        allowed = joined_mask(context_mask, attention_mask)
        return self._output(F.attention(query, keys, values, mask=allowed))

    def weights(
        self,
        x: Tensor,
        mask: Array | None = None,
        context: Tensor | None = None,
        context_mask: Array | None = None,
    ) -> Array:
        """Return the weights (N, h, T, S) of the sums, to look at."""
        self._expect(x)
        with no_grad():
            if context is None:
                packed = F.affine(x, self.kernel, self._bias("bias"))
                query, keys, _ = self._split(packed, 3)
            else:
                (query,) = self._split(F.affine(x, self.query_kernel, self._bias("query_bias")), 1)
                projected = F.affine(context, self.context_kernel, self._bias("context_bias"))
                keys, _ = self._split(projected, 2)
                mask = context_mask
            return x.device.ops.attention_weights(
                query.data, keys.data, mask=joined_mask(mask, None), causal=self.causal
            )

    # Step by step -----------------------------------------------------------------------------

    def start(
        self, context: Tensor | None = None, context_mask: Array | None = None
    ) -> KeyValueCache:
        """Return the cache that `step` takes: that of `context`, or an empty one."""
        if self.context_width is None:
            return KeyValueCache()
        if context is None:
            raise ValueError(f"{self._title()} needs a context.")
        check_steps(self, "context_mask", context_mask, context)
        with no_grad():
            projected = F.affine(context, self.context_kernel, self._bias("context_bias"))
            keys, values = self._split(projected, 2)
        return KeyValueCache(keys.data, values.data, context_mask)

    def step(self, x: Tensor, cache: KeyValueCache, mask: Array | None = None) -> Tensor:
        """Compute the output of the next steps of a sequence, and remember them.

        Parameters
        ----------
        x : Tensor of shape (N, t, width)
            The steps after those in `cache`; often one.
        cache : KeyValueCache
            Of `start`; the new steps are appended unless it is that of a context.
        mask : bool array of shape (N, t), optional
            New steps that may be looked at.

        Returns
        -------
        Tensor of shape (N, t, width)
            What `forward` with ``causal=True`` would give for these steps. No gradient passes.
        """
        with no_grad():
            if self.context_width is None:
                packed = F.affine(x, self.kernel, self._bias("bias"))
                query, keys, values = self._split(packed, 3)
                cache.append(keys.data, values.data, mask)
            else:
                (query,) = self._split(F.affine(x, self.query_kernel, self._bias("query_bias")), 1)
            out = F.attention(
                query,
                cache.keys,
                cache.values,
                mask=joined_mask(cache.mask, None),
                causal=self.context_width is None,
            )
            return self._output(out)


def joined_mask(steps: Array | None, pairs: Array | None) -> Array | None:
    """Return one mask for (N, h, T, S) out of one of keys (N, S) and one of pairs."""
    wide = None if steps is None else steps[:, None, None, :]
    if wide is None or pairs is None:
        return pairs if wide is None else wide
    return wide & pairs
