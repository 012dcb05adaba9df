"""How convolution on the GPU is split into parts."""

from __future__ import annotations

import numpy as np
import pytest

from ironlearn.nn.backend.cuda import convolution
from ironlearn.nn.backend.ops.convolution import output_size


@pytest.mark.parametrize("size", [1, 5_000, 20_000, 10**6])
@pytest.mark.parametrize(
    ("height", "kernel", "stride", "dilation", "padding"),
    [
        (9, 3, 1, 1, (1, 1)),
        (30, 5, 2, 1, (0, 3)),
        (31, 4, 3, 2, (2, 0)),
        (12, 12, 1, 1, (11, 11)),
        (7, 1, 2, 1, (0, 0)),
    ],
)
def test_gradients_of_rows_want_products_that_fit(
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    height: int,
    kernel: int,
    stride: int,
    dilation: int,
    padding: tuple[int, int],
) -> None:
    monkeypatch.setattr(convolution, "WORKSPACE", size)
    oh = output_size(height, kernel, stride, padding, dilation)
    gx, gy = np.empty((3, height, 4, 5), np.float32), np.empty((3, oh, 4, 2), np.float32)
    w = np.empty((kernel, 1, 5, 2), np.float32)
    row_bytes = 4 * kernel * 5 * 4
    covered = np.zeros((3, height), int)
    for images, first, last in convolution._input_bands(gx, gy, w, stride, dilation):
        covered[images, first:last] += 1
        low, high = convolution._met(first, last, kernel, stride, padding[0], dilation, oh)
        # All outputs that see these rows, and no others.
        seen = [
            y
            for y in range(oh)
            if any(first <= y * stride - padding[0] + i * dilation < last for i in range(kernel))
        ]
        assert not seen or low <= seen[0] <= seen[-1] < high
        if last - first == height and low == 0 and high == oh:
            # Whole images, one at least.
            assert len(range(3)[images]) * oh * row_bytes <= max(size, oh * row_bytes)
        elif last - first > 1:
            assert (high - low) * row_bytes <= size
    assert (covered == 1).all()
