"""Losses: what training makes small.

A loss gives one number for each sample; a batch's loss is their weighted mean,
``sum(w l) / sum(w)``. Classification losses take logits, never probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ironlearn.exceptions import InvalidParameterError
from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor, arrays_among
from ironlearn.nn.backend.device import Array, device_of
from ironlearn.nn.settings import Described


class Loss(Described):
    """Base of losses.

    A subclass implements `per_sample`; its settings are attributes named as the constructor's.
    """

    #: The short name that `get_loss` takes.
    name: str

    def per_sample(self, outputs: Tensor, targets: Array) -> Tensor:
        """Return each sample's loss, (N,), of the network's outputs (N, ...)."""
        raise NotImplementedError

    def __call__(self, outputs: Tensor, targets: Array, weights: Array | None = None) -> Tensor:
        """Return the weighted mean of the samples' losses, a scalar.

        Parameters
        ----------
        outputs : Tensor of shape (N, ...)
        targets : array of shape (N, ...)
        weights : array of shape (N,), optional
            How much each sample counts; all zero gives 0.

        Raises
        ------
        ValueError
            The arrays are of two devices, or their shapes do not fit.
        """
        device = device_of(arrays_among((outputs, targets, weights)))
        with device.context():
            losses = self.per_sample(outputs, targets)
            if weights is None:
                return F.mean(losses)
            share = weights / device.xp.maximum(weights.sum(), np.finfo(np.float32).tiny)
            return F.sum(F.mul(losses, Tensor(share.astype(losses.dtype))))


def _flat_mean(x: Tensor) -> Tensor:
    """Return the mean over all axes but the first."""
    if x.ndim == 1:
        return x
    return F.mean(x, axis=tuple(range(1, x.ndim)))


def _check_same(owner: str, outputs: Tensor, targets: Array) -> None:
    if tuple(outputs.shape) != tuple(targets.shape):
        raise ValueError(
            f"{owner}: targets must have the outputs' shape {tuple(outputs.shape)}, got "
            f"{tuple(targets.shape)}."
        )


class CrossEntropy(Loss):
    """Softmax cross-entropy: -log of the probability of the true class.

    Parameters
    ----------
    label_smoothing : float in [0, 1), default=0.0
        This share of the target is spread evenly over all classes.

    Notes
    -----
    Outputs are logits (N, C) or, for sequences, (N, T, C); targets are class numbers (N,) or
    (N, T), where negative ones do not count.

    Examples
    --------
    >>> import numpy as np
    >>> logits = Tensor(np.array([[0.0, 0.0], [2.0, 0.0]]))
    >>> round(float(CrossEntropy()(logits, np.array([0, 0])).data), 3)
    0.41
    """

    name = "cross_entropy"

    def __init__(self, label_smoothing: float = 0.0) -> None:
        if not 0 <= label_smoothing < 1:
            raise InvalidParameterError(
                f"label_smoothing must be in [0, 1), got {label_smoothing!r}."
            )
        self.label_smoothing = label_smoothing

    def per_sample(self, outputs: Tensor, targets: Array) -> Tensor:
        """Return each sample's loss; that of a sequence is the mean over its counted steps."""
        if outputs.ndim == 2 and targets.ndim == 1:
            return F.softmax_cross_entropy(outputs, targets, self.label_smoothing)
        if outputs.ndim != targets.ndim + 1 or tuple(outputs.shape[:-1]) != tuple(targets.shape):
            raise ValueError(
                "CrossEntropy: outputs (N, C) need targets (N,), outputs (N, T, C) targets (N, T); "
                f"got {tuple(outputs.shape)} and {tuple(targets.shape)}."
            )
        xp = outputs.device.xp
        counted = targets >= 0
        flat = F.reshape(outputs, (-1, outputs.shape[-1]))
        losses = F.softmax_cross_entropy(
            flat, xp.maximum(targets, 0).reshape(-1), self.label_smoothing
        )
        share = counted.astype(outputs.dtype)
        axes = tuple(range(1, targets.ndim))
        share = share / xp.maximum(share.sum(axis=axes, keepdims=True), 1)
        return F.sum(F.mul(F.reshape(losses, targets.shape), Tensor(share)), axis=axes)


class BinaryCrossEntropy(Loss):
    """Cross-entropy of a sigmoid, from logits.

    Parameters
    ----------
    label_smoothing : float in [0, 1), default=0.0
        Targets move this share of the way to 1/2.

    Notes
    -----
    Outputs are logits of any shape (N, ...), targets in [0, 1] of the same shape; outputs (N, 1)
    take targets (N,).

    Examples
    --------
    >>> import numpy as np
    >>> round(float(BinaryCrossEntropy()(Tensor(np.zeros((2, 1))), np.array([0, 1])).data), 3)
    0.693
    """

    name = "binary_cross_entropy"

    def __init__(self, label_smoothing: float = 0.0) -> None:
        if not 0 <= label_smoothing < 1:
            raise InvalidParameterError(
                f"label_smoothing must be in [0, 1), got {label_smoothing!r}."
            )
        self.label_smoothing = label_smoothing

    def _targets(self, outputs: Tensor, targets: Array) -> Array:
        if targets.ndim == 1 and outputs.ndim == 2 and outputs.shape[1] == 1:
            targets = targets[:, None]
        _check_same(type(self).__name__, outputs, targets)
        targets = targets.astype(outputs.dtype)
        if self.label_smoothing:
            targets = targets * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        return targets

    def per_sample(self, outputs: Tensor, targets: Array) -> Tensor:
        """Return each sample's loss, the mean over its outputs."""
        return _flat_mean(F.sigmoid_cross_entropy(outputs, self._targets(outputs, targets)))


class FocalLoss(Loss):
    """Cross-entropy with easy samples turned down: (1 - p)^gamma times it.

    Parameters
    ----------
    gamma : float, default=2.0
        How much easy samples are turned down; 0 is the cross-entropy.

    Notes
    -----
    Outputs are logits (N, C), or (N,) or (N, 1) for two classes. Lin et al., "Focal loss for dense
    object detection" (arXiv:1708.02002).

    Examples
    --------
    >>> import numpy as np
    >>> round(float(FocalLoss()(Tensor(np.zeros((1, 2))), np.array([1])).data), 3)
    0.173
    """

    name = "focal"

    def __init__(self, gamma: float = 2.0) -> None:
        if not gamma >= 0:
            raise InvalidParameterError(f"gamma must be a number >= 0, got {gamma!r}.")
        self.gamma = gamma

    def per_sample(self, outputs: Tensor, targets: Array) -> Tensor:
        """Return each sample's loss."""
        if outputs.ndim == 2 and outputs.shape[1] > 1:
            losses = F.softmax_cross_entropy(outputs, targets)
        else:
            flat = F.reshape(outputs, (outputs.shape[0],))
            losses = F.sigmoid_cross_entropy(flat, targets.reshape(-1).astype(outputs.dtype))
        if self.gamma == 0:
            return losses
        # The loss is -log p, so p = exp(-loss); 1 - p is kept off 0 where the power is not smooth.
        miss = F.clip(F.sub(1.0, F.exp(F.neg(losses))), 1e-7, 1.0)
        return F.mul(F.power(miss, self.gamma), losses)


class MeanSquaredError(Loss):
    """Mean of (output - target)^2 over a sample's outputs.

    Examples
    --------
    >>> import numpy as np
    >>> float(MeanSquaredError()(Tensor(np.array([[1.0, 3.0]])), np.array([[0.0, 0.0]])).data)
    5.0
    """

    name = "mse"

    def per_sample(self, outputs: Tensor, targets: Array) -> Tensor:
        """Return each sample's loss."""
        return _flat_mean(F.square(self._difference(outputs, targets)))

    def _difference(self, outputs: Tensor, targets: Array) -> Tensor:
        if targets.ndim == 1 and outputs.ndim == 2 and outputs.shape[1] == 1:
            targets = targets[:, None]
        _check_same(type(self).__name__, outputs, targets)
        return F.sub(outputs, Tensor(targets.astype(outputs.dtype)))


class MeanAbsoluteError(MeanSquaredError):
    """Mean of |output - target| over a sample's outputs.

    Examples
    --------
    >>> import numpy as np
    >>> float(MeanAbsoluteError()(Tensor(np.array([[1.0, 3.0]])), np.array([[0.0, 0.0]])).data)
    2.0
    """

    name = "mae"

    def per_sample(self, outputs: Tensor, targets: Array) -> Tensor:
        """Return each sample's loss."""
        return _flat_mean(F.abs(self._difference(outputs, targets)))


class Huber(MeanSquaredError):
    """Half the square of small differences, linear for large ones.

    Parameters
    ----------
    delta : float, default=1.0
        Where the square ends.

    Notes
    -----
    Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35 (1964).

    Examples
    --------
    >>> import numpy as np
    >>> float(Huber()(Tensor(np.array([[0.5, 3.0]])), np.array([[0.0, 0.0]])).data)
    1.3125
    """

    name = "huber"

    def __init__(self, delta: float = 1.0) -> None:
        if not delta > 0:
            raise InvalidParameterError(f"delta must be a number > 0, got {delta!r}.")
        self.delta = delta

    def per_sample(self, outputs: Tensor, targets: Array) -> Tensor:
        """Return each sample's loss."""
        difference = self._difference(outputs, targets)
        near = F.clip(difference, -self.delta, self.delta)
        # near^2 / 2 + delta (|d| - |near|): both parts have the right slope on either side.
        far = F.mul(F.sub(F.abs(difference), F.abs(near)), self.delta)
        return _flat_mean(F.add(F.mul(F.square(near), 0.5), far))


class Hinge(MeanSquaredError):
    """max(0, 1 - target * output), targets -1 or 1: for margins and for GANs.

    Notes
    -----
    As a GAN's loss: Lim and Ye, "Geometric GAN" (arXiv:1705.02894).

    Examples
    --------
    >>> import numpy as np
    >>> float(Hinge()(Tensor(np.array([[0.5], [2.0]])), np.array([1, 1])).data)
    0.25
    """

    name = "hinge"

    def per_sample(self, outputs: Tensor, targets: Array) -> Tensor:
        """Return each sample's loss."""
        if targets.ndim == 1 and outputs.ndim == 2 and outputs.shape[1] == 1:
            targets = targets[:, None]
        _check_same("Hinge", outputs, targets)
        margin = F.sub(1.0, F.mul(outputs, Tensor(targets.astype(outputs.dtype))))
        return _flat_mean(F.activation(margin, "relu"))


class Wasserstein(Hinge):
    """-target * output, targets 1 (real) or -1 (made): a critic's loss.

    Notes
    -----
    Arjovsky et al., "Wasserstein GAN" (arXiv:1701.07875).

    Examples
    --------
    >>> import numpy as np
    >>> float(Wasserstein()(Tensor(np.array([[0.5], [2.0]])), np.array([1, -1])).data)
    0.75
    """

    name = "wasserstein"

    def per_sample(self, outputs: Tensor, targets: Array) -> Tensor:
        """Return each sample's loss."""
        if targets.ndim == 1 and outputs.ndim == 2 and outputs.shape[1] == 1:
            targets = targets[:, None]
        _check_same("Wasserstein", outputs, targets)
        return _flat_mean(F.mul(outputs, Tensor(-targets.astype(outputs.dtype))))


class KLDivergence(Loss):
    """Kullback-Leibler divergence of the softmax of logits from target probabilities.

    Parameters
    ----------
    temperature : float, default=1.0
        Logits are divided by it; the loss is multiplied by its square, so that gradients keep
        their size (Hinton et al., "Distilling the knowledge in a neural network",
        arXiv:1503.02531).

    Notes
    -----
    Outputs are logits (N, C), targets probabilities (N, C).

    Examples
    --------
    >>> import numpy as np
    >>> loss = KLDivergence()(Tensor(np.zeros((1, 2))), np.array([[1.0, 0.0]]))
    >>> round(float(loss.data), 3)
    0.693
    """

    name = "kl_divergence"

    def __init__(self, temperature: float = 1.0) -> None:
        if not temperature > 0:
            raise InvalidParameterError(f"temperature must be a number > 0, got {temperature!r}.")
        self.temperature = temperature

    def per_sample(self, outputs: Tensor, targets: Array) -> Tensor:
        """Return each sample's loss."""
        _check_same("KLDivergence", outputs, targets)
        xp = outputs.device.xp
        targets = targets.astype(outputs.dtype)
        logs = F.log_softmax(F.mul(outputs, 1.0 / self.temperature))
        # 0 log 0 is 0.
        own = (targets * xp.log(xp.where(targets > 0, targets, 1))).sum(axis=-1)
        crossed = F.sum(F.mul(logs, Tensor(targets)), axis=-1)
        return F.mul(F.sub(Tensor(own), crossed), self.temperature**2)


class Quantile(MeanSquaredError):
    """Pinball loss: its minimum is a quantile of the targets.

    Parameters
    ----------
    quantiles : sequence of float in (0, 1), default=(0.5,)
        One for each output along the last axis, or one for all.

    Notes
    -----
    Koenker and Bassett, "Regression quantiles", Econometrica 46 (1978).

    Examples
    --------
    >>> import numpy as np
    >>> loss = Quantile((0.9,))
    >>> round(float(loss(Tensor(np.array([[0.0]])), np.array([[1.0]])).data), 3)
    0.9
    """

    name = "quantile"

    def __init__(self, quantiles: tuple[float, ...] = (0.5,)) -> None:
        if not quantiles or not all(0 < q < 1 for q in quantiles):
            raise InvalidParameterError(f"quantiles must lie in (0, 1), got {quantiles!r}.")
        self.quantiles = tuple(quantiles)

    def per_sample(self, outputs: Tensor, targets: Array) -> Tensor:
        """Return each sample's loss."""
        short = F.neg(self._difference(outputs, targets))
        share = outputs.device.xp.asarray(np.array(self.quantiles), dtype=outputs.dtype)
        # max(q d, (q - 1) d)
        return _flat_mean(F.maximum(F.mul(short, Tensor(share)), F.mul(short, Tensor(share - 1))))


def _losses() -> Mapping[str, type[Loss]]:
    from ironlearn.nn import pair_losses, sequence_losses

    kinds: tuple[type[Loss], ...] = (
        CrossEntropy,
        BinaryCrossEntropy,
        FocalLoss,
        MeanSquaredError,
        MeanAbsoluteError,
        Huber,
        Hinge,
        Wasserstein,
        KLDivergence,
        Quantile,
        pair_losses.Contrastive,
        pair_losses.BPR,
        pair_losses.CapsuleMargin,
        sequence_losses.CTC,
    )
    return {kind.name: kind for kind in kinds}


def get_loss(loss: str | Loss, **settings: Any) -> Loss:
    """Return the loss that `loss` names, with `settings`; a loss comes back itself.

    Raises
    ------
    InvalidParameterError
        There is no loss of that name.

    Examples
    --------
    >>> get_loss("huber", delta=0.5)
    Huber(delta=0.5)
    """
    if isinstance(loss, Loss):
        return loss
    known = _losses()
    if loss not in known:
        raise InvalidParameterError(f"loss must be one of {', '.join(known)}, got {loss!r}.")
    return known[loss](**settings)
