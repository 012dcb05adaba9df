"""Blocks of the Transformer."""

from __future__ import annotations

from typing import Any

from ironlearn.io.onnx.network.normalization import normalized
from ironlearn.io.onnx.network.writer import Value, Writer


def _normed(w: Writer, norm: Any, x: Value) -> Value:
    return x.named(normalized(w, norm, x.name))


def _add(w: Writer, layer: Any, x: Value, branch: Value, norm: Any) -> tuple[Value, Value]:
    """Return the stream with a branch added, and what the next part takes."""
    total = x.named(w.op("Add", branch.name, x.name))
    y = _normed(w, norm, total)
    return (total, y) if layer.norm_first else (y, y)


def _rest(w: Writer, layer: Any, x: Value, y: Value) -> Value:
    """Return the block's output, given its stream and what the dense layers take."""
    y = w.layer(layer.outer, w.layer(layer.inner, y))
    if layer.norm_first:
        return x.named(w.op("Add", x.name, y.name))
    return _add(w, layer, x, y, layer.outer_norm)[0]


def encoder(w: Writer, layer: Any, x: Value) -> Value:
    """`TransformerEncoderBlock`."""
    x = w.plain(x)
    y = _normed(w, layer.attention_norm, x) if layer.norm_first else x
    y = w.layer(layer.attention, y)
    following = layer.outer_norm if layer.norm_first else layer.attention_norm
    x, y = _add(w, layer, x, y, following)
    return _rest(w, layer, x, y)


def decoder(
    w: Writer, layer: Any, x: Value, *, context: str, context_mask: str | None = None
) -> Value:
    """`TransformerDecoderBlock`."""
    x = w.plain(x)
    y = _normed(w, layer.attention_norm, x) if layer.norm_first else x
    y = w.layer(layer.attention, y)
    following = layer.cross_norm if layer.norm_first else layer.attention_norm
    x, y = _add(w, layer, x, y, following)
    y = w.layer(layer.cross, y, context=context, context_mask=context_mask)
    following = layer.outer_norm if layer.norm_first else layer.cross_norm
    x, y = _add(w, layer, x, y, following)
    return _rest(w, layer, x, y)
