"""Losses that compare samples, or parts of one."""

from __future__ import annotations

from ironlearn.exceptions import InvalidParameterError
from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.losses import Loss


class Contrastive(Loss):
    """Pulls pairs of one kind together and pushes others apart, up to a margin.

    Parameters
    ----------
    margin : float, default=1.0
        Distance from which pairs of different kinds cost nothing.

    Notes
    -----
    Outputs are distances (N,) or (N, 1), targets 1 (same kind) or 0. Hadsell et al.,
    "Dimensionality reduction by learning an invariant mapping" (CVPR 2006).

    Examples
    --------
    >>> import numpy as np
    >>> float(Contrastive()(Tensor(np.array([0.5, 0.5])), np.array([1, 0])).data)
    0.25
    """

    name = "contrastive"

    def __init__(self, margin: float = 1.0) -> None:
        if not margin > 0:
            raise InvalidParameterError(f"margin must be a number > 0, got {margin!r}.")
        self.margin = margin

    def per_sample(self, outputs: Tensor, targets: Array) -> Tensor:
        """Return each pair's loss."""
        distance = F.reshape(outputs, (outputs.shape[0],))
        same = targets.reshape(-1).astype(outputs.dtype)
        short = F.activation(F.sub(self.margin, distance), "relu")
        return F.add(
            F.mul(F.square(distance), Tensor(same)), F.mul(F.square(short), Tensor(1 - same))
        )


class BPR(Loss):
    """-log sigmoid(positive - negative): a liked item shall score above another one.

    Notes
    -----
    Outputs are scores (N, 2), of the liked item and of the other; targets are not used. Rendle et
    al., "BPR: Bayesian personalized ranking from implicit feedback" (UAI 2009).

    Examples
    --------
    >>> import numpy as np
    >>> round(float(BPR()(Tensor(np.array([[1.0, 1.0]])), np.zeros(1)).data), 3)
    0.693
    """

    name = "bpr"

    def per_sample(self, outputs: Tensor, targets: Array) -> Tensor:
        """Return each pair's loss."""
        if outputs.ndim != 2 or outputs.shape[1] != 2:
            raise ValueError(f"BPR needs outputs of shape (N, 2), got {tuple(outputs.shape)}.")
        lead = F.sub(F.getitem(outputs, (slice(None), 0)), F.getitem(outputs, (slice(None), 1)))
        return F.activation(F.neg(lead), "softplus")


class CapsuleMargin(Loss):
    """The margin loss of capsule networks, on the capsules' lengths.

    Parameters
    ----------
    upper, lower : float, default=0.9, 0.1
        A present class shall have at least the length `upper`, an absent one at most `lower`.
    absent : float, default=0.5
        Weight of the absent classes.

    Notes
    -----
    Outputs are lengths (N, C), targets class numbers (N,). Sabour et al., "Dynamic routing between
    capsules" (arXiv:1710.09829), equation 4.

    Examples
    --------
    >>> import numpy as np
    >>> loss = CapsuleMargin()(Tensor(np.array([[0.5, 0.5]])), np.array([0]))
    >>> round(float(loss.data), 3)
    0.24
    """

    name = "capsule_margin"

    def __init__(self, upper: float = 0.9, lower: float = 0.1, absent: float = 0.5) -> None:
        if not 0 <= lower < upper <= 1:
            raise InvalidParameterError(
                f"lower and upper must satisfy 0 <= lower < upper <= 1, got {lower!r}, {upper!r}."
            )
        self.upper = upper
        self.lower = lower
        self.absent = absent

    def per_sample(self, outputs: Tensor, targets: Array) -> Tensor:
        """Return each sample's loss."""
        xp = outputs.device.xp
        present = (targets[:, None] == xp.arange(outputs.shape[1])).astype(outputs.dtype)
        short = F.square(F.activation(F.sub(self.upper, outputs), "relu"))
        long = F.square(F.activation(F.sub(outputs, self.lower), "relu"))
        terms = F.add(
            F.mul(short, Tensor(present)), F.mul(long, Tensor(self.absent * (1 - present)))
        )
        return F.sum(terms, axis=1)
