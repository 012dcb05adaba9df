"""Routing by agreement between capsules."""

from __future__ import annotations

from typing import Any

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.losses import LossOps

#: Keeps the root's slope finite at length 0.
TINY = 1e-7


class CapsuleOps(LossOps):
    """Sabour et al., "Dynamic routing between capsules" (arXiv:1710.09829)."""

    def squash(self, x: Array) -> Array:
        """Return x (..., D) with its direction and the length n^2 / (1 + n^2), n its length."""
        square = (x * x).sum(axis=-1, keepdims=True)
        number = x.dtype.type
        return x * (self.xp.sqrt(square + number(TINY)) / (square + number(1 + TINY)))

    def squash_backward(self, gy: Array, x: Array) -> Array:
        """Return the gradient of `squash`'s input."""
        square = (x * x).sum(axis=-1, keepdims=True)
        number = x.dtype.type
        root, whole = self.xp.sqrt(square + number(TINY)), square + number(1 + TINY)
        slope = (number(0.5) * whole / root - root) / (whole * whole)
        return gy * (root / whole) + x * (2 * slope * (gy * x).sum(axis=-1, keepdims=True))

    def routing(self, votes: Array, rounds: int) -> tuple[Array, tuple[Any, ...]]:
        """Return what capsules agree on, and what `routing_backward` needs.

        Parameters
        ----------
        votes : (N, K, I, D)
            What each of I capsules predicts for each of K.
        rounds : int
            Rounds of agreement, at least 1.

        Returns
        -------
        out : (N, K, D)
        saved : tuple
            The shares (N, K, I) and the sums (N, K, D) of each round.
        """
        xp = self.xp
        kinds = votes.shape[1]
        shares: list[Array] = [xp.full(votes.shape[:3], 1.0 / kinds, votes.dtype)]
        sums: list[Array] = []
        agreement = None
        for _ in range(rounds):
            if sums:
                out = self.squash(sums[-1])
                more = self.matmul(votes, out[..., None])[..., 0]
                agreement = more if agreement is None else agreement + more
                shares.append(self.softmax(agreement, axis=1))
            sums.append(self.matmul(shares[-1][:, :, None, :], votes)[:, :, 0])
        return self.squash(sums[-1]), (shares, sums)

    def routing_backward(self, gout: Array, votes: Array, saved: tuple[Any, ...]) -> Array:
        """Return the gradient of the votes, through every round.

        Each round adds two products of a vector over I with one over D; they are added up in one
        product of matrices, so that the gradient is written once.
        """
        xp = self.xp
        shares, sums = saved
        left, right = [], []
        total = None
        g = gout
        for share, one in zip(reversed(shares), reversed(sums), strict=True):
            gs = self.squash_backward(g, one)
            left.append(share)
            right.append(gs)
            if len(left) + 1 > 2 * len(sums) - 1:
                break
            ga = self.softmax_backward(self.matmul(votes, gs[..., None])[..., 0], share, axis=1)
            total = ga if total is None else total + ga
            before = sums[len(sums) - 2 - len(left) // 2]
            left.append(total)
            right.append(self.squash(before))
            g = self.matmul(total[:, :, None, :], votes)[:, :, 0]
        return self.matmul(xp.stack(left, axis=-1), xp.stack(right, axis=-2))
