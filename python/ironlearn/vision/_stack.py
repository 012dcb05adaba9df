"""The small convolutional network that image classifiers begin with."""

from __future__ import annotations

from ironlearn.nn.layers import Conv2D, Dense, Dropout, Flatten, MaxPool2D, Sequential
from ironlearn.nn.layers.base import Layer

#: Filters of the three convolutions, and width of the layer after them.
FILTERS, UNITS = (32, 64, 64), 64
#: Shorter sides than this leave nothing after convolutions without padding and two poolings.
_SHORTEST = 18


def small_cnn(input_shape: tuple[int, int, int], outputs: int, dropout: float = 0.0) -> Sequential:
    """Return Conv 32 - pool - Conv 64 - pool - Conv 64 - Dense 64 - Dense `outputs`, not built.

    Convolutions are 3 x 3 with ReLU, poolings 2 x 2; the last layer gives logits. Images that are
    too small for it keep their size in convolutions, and are pooled while there is something to.

    Parameters
    ----------
    input_shape : (int, int, int)
        Height, width and channels.
    outputs : int
        Logits.
    dropout : float, default=0.0
        Dropout before each dense layer, half of it after each pooling; 0 leaves those layers out.

    Examples
    --------
    >>> network = small_cnn((28, 28, 1), 10).initialize((28, 28, 1))
    >>> sum(p.data.size for p in network.parameters())
    93322
    """
    height, width, _ = input_shape
    small = min(height, width) < _SHORTEST
    padding = "same" if small else "valid"
    layers: list[Layer] = []
    for number, filters in enumerate(FILTERS):
        layers.append(Conv2D(filters, 3, padding=padding, activation="relu"))
        if number == len(FILTERS) - 1:
            break
        pool = (2 if height >= 2 else 1, 2 if width >= 2 else 1)
        if small and pool != (1, 1):
            height, width = height // pool[0], width // pool[1]
        if pool != (1, 1):
            layers.append(MaxPool2D(pool))
            if dropout:
                layers.append(Dropout(dropout / 2))
    layers.append(Flatten())
    if dropout:
        layers.append(Dropout(dropout))
    layers.append(Dense(UNITS, activation="relu"))
    if dropout:
        layers.append(Dropout(dropout))
    layers.append(Dense(outputs))
    return Sequential(layers)
