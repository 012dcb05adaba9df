"""Capsules on the GPU: two launches a round, each reading the votes once."""

from __future__ import annotations

import math
from typing import Any

from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import THREADS, blocks_of, fused, lanes_of
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.capsule import CapsuleOps

#: Inputs whose votes a block takes.
_CHUNK = 32
#: Kinds of capsules that fit a block's shared memory with that many inputs.
_MOST_KINDS = 128


def _vectors(x: Array) -> bool:
    return x.size > 0


def _two_vectors(gy: Array, x: Array) -> bool:
    return x.size > 0 and gy.shape == x.shape


def _votes(votes: Array, rounds: int) -> bool:
    return votes.size > 0 and votes.shape[1] <= _MOST_KINDS


def _votes_backward(gout: Array, votes: Array, saved: tuple[Any, ...]) -> bool:
    return _votes(votes, 1)


class CudaCapsule(CudaBase, CapsuleOps):
    """Squashing and routing by agreement."""

    @fused(_vectors)
    def squash(self, x: Array) -> Array:
        """Return x (..., D) with its direction and the length n^2 / (1 + n^2), n its length."""
        y = self.xp.empty_like(x)
        self._by_vector("squash", x, x.shape, x, y)
        return y

    @fused(_two_vectors)
    def squash_backward(self, gy: Array, x: Array) -> Array:
        """Return the gradient of `squash`'s input."""
        gx = self.xp.empty_like(x)
        self._by_vector("squash_backward", x, x.shape, gy, x, gx)
        return gx

    @fused(_votes)
    def routing(self, votes: Array, rounds: int) -> tuple[Array, tuple[Any, ...]]:
        """Return what capsules agree on, and what `routing_backward` needs.

        Saved are the shares (rounds, N, K, I), the sums and what they were squashed to (rounds, N,
        K, D), all in the precision that kernels compute in.
        """
        xp = self.xp
        n, kinds, inputs, width = votes.shape
        wide = self._wide(votes.dtype)
        shares = xp.empty((rounds, n, kinds, inputs), wide)
        sums, outs = (xp.empty((rounds, n, kinds, width), wide) for _ in range(2))
        agreement = xp.empty((n, kinds, inputs), wide)
        out = xp.empty((n, kinds, width), votes.dtype)
        parts = self._routing_parts(votes)
        for r in range(rounds):
            before = outs[r - 1] if r else None
            arrays = (votes, before, agreement, shares[r], parts)
            self._routing_launch("routing_round", votes, *arrays, last=(r,))
            result = out if r == rounds - 1 else None
            given = (parts, sums[r], outs[r], result)
            self._by_vector("routing_squash", votes, out.shape, *given, last=(len(parts),))
        # In a list: arrays of another precision would keep kernels from being used.
        return out, ([shares, sums, outs],)

    @fused(_votes_backward)
    def routing_backward(self, gout: Array, votes: Array, saved: tuple[Any, ...]) -> Array:
        """Return the gradient of the votes, through every round."""
        xp = self.xp
        ((shares, sums, outs),) = saved
        rounds, n, kinds, inputs = shares.shape
        width = votes.shape[-1]
        gsums = xp.empty_like(sums)
        totals = xp.empty((rounds - 1, n, kinds, inputs), shares.dtype)
        parts = self._routing_parts(votes)
        chunks = (len(parts),)
        for r in range(rounds - 1, -1, -1):
            last = r == rounds - 1
            given = (gout if last else None, None if last else parts, sums[r], gsums[r])
            self._by_vector("routing_squash_backward", votes, gout.shape, *given, last=chunks)
            if r:
                after = None if last else totals[r]
                arrays = (votes, gsums[r], shares[r], after, totals[r - 1], parts)
                self._routing_launch("routing_round_backward", votes, *arrays)
        gvotes = xp.empty_like(votes)
        pairs, lanes = n * kinds * inputs, lanes_of(width)
        self.kernels.launch(
            "routing_votes_gradient",
            votes.dtype,
            blocks_of(pairs * lanes),
            THREADS,
            *(shares, gsums, totals if rounds > 1 else None, outs, gvotes),
            *(pairs, n * kinds * width, inputs, width, rounds, lanes),
        )
        return gvotes

    def _routing_parts(self, votes: Array) -> Array:
        n, kinds, inputs, width = votes.shape
        chunks = -(-inputs // _CHUNK)
        return self.xp.empty((chunks, n, kinds, width), self._wide(votes.dtype))

    def _routing_launch(
        self, name: str, votes: Array, *arrays: Array | None, last: tuple[int, ...] = ()
    ) -> None:
        """Queue a kernel whose blocks take a chunk of a sample's inputs each."""
        n, kinds, inputs, width = votes.shape
        self.kernels.launch(
            name,
            votes.dtype,
            n * -(-inputs // _CHUNK),
            THREADS,
            *arrays,
            *(kinds, inputs, width, _CHUNK, lanes_of(width), *last),
            shared=kinds * _CHUNK * max(4, votes.dtype.itemsize),
        )

    def _by_vector(
        self,
        name: str,
        like: Array,
        shape: tuple[int, ...],
        *arrays: Array | None,
        last: tuple[int, ...] = (),
    ) -> None:
        """Queue a kernel whose threads take vectors, the last axis of `shape`."""
        rows, width = math.prod(shape[:-1]), shape[-1]
        lanes = lanes_of(width)
        blocks = -(-rows * lanes // THREADS)
        numbers = (rows, width, *last, lanes)
        self.kernels.launch(name, like.dtype, blocks, THREADS, *arrays, *numbers)
