"""VGG16: thirteen convolutions of 3 x 3 cells and three dense layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Shape, positive
from ironlearn.nn.layers.conv import Conv2D
from ironlearn.nn.layers.dense import Dense
from ironlearn.nn.layers.dropout import Dropout
from ironlearn.nn.layers.pooling import MaxPool2D
from ironlearn.nn.layers.sequential import Sequential
from ironlearn.nn.pretrained.keras_layout import KerasWeights
from ironlearn.nn.pretrained.layout import Weights
from ironlearn.nn.pretrained.pictures import preprocess
from ironlearn.nn.pretrained.variant import check_variant, loading_variant

#: Channels of the convolutions of each block; a maximum of 2 x 2 cells follows each block.
BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16(Layer):
    """VGG16: 138 million weights, 224 x 224 pictures, 1,000 classes of ImageNet.

    Parameters
    ----------
    include_top : bool, default=True
        Give logits of the classes; else 512 features, the mean of each map of `features`.
    classes : int, default=1000
        Number of classes.
    variant : {"torch", "keras"}, default="torch"
        Whose network it is; loading weights sets it. It decides how `preprocess` scales.

    Notes
    -----
    Input (N, 224, 224, 3) of `preprocess`, output (N, classes) or (N, 512). Without the top any
    height and width of at least 32 will do. Simonyan and Zisserman, "Very deep convolutional
    networks for large-scale image recognition" (arXiv:1409.1556), configuration D.

    Examples
    --------
    >>> from ironlearn.nn.layers.sequential import initialize
    >>> net = initialize(VGG16(include_top=False), (32, 32, 3))
    >>> net(Tensor(np.zeros((1, 32, 32, 3), np.float32))).shape
    (1, 512)
    """

    input_ndim = 4

    def __init__(
        self, include_top: bool = True, classes: int = 1000, variant: str = "torch"
    ) -> None:
        self.include_top = include_top
        self.classes = positive("VGG16", "classes", classes)
        self.variant = check_variant("VGG16", variant)
        self.blocks = [
            Sequential([*(Conv2D(n, 3, padding=1, activation="relu") for n in block), MaxPool2D()])
            for block in BLOCKS
        ]
        self.top = (
            [Dense(4096, "relu"), Dropout(0.5), Dense(4096, "relu"), Dropout(0.5), Dense(classes)]
            if include_top
            else []
        )

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create all parts."""
        shape = input_shape
        for i, block in enumerate(self.blocks):
            shape = block._build(shape, rng, f"blocks.{i}")
        shape = (math.prod(size for size in shape if size is not None),)
        for i, layer in enumerate(self.top):
            shape = layer._build(shape, rng, f"top.{i}")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the number of classes or features."""
        return (self.classes,) if self.include_top else (BLOCKS[-1][-1],)

    def features(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the maps before the classifier, (N, H / 32, W / 32, 512)."""
        self._expect(x)
        for block in self.blocks:
            x = block(x, mode)
        return x

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute logits or features of pictures."""
        y = self.features(x, mode)
        if not self.include_top:
            return F.mean(y, axis=(1, 2))
        y = F.reshape(y, (y.shape[0], -1))
        for layer in self.top:
            y = layer(y, mode)
        return y

    def preprocess(self, picture: Any) -> NDArray[np.float32]:
        """Return a picture as the network takes it, (224, 224, 3); see `pictures.preprocess`."""
        return preprocess(picture, scale="caffe" if self.variant == "keras" else "torch")

    def load_torch(self, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take the weights of torchvision's ``vgg16``.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            What `ironlearn.nn.pretrained.read_weights` returns for its state, in whatever file.

        Returns
        -------
        VGG16
            The network itself, built for 224 x 224 pictures unless it was.

        Raises
        ------
        ModelFileError
            The weights are of another network; the first array that does not fit is named with
            both shapes.
        """
        with loading_variant(self, arrays, "torch"):
            weights = Weights(arrays)
            place = 0
            for block in self.blocks:
                for layer in block.layers:
                    if isinstance(layer, Conv2D):
                        part = weights.within(f"features.{place}")
                        layer.kernel.data = part.conv("weight", layer.kernel.data.shape)
                        layer.bias.data = part.take("bias", layer.bias.shape)
                        # The activation is a place of its own there.
                        place += 1
                    place += 1
            for i, layer in enumerate(self._dense()):
                part = weights.within(f"classifier.{3 * i}")
                kernel = part.dense("weight", *layer.kernel.shape)
                layer.kernel.data = (
                    _from_channels_first(kernel, BLOCKS[-1][-1]) if i == 0 else kernel
                )
                layer.bias.data = part.take("bias", layer.bias.shape)
            weights.finish(*(() if self.include_top else ("classifier.",)))
        return self

    def load_keras(self, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take the weights of ``keras.applications.VGG16``.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            What `ironlearn.nn.pretrained.read_weights` returns for a ``.keras``, ``.weights.h5`` or
            older ``.h5`` file. Keras's network ends in a softmax, ours before it.

        Returns
        -------
        VGG16
            The network itself, built for 224 x 224 pictures unless it was.

        Raises
        ------
        ModelFileError
            The weights are of another network; the first array that does not fit is named with
            both shapes.
        """
        with loading_variant(self, arrays, "keras"):
            weights = KerasWeights(arrays)
            for i, block in enumerate(self.blocks):
                convolutions = [layer for layer in block.layers if isinstance(layer, Conv2D)]
                for j, layer in enumerate(convolutions):
                    part = weights.layer("conv2d", f"block{i + 1}_conv{j + 1}")
                    layer.kernel.data = part.take("kernel", layer.kernel.shape)
                    layer.bias.data = part.take("bias", layer.bias.shape)
            for name, dense in zip(("fc1", "fc2", "predictions"), self._dense(), strict=False):
                part = weights.layer("dense", name)
                dense.kernel.data = part.take("kernel", dense.kernel.shape)
                dense.bias.data = part.take("bias", dense.bias.shape)
            weights.finish(*(() if self.include_top else ("dense", "fc1", "fc2", "predictions")))
        return self

    def _dense(self) -> list[Dense]:
        return [layer for layer in self.top if isinstance(layer, Dense)]


def _from_channels_first(kernel: NDArray[Any], channels: int) -> NDArray[Any]:
    """Return a kernel (channels * cells, out), for maps laid out by channel, for maps by cell."""
    parts = kernel.reshape(channels, -1, kernel.shape[1])
    return np.ascontiguousarray(parts.transpose(1, 0, 2)).reshape(kernel.shape)
