"""Operations of the GPU: the base ones, with kernels where there are some."""

from ironlearn.nn.backend.cuda.activations import CudaActivations
from ironlearn.nn.backend.cuda.attention import CudaAttention
from ironlearn.nn.backend.cuda.normalization import CudaNormalization
from ironlearn.nn.backend.ops import Ops


class CudaOps(
    CudaNormalization,
    CudaAttention,
    CudaActivations,
    Ops,
):
    """All operations on CuPy arrays.

    Parameters
    ----------
    xp : module
        CuPy.

    Notes
    -----
    An override has the signature and the defaults of the base operation and is marked `fused`,
    which hands inputs that the kernel does not take to the base operation.
    """


__all__ = ["CudaOps"]
