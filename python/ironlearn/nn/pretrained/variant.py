"""Whose network one is: the two libraries differ in what surrounds the same layers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from ironlearn.exceptions import InvalidParameterError
from ironlearn.nn.pretrained.loading import loading

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
def loading_variant(
    network: Any,
    arrays: Mapping[str, NDArray[Any]],
    variant: str,
    changed: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Make `network` ready for weights of a variant, as `loading` does.

    Parameters
    ----------
    network : Layer
        With an attribute ``variant``, which is given back as well where the weights do not fit.
    arrays : mapping of str to ndarray
        The weights.
    variant : {"torch", "keras"}
        Whose weights they are.
    changed : callable
        Called whenever the variant was set.
    """
    before = network.variant
    with loading(network, arrays):
        network.variant = variant
        changed()
        try:
            yield
        except BaseException:
            network.variant = before
            changed()
            raise
