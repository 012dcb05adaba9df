"""ResNet-18: eight blocks of two convolutions, each with a way around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Shape, positive
from ironlearn.nn.layers.conv import Conv2D
from ironlearn.nn.layers.dense import Dense
from ironlearn.nn.layers.pooling import MaxPool2D
from ironlearn.nn.pretrained.folded import load_folded
from ironlearn.nn.pretrained.layout import Weights
from ironlearn.nn.pretrained.loading import loading
from ironlearn.nn.pretrained.pictures import preprocess

#: Channels and stride of each stage of two blocks.
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
_EPS = 1e-5


class _Block(Layer):
    """Two convolutions and the input added, brought to their shape where it differs."""

    def __init__(self, channels: int, stride: int, before: int) -> None:
        self.first = Conv2D(channels, 3, stride, 1, "relu")
        self.second = Conv2D(channels, 3, 1, 1)
        around = stride != 1 or before != channels
        self.around = Conv2D(channels, 1, stride) if around else None

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        shape = self.first._build(input_shape, rng, f"{self.label}.first")
        self.second._build(shape, rng, f"{self.label}.second")
        if self.around is not None:
            self.around._build(input_shape, rng, f"{self.label}.around")

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.second.output_shape(self.first.output_shape(input_shape))

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        y = self.second(self.first(x, mode), mode)
        y = F.add(y, x if self.around is None else self.around(x, mode))
        return F.activation(y, "relu")


class ResNet18(Layer):
    """ResNet-18: 11.7 million weights, 224 x 224 pictures, 1,000 classes of ImageNet.

    Batch normalization is part of the convolutions, as it is in prediction.

    Parameters
    ----------
    include_top : bool, default=True
        Give logits of the classes; else 512 features, the mean of each map of `features`.
    classes : int, default=1000
        Number of classes.

    Notes
    -----
    Input (N, H, W, 3) of `preprocess`, output (N, classes) or (N, 512); height and width are those
    that the network was built for. He et al., "Deep residual learning for image recognition"
    (arXiv:1512.03385), table 1.

    Examples
    --------
    >>> from ironlearn.nn.layers.sequential import initialize
    >>> net = initialize(ResNet18(include_top=False), (64, 64, 3))
    >>> net(Tensor(np.zeros((1, 64, 64, 3), np.float32))).shape
    (1, 512)
    """

    input_ndim = 4

    def __init__(self, include_top: bool = True, classes: int = 1000) -> None:
        self.include_top = include_top
        self.classes = positive("ResNet18", "classes", classes)
        self.stem = Conv2D(64, 7, 2, 3, "relu")
        self.pool = MaxPool2D(3, 2, 1)
        self.blocks: list[_Block] = []
        before = 64
        for channels, stride in STAGES:
            self.blocks += [_Block(channels, stride, before), _Block(channels, 1, channels)]
            before = channels
        self.top = Dense(classes) if include_top else None

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create all parts."""
        shape = self.pool._build(self.stem._build(input_shape, rng, "stem"), rng, "pool")
        for i, block in enumerate(self.blocks):
            shape = block._build(shape, rng, f"blocks.{i}")
        if self.top is not None:
            self.top._build(shape[-1:], rng, "top")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the number of classes or features."""
        return (self.classes,) if self.include_top else (STAGES[-1][0],)

    def features(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the maps before the classifier, (N, H / 32, W / 32, 512), rounded up."""
        self._expect(x)
        y = self.pool(self.stem(x, mode), mode)
        for block in self.blocks:
            y = block(y, mode)
        return y

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute logits or features of pictures."""
        y = F.mean(self.features(x, mode), axis=(1, 2))
        return y if self.top is None else self.top(y, mode)

    def preprocess(self, picture: Any) -> NDArray[np.float32]:
        """Return a picture as the network takes it, (224, 224, 3); see `pictures.preprocess`."""
        return preprocess(picture)

    def load_torch(self, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take the weights of torchvision's ``resnet18``.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            What `ironlearn.nn.pretrained.read_weights` returns for its state, in whatever file.

        Returns
        -------
        ResNet18
            The network itself, built for 224 x 224 pictures unless it was.

        Raises
        ------
        ModelFileError
            The weights are of another network; the first array that does not fit is named with
            both shapes.
        """
        with loading(self, arrays):
            weights = Weights(arrays)
            load_folded(self.stem, weights, "conv1.weight", "bn1", _EPS)
            for i, block in enumerate(self.blocks):
                part = weights.within(f"layer{i // 2 + 1}.{i % 2}")
                load_folded(block.first, part, "conv1.weight", "bn1", _EPS)
                load_folded(block.second, part, "conv2.weight", "bn2", _EPS)
                if block.around is not None:
                    load_folded(block.around, part, "downsample.0.weight", "downsample.1", _EPS)
            if self.top is not None:
                self.top.kernel.data = weights.dense("fc.weight", *self.top.kernel.shape)
                self.top.bias.data = weights.take("fc.bias", self.top.bias.shape)
            weights.finish("num_batches_tracked", *(() if self.include_top else ("fc.",)))
        return self
