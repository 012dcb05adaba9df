"""Random changes of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ironlearn.augmentation import ImageAugmentation
from ironlearn.augmentation.images import _moved
from ironlearn.exceptions import InvalidParameterError


class Drawn:
    """A generator whose uniform numbers are given: angle, zoom, shift down, shift right."""

    def __init__(self, *draws: float) -> None:
        self._draws = draws

    def uniform(self, low: float, high: float, size: tuple[int, int]) -> np.ndarray:
        return np.tile(np.array(self._draws)[:, None], (1, size[1]))


def images(n: int = 3, height: int = 7, width: int = 7, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.random((n, height, width, channels), dtype=np.float32)


def test_whole_shifts_move_and_leave_zeros() -> None:
    x = images()
    moved = _moved(x, np.array([[1, -2], [0, 0], [-3, 1]]))
    np.testing.assert_array_equal(moved[0, 1:, :-2], x[0, :-1, 2:])
    assert not moved[0, 0].any()
    assert not moved[0, :, -2:].any()
    np.testing.assert_array_equal(moved[1], x[1])
    np.testing.assert_array_equal(moved[2, :-3, 1:], x[2, 3:, :-1])


@pytest.mark.parametrize("channels", [1, 3])
def test_rotation_by_right_angles_is_exact(channels: int) -> None:
    x = images(channels=channels)
    quarter = ImageAugmentation(rotation=90)
    turned = quarter._turned(x, Drawn(1, 0, 0, 0))  # type: ignore[arg-type]
    np.testing.assert_allclose(turned, np.rot90(x, -1, axes=(1, 2)), atol=1e-5)
    half = ImageAugmentation(rotation=180)
    turned = half._turned(x, Drawn(-1, 0, 0, 0))  # type: ignore[arg-type]
    np.testing.assert_allclose(turned, x[:, ::-1, ::-1], atol=1e-5)


def test_no_turn_at_all_keeps_the_image_and_shifts_by_fractions_blend() -> None:
    x = images(height=5, width=8)
    still = ImageAugmentation(rotation=30, shift=0.5)
    np.testing.assert_allclose(still._turned(x, Drawn(0, 0, 0, 0)), x, atol=1e-6)  # type: ignore[arg-type]
    moved = still._turned(x, Drawn(0, 0, 0, 1))  # type: ignore[arg-type]
    np.testing.assert_allclose(moved[:, :, 1:], (x[:, :, 1:] + x[:, :, :-1]) / 2, atol=1e-6)
    down = ImageAugmentation(rotation=1, shift=2)._turned(x, Drawn(0, 0, 1, 0))  # type: ignore[arg-type]
    np.testing.assert_allclose(down[:, 2:], x[:, :-2], atol=1e-6)
    assert not down[:, :1].any()


def test_zoom_enlarges() -> None:
    x = np.zeros((1, 9, 9, 1), np.float32)
    x[0, 3:6, 3:6] = 1
    grown = ImageAugmentation(zoom=0.9)._turned(x, Drawn(0, 1, 0, 0))  # type: ignore[arg-type]
    shrunk = ImageAugmentation(zoom=0.5)._turned(x, Drawn(0, -1, 0, 0))  # type: ignore[arg-type]
    assert grown.sum() > 2.5 * x.sum()
    assert shrunk.sum() < 0.5 * x.sum()


@given(
    shape=st.tuples(*(st.integers(1, 9) for _ in range(3)), st.integers(1, 3)),
    rotation=st.sampled_from([0, 10, 180]),
    shift=st.sampled_from([0, 0.4, 3]),
    zoom=st.sampled_from([0, 0.3]),
    flip=st.booleans(),
)
def test_pixels_stay_in_range_and_the_input_as_it_is(
    shape: tuple[int, ...], rotation: float, shift: float, zoom: float, flip: bool
) -> None:
    x = np.random.default_rng(0).random(shape, dtype=np.float32)
    before = x.copy()
    change = ImageAugmentation(shift=shift, rotation=rotation, zoom=zoom, horizontal_flip=flip)
    y = change(x, np.random.default_rng(1))
    again = change(x, np.random.default_rng(1))
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(y, again)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    assert y.min() >= 0
    assert y.max() <= 1 + 1e-6


def test_flips_are_those_of_about_half_the_images() -> None:
    x = images(n=200)
    for setting, axis in (("horizontal_flip", 2), ("vertical_flip", 1)):
        y = ImageAugmentation(**{setting: True})(x, np.random.default_rng(0))
        flipped = (y == np.flip(x, axis)).all(axis=(1, 2, 3))
        same = (y == x).all(axis=(1, 2, 3))
        assert (flipped | same).all()
        assert 60 < flipped.sum() < 140


@pytest.mark.parametrize(
    "bad",
    [{"shift": -1}, {"rotation": 181}, {"zoom": 1.0}, {"horizontal_flip": 1}, {"shift": "far"}],
)
def test_bad_settings_are_named(bad: dict[str, Any]) -> None:
    (name,) = bad
    with pytest.raises(InvalidParameterError, match=f"'{name}' parameter of ImageAugmentation"):
        ImageAugmentation(**bad)
    with pytest.raises(ValueError, match=r"shape \(n, h, w, channels\), got \(7, 7\)"):
        ImageAugmentation()(np.zeros((7, 7)), np.random.default_rng(0))
