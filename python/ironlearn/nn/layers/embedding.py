"""Vectors of numbered things."""

from __future__ import annotations

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Parameter, Shape, positive


class Embedding(Layer):
    """A trained vector for each of `input_dim` numbers.

    Parameters
    ----------
    input_dim : int
        How many numbers there are: inputs are below it.
    output_dim : int
        Width of the vectors.
    mask_zero : bool, default=False
        Number 0 fills sequences up: the layers behind are given a mask that is False there.
    sparse : bool, default=False
        Optimizers touch only the rows that a batch uses. Much faster for large tables; rules with a
        memory (momentum, Adam) then do not move a row in steps that do not use it.
    embeddings_initializer : str, default="uniform"
        Initial values; see `ironlearn.nn.initializers`.

    Attributes
    ----------
    embeddings : Parameter of shape (input_dim, output_dim)

    Notes
    -----
    Input (N, ...) of integers, output (N, ..., output_dim).

    Examples
    --------
    >>> import numpy as np
    >>> layer = Embedding(100, 8, mask_zero=True)
    >>> layer._build((5,), np.random.default_rng(0))
    (5, 8)
    >>> ids = Tensor(np.array([[3, 7, 7, 0, 0]]))
    >>> layer(ids).shape
    (1, 5, 8)
    >>> layer.compute_mask(ids, None)
    array([[ True,  True,  True, False, False]])
    """

    embeddings: Parameter

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *,
        mask_zero: bool = False,
        sparse: bool = False,
        embeddings_initializer: str = "uniform",
    ) -> None:
        self.input_dim = positive("Embedding", "input_dim", input_dim)
        self.output_dim = positive("Embedding", "output_dim", output_dim)
        self.mask_zero = mask_zero
        self.sparse = sparse
        self.embeddings_initializer = embeddings_initializer

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create the table."""
        shape = (self.input_dim, self.output_dim)
        self.add_parameter("embeddings", shape, self.embeddings_initializer, rng, decay=False)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape with one axis more."""
        return (*input_shape, self.output_dim)

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`.

        Raises
        ------
        TypeError
            `x` does not hold integers.
        ValueError
            `x` holds a number that the table has no row for.
        """
        self._expect(x)
        try:
            return F.embedding(x, self.embeddings, sparse=self.sparse)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self._title()}: {error}") from None

    def compute_mask(self, x: Tensor, mask: Array | None) -> Array | None:
        """Return where `x` is not 0, if `mask_zero`."""
        return x.data != 0 if self.mask_zero else mask
