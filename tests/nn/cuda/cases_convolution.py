"""Convolution, its gradients, and convolution with pooling behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import numpy as np

from ironlearn.nn.backend.cuda import convolution
from ironlearn.nn.backend.ops.activations import FUSED, UNFUSED
from ironlearn.nn.backend.ops.convolution import output_size
from nn.cuda.cases import Case

_rng = np.random.default_rng(0)

#: Name, images, kernel and options of layers; the kernels of the first need no matrix of patches.
_DIRECT: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ("one-number", (1, 1, 1, 1), (1, 1, 1, 1), {}),
    ("digits", (2, 8, 8, 1), (3, 3, 1, 6), {"padding": ((1, 1), (1, 1))}),
    ("filters-past-a-warp", (1, 5, 6, 2), (3, 2, 2, 35), {"padding": ((2, 1), (0, 3))}),
    ("several-tiles", (1, 19, 37, 1), (3, 3, 1, 2), {"padding": ((1, 0), (0, 1))}),
    ("strided", (2, 12, 9, 3), (3, 3, 3, 5), {"stride": (2, 3), "padding": ((0, 1), (1, 0))}),
    ("dilated", (1, 11, 12, 2), (3, 2, 2, 4), {"dilation": (2, 3)}),
    ("one-row", (3, 1, 30, 2), (1, 5, 2, 4), {"padding": ((0, 0), (4, 0))}),
]
_PRODUCTS: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ("wide", (2, 5, 6, 40), (3, 3, 40, 9), {"padding": ((1, 1), (1, 1))}),
    ("uneven", (2, 7, 5, 33), (3, 2, 33, 3), {"stride": (2, 1), "padding": ((2, 0), (0, 1))}),
    ("dilated-wide", (1, 9, 9, 12), (3, 3, 12, 4), {"dilation": (2, 3), "stride": (1, 2)}),
    ("cells", (3, 4, 5, 7), (1, 1, 7, 70), {}),
    ("cells-strided", (3, 4, 5, 100), (1, 1, 100, 6), {"stride": (2, 2)}),
    ("many-filters", (1, 4, 4, 3), (2, 2, 3, 70), {}),
]
_GROUPED: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ("depthwise", (2, 6, 7, 40), (3, 3, 1, 40), {"groups": 40, "padding": ((1, 1), (1, 1))}),
    ("multiplied", (1, 5, 5, 3), (2, 2, 1, 6), {"groups": 3, "stride": (2, 2)}),
    ("grouped", (2, 7, 6, 12), (3, 2, 4, 6), {"groups": 3, "dilation": (2, 1)}),
    ("grouped-uneven", (1, 9, 8, 4), (3, 3, 2, 10), {"groups": 2, "padding": ((2, 0), (0, 1))}),
    ("many-cells", (1, 90, 60, 2), (3, 3, 1, 2), {"groups": 2, "padding": ((1, 1), (1, 1))}),
]


def _numbers(*shape: int) -> np.ndarray:
    return _rng.standard_normal(shape)


def _small(most: int, *shape: int) -> np.ndarray:
    """Return whole numbers: sums of their products are exact in every precision."""
    return _rng.integers(-most, most + 1, shape).astype(float)


def _output(
    images: tuple[int, ...], kernel: tuple[int, ...], options: Mapping[str, Any]
) -> tuple[int, ...]:
    places = (
        output_size(
            images[1 + k],
            kernel[k],
            options.get("stride", (1, 1))[k],
            options.get("padding", ((0, 0), (0, 0)))[k],
            options.get("dilation", (1, 1))[k],
        )
        for k in (0, 1)
    )
    return (images[0], *places, kernel[3])


def _arrays(
    images: tuple[int, ...], kernel: tuple[int, ...], options: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    return {
        "x": _numbers(*images),
        # So that outputs are about as large as inputs.
        "w": _numbers(*kernel) / np.sqrt(max(1, np.prod(kernel[:3]))),
        "b": _numbers(kernel[3]),
        "gy": _numbers(*_output(images, kernel, options)),
    }


def _forward(activation: str, bias: bool, options: Mapping[str, Any]) -> Callable[[Any, Any], Any]:
    def run(ops: Any, a: Mapping[str, Any]) -> Any:
        b = a["b"] if bias else None
        return ops.conv2d(a["x"], a["w"], b, activation=activation, **options)

    return run


def _backward(
    activation: str, needs: tuple[bool, ...], options: Mapping[str, Any]
) -> Callable[[Any, Any], Any]:
    def run(ops: Any, a: Mapping[str, Any]) -> Any:
        y = ops.activation(a["gy"], activation) if activation != "linear" else None
        gradients = ops.conv2d_backward(
            a["gy"], y, a["x"], a["w"], activation=activation, needs=needs, **options
        )
        return list(gradients)

    return run


def _gradients(options: Mapping[str, Any]) -> Callable[[Any, Any], Any]:
    def run(ops: Any, a: Mapping[str, Any]) -> Any:
        return [
            ops.conv2d_grad_input(a["gy"], a["w"], a["x"].shape, **options),
            ops.conv2d_grad_weight(a["x"], a["gy"], a["w"].shape, **options),
        ]

    return run


def _in_little_memory(size: int, run: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return `run` with a workspace of `size` bytes, which wants several parts."""

    def held(ops: Any, a: Mapping[str, Any]) -> Any:
        with mock.patch.object(convolution, "WORKSPACE", size):
            return run(ops, a)

    return held


def _pooled(activation: str, bias: bool, options: Mapping[str, Any]) -> Callable[[Any, Any], Any]:
    def run(ops: Any, a: Mapping[str, Any]) -> Any:
        b = a["b"] if bias else None
        y, argmax = ops.conv2d_max_pool(a["x"], a["w"], b, activation=activation, **options)
        gradients = ops.conv2d_max_pool_backward(
            a["gy"], y, argmax, a["x"], a["w"], activation=activation, **options
        )
        few = ops.conv2d_max_pool_backward(
            a["gy"],
            y,
            argmax,
            a["x"],
            a["w"],
            activation=activation,
            needs=(False, True, False),
            **options,
        )
        return [y, argmax, *gradients, *few]

    return run


def _plain() -> list[Case]:
    found = []
    for name, images, kernel, options in _DIRECT + _PRODUCTS + _GROUPED:
        arrays = _arrays(images, kernel, options)
        found.append(Case(name, ("conv2d",), arrays, _forward("relu", True, options)))
        gradients = ("conv2d_grad_input", "conv2d_grad_weight")
        is_product = kernel[:2] == (1, 1) and not options
        found.append(
            Case(name, gradients, arrays, _gradients(options), factor=2, kernels=not is_product)
        )
    for name, images, kernel, options in (_DIRECT[1], _PRODUCTS[0], _GROUPED[2]):
        arrays = _arrays(images, kernel, options)
        for activation in FUSED:
            run = _backward(activation, (True, True, True), options)
            found.append(Case(f"{name}-{activation}", ("conv2d_backward",), arrays, run, factor=2))
        for activation in (*FUSED, *UNFUSED):
            run = _forward(activation, activation != "tanh", options)
            found.append(Case(f"{name}-{activation}", ("conv2d",), arrays, run, factor=2))
        found.append(
            Case(
                f"{name}-linear-without-bias",
                ("conv2d",),
                arrays,
                _forward("linear", False, options),
            )
        )
        run = _backward("elu", (False, True, False), options)
        found.append(Case(f"{name}-weights-only", ("conv2d_backward",), arrays, run, factor=2))
    return found


def _special() -> list[Case]:
    found = []
    many = _arrays((9, 40, 41, 3), (1, 1, 3, 70), {})
    run = _backward("relu", (False, False, True), {})
    found.append(Case("sums-in-parts", ("conv2d_backward",), many, run, factor=2))
    # Bytes for some images, for one, for some of its rows, for less than a row.
    for name, images, kernel, options in (_PRODUCTS[0], _PRODUCTS[1], _PRODUCTS[2]):
        arrays = _arrays(images, kernel, options)
        for size in (40_000, 20_000, 8_000, 1):
            for kind, operations, compute in (
                ("", ("conv2d",), _forward("relu", True, options)),
                ("", ("conv2d_grad_input", "conv2d_grad_weight"), _gradients(options)),
            ):
                found.append(
                    Case(
                        f"{name}{kind}-in-{size}-bytes",
                        operations,
                        arrays,
                        _in_little_memory(size, compute),
                        factor=2,
                    )
                )
    for name, images, kernel in (
        ("no-images", (0, 5, 5, 2), (3, 3, 2, 4)),
        ("no-place", (2, 2, 5, 2), (3, 3, 2, 4)),
        ("no-channels", (2, 5, 5, 0), (3, 3, 0, 4)),
    ):
        arrays = _arrays(images, kernel, {})
        lacks = "no-channels" in name
        found += [
            Case(name, ("conv2d",), arrays, _forward("relu", True, {}), kernels=lacks),
            Case(
                name,
                ("conv2d_backward",),
                arrays,
                _backward("relu", (True,) * 3, {}),
                kernels=lacks,
            ),
        ]
    strided = {"x": _numbers(2, 6, 7, 8), "w": _numbers(4, 3, 3, 4), "b": _numbers(8)}
    found.append(
        Case(
            "views",
            ("conv2d",),
            strided,
            lambda ops, a: ops.conv2d(
                a["x"][:, ::-1, 1:, ::2], a["w"].transpose(2, 1, 0, 3), a["b"][::2]
            ),
            factor=2,
        )
    )
    # A network's layers that enlarge images.
    for name, options in (
        ("transposed", {"stride": (2, 2), "padding": ((1, 1), (1, 1))}),
        ("transposed-deep", {"stride": (3, 2), "padding": ((0, 1), (2, 0))}),
    ):
        small = (2, 4, 5, 12)
        large = tuple(
            (small[1 + k] - 1) * options["stride"][k] - sum(options["padding"][k]) + 4
            for k in (0, 1)
        )
        shape = (2, *large, 6)
        found.append(
            Case(
                name,
                ("conv2d_grad_input",),
                {"gy": _numbers(*small), "w": _numbers(4, 4, 6, 12) / 8},
                lambda ops, a, shape=shape, options=options: ops.conv2d_grad_input(
                    a["gy"], a["w"], shape, **options
                ),
                factor=2,
            )
        )
    return found


def _pools() -> list[Case]:
    found = []
    for name, images, kernel, options in (
        ("digits", (3, 8, 8, 1), (3, 3, 1, 6), {}),
        ("digits-padded", (2, 7, 9, 2), (3, 3, 2, 5), {"padding": ((1, 1), (1, 1))}),
        ("tiles", (1, 35, 38, 1), (3, 3, 1, 2), {"stride": (1, 1)}),
        ("strided", (2, 13, 11, 2), (3, 2, 2, 33), {"stride": (2, 1)}),
        ("wide", (2, 7, 6, 12), (3, 3, 12, 5), {"padding": ((1, 1), (1, 1))}),
        ("other-windows", (2, 9, 8, 3), (2, 2, 3, 4), {"pool": (3, 2)}),
        ("one-cell", (2, 4, 5, 3), (1, 1, 3, 70), {"pool": (1, 1)}),
    ):
        pool = options.get("pool", (2, 2))
        n, oh, ow, filters = _output(images, kernel, options)
        arrays = {
            # Sums of 108 products of these stay within the whole numbers of bfloat16.
            "x": _small(2, *images),
            "w": _small(1, *kernel),
            "b": _small(1, kernel[3]),
            "gy": _small(3, n, oh // pool[0], ow // pool[1], filters),
        }
        operations = ("conv2d_max_pool", "conv2d_max_pool_backward")
        for activation, bias in (("linear", False), ("relu", True)):
            run = _pooled(activation, bias, options)
            found.append(Case(f"{name}-{activation}", operations, arrays, run))
            if name in ("wide", "other-windows"):
                for size in (9_000, 2_000, 1):
                    held = _in_little_memory(size, run)
                    title = f"{name}-{activation}-in-{size}-bytes"
                    found.append(Case(title, operations, arrays, held))
        if name in ("digits", "wide"):
            for activation in FUSED:
                real = {key: value / 4 for key, value in arrays.items()}
                run = _pooled(activation, True, options)
                exact = ("float32", "float64")
                found.append(Case(f"{name}-{activation}-real", operations, real, run, dtypes=exact))
    # Windows of nothing but minus infinity have the place 0; a NaN wins.
    for name, images, filters in (("direct", (1, 6, 6, 1), 3), ("product", (1, 6, 6, 2), 80)):
        x = _small(2, *images)
        x[0, 2:5, 2:5] = -np.inf
        x[0, 5, 5] = np.nan
        w = np.ones((1, 1, images[3], filters))
        found.append(
            Case(
                f"{name}-without-numbers",
                ("conv2d_max_pool",),
                {"x": x, "w": w},
                lambda ops, a: _marked(ops.conv2d_max_pool(a["x"], a["w"])),
            )
        )
    empty = {"x": _numbers(2, 3, 3, 2), "w": _numbers(3, 3, 2, 4), "b": _numbers(4)}
    empty["gy"] = np.zeros((2, 0, 0, 4))
    run = _pooled("relu", True, {})
    found.append(Case("no-window", ("conv2d_max_pool", "conv2d_max_pool_backward"), empty, run))
    return found


def _marked(answer: tuple[Any, Any]) -> list[Any]:
    """Return maxima as comparable numbers: NaN and infinities become masks of integers."""
    y, argmax = answer
    return [argmax, (y != y).astype("int32"), (y == -np.inf).astype("int32")]


CASES = _plain() + _special() + _pools()
