"""Optimizer steps on the GPU: many parameters in one launch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ironlearn.nn.backend.cuda.base import CudaBase
from ironlearn.nn.backend.cuda.kernel import THREADS
from ironlearn.nn.backend.cuda.source import PRECISIONS
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.optimizer import SLOTS, OptimizerOps

#: Arrays that one launch changes: so many sets of pointers the kernel has parameters for.
SETS = 16
#: Elements of a block: eight of a thread.
_EACH = THREADS * 8
#: The kernels' numbers of rules (`enum Rule` in kernels/optimizer.cu).
_RULES = {
    "sgd": 0,
    "momentum": 1,
    "nesterov": 2,
    "rmsprop": 3,
    "adam": 4,
    "adamw": 4,
    "adagrad": 5,
    "lion": 6,
}
#: No array.
_NOTHING = (None, None, None, None, 0)


class CudaOptimizer(CudaBase, OptimizerOps):
    """Update rules."""

    def optimizer_step(
        self,
        kind: str,
        params: Sequence[Array],
        grads: Sequence[Array],
        slots: Sequence[Sequence[Array]],
        hyper: Mapping[str, float],
        decay: Sequence[bool],
    ) -> None:
        """Change `params` and `slots` by one step of the rule `kind`.

        Arrays of one precision are changed `SETS` at a time. A gradient of fewer bits than its
        weights is widened first.
        """
        # Not `fused`: arrays that are changed must never be copied to fit.
        ready: dict[Any, list[tuple[Any, bool]]] = {}
        left: list[int] = []
        for i, (w, g) in enumerate(zip(params, grads, strict=True)):
            state = [slot[i] for slot in slots]
            changed = (w, *state)
            if (
                kind not in _RULES
                or str(w.dtype) not in PRECISIONS
                or g.shape != w.shape
                or not all(a.flags.c_contiguous and a.dtype == w.dtype for a in changed)
            ):
                left.append(i)
            elif w.size:
                g = self.xp.ascontiguousarray(g, w.dtype)
                a, b = [*state, None, None][:2]
                ready.setdefault(w.dtype, []).append(((w, g, a, b, w.size), decay[i]))
        for dtype, found in ready.items():
            numbers = _numbers(kind, hyper)
            for first in range(0, len(found), SETS):
                self._step(dtype, found[first : first + SETS], _RULES[kind], numbers)
        if left:
            super().optimizer_step(
                kind,
                [params[i] for i in left],
                [grads[i] for i in left],
                [[slot[i] for i in left] for slot in slots],
                hyper,
                [decay[i] for i in left],
            )

    def _step(
        self,
        dtype: Any,
        some: Sequence[tuple[Any, bool]],
        rule: int,
        numbers: Sequence[float],
    ) -> None:
        sets = [one for one, _ in some]
        blocks = sum(-(-n // _EACH) for *_, n in sets)
        decays = sum(1 << k for k, (_, decays) in enumerate(some) if decays)
        sets += [_NOTHING] * (SETS - len(sets))
        self.kernels.launch(
            "optimizer_step",
            dtype,
            blocks,
            THREADS,
            *itertools.chain.from_iterable(sets),
            _EACH,
            decays,
            rule,
            *numbers,
        )


def _numbers(kind: str, hyper: Mapping[str, float]) -> list[float]:
    """Return the rule's numbers in the order of the kernel's parameters."""
    first = second = 0.0
    unbias1 = unbias2 = 1.0
    if kind in ("momentum", "nesterov"):
        first = hyper["momentum"]
    elif kind == "rmsprop":
        first = hyper["rho"]
    elif "m" in SLOTS[kind]:
        first, second = hyper["beta1"], hyper["beta2"]
        if "v" in SLOTS[kind]:
            unbias1 = 1.0 / (1.0 - first ** hyper["step"])
            unbias2 = 1.0 / (1.0 - second ** hyper["step"])
    return [
        float(number)
        for number in (
            hyper["lr"],
            hyper.get("scale", 1.0),
            hyper.get("l1", 0.0),
            hyper.get("l2", 0.0),
            hyper.get("weight_decay", 0.0),
            first,
            second,
            hyper.get("eps", 0.0),
            unbias1,
            unbias2,
        )
    ]
