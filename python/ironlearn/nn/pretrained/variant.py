"""Whose network one is: the two libraries differ in what surrounds the same layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ironlearn.exceptions import InvalidParameterError
from ironlearn.nn.initializers import blank
from ironlearn.nn.layers.sequential import initialize

VARIANTS = ("torch", "keras")


def check_variant(owner: str, value: Any) -> str:
    """Return `value`, the name of a variant.

    Examples
    --------
    >>> check_variant("VGG16", "torch")
    'torch'
    """
    if value not in VARIANTS:
        raise InvalidParameterError(f"variant of {owner} must be one of {VARIANTS}, got {value!r}.")
    return str(value)


def prepare(network: Any, arrays: Mapping[str, NDArray[Any]], variant: str) -> None:
    """Make `network` ready for weights of a variant: built for 224 x 224 pictures unless it was.

    Parameters
    ----------
    network : Layer
        With an attribute ``variant``.
    arrays : mapping of str to ndarray
        The weights; nothing is drawn, since they will replace it.
    variant : {"torch", "keras"}
        Whose weights they are.
    """
    network.variant = variant
    if not network.built:
        with blank(limit=max(200_000_000, *(math.prod(a.shape) for a in arrays.values()), 0)):
            initialize(network, (224, 224, 3))
