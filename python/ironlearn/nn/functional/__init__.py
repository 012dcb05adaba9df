"""Differentiable operations on tensors: stateless, any device.

One file holds one family; `ironlearn.nn.layers` adds the parameters.
"""

from ironlearn.nn.functional.activations import activation
from ironlearn.nn.functional.arithmetic import (
    abs,
    add,
    clip,
    div,
    exp,
    log,
    maximum,
    mean,
    mul,
    neg,
    power,
    sqrt,
    square,
    sub,
    sum,
)
from ironlearn.nn.functional.attention import (
    attention,
    attention_packed,
    attention_pool,
    masked_softmax,
)
from ironlearn.nn.functional.convolution import (
    conv2d,
    conv2d_max_pool,
    conv2d_transpose,
    inverted_residuals,
)
from ironlearn.nn.functional.dense import affine, matmul
from ironlearn.nn.functional.dropout import dropout, gaussian_noise
from ironlearn.nn.functional.embedding import embedding
from ironlearn.nn.functional.encoder import encoder_blocks
from ironlearn.nn.functional.losses import (
    log_softmax,
    sigmoid_cross_entropy,
    softmax,
    softmax_cross_entropy,
)
from ironlearn.nn.functional.normalization import (
    add_layer_norm,
    batch_norm,
    batch_norm_inference,
    group_norm,
    layer_norm,
)
from ironlearn.nn.functional.pooling import avg_pool2d, max_pool2d
from ironlearn.nn.functional.precision import cast
from ironlearn.nn.functional.recurrent import gru, lstm, rnn
from ironlearn.nn.functional.resampling import pixel_shuffle, upsample2d
from ironlearn.nn.functional.shape import concatenate, getitem, pad, reshape, stack, transpose

__all__ = [
    "abs",
    "activation",
    "add",
    "add_layer_norm",
    "affine",
    "attention",
    "attention_packed",
    "attention_pool",
    "avg_pool2d",
    "batch_norm",
    "batch_norm_inference",
    "cast",
    "clip",
    "concatenate",
    "conv2d",
    "conv2d_max_pool",
    "conv2d_transpose",
    "div",
    "dropout",
    "embedding",
    "encoder_blocks",
    "exp",
    "gaussian_noise",
    "getitem",
    "group_norm",
    "gru",
    "inverted_residuals",
    "layer_norm",
    "log",
    "log_softmax",
    "lstm",
    "masked_softmax",
    "matmul",
    "max_pool2d",
    "maximum",
    "mean",
    "mul",
    "neg",
    "pad",
    "pixel_shuffle",
    "power",
    "reshape",
    "rnn",
    "sigmoid_cross_entropy",
    "softmax",
    "softmax_cross_entropy",
    "sqrt",
    "square",
    "stack",
    "sub",
    "sum",
    "transpose",
    "upsample2d",
]
