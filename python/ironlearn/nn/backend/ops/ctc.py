"""Connectionist temporal classification."""

from __future__ import annotations

from typing import Any

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.basic import BasicOps


class CTCOps(BasicOps):
    """The forward-backward sums over alignments, all sequences of a batch at once."""

    def ctc(self, logs: Array, targets: Array, lengths: Array, blank: int) -> tuple[Array, Array]:
        """Return each sequence's -log probability of its target, and its gradient in `logs`.

        Graves et al., "Connectionist temporal classification" (ICML 2006), section 4.1, in
        logarithms.

        Parameters
        ----------
        logs : (N, T, C)
            Log-probabilities.
        targets : (N, L) of int
            Class numbers; negative ones at the end are padding.
        lengths : (N,) of int
            Steps of each sequence that count.
        blank : int
            The class that stands for no symbol.

        Returns
        -------
        losses : (N,)
            0 where no alignment exists.
        gradient : (N, T, C)
        """
        xp = self.xp
        if logs.dtype.itemsize < 4:
            # 16 bits have no number for "never" that two of can be added.
            answer = self.ctc(logs.astype(xp.float32), targets, lengths, blank)
            return answer[0].astype(logs.dtype), answer[1].astype(logs.dtype)
        n, steps, classes = logs.shape
        size = 2 * targets.shape[1] + 1
        dtype = logs.dtype
        never = dtype.type(-1e30)
        # Blanks between, before and after the symbols.
        states = xp.full((n, size), blank, xp.int64)
        states[:, 1::2] = xp.maximum(targets, 0)
        used = 2 * (targets >= 0).sum(axis=1) + 1
        place = xp.arange(size)
        inside = place < used[:, None]
        skip = xp.zeros((n, size), bool)
        skip[:, 2:] = (states[:, 2:] != states[:, :-2]) & (states[:, 2:] != blank)
        rows = xp.arange(n)
        # (N, T, S): the log-probability of each state's class at each step.
        emit = xp.take_along_axis(
            logs, xp.broadcast_to(states[:, None, :], (n, steps, size)), axis=2
        )
        emit = xp.where(inside[:, None, :], emit, never)

        def add(*terms: Any) -> Array:
            top = terms[0]
            for term in terms[1:]:
                top = xp.maximum(top, term)
            total = xp.zeros_like(top)
            for term in terms:
                total = total + xp.exp(term - top)
            return xp.maximum(top + xp.log(total), never)

        def shifted(x: Array, by: int) -> Array:
            out = xp.full(x.shape, never, dtype)
            if by > 0:
                out[:, by:] = x[:, :-by]
            else:
                out[:, :by] = x[:, -by:]
            return out

        forward = xp.full((n, steps, size), never, dtype)
        if steps:
            forward[:, 0, :2] = emit[:, 0, :2]
        for t in range(1, steps):
            last = forward[:, t - 1]
            two = xp.where(skip, shifted(last, 2) if size > 2 else never, never)
            forward[:, t] = xp.maximum(add(last, shifted(last, 1), two) + emit[:, t], never)
        # From a step on: the sums over what follows, the step's own emission left out.
        skip_from = xp.zeros((n, size), bool)
        skip_from[:, :-2] = skip[:, 2:]
        end = xp.where((place == used[:, None] - 1) | (place == used[:, None] - 2), 0.0, never)
        end = end.astype(dtype)
        backward = xp.full((n, steps, size), never, dtype)
        following = xp.full((n, size), never, dtype)
        for t in range(steps - 1, -1, -1):
            if t + 1 < steps:
                weighted = backward[:, t + 1] + emit[:, t + 1]
                two = xp.where(skip_from, shifted(weighted, -2) if size > 2 else never, never)
                following = add(weighted, shifted(weighted, -1), two)
            now = xp.where((lengths == t + 1)[:, None], end, following)
            backward[:, t] = xp.where((t < lengths)[:, None], now, never)
        last = xp.maximum(lengths - 1, 0)
        final = forward[rows, last] + end if steps else xp.full((n, size), never, dtype)
        top = final.max(axis=1)
        total = top + xp.log(xp.exp(final - top[:, None]).sum(axis=1))
        possible = (total > never / 2) & (lengths > 0)
        joint = xp.exp(xp.minimum(forward + backward - total[:, None, None], 0))
        joint = xp.where(possible[:, None, None], joint, 0).astype(dtype)
        gradient = xp.zeros((n, steps, classes), dtype)
        index = (
            rows[:, None, None],
            xp.arange(steps)[None, :, None],
            xp.broadcast_to(states[:, None, :], (n, steps, size)),
        )
        xp.add.at(gradient, index, -joint)
        return xp.where(possible, -total, 0).astype(dtype), gradient
