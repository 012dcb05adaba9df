"""Layers that are random in training and do nothing otherwise."""

from __future__ import annotations

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, check_rate


def task_of(layer: Layer, mode: Mode, part: int = 0) -> int:
    """Return the key of the random numbers of `layer` in this pass."""
    return ((layer.number * 8 + part) << 32) | (mode.step & 0xFFFFFFFF)


class Dropout(Layer):
    """In training, zeros with probability `rate`; the rest is scaled by 1 / (1 - rate).

    Parameters
    ----------
    rate : float in [0, 1)
        Probability of a zero.

    Notes
    -----
    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15
    (2014).

    Examples
    --------
    >>> import numpy as np
    >>> Dropout(0.5)(Tensor(np.ones((1, 3)))).data
    array([[1., 1., 1.]])
    """

    def __init__(self, rate: float) -> None:
        self.rate = check_rate(type(self).__name__, "rate", rate)

    def _mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        if not mode.training or self.rate == 0:
            return x
        shape = self._mask_shape(x.shape)
        return F.dropout(x, self.rate, seed=mode.seed, task=task_of(self, mode), shape=shape)


class SpatialDropout1D(Dropout):
    """Dropout of whole channels of sequences (N, T, C).

    Parameters
    ----------
    rate : float in [0, 1)
        Probability that a channel is dropped.

    Notes
    -----
    Tompson et al., "Efficient object localization using convolutional networks"
    (arXiv:1411.4280).

    Examples
    --------
    >>> import numpy as np
    >>> y = SpatialDropout1D(0.5)(Tensor(np.ones((1, 4, 3))), Mode(training=True))
    >>> bool((y.data == y.data[:, :1]).all())
    True
    """

    input_ndim = 3

    def _mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape[0], 1, shape[2]


class SpatialDropout2D(Dropout):
    """Dropout of whole channels of images (N, H, W, C).

    Parameters
    ----------
    rate : float in [0, 1)
        Probability that a channel is dropped.

    Notes
    -----
    Tompson et al., "Efficient object localization using convolutional networks"
    (arXiv:1411.4280).

    Examples
    --------
    >>> import numpy as np
    >>> y = SpatialDropout2D(0.5)(Tensor(np.ones((1, 4, 4, 3))), Mode(training=True))
    >>> bool((y.data == y.data[:, :1, :1]).all())
    True
    """

    input_ndim = 4

    def _mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape[0], 1, 1, shape[3]


class GaussianNoise(Layer):
    """In training, adds normal noise.

    Parameters
    ----------
    stddev : float
        Standard deviation of the noise.

    Examples
    --------
    >>> import numpy as np
    >>> GaussianNoise(0.1)(Tensor(np.ones((1, 3)))).data
    array([[1., 1., 1.]])
    """

    def __init__(self, stddev: float) -> None:
        if isinstance(stddev, bool) or not isinstance(stddev, int | float) or stddev < 0:
            raise ValueError(f"stddev of GaussianNoise must be a number >= 0, got {stddev!r}.")
        self.stddev = float(stddev)

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the output of `x`."""
        if not mode.training or self.stddev == 0:
            return x
        return F.gaussian_noise(x, self.stddev, seed=mode.seed, task=task_of(self, mode))
