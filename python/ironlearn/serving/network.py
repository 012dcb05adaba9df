"""Serving of networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _modelfile
from ironlearn.nn.inference import predict
from ironlearn.nn.layers.base import Layer
from ironlearn.nn.state import network_from
from ironlearn.serving.predictor import Predictor


class NetworkModel(Predictor):
    """Base of predictors whose model is a network of `ironlearn.nn`.

    Attributes
    ----------
    network : Layer
        The network.
    """

    network: Layer

    def __init__(self, contents: _modelfile.Contents) -> None:
        super().__init__(contents)
        self.network = network_from(contents.attributes["network"], contents.tensors)

    def _outputs(self, x: Any) -> Any:
        """Return the network's raw outputs for its inputs `x`."""
        # A loaded network never changes.
        return predict(self.network, x, version=0)


class NetworkPredictor(NetworkModel):
    """Predicts the raw outputs of a network that was saved alone."""

    def __init__(self, contents: _modelfile.Contents) -> None:
        self.type = contents.type
        self.classes = None
        self.network = network_from(contents.attributes["network"], contents.tensors)
        shape = self.network.input_shape
        assert shape is not None
        last = shape[-1] if shape else None
        self.n_features = last if isinstance(last, int) else 0

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the outputs for X, an array or a tuple of arrays as the network takes them."""
        answers: NDArray[Any] = self._outputs(X if isinstance(X, tuple) else np.asarray(X))
        return answers
