"""Operations of the CPU: the base ones, with native kernels where there are some."""

from ironlearn.nn.backend.cpu.embedding import CpuEmbedding
from ironlearn.nn.backend.cpu.graph import CpuGraph
from ironlearn.nn.backend.cpu.optimizer import CpuOptimizer
from ironlearn.nn.backend.ops import Ops


class CpuOps(
    CpuEmbedding,
    CpuGraph,
    CpuOptimizer,
    Ops,
):
    """All operations on NumPy arrays.

    An override has the signature and the defaults of the base operation and is marked `native`,
    which hands inputs that the kernel does not take to the base operation.
    """


__all__ = ["CpuOps"]
