"""Operations of the CPU: the base ones, with native kernels where there are some."""

from ironlearn.nn.backend.cpu.activations import CpuActivations
from ironlearn.nn.backend.cpu.attention import CpuAttention
from ironlearn.nn.backend.cpu.convolution import CpuConvolutionOps
from ironlearn.nn.backend.cpu.convpool import CpuConvPoolOps
from ironlearn.nn.backend.cpu.dense import CpuDense
from ironlearn.nn.backend.cpu.dropout import CpuDropout
from ironlearn.nn.backend.cpu.embedding import CpuEmbedding
from ironlearn.nn.backend.cpu.encoder import CpuEncoder
from ironlearn.nn.backend.cpu.graph import CpuGraph
from ironlearn.nn.backend.cpu.losses import CpuLosses
from ironlearn.nn.backend.cpu.normalization import CpuNormalization
from ironlearn.nn.backend.cpu.optimizer import CpuOptimizer
from ironlearn.nn.backend.cpu.pooling import CpuPoolingOps
from ironlearn.nn.backend.cpu.recurrent import CpuRecurrent
from ironlearn.nn.backend.ops import Ops


class CpuOps(
    CpuEncoder,
    CpuAttention,
    CpuDense,
    CpuDropout,
    CpuEmbedding,
    CpuGraph,
    CpuLosses,
    CpuNormalization,
    CpuOptimizer,
    CpuRecurrent,
    CpuConvPoolOps,
    CpuPoolingOps,
    CpuConvolutionOps,
    CpuActivations,
    Ops,
):
    """All operations on NumPy arrays.

    Parameters
    ----------
    xp : module
        NumPy.

    Notes
    -----
    An override has the signature and the defaults of the base operation and is marked `native`,
    which hands inputs that the kernel does not take to the base operation.
    """


__all__ = ["CpuOps"]
