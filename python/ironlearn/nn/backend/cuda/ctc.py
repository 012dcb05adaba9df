"""Connectionist temporal classification on the GPU: one launch for all steps."""

from __future__ import annotations

from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import fused
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.ctc import CTCOps

#: Bytes of a block's shared memory that states may take.
_ROOM = 47 << 10


def _shared(logs: Array, targets: Array) -> int:
    """Return the bytes of four numbers and two ints for each state."""
    return (2 * int(targets.shape[1]) + 1) * (4 * max(4, int(logs.dtype.itemsize)) + 8)


def _known(logs: Array, targets: Array, lengths: Array, blank: int) -> bool:
    return logs.size > 0 and lengths.ndim == 1 and _shared(logs, targets) <= _ROOM


class CudaCTC(CudaBase, CTCOps):
    """The sums over alignments, a block for each sequence."""

    @fused(_known)
    def ctc(self, logs: Array, targets: Array, lengths: Array, blank: int) -> tuple[Array, Array]:
        """Return each sequence's -log probability of its target, and its gradient in `logs`."""
        xp = self.xp
        n, steps, classes = logs.shape
        symbols = targets.shape[1]
        states = 2 * symbols + 1
        losses, gradient = xp.empty((n,), logs.dtype), xp.zeros_like(logs)
        self.kernels.launch(
            "ctc",
            logs.dtype,
            n,
            min(1024, -(-states // 32) * 32),
            *(logs, targets.astype(xp.int64, copy=False), lengths.astype(xp.int64, copy=False)),
            *(xp.empty((n, steps, states), self._wide(logs.dtype)), losses, gradient),
            *(steps, classes, symbols, blank),
            shared=_shared(logs, targets),
        )
        return losses, gradient
