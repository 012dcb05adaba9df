"""Serving of classifiers of texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _modelfile
from ironlearn.exceptions import ModelFileError
from ironlearn.nn.state import network_from
from ironlearn.serving.predictor import Predictor
from ironlearn.text._encoder import Encoder, check_words, outputs, probabilities
from ironlearn.text._tokens import as_texts


class TextPredictor(Predictor):
    """Predicts the classes of raw texts with a network."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        self._encoder = Encoder.unpack(contents.attributes["encoder"], contents.tensors)
        self._network = network_from(contents.attributes["network"], contents.tensors)
        check_words(self._network, self._encoder)
        width = self._network.output_shape((1,))[-1]
        labels = 0 if self.classes is None else len(self.classes)
        if width != (1 if labels == 2 else labels):
            raise ModelFileError(f"the network has {width} outputs for {labels} classes.")

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class for each text."""
        return probabilities(outputs(self._network, self._encoder(as_texts(X)), "cpu"))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each text."""
        return self._labels(self.predict_proba(X).argmax(axis=1))
