"""Native optimizer steps: one sweep over all arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ironlearn import _core, _threads
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.optimizer import OptimizerOps


def _fits(array: Array) -> bool:
    return (
        isinstance(array, np.ndarray)
        and array.dtype == np.float32
        and array.flags.c_contiguous
        and array.flags.aligned
    )


class CpuOptimizer(OptimizerOps):
    """Optimizer steps on the CPU."""

    def optimizer_step(
        self,
        kind: str,
        params: Sequence[Array],
        grads: Sequence[Array],
        slots: Sequence[Sequence[Array]],
        hyper: Mapping[str, float],
        decay: Sequence[bool],
    ) -> None:
        """Change `params` and `slots` by one step of the rule `kind`."""
        # Not `native`: arrays that are changed must never be copied to fit.
        changed = [*params, *(array for slot in slots for array in slot)]
        if not all(_fits(array) and array.flags.writeable for array in changed) or any(
            g.dtype != np.float32 for g in grads
        ):
            super().optimizer_step(kind, params, grads, slots, hyper, decay)
            return
        _core.nn_optimizer_step(
            kind,
            list(params),
            [g if _fits(g) else np.ascontiguousarray(g) for g in grads],
            [list(slot) for slot in slots],
            dict(hyper),
            list(decay),
            n_threads=_threads.resolve(None),
        )
