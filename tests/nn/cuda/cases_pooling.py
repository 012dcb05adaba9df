"""Pooling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ironlearn.nn.backend.ops.convolution import output_size
from nn.cuda.cases import Case

_rng = np.random.default_rng(0)
_NONE = ((0, 0), (0, 0))

_WINDOWS: list[tuple[str, tuple[int, ...], tuple[int, int], dict[str, Any]]] = [
    ("one", (1, 1, 1, 1), (1, 1), {"stride": (1, 1)}),
    ("halves", (2, 6, 8, 5), (2, 2), {"stride": (2, 2)}),
    ("overlapping", (2, 7, 6, 33), (3, 3), {"stride": (2, 1), "padding": ((1, 1), (0, 2))}),
    ("apart", (1, 9, 11, 70), (2, 2), {"stride": (3, 4)}),
    ("edge", (3, 7, 7, 3), (2, 3), {"stride": (2, 2), "padding": ((0, 1), (2, 1))}),
    ("row", (3, 1, 40, 6), (1, 4), {"stride": (1, 2)}),
    ("whole", (2, 5, 6, 40), (5, 6), {"stride": (5, 6)}),
    ("many-channels", (1, 3, 3, 300), (2, 2), {"stride": (1, 1)}),
]


def _numbers(*shape: int) -> np.ndarray:
    # Few different values, so that there are ties.
    return _rng.integers(-3, 4, shape).astype(float)


def _maxima(
    size: tuple[int, int], options: Mapping[str, Any]
) -> Callable[[Any, Mapping[str, Any]], Any]:
    def run(ops: Any, a: Mapping[str, Any]) -> Any:
        y, argmax = ops.max_pool2d(a["x"], size, **options)
        gx = ops.max_pool2d_backward(a["gy"], argmax, a["x"].shape, size, **options)
        return [y, argmax, gx]

    return run


def _means(
    size: tuple[int, int], options: Mapping[str, Any]
) -> Callable[[Any, Mapping[str, Any]], Any]:
    def run(ops: Any, a: Mapping[str, Any]) -> Any:
        y = ops.avg_pool2d(a["x"], size, **options)
        return [y, ops.avg_pool2d_backward(a["gy"], a["x"].shape, size, **options)]

    return run


def _arrays(
    shape: tuple[int, ...], size: tuple[int, int], options: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    places = (
        output_size(shape[1 + k], size[k], options["stride"][k], options.get("padding", _NONE)[k])
        for k in (0, 1)
    )
    return {"x": _numbers(*shape), "gy": _numbers(shape[0], *places, shape[3])}


def _cases() -> list[Case]:
    maxima, means = ("max_pool2d", "max_pool2d_backward"), ("avg_pool2d", "avg_pool2d_backward")
    found = []
    for name, shape, size, options in _WINDOWS:
        arrays = _arrays(shape, size, options)
        found += [
            Case(name, maxima, arrays, _maxima(size, options)),
            Case(name, means, arrays, _means(size, options)),
        ]
    twos = {"stride": (2, 2)}
    for name, shape in (("no-images", (0, 4, 4, 3)), ("no-channels", (2, 4, 4, 0))):
        arrays = _arrays(shape, (2, 2), twos)
        found += [
            Case(name, maxima, arrays, _maxima((2, 2), twos), kernels=False),
            Case(name, means, arrays, _means((2, 2), twos), kernels=False),
        ]
    small = _arrays((2, 1, 4, 3), (2, 2), twos)
    found.append(Case("no-window", maxima, small, _maxima((2, 2), twos), kernels=False))
    # Windows in the padding alone: no cell is the maximum's.
    far = {"stride": (2, 2), "padding": ((3, 0), (0, 3))}
    arrays = _arrays((2, 4, 5, 34), (2, 2), far)
    found.append(
        Case(
            "windows-beyond",
            ("max_pool2d", "max_pool2d_backward"),
            arrays,
            lambda ops, a: _finite(ops, a, (2, 2), far),
        )
    )
    # Windows of minus infinity alone have the place 0, and their gradients go there.
    x = _numbers(2, 6, 7, 34)
    x[:, 2:, 3:] = -np.inf
    x[0, 0, 0] = -np.inf
    x[1, 5, 5, ::2] = np.nan
    x[1, 1, 4, ::3] = np.nan
    x[1, 1, 5, ::4] = np.inf
    for stride in ((2, 2), (1, 1)):
        options = {"stride": stride}
        arrays = {**_arrays(x.shape, (2, 2), options), "x": x}
        found.append(
            Case(
                f"without-numbers-{stride[0]}-apart",
                maxima,
                arrays,
                lambda ops, a, options=options: _finite(ops, a, (2, 2), options),
            )
        )
    found.append(
        Case(
            "views",
            ("max_pool2d", "avg_pool2d"),
            {"x": _numbers(2, 8, 9, 6)},
            lambda ops, a: [
                *ops.max_pool2d(a["x"][:, ::2, :, 1::2], (2, 2), stride=(2, 2)),
                ops.avg_pool2d(a["x"].transpose(0, 2, 1, 3), (3, 2), stride=(2, 2)),
            ],
        )
    )
    return found


def _finite(
    ops: Any, a: Mapping[str, Any], size: tuple[int, int], options: Mapping[str, Any]
) -> list[Any]:
    """Return maxima as masks of what is not finite, their places and their gradients."""
    y, argmax = ops.max_pool2d(a["x"], size, **options)
    gx = ops.max_pool2d_backward(a["gy"], argmax, a["x"].shape, size, **options)
    return [(y != y).astype("int32"), (y == -np.inf).astype("int32"), argmax, gx]


CASES = _cases()
