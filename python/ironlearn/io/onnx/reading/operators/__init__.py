"""Every operator that is understood, and the function that turns it into layers.

A function takes the `Builder` and the `Node`, and returns the values of the node's outputs: a
`Value`, a constant, or a tuple of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ironlearn.io.onnx.reading.operators import (
    attention,
    dense,
    elementwise,
    images,
    position,
    recurrent,
    shape,
)

Operator = Callable[..., Any]

OPERATORS: Mapping[str, Operator] = {
    **elementwise.OPERATORS,
    **shape.OPERATORS,
    **images.OPERATORS,
    **dense.OPERATORS,
    **recurrent.OPERATORS,
    **attention.OPERATORS,
    **position.OPERATORS,
}
