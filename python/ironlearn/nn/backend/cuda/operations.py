"""Operations of the GPU: the base ones, with kernels where there are some."""

from ironlearn.nn.backend.cuda.activations import CudaActivations
from ironlearn.nn.backend.cuda.attention import CudaAttention
from ironlearn.nn.backend.cuda.basic import CudaBasic
from ironlearn.nn.backend.cuda.capsule import CudaCapsule
from ironlearn.nn.backend.cuda.convpool import CudaConvPool
from ironlearn.nn.backend.cuda.ctc import CudaCTC
from ironlearn.nn.backend.cuda.dense import CudaDense
from ironlearn.nn.backend.cuda.dropout import CudaDropout
from ironlearn.nn.backend.cuda.embedding import CudaEmbedding
from ironlearn.nn.backend.cuda.graph import CudaGraph
from ironlearn.nn.backend.cuda.losses import CudaLosses
from ironlearn.nn.backend.cuda.normalization import CudaNormalization
from ironlearn.nn.backend.cuda.optimizer import CudaOptimizer
from ironlearn.nn.backend.cuda.pooling import CudaPooling
from ironlearn.nn.backend.cuda.recurrent import CudaRecurrent
from ironlearn.nn.backend.cuda.resampling import CudaResampling
from ironlearn.nn.backend.ops import Ops


class CudaOps(
    CudaAttention,
    CudaBasic,
    CudaCapsule,
    CudaCTC,
    CudaConvPool,
    CudaDense,
    CudaDropout,
    CudaEmbedding,
    CudaGraph,
    CudaLosses,
    CudaNormalization,
    CudaOptimizer,
    CudaPooling,
    CudaRecurrent,
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
