"""Layers made of layers."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np

from ironlearn.io.onnx.network.writer import Value, Writer, array_of


def sequential(w: Writer, layer: Any, x: Value) -> Any:
    """`Sequential`: a mask goes along the chain, and ends with it."""
    y: Any = x
    for part in layer.layers:
        y = w.layer(part, y)
    return replace(y, mask=None) if isinstance(y, Value) else y


def spectral_norm(w: Writer, layer: Any, x: Value) -> Value:
    """`SpectralNorm`: the layer within, with the kernel that it has in prediction."""
    kernel = array_of(layer.layer.kernel.data)
    matrix = kernel.reshape(-1, kernel.shape[-1])
    right = array_of(layer.direction.data)
    left = matrix @ right
    left /= max(float(np.sqrt((left * left).sum())), 1e-12)
    norm = (kernel * (left[:, None] * right).reshape(kernel.shape)).sum()
    inner = copy.copy(layer.layer)
    inner.kernel = kernel / norm
    return w.layer(inner, x)
