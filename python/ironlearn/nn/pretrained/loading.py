"""Giving weights to a network: all of them, or none."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from ironlearn.nn.initializers import blank
from ironlearn.nn.layers.base import Layer
from ironlearn.nn.layers.sequential import initialize


@contextlib.contextmanager
def loading(network: Layer, arrays: Mapping[str, NDArray[Any]]) -> Iterator[None]:
    """Make `network` ready for weights; where they do not fit, give the former back.

    Parameters
    ----------
    network : Layer
        Built for 224 x 224 pictures unless it was.
    arrays : mapping of str to ndarray
        The weights; nothing is drawn for a network that was not built, since they replace it.
    """
    if not network.built:
        with blank(limit=max(200_000_000, *(math.prod(a.shape) for a in arrays.values()), 0)):
            initialize(network, (224, 224, 3))
    # Loading puts other arrays in place and changes none.
    held = [(parameter, parameter.data) for parameter in network.parameters()]
    try:
        yield
    except BaseException:
        for parameter, data in held:
            parameter.data = data
        raise
