"""Normalization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nn.cuda.cases import Case

_rng = np.random.default_rng(0)


def _given(shape: tuple[int, ...], *more: str) -> dict[str, np.ndarray]:
    """Return x of a mean and a spread that are not 0 and 1, the parameters, and `more` like x."""
    channels = shape[-1]
    arrays = {
        "x": 1.5 + 2 * _rng.standard_normal(shape),
        "gamma": _rng.uniform(0.5, 1.5, channels),
        "beta": _rng.standard_normal(channels),
    }
    return arrays | {name: _rng.standard_normal(shape) for name in more}


def _layer(ops: Any, a: Mapping[str, Any]) -> Any:
    y, mean, rstd = ops.layer_norm(a["x"], a["gamma"], a["beta"], 1e-3)
    return y, mean, rstd, ops.layer_norm_backward(a["gy"], a["x"], a["gamma"], mean, rstd)


def _layer_strided(ops: Any, a: Mapping[str, Any]) -> Any:
    x, gy = a["x"].swapaxes(0, 1)[::2], a["gy"].swapaxes(0, 1)[::2]
    y, mean, rstd = ops.layer_norm(x, a["gamma"], a["beta"])
    return y, mean, rstd, ops.layer_norm_backward(gy, x, a["gamma"], mean, rstd)


def _sum(ops: Any, a: Mapping[str, Any]) -> Any:
    total, y, mean, rstd = ops.add_layer_norm(a["x"], a["residual"], a["gamma"], a["beta"])
    both = ops.add_layer_norm_backward(a["gtotal"], a["gy"], total, a["gamma"], mean, rstd)
    one = ops.add_layer_norm_backward(None, a["gy"], total, a["gamma"], mean, rstd)
    return total, y, mean, rstd, both, one


def _group(groups: int) -> Any:
    def run(ops: Any, a: Mapping[str, Any]) -> Any:
        y, mean, rstd = ops.group_norm(a["x"], a["gamma"], a["beta"], groups, 1e-3)
        grads = ops.group_norm_backward(a["gy"], a["x"], a["gamma"], mean, rstd, groups)
        return y, mean, rstd, grads

    return run


def _batch(activation: str) -> Any:
    def run(ops: Any, a: Mapping[str, Any]) -> Any:
        x, gamma = a["x"], a["gamma"]
        y, mean, var = ops.batch_norm(x, gamma, a["beta"], 1e-3, activation)
        # The output is given: where an activation has a kink, rounding would choose the side.
        grads = ops.batch_norm_backward(a["gy"], x, a["y"], gamma, mean, var, 1e-3, activation)
        return y, mean, var, grads

    return run


def _inference(activation: str) -> Any:
    def run(ops: Any, a: Mapping[str, Any]) -> Any:
        given = (a["gamma"], a["mean"], a["var"], 1e-3, activation)
        y = ops.batch_norm_inference(a["x"], a["gamma"], a["beta"], *given[1:])
        return y, ops.batch_norm_inference_backward(a["gy"], a["x"], a["y"], *given)

    return run


def _wide_statistics(ops: Any, a: Mapping[str, Any]) -> Any:
    wide = {name: a[name].astype(np.float32) for name in ("mean", "var")}
    return _inference("relu")(ops, {**a, **wide})


def _batch_forward(activation: str) -> Any:
    def run(ops: Any, a: Mapping[str, Any]) -> Any:
        return ops.batch_norm(a["x"], a["gamma"], a["beta"], 1e-3, activation)

    return run


def _nothing(ops: Any, a: Mapping[str, Any]) -> Any:
    x, gamma, beta = a["x"], a["gamma"], a["beta"]
    y, mean, rstd = ops.layer_norm(x, gamma, beta)
    return y, mean, rstd, ops.layer_norm_backward(x, x, gamma, mean, rstd)


_LAYER = ("layer_norm", "layer_norm_backward")
_SUM = ("add_layer_norm", "add_layer_norm_backward")
_GROUP = ("group_norm", "group_norm_backward")
_BATCH = ("batch_norm", "batch_norm_backward")
_INFERENCE = ("batch_norm_inference", "batch_norm_inference_backward")
#: Sums of many rows of 16-bit numbers that are themselves rounded.
_ROUNDED = 2.0


def _cases() -> list[Case]:
    found = []
    # Sets of one, of a part of a warp, of a warp and more, of a block, of more than its threads.
    for shape in ((1, 3), (5, 1), (7, 33), (2, 3, 64), (90, 5), (3, 1100), (2, 9000)):
        found.append(Case(str(shape), _LAYER, _given(shape, "gy"), _layer, factor=_ROUNDED))
    found.append(Case("vector", _LAYER, _given((6,), "gy"), _layer))
    found.append(Case("empty", _LAYER, _given((0, 4)), _nothing, kernels=False))
    found.append(Case("strided", _LAYER, _given((4, 6, 5), "gy"), _layer_strided))
    for shape in ((4, 7), (2, 3, 40)):
        arrays = _given(shape, "residual", "gy", "gtotal")
        found.append(Case(str(shape), _SUM, arrays, _sum, factor=_ROUNDED))
    for shape, groups in (
        ((2, 3, 3, 6), 3),
        ((1, 4, 5, 8), 1),
        ((3, 7), 7),
        ((2, 30, 48), 2),
        ((2, 5, 9), 9),
        ((1, 25, 130), 2),
    ):
        name = f"{shape}-{groups}"
        arrays = _given(shape, "gy")
        found.append(Case(name, _GROUP, arrays, _group(groups), factor=_ROUNDED))
    for shape in ((2, 5), (300, 1), (5, 4, 3), (3, 7, 5, 33), (2100, 3), (40, 70)):
        arrays = _given(shape, "gy", "y")
        found.append(Case(str(shape), _BATCH, arrays, _batch("linear"), factor=_ROUNDED))
    for activation in ("relu", "tanh", "elu"):
        arrays = _given((9, 35), "gy", "y")
        found.append(Case(activation, _BATCH, arrays, _batch(activation), factor=_ROUNDED))
    found.append(Case("gelu", ("batch_norm",), _given((9, 5)), _batch_forward("gelu")))
    for activation in ("linear", "relu", "sigmoid"):
        for shape in ((7, 5), (2, 3, 300)):
            arrays = _given(shape, "gy", "y")
            arrays["mean"] = _rng.standard_normal(shape[-1])
            arrays["var"] = _rng.uniform(0.5, 2, shape[-1])
            name = f"{activation}-{shape}"
            found.append(Case(name, _INFERENCE, arrays, _inference(activation), factor=_ROUNDED))
    arrays = _given((7, 5), "gy", "y")
    arrays |= {"mean": _rng.standard_normal(5), "var": _rng.uniform(0.5, 2, 5)}
    half = ("float16", "bfloat16")
    found.append(Case("running", _INFERENCE, arrays, _wide_statistics, dtypes=half))
    return found


CASES = _cases()
