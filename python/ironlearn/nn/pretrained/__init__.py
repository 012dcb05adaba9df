"""Weights that other libraries trained: readers of their files.

Nothing here executes what a file says. PyTorch's checkpoints are pickles; they are read by an
interpreter of our own that knows tensors, containers and numbers and refuses everything else.
"""

from ironlearn.nn.pretrained.quantized import dequantize
from ironlearn.nn.pretrained.weights import read_weights

__all__ = ["dequantize", "read_weights"]
