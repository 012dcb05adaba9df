"""Whose network one is: the two libraries differ in what surrounds the same layers."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
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


@contextlib.contextmanager
def loading(
    network: Any,
    arrays: Mapping[str, NDArray[Any]],
    variant: str,
    changed: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Make `network` ready for weights of a variant; where they do not fit, give the former back.

    Parameters
    ----------
    network : Layer
        With an attribute ``variant``; built for 224 x 224 pictures unless it was.
    arrays : mapping of str to ndarray
        The weights; nothing is drawn for a network that was not built, since they replace it.
    variant : {"torch", "keras"}
        Whose weights they are.
    changed : callable
        Called whenever the variant was set.
    """
    before = network.variant
    if not network.built:
        with blank(limit=max(200_000_000, *(math.prod(a.shape) for a in arrays.values()), 0)):
            initialize(network, (224, 224, 3))
    # Loading puts other arrays in place and changes none.
    held = [(parameter, parameter.data) for parameter in network.parameters()]
    network.variant = variant
    changed()
    try:
        yield
    except BaseException:
        network.variant = before
        changed()
        for parameter, data in held:
            parameter.data = data
        raise
