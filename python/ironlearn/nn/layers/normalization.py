"""Layers that normalize their input."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.functional.activations import split_activation
from ironlearn.nn.layers.activation import apply_activation
from ironlearn.nn.layers.base import (
    INFERENCE,
    Buffer,
    Layer,
    Mode,
    Parameter,
    Shape,
    check_activation,
    positive,
)


def check_epsilon(owner: str, value: Any) -> float:
    """Return `value`, a number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"eps of {owner} must be a number above 0, got {value!r}.")
    return float(value)


class _Normalization(Layer):
    """A gain and an offset for each place of the last axis."""

    gamma: Parameter
    beta: Parameter

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create gain and offset."""
        width = input_shape[-1] if input_shape else None
        if width is None:
            raise ValueError(f"{self._title()} needs to know the width of its input.")
        self.add_parameter("gamma", (width,), "ones", rng, decay=False)
        self.add_parameter("beta", (width,), "zeros", rng, decay=False)


class Scale(_Normalization):
    """A gain and an offset for each place of the last axis: gamma x + beta.

    Attributes
    ----------
    gamma, beta : Parameter of shape (width,)
        Gain and offset.

    Notes
    -----
    Input (N, ..., width), output alike.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Scale()
    >>> layer._build((2,), np.random.default_rng(0))
    (2,)
    >>> layer(Tensor(np.array([[1.0, 5.0]]))).data
    array([[1., 5.]])
    """

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        self._expect(x)
        return F.add(F.mul(x, self.gamma), self.beta)


class BatchNorm(_Normalization):
    """Each channel with mean 0 and variance 1 over the batch, then a gain and an offset.

    In training the statistics are the batch's; otherwise they are running means of these.

    Parameters
    ----------
    momentum : float in [0, 1), default=0.9
        What a batch leaves of the running means.
    eps : float, default=1e-5
        Added to the variance.
    activation : str, optional
        Applied to the output; see `Activation`.

    Attributes
    ----------
    gamma, beta : Parameter of shape (channels,)
        Gain and offset.
    running_mean, running_var : Buffer of shape (channels,)
        The variance is the unbiased one.

    Notes
    -----
    Input (N, ..., channels), output alike. Ioffe and Szegedy, "Batch normalization"
    (arXiv:1502.03167).

    Examples
    --------
    >>> import numpy as np
    >>> layer = BatchNorm()
    >>> layer._build((2,), np.random.default_rng(0))
    (2,)
    >>> layer(Tensor(np.array([[1.0, 5.0], [3.0, 9.0]])), Mode(training=True)).data.round(2)
    array([[-1., -1.],
           [ 1.,  1.]])
    >>> layer.running_mean.data
    array([0.2, 0.7], dtype=float32)
    """

    running_mean: Buffer
    running_var: Buffer

    def __init__(
        self, momentum: float = 0.9, eps: float = 1e-5, activation: str | None = None
    ) -> None:
        if (
            isinstance(momentum, bool)
            or not isinstance(momentum, int | float)
            or not (0 <= momentum < 1)
        ):
            raise ValueError(f"momentum of BatchNorm must be a number in [0, 1), got {momentum!r}.")
        self.momentum = float(momentum)
        self.eps = check_epsilon("BatchNorm", eps)
        check_activation("BatchNorm", activation)
        self.activation = activation

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create gain, offset and running statistics."""
        super().build(input_shape, rng)
        width = self.gamma.shape[0]
        self.add_buffer("running_mean", np.zeros(width, np.float32))
        self.add_buffer("running_var", np.ones(width, np.float32))

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`; in training, remember the batch's statistics."""
        self._expect(x)
        fused, rest = split_activation(self.activation)
        if not mode.training:
            mean, var = self.running_mean.data, self.running_var.data
            y = F.batch_norm_inference(x, self.gamma, self.beta, mean, var, self.eps, fused)
            # The statistics stay in float32 where the network computes in 16 bits.
            y = F.cast(y, x.dtype)
            return apply_activation(y, rest)
        y, batch_mean, batch_var = F.batch_norm(x, self.gamma, self.beta, self.eps, fused)
        count = x.data.size // x.shape[-1]
        if count:
            unbiased = batch_var.data * (count / max(1, count - 1))
            self._remember(self.running_mean, batch_mean.data)
            self._remember(self.running_var, unbiased)
        return apply_activation(y, rest)

    def _remember(self, buffer: Buffer, value: Any) -> None:
        # In place, so that whoever shares the array sees it.
        buffer.data *= self.momentum
        buffer.data += (1 - self.momentum) * value.astype(buffer.data.dtype)


class LayerNorm(_Normalization):
    """Each vector along the last axis with mean 0 and variance 1, then a gain and an offset.

    Parameters
    ----------
    eps : float, default=1e-5
        Added to the variance.

    Attributes
    ----------
    gamma, beta : Parameter of shape (width,)
        Gain and offset.

    Notes
    -----
    Input (N, ..., width), output alike. Ba et al., "Layer normalization" (arXiv:1607.06450).

    Examples
    --------
    >>> import numpy as np
    >>> layer = LayerNorm()
    >>> layer._build((4,), np.random.default_rng(0))
    (4,)
    >>> layer(Tensor(np.array([[1.0, 3.0, 1.0, 3.0]]))).data.round(2)
    array([[-1.,  1., -1.,  1.]])
    """

    def __init__(self, eps: float = 1e-5) -> None:
        self.eps = check_epsilon("LayerNorm", eps)

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        self._expect(x)
        return F.layer_norm(x, self.gamma, self.beta, self.eps)

    def add(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Return x + residual and the output for it, which costs one pass less than both."""
        self._expect(x)
        return F.add_layer_norm(x, residual, self.gamma, self.beta, self.eps)


class GroupNorm(_Normalization):
    """Groups of channels of each sample with mean 0 and variance 1, then a gain and an offset.

    Parameters
    ----------
    groups : int, default=32
        Number of groups; it divides the channels. As many as channels is instance normalization.
    eps : float, default=1e-5
        Added to the variance.

    Attributes
    ----------
    gamma, beta : Parameter of shape (channels,)
        Gain and offset.

    Notes
    -----
    Input (N, ..., channels), output alike. Wu and He, "Group normalization" (arXiv:1803.08494).

    Examples
    --------
    >>> import numpy as np
    >>> layer = GroupNorm(2)
    >>> layer._build((4,), np.random.default_rng(0))
    (4,)
    >>> layer(Tensor(np.array([[1.0, 3.0, 10.0, 30.0]]))).data.round(2)
    array([[-1.,  1., -1.,  1.]])
    """

    def __init__(self, groups: int = 32, eps: float = 1e-5) -> None:
        self.groups = positive("GroupNorm", "groups", groups)
        self.eps = check_epsilon("GroupNorm", eps)

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create gain and offset."""
        width = input_shape[-1] if input_shape else None
        if width is not None and width % self.groups:
            raise ValueError(
                f"{self._title()}: groups={self.groups} must divide the {width} channels of the "
                "input."
            )
        super().build(input_shape, rng)

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        self._expect(x)
        return F.group_norm(x, self.gamma, self.beta, self.groups, self.eps)
