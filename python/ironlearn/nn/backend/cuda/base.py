"""What every family of operations on the GPU has."""

from __future__ import annotations

from typing import Any

from ironlearn.nn.backend.cuda.kernel import Kernels
from ironlearn.nn.backend.ops.basic import BasicOps


class CudaBase(BasicOps):
    """The compiled kernels beside the array module."""

    def __init__(self, xp: Any) -> None:
        super().__init__(xp)
        self.kernels = Kernels(xp)

    def _wide(self, dtype: Any) -> Any:
        """Return the dtype that kernels for arrays of `dtype` compute in."""
        return self.xp.float64 if dtype == self.xp.float64 else self.xp.float32
