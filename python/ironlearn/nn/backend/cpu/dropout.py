"""Random masks on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlearn import _core
from ironlearn._threads import resolve
from ironlearn.nn.backend.cpu.native import native
from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.dropout import DropoutOps

_WORD = (1 << 64) - 1


class CpuDropout(DropoutOps):
    """Masks made while they are applied."""

    @native()
    def dropout(self, x: Array, seed: int, task: int, rate: float) -> Array:
        """Return x times `dropout_mask` of its shape."""
        y = np.empty_like(x)
        _core.nn_dropout(seed & _WORD, task & _WORD, rate, x, y, resolve(None))
        return y

    @native(lambda seed, task, shape, rate, dtype: np.dtype(dtype) == np.float32)
    def dropout_mask(
        self, seed: int, task: int, shape: tuple[int, ...], rate: float, dtype: Any
    ) -> Array:
        """Return a mask of 0 (with probability `rate`) and 1 / (1 - rate)."""
        mask = np.empty(shape, np.float32)
        ones = np.ones(shape, np.float32)
        _core.nn_dropout(seed & _WORD, task & _WORD, rate, ones, mask, resolve(None))
        return mask
