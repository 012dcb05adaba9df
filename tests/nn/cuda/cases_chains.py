"""Encoder blocks and inverted residuals, which are made of other operations on the GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from nn.cuda.cases import Case

_rng = np.random.default_rng(0)


def _numbers(*shape: int) -> np.ndarray[Any, Any]:
    return _rng.uniform(-0.5, 0.5, shape)


def _chain(operation: str, name: str, shapes: list[tuple[int, ...] | None], **options: Any) -> Case:
    arrays = {str(i): _numbers(*shape) for i, shape in enumerate(shapes) if shape is not None}
    mask = options.pop("masked", False)
    if mask:
        arrays["mask"] = _rng.random((shapes[0][0], 1, 1, shapes[0][1])) < 0.7  # type: ignore[index]

    def run(ops: Any, given: Any) -> Any:
        x, *weights = (given.get(str(i)) for i in range(len(shapes)))
        extra = {"mask": given["mask"]} if mask else {}
        return getattr(ops, operation)(x, tuple(weights), **options, **extra)

    return Case(name, (operation,), arrays, run, factor=5.0)


def _block(width: int, span: int, inner: int) -> list[tuple[int, ...]]:
    return [
        (width, 3 * span),
        (3 * span,),
        (span, width),
        (width,),
        (width,),
        (width,),
        (width, inner),
        (inner,),
        (inner, width),
        (width,),
        (width,),
        (width,),
    ]


def _residual(
    channels: int | None, wide: int, filters: int, kernel: int
) -> list[tuple[int, ...] | None]:
    widening = (None, None) if channels is None else ((1, 1, channels, wide), (wide,))
    return [*widening, (kernel, kernel, 1, wide), (wide,), (1, 1, wide, filters), (filters,)]


CASES = [
    _chain(
        "encoder_blocks",
        "norm last",
        [(2, 5, 4), *_block(4, 6, 7), *_block(4, 6, 7)],
        heads=2,
        activation="gelu",
        masked=True,
        eps=1e-2,
    ),
    _chain(
        "encoder_blocks",
        "norm first",
        [(2, 5, 4), *_block(4, 4, 7)],
        heads=1,
        norm_first=True,
        causal=True,
        eps=1e-2,
    ),
    _chain(
        "inverted_residuals",
        "two blocks",
        [(2, 7, 6, 5), *_residual(None, 5, 3, 3), *_residual(3, 8, 3, 5)],
        geometry=(((2, 2), ((0, 1), (1, 1))), ((1, 1), ((2, 2), (2, 2)))),
    ),
]
