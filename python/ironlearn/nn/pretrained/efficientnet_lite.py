"""EfficientNet-lite0: a small network for pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Shape
from ironlearn.nn.layers.conv import Conv2D
from ironlearn.nn.layers.dense import Dense
from ironlearn.nn.pretrained.folded import load_folded
from ironlearn.nn.pretrained.inverted_residual import InvertedResidual
from ironlearn.nn.pretrained.layout import Weights
from ironlearn.nn.pretrained.loading import loading
from ironlearn.nn.pretrained.residual_chain import run_residuals

#: Repeats, kernel, stride, expansion, channels: the stages of the network.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_EPS = 1e-3


class EfficientNetLite0(Layer):
    """EfficientNet-lite0: 4.7 million weights, 224 x 224 pictures, 1,000 classes of ImageNet.

    Batch normalization is part of the convolutions, as it is in prediction.

    Parameters
    ----------
    include_top : bool, default=True
        Give logits of 1,000 classes; else the 1,280 features before them.

    Notes
    -----
    Input (N, 224, 224, 3) of `preprocess`, output (N, 1000) or (N, 1280). Tan and Le,
    "EfficientNet" (arXiv:1905.11946), without squeeze-and-excitation and with ReLU6, as
    TensorFlow's lite variants define it.

    Examples
    --------
    >>> from ironlearn.nn.layers.sequential import initialize
    >>> net = EfficientNetLite0(include_top=False)
    >>> initialize(net, (64, 64, 3)).output_shape((64, 64, 3))
    (1280,)
    """

    input_ndim = 4

    def __init__(self, include_top: bool = True) -> None:
        self.include_top = include_top
        self.stem = Conv2D(32, 3, 2, "same", "relu6")
        self.blocks: list[InvertedResidual] = []
        before = 32
        for repeats, kernel, stride, expansion, channels in STAGES:
            for i in range(repeats):
                step = stride if i == 0 else 1
                block = InvertedResidual(kernel, step, expansion, channels, before)
                self.blocks.append(block)
                before = channels
        self.head = Conv2D(1280, 1, activation="relu6")
        self.top = Dense(1000) if include_top else None

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create all parts."""
        shape = self.stem._build(input_shape, rng, "stem")
        for i, block in enumerate(self.blocks):
            shape = block._build(shape, rng, f"blocks.{i}")
        self.head._build(shape, rng, "head")
        if self.top is not None:
            self.top._build((1280,), rng, "top")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the number of classes or features."""
        return (1000,) if self.include_top else (1280,)

    def features(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the maps before the classifier, (N, H / 32, W / 32, 1280), rounded up."""
        self._expect(x)
        return self.head(run_residuals(self.blocks, self.stem(x, mode), mode), mode)

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute logits or features of pictures."""
        y = F.mean(self.features(x, mode), axis=(1, 2))
        return y if self.top is None else self.top(y, mode)

    def preprocess(self, picture: Any) -> NDArray[np.float32]:
        """Return a picture as the network takes it, (224, 224, 3); see `preprocess`."""
        return preprocess(picture)

    def load_torch(self, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take the weights of a PyTorch checkpoint of this network.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            What `ironlearn.nn.pretrained.read_weights` returns.

        Returns
        -------
        EfficientNetLite0
            The network itself, built for 224 x 224 pictures unless it was.

        Raises
        ------
        ModelFileError
            The weights are of another network; the first array that does not fit is named.
        """
        with loading(self, arrays):
            weights = Weights(arrays)
            load_folded(self.stem, weights, "_conv_stem.weight", "_bn0", _EPS)
            for i, block in enumerate(self.blocks):
                part = weights.within(f"_blocks.{i}")
                if block.expand is not None:
                    load_folded(block.expand, part, "_expand_conv.weight", "_bn0", _EPS)
                load_folded(block.depthwise, part, "_depthwise_conv.weight", "_bn1", _EPS)
                load_folded(block.project, part, "_project_conv.weight", "_bn2", _EPS)
            load_folded(self.head, weights, "_conv_head.weight", "_bn1", _EPS)
            if self.top is not None:
                self.top.kernel.data = weights.dense("_fc.weight", 1280, 1000)
                self.top.bias.data = weights.take("_fc.bias", (1000,))
            weights.finish("_fc.", "num_batches_tracked")
        return self


def preprocess(picture: Any, size: int = 224) -> NDArray[np.float32]:
    """Return a picture as EfficientNet-lite takes it.

    Parameters
    ----------
    picture : PIL.Image.Image or ndarray of shape (H, W, 3) of uint8
        Any size; other modes are turned into RGB.
    size : int, default=224
        Height and width of the result.

    Returns
    -------
    ndarray of shape (size, size, 3)
        The middle of the picture, scaled so that 87.5 % of its shorter side are used, with values
        (v - 127) / 128.
    """
    from PIL import Image

    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image = image.convert("RGB")
    # The square in the middle that the network's authors cut out before they scale.
    side = round(min(image.size) * size / (size + 32))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    cut = image.crop((left, top, left + side, top + side))
    cut = cut.resize((size, size), Image.Resampling.BICUBIC)
    return (np.asarray(cut, np.float32) - 127.0) / 128.0
