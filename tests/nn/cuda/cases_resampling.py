"""Enlarging images."""

from __future__ import annotations

import numpy as np

from nn.cuda.cases import Case, one

_rng = np.random.default_rng(0)


def _numbers(*shape: int) -> np.ndarray:
    return _rng.standard_normal(shape)


def _cases() -> list[Case]:
    found = []
    for name, shape, factor in (
        ("one", (1, 1, 1, 1), (1, 1)),
        ("halves", (2, 3, 5, 4), (2, 2)),
        ("uneven", (1, 4, 3, 33), (3, 1)),
        ("many-channels", (2, 2, 3, 300), (1, 2)),
        ("no-images", (0, 2, 3, 4), (2, 2)),
    ):
        large = (shape[0], shape[1] * factor[0], shape[2] * factor[1], shape[3])
        kernels = 0 not in shape
        found += [
            one("upsample2d", name, {"x": _numbers(*shape)}, factor, kernels=kernels),
            one("upsample2d_backward", name, {"gy": _numbers(*large)}, factor, kernels=kernels),
        ]
    for name, shape, r in (
        ("one", (1, 1, 1, 1), 1),
        ("halves", (2, 3, 5, 12), 2),
        ("thirds", (1, 4, 2, 63), 3),
        ("wide", (1, 2, 3, 400), 2),
        ("no-images", (0, 2, 3, 4), 2),
    ):
        large = (shape[0], shape[1] * r, shape[2] * r, shape[3] // (r * r))
        kernels = 0 not in shape
        found += [
            one("pixel_shuffle", name, {"x": _numbers(*shape)}, r, kernels=kernels),
            one("pixel_unshuffle", name, {"x": _numbers(*large)}, r, kernels=kernels),
        ]
    found.append(
        Case(
            "views",
            ("upsample2d", "pixel_shuffle"),
            {"x": _numbers(2, 6, 4, 16)},
            lambda ops, a: [
                ops.upsample2d(a["x"][:, ::2, :, 1::3], (2, 1)),
                ops.pixel_shuffle(a["x"].transpose(0, 2, 1, 3), 2),
            ],
        )
    )
    return found


CASES = _cases()
