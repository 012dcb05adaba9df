"""Operations of the GPU: the base ones, with kernels where there are some."""

from ironlearn.nn.backend.cuda.activations import CudaActivations
from ironlearn.nn.backend.cuda.convpool import CudaConvPool
from ironlearn.nn.backend.cuda.pooling import CudaPooling
from ironlearn.nn.backend.cuda.resampling import CudaResampling
from ironlearn.nn.backend.ops import Ops


class CudaOps(
    CudaConvPool,
    CudaPooling,
    CudaResampling,
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
