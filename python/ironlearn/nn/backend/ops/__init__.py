"""Every array operation of the networks, in plain array code: the definition of each.

One file holds one family. An operation takes and returns arrays of one device; it never asks
which. Forward operations return what their backward needs, backward operations return a gradient
for each array input. Nothing here modifies an input, except `optimizer_step`.
"""

from ironlearn.nn.backend.ops.activations import ActivationOps
from ironlearn.nn.backend.ops.attention import AttentionOps
from ironlearn.nn.backend.ops.basic import BasicOps
from ironlearn.nn.backend.ops.capsule import CapsuleOps
from ironlearn.nn.backend.ops.convolution import ConvolutionOps
from ironlearn.nn.backend.ops.ctc import CTCOps
from ironlearn.nn.backend.ops.dense import DenseOps
from ironlearn.nn.backend.ops.dropout import DropoutOps
from ironlearn.nn.backend.ops.embedding import EmbeddingOps
from ironlearn.nn.backend.ops.encoder import EncoderOps
from ironlearn.nn.backend.ops.graph import GraphOps
from ironlearn.nn.backend.ops.losses import LossOps
from ironlearn.nn.backend.ops.normalization import NormalizationOps
from ironlearn.nn.backend.ops.optimizer import OptimizerOps
from ironlearn.nn.backend.ops.pooling import PoolingOps
from ironlearn.nn.backend.ops.recurrent import RecurrentOps
from ironlearn.nn.backend.ops.resampling import ResamplingOps


class Ops(
    EncoderOps,
    AttentionOps,
    CTCOps,
    CapsuleOps,
    DenseOps,
    DropoutOps,
    EmbeddingOps,
    GraphOps,
    LossOps,
    NormalizationOps,
    OptimizerOps,
    PoolingOps,
    RecurrentOps,
    ResamplingOps,
    ConvolutionOps,
    ActivationOps,
    BasicOps,
):
    """All operations, computed by the array module `xp`.

    Parameters
    ----------
    xp : module
        NumPy, CuPy, or what stands in for them.
    """


__all__ = ["Ops"]
