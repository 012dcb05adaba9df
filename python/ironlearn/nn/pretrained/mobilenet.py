"""MobileNetV2: a small network for pictures, of blocks that are narrow outside and wide inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import InvalidParameterError
from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.layers.base import INFERENCE, Layer, Mode, Shape, positive
from ironlearn.nn.layers.conv import Conv2D
from ironlearn.nn.layers.dense import Dense
from ironlearn.nn.layers.dropout import Dropout
from ironlearn.nn.pretrained.folded import load_folded, load_folded_keras
from ironlearn.nn.pretrained.inverted_residual import InvertedResidual
from ironlearn.nn.pretrained.keras_layout import KerasWeights
from ironlearn.nn.pretrained.layout import Weights
from ironlearn.nn.pretrained.pictures import preprocess
from ironlearn.nn.pretrained.residual_chain import run_residuals
from ironlearn.nn.pretrained.variant import check_variant, loading_variant

#: Repeats, stride, expansion, channels: the stages of the network.
STAGES = (
    (1, 1, 1, 16),
    (2, 2, 6, 24),
    (3, 2, 6, 32),
    (4, 2, 6, 64),
    (3, 1, 6, 96),
    (3, 2, 6, 160),
    (1, 1, 6, 320),
)
#: What the batch normalizations of the two libraries add to the variance.
_EPS = {"torch": 1e-5, "keras": 1e-3}


def _rounded(channels: float) -> int:
    """Return the multiple of 8 that is next, but not more than a tenth below."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


class MobileNetV2(Layer):
    """MobileNetV2: 3.5 million weights, 224 x 224 pictures, 1,000 classes of ImageNet.

    Batch normalization is part of the convolutions, as it is in prediction.

    Parameters
    ----------
    include_top : bool, default=True
        Give logits of the classes; else 1,280 features, the mean of each map of `features`.
    classes : int, default=1000
        Number of classes.
    alpha : float, default=1.0
        Factor of all channels; more of them for the features only where it is above 1.
    variant : {"torch", "keras"}, default="torch"
        Whose network it is; loading weights sets it. Where a convolution takes every second cell,
        torchvision's begins with the first, Keras's ends with the last. It also decides how
        `preprocess` scales.

    Notes
    -----
    Input (N, H, W, 3) of `preprocess`, output (N, classes) or (N, 1280); height and width are those
    that the network was built for. Sandler et al., "MobileNetV2: inverted residuals and linear
    bottlenecks" (arXiv:1801.04381), table 2.

    Examples
    --------
    >>> from ironlearn.nn.layers.sequential import initialize
    >>> net = initialize(MobileNetV2(include_top=False, alpha=0.35), (64, 64, 3))
    >>> net(Tensor(np.zeros((1, 64, 64, 3), np.float32))).shape
    (1, 1280)
    """

    input_ndim = 4

    def __init__(
        self,
        include_top: bool = True,
        classes: int = 1000,
        alpha: float = 1.0,
        variant: str = "torch",
    ) -> None:
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha <= 8:
            raise InvalidParameterError(
                f"alpha of MobileNetV2 must be a number in (0, 8], got {alpha!r}."
            )
        self.include_top = include_top
        self.classes = positive("MobileNetV2", "classes", classes)
        self.alpha = float(alpha)
        self.variant = check_variant("MobileNetV2", variant)
        padding = self._padding()
        before = _rounded(32 * alpha)
        self.stem = Conv2D(before, 3, 2, padding, "relu6")
        self.blocks: list[InvertedResidual] = []
        for repeats, stride, expansion, wanted in STAGES:
            channels = _rounded(wanted * alpha)
            for i in range(repeats):
                step = stride if i == 0 else 1
                block = InvertedResidual(3, step, expansion, channels, before, padding)
                self.blocks.append(block)
                before = channels
        self.width = _rounded(1280 * max(1.0, alpha))
        self.head = Conv2D(self.width, 1, activation="relu6")
        self.drop = Dropout(0.2)
        self.top = Dense(classes) if include_top else None

    def _padding(self) -> Any:
        return "same" if self.variant == "keras" else 1

    def build(self, input_shape: Shape, rng: np.random.Generator) -> None:
        """Create all parts."""
        shape = self.stem._build(input_shape, rng, "stem")
        for i, block in enumerate(self.blocks):
            shape = block._build(shape, rng, f"blocks.{i}")
        self.head._build(shape, rng, "head")
        if self.top is not None:
            self.top._build((self.width,), rng, "top")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the number of classes or features."""
        return (self.classes,) if self.include_top else (self.width,)

    def features(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute the maps before the classifier, (N, H / 32, W / 32, 1280), rounded up."""
        self._expect(x)
        return self.head(run_residuals(self.blocks, self.stem(x, mode), mode), mode)

    def forward(self, x: Tensor, mode: Mode = INFERENCE) -> Tensor:
        """Compute logits or features of pictures."""
        y = F.mean(self.features(x, mode), axis=(1, 2))
        return y if self.top is None else self.top(self.drop(y, mode), mode)

    def preprocess(self, picture: Any) -> NDArray[np.float32]:
        """Return a picture as the network takes it, (224, 224, 3); see `pictures.preprocess`."""
        return preprocess(picture, scale="tf" if self.variant == "keras" else "torch")

    def _pad(self) -> None:
        """Pad as the variant does; both have the same shapes everywhere."""
        self.stem.padding = self._padding()
        for block in self.blocks:
            block.depthwise.padding = block.depthwise._conv.padding = self._padding()

    def load_torch(self, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take the weights of torchvision's ``mobilenet_v2``.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            What `ironlearn.nn.pretrained.read_weights` returns for its state, in whatever file.

        Returns
        -------
        MobileNetV2
            The network itself, built for 224 x 224 pictures unless it was.

        Raises
        ------
        ModelFileError
            The weights are of another network; the first array that does not fit is named with
            both shapes.
        """
        with loading_variant(self, arrays, "torch", self._pad):
            weights, eps = Weights(arrays), _EPS["torch"]
            load_folded(self.stem, weights, "features.0.0.weight", "features.0.1", eps)
            for i, block in enumerate(self.blocks):
                part = weights.within(f"features.{i + 1}.conv")
                place = 0
                if block.expand is not None:
                    load_folded(block.expand, part, "0.0.weight", "0.1", eps)
                    place = 1
                load_folded(block.depthwise, part, f"{place}.0.weight", f"{place}.1", eps)
                load_folded(block.project, part, f"{place + 1}.weight", f"{place + 2}", eps)
            last = f"features.{len(self.blocks) + 1}"
            load_folded(self.head, weights, f"{last}.0.weight", f"{last}.1", eps)
            if self.top is not None:
                self.top.kernel.data = weights.dense("classifier.1.weight", *self.top.kernel.shape)
                self.top.bias.data = weights.take("classifier.1.bias", self.top.bias.shape)
            weights.finish("num_batches_tracked", *(() if self.include_top else ("classifier.",)))
        return self

    def load_keras(self, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take the weights of ``keras.applications.MobileNetV2`` of the same `alpha`.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            What `ironlearn.nn.pretrained.read_weights` returns for a ``.keras``, ``.weights.h5`` or
            older ``.h5`` file. Keras's network ends in a softmax, ours before it.

        Returns
        -------
        MobileNetV2
            The network itself, built for 224 x 224 pictures unless it was.

        Raises
        ------
        ModelFileError
            The weights are of another network; the first array that does not fit is named with
            both shapes.
        """
        with loading_variant(self, arrays, "keras", self._pad):
            weights, eps = KerasWeights(arrays), _EPS["keras"]
            load_folded_keras(self.stem, weights, "Conv1", "bn_Conv1", eps)
            for i, block in enumerate(self.blocks):
                name = f"block_{i}" if i else "expanded_conv"
                for layer, part in (
                    (block.expand, "expand"),
                    (block.depthwise, "depthwise"),
                    (block.project, "project"),
                ):
                    if layer is not None:
                        norm = f"{name}_{part}_BN"
                        load_folded_keras(layer, weights, f"{name}_{part}", norm, eps)
            load_folded_keras(self.head, weights, "Conv_1", "Conv_1_bn", eps)
            if self.top is not None:
                last = weights.layer("dense", "predictions", "Logits")
                self.top.kernel.data = last.take("kernel", self.top.kernel.shape)
                self.top.bias.data = last.take("bias", self.top.bias.shape)
            weights.finish(*(() if self.include_top else ("dense", "predictions", "Logits")))
        return self
