"""Attention, pooling by scores and masked softmax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nn.cuda.cases import Case, one

_rng = np.random.default_rng(0)


def _heads(n: int, h: int, t: int, s: int, d: int, e: int) -> dict[str, np.ndarray]:
    shapes = {"q": (n, h, t, d), "k": (n, h, s, d), "v": (n, h, s, e), "gout": (n, h, t, e)}
    return {name: _rng.standard_normal(shape) for name, shape in shapes.items()}


def _mask(*shape: int, share: float = 0.7) -> np.ndarray:
    return _rng.random(shape) < share


def _attention(**settings: Any) -> Any:
    def run(ops: Any, a: Mapping[str, Any]) -> Any:
        q, k, v, mask = a["q"], a["k"], a["v"], a.get("mask")
        out, cache = ops.attention(q, k, v, mask=mask, **settings)
        grads = ops.attention_backward(a["gout"], q, k, v, out, cache, mask=mask, **settings)
        return out, grads

    return run


def _strided(ops: Any, a: Mapping[str, Any]) -> Any:
    q, k, v, gout = (a[name].swapaxes(1, 2) for name in ("q", "k", "v", "gout"))
    out, cache = ops.attention(q, k, v)
    return out, ops.attention_backward(gout, q, k, v, out, cache)


def _broadcast_mask(ops: Any, a: Mapping[str, Any]) -> Any:
    n, h, t, _ = a["q"].shape
    mask = ops.xp.broadcast_to(a["mask"], (n, h, t, a["k"].shape[2]))
    return _attention()(ops, {**a, "mask": mask})


def _packed(heads: int, **settings: Any) -> Any:
    def run(ops: Any, a: Mapping[str, Any]) -> Any:
        qkv, mask = a["qkv"], a.get("mask")
        out, cache = ops.attention_packed(qkv, heads, mask=mask, **settings)
        gqkv = ops.attention_packed_backward(
            a["gout"], qkv, out, cache, heads, mask=mask, **settings
        )
        return out, gqkv

    return run


def _side_by_side(n: int, t: int, heads: int, d: int) -> dict[str, np.ndarray]:
    return {
        "qkv": _rng.standard_normal((n, t, 3 * heads * d)),
        "gout": _rng.standard_normal((n, t, heads * d)),
    }


def _weights(**settings: Any) -> Any:
    def run(ops: Any, a: Mapping[str, Any]) -> Any:
        return ops.attention_weights(a["q"], a["k"], mask=a.get("mask"), **settings)

    return run


def _softmax(ops: Any, a: Mapping[str, Any]) -> Any:
    weights = ops.masked_softmax(a["scores"], a.get("mask"))
    return weights, ops.masked_softmax_backward(a["gweights"], weights)


def _pool(ops: Any, a: Mapping[str, Any]) -> Any:
    out, weights = ops.attention_pool(a["x"], a["scores"], a.get("mask"))
    return out, weights, ops.attention_pool_backward(a["gout"], a["x"], out, weights)


_BOTH = ("attention", "attention_backward")
_PACKED = ("attention_packed", "attention_packed_backward")
_SOFTMAX = ("masked_softmax", "masked_softmax_backward")
#: Where numbers are large enough that their rounding to 16 bits decides.
_LONG = ("float32", "float64")
_POOL = ("attention_pool", "attention_pool_backward")


def _attention_cases() -> list[Case]:
    found = []
    # Within a tile, whole tiles, a part of a second and third one, the widest heads.
    for shape in (
        (1, 1, 1, 1, 1, 1),
        (2, 2, 5, 7, 3, 4),
        (1, 1, 64, 64, 16, 16),
        (1, 2, 70, 65, 20, 33),
        (1, 1, 3, 130, 128, 100),
        (1, 1, 66, 2, 100, 128),
    ):
        found.append(Case(str(shape), _BOTH, _heads(*shape), _attention()))
    for t, s in ((5, 5), (70, 70), (3, 69), (69, 3), (1, 9)):
        arrays = _heads(1, 2, t, s, 6, 5)
        found.append(Case(f"causal-{t}-{s}", _BOTH, arrays, _attention(causal=True)))
    masks = {
        "keys": _mask(2, 1, 1, 37),
        "queries-keys": _mask(35, 37),
        "heads-queries": _mask(1, 3, 35, 1),
        "whole": _mask(2, 3, 35, 37),
        "vector": _mask(37),
        "nothing": np.zeros((1, 1), bool),
        "single": _mask(2, 3, 35, 37, share=0.03),
    }
    for name, mask in masks.items():
        arrays = _heads(2, 3, 35, 37, 4, 4) | {"mask": mask}
        found.append(Case(f"mask-{name}", _BOTH, arrays, _attention()))
    arrays = _heads(2, 2, 34, 34, 4, 4) | {"mask": _mask(2, 1, 1, 34)}
    found.append(Case("mask-causal-scale", _BOTH, arrays, _attention(causal=True, scale=0.3)))
    found.append(Case("mask-broadcast", _BOTH, arrays, _broadcast_mask))
    arrays = _heads(2, 5, 3, 5, 4, 4)
    arrays = {key: value.swapaxes(1, 2).copy() for key, value in arrays.items()}
    found.append(Case("strided", _BOTH, arrays, _strided))
    large = _heads(1, 1, 40, 40, 8, 8)
    large["q"], large["k"] = 30 * large["q"], 30 * large["k"]
    found.append(Case("large-scores", _BOTH, large, _attention(), factor=50, dtypes=_LONG))
    wide = _heads(1, 1, 3, 4, 130, 2)
    found.append(Case("wide-heads", _BOTH, wide, _attention(), kernels=True))
    found.append(Case("no-queries", _BOTH, _heads(2, 1, 0, 3, 2, 2), _attention(), kernels=False))
    found.append(Case("no-keys", _BOTH, _heads(2, 1, 3, 0, 2, 2), _attention(), kernels=False))
    return found


def _packed_cases() -> list[Case]:
    found = []
    for n, t, heads, d in ((1, 1, 1, 1), (2, 5, 3, 4), (1, 70, 2, 17)):
        arrays = _side_by_side(n, t, heads, d)
        found.append(Case(f"{n}-{t}-{heads}-{d}", _PACKED, arrays, _packed(heads)))
    arrays = _side_by_side(2, 37, 2, 5) | {"mask": _mask(2, 1, 1, 37)}
    found.append(Case("mask", _PACKED, arrays, _packed(2)))
    found.append(Case("mask-causal", _PACKED, arrays, _packed(2, causal=True, scale=0.7)))
    found.append(Case("wide-heads", _PACKED, _side_by_side(1, 2, 1, 130), _packed(1)))
    found.append(
        Case("empty", _PACKED, _side_by_side(2, 0, 2, 3), _packed(2, causal=True), kernels=False)
    )
    return found


def _softmax_cases() -> list[Case]:
    found = []
    weights = ("attention_weights",)
    for name, settings, mask in (
        ("plain", {}, None),
        ("causal", {"causal": True}, None),
        ("causal-mask", {"causal": True, "scale": 0.2}, _mask(2, 1, 1, 9)),
        ("mask", {}, _mask(1, 3, 7, 1)),
    ):
        arrays = _heads(2, 3, 7, 9, 4, 1)
        del arrays["v"], arrays["gout"]
        if mask is not None:
            arrays["mask"] = mask
        found.append(Case(name, weights, arrays, _weights(**settings)))
    fewer = {"q": _rng.standard_normal((9, 2)), "k": _rng.standard_normal((4, 2))}
    found.append(Case("causal-fewer-keys", weights, fewer, _weights(causal=True)))
    found.append(
        Case(
            "empty",
            weights,
            {"q": np.ones((3, 2)), "k": np.ones((0, 2))},
            _weights(),
            kernels=False,
        )
    )
    for shape in ((1,), (4, 3), (2, 3, 33), (2, 1, 3, 5), (3, 1500)):
        arrays = {name: 3 * _rng.standard_normal(shape) for name in ("scores", "gweights")}
        found.append(Case(str(shape), _SOFTMAX, arrays, _softmax))
        masked = arrays | {"mask": _mask(*shape, share=0.5)}
        found.append(Case(f"{shape}-mask", _SOFTMAX, masked, _softmax))
        row = arrays | {"mask": _mask(shape[-1], share=0.5)}
        found.append(Case(f"{shape}-mask-row", _SOFTMAX, row, _softmax))
    nothing = {"scores": np.ones((2, 3)), "gweights": np.ones((2, 3)), "mask": np.array([[False]])}
    found.append(Case("nothing", _SOFTMAX, nothing, _softmax))
    infinite = {"scores": np.array([[0.0, -np.inf, 1.0], [-np.inf, -np.inf, 2.0]])}
    infinite |= {"gweights": _rng.standard_normal((2, 3)), "mask": np.array([True, True, False])}
    found.append(Case("infinite", _SOFTMAX, infinite, _softmax))
    undefined = {"scores": np.array([[0.0, np.nan, 1.0], [2.0, 0.0, 1.0]])}
    found.append(one("masked_softmax", "nan", undefined, dtypes=_LONG))
    five = {name: _rng.standard_normal((2, 1, 2, 1, 3)) for name in ("scores", "gweights")}
    found.append(Case("five-axes", _SOFTMAX, five, _softmax))
    found.append(one("masked_softmax", "empty", {"scores": np.zeros((3, 0))}, kernels=False))
    return found


def _pool_cases() -> list[Case]:
    found = []
    for n, t, d in ((1, 1, 1), (3, 5, 7), (2, 40, 50), (2, 3, 1100)):
        arrays = {
            "x": _rng.standard_normal((n, t, d)),
            "scores": _rng.standard_normal((n, t)),
            "gout": _rng.standard_normal((n, d)),
        }
        found.append(Case(f"{n}-{t}-{d}", _POOL, arrays, _pool))
        mask = _mask(n, t, share=0.6)
        mask[0] = False
        found.append(Case(f"{n}-{t}-{d}-mask", _POOL, arrays | {"mask": mask}, _pool))
    return found


CASES = _attention_cases() + _packed_cases() + _softmax_cases() + _pool_cases()
