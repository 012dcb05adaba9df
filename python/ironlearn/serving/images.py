"""Serving of image classifiers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _modelfile
from ironlearn._feedforward import softmax
from ironlearn._images import as_floats, check_images
from ironlearn.exceptions import ModelFileError
from ironlearn.serving.network import NetworkModel


class ImageClassifierPredictor(NetworkModel):
    """Predicts the classes of images.

    Attributes
    ----------
    image_shape : (int, int, int)
        Height, width and channels of the images.
    """

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        shape = self.network.input_shape
        if shape is None or len(shape) != 3:
            raise ModelFileError(f"the network takes inputs of shape {shape}, not images.")
        self.image_shape = tuple(int(size or 0) for size in shape)
        outputs = self.network.output_shape(shape)
        classes = int(outputs[0] or 0) if len(outputs) == 1 else 0
        self._expect(classes=classes, features=math.prod(self.image_shape))

    def _logits(self, X: Any) -> NDArray[np.float32]:
        images = check_images("X", X)
        if images.shape[1:] != self.image_shape:
            raise ValueError(
                f"X has images of shape {images.shape[1:]}, but the model takes "
                f"{self.image_shape} (height, width, channels)."
            )
        # Networks take bytes as they are.
        floats = images if images.dtype == np.uint8 else as_floats(images)
        logits: NDArray[np.float32] = self._outputs(floats)
        return logits

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of each image (n, height, width[, channels])."""
        return self._labels(self._logits(X).argmax(axis=1))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return class probabilities, shape (n, n_classes)."""
        return softmax(self._logits(X).astype(np.float64))
