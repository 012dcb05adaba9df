"""Networks that other libraries trained: readers of their files, and what the weights belong to.

Nothing here executes what a file says. PyTorch's checkpoints are pickles; they are read by an
interpreter of our own that knows tensors, containers and numbers and refuses everything else.
"""

from ironlearn.nn.pretrained.bert import BertEncoder
from ironlearn.nn.pretrained.efficientnet_lite import EfficientNetLite0
from ironlearn.nn.pretrained.mobilenet import MobileNetV2
from ironlearn.nn.pretrained.quantized import dequantize
from ironlearn.nn.pretrained.resnet import ResNet18
from ironlearn.nn.pretrained.sentences import SentenceEncoder
from ironlearn.nn.pretrained.vgg import VGG16
from ironlearn.nn.pretrained.weights import read_weights

__all__ = [
    "VGG16",
    "BertEncoder",
    "EfficientNetLite0",
    "MobileNetV2",
    "ResNet18",
    "SentenceEncoder",
    "dequantize",
    "read_weights",
]
