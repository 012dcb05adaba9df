"""Weights of 8 and 16 bits: what they stand for, and that wrong scales are refused."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ironlearn.exceptions import ModelFileError
from ironlearn.nn.pretrained import dequantize, read_weights
from ironlearn.nn.pretrained.layout import Weights
from ironlearn.nn.pretrained.quantized import affine

GOLDEN = Path(__file__).parent / "golden"
KERNEL = np.array([[1, 2], [4, 5], [7, 8]], np.float32)
BIAS = np.array([0.5, -0.5], np.float32)


@pytest.mark.parametrize("name", ["quantized.pth", "quantized-chain.pth"])
def test_quantized_tensors_have_the_values_that_pytorch_gives(name: str) -> None:
    found = read_weights(GOLDEN / name)
    expected = np.load(GOLDEN / "quantized.npz")
    assert set(found) == set(expected)
    for key in expected:
        assert found[key].dtype == np.float32
        np.testing.assert_array_equal(found[key], expected[key], err_msg=key)


@pytest.mark.parametrize(
    ("kind", "stored", "allowed"),
    [("float16", np.float16, 0.0), ("bfloat16", np.float32, 0.0), ("int8", np.int8, 0.04)],
)
def test_small_types_of_keras(kind: str, stored: type, allowed: float) -> None:
    found = read_weights(GOLDEN / f"{kind}.weights.h5")
    assert found["layers/dense/vars/0"].dtype == stored
    weights = Weights(dequantize(found))
    kernel = weights.take("layers/dense/vars/0", (3, 2))
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(kernel, KERNEL, atol=allowed)
    np.testing.assert_array_equal(weights.take("layers/dense/vars/1", (2,)), BIAS)
    weights.finish()


HALVES = st.lists(st.floats(width=16, allow_nan=False), min_size=1, max_size=20)


@given(HALVES)
def test_float16_is_widened_exactly(tmp_path_factory: Any, values: list[float]) -> None:
    path = tmp_path_factory.getbasetemp() / "half.safetensors"
    save_file({"w": np.array(values, np.float16)}, path)
    found = read_weights(path)
    assert found["w"].dtype == np.float16
    if np.isfinite(values).all():
        np.testing.assert_array_equal(Weights(found).take("w", (len(values),)), values)
    else:
        with pytest.raises(ModelFileError, match="no array of finite floats"):
            Weights(found).take("w", (len(values),))


@pytest.mark.parametrize("kind", ["u2", "u4", "u8", "i1", "u1", "i2"])
def test_integers_of_safetensors_stay_what_they_are(kind: str, tmp_path: Path) -> None:
    values = np.arange(5).astype(kind)
    save_file({"n": values}, tmp_path / "n")
    found = read_weights(tmp_path / "n")["n"]
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


INTEGERS = np.array([[-128, 0, 3, 127], [1, 2, 3, 4]], np.int8)


@pytest.mark.parametrize(
    ("scale", "zero", "expected"),
    [
        (np.array(0.5, np.float32), None, INTEGERS * 0.5),
        (np.array([0.5], np.float32), np.array([2], np.int8), (INTEGERS - 2.0) * 0.5),
        (np.array([0.5, 2.0], np.float16), None, INTEGERS * [[0.5], [2.0]]),
        (
            np.array([[0.5], [2.0]], np.float32),
            np.array([[1], [-1]], np.int8),
            (INTEGERS - [[1.0], [-1.0]]) * [[0.5], [2.0]],
        ),
        (
            np.array([[0.5, 2.0], [1.0, 4.0]], np.float32),
            None,
            INTEGERS * [[0.5, 0.5, 2.0, 2.0], [1.0, 1.0, 4.0, 4.0]],
        ),
    ],
)
def test_scales_beside_weights(scale: Any, zero: Any, expected: Any, tmp_path: Path) -> None:
    arrays = {"a.weight": INTEGERS, "a.weight_scale": scale, "count": np.array([3], np.int8)}
    if zero is not None:
        arrays["a.weight_zero_point"] = zero
    save_file(arrays, tmp_path / "w")
    found = dequantize(read_weights(tmp_path / "w"))
    assert set(found) == {"a.weight", "count"}
    assert found["a.weight"].dtype == np.float32
    np.testing.assert_array_equal(found["a.weight"], expected)
    assert found["count"].dtype == np.int8


def test_largest_values_of_rows_beside_weights() -> None:
    arrays = {
        "a.weight": INTEGERS,
        "a.SCB": np.array([12.7, 254.0], np.float32),
        "a.weight_format": np.array(0, np.uint8),
    }
    found = dequantize(arrays)
    assert set(found) == {"a.weight"}
    np.testing.assert_allclose(found["a.weight"], INTEGERS * [[0.1], [2.0]], rtol=1e-6)
    np.testing.assert_array_equal(Weights(arrays).take("a.weight", (2, 4)), found["a.weight"])


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"w_scale": np.ones(3, np.float32)}, r"'w': scales of shape \(3,\)"),
        ({"w_scale": np.ones((2, 3), np.float32)}, r"scales of shape \(2, 3\)"),
        ({"w_scale": np.ones((2, 1, 1), np.float32)}, "do not fit"),
        (
            {"w_scale": np.ones(2, np.float32), "w_zero_point": np.ones(1, np.int8)},
            r"zero points of shape \(1,\)",
        ),
        ({"w_scale": np.array([1, np.inf], np.float32)}, "scale that is not finite"),
        ({"w_scale": np.array([1, 1e300])}, "scale that is not finite"),
        (
            {"w_scale": np.ones(2, np.float32), "w_zero_point": np.array([0, np.nan])},
            "zero points that are no small numbers",
        ),
        ({"other": np.ones(2, np.float32)}, "'w' is of int8 and has no scales beside it"),
    ],
)
def test_scales_that_do_not_fit_are_named(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        Weights({"w": INTEGERS, **extra}).take("w", (2, 4))


def test_scales_of_keras_must_fit() -> None:
    kernel = {"layers/dense/vars/0": INTEGERS}
    for scale in (np.ones(3, np.float32), np.zeros(4, np.float32), np.ones(4, np.int64)):
        with pytest.raises(ModelFileError, match="layers/dense/vars/0"):
            dequantize({**kernel, "layers/dense/vars/1": scale})
    assert dequantize(kernel) == kernel


@given(
    st.integers(-128, 127),
    st.floats(2.0**-20, 2.0**20, width=32),
    st.integers(-(2**31) + 1, 2**31 - 1),
)
def test_one_product_in_single_precision(integer: int, scale: float, zero: int) -> None:
    got = affine(np.array([integer], np.int8), np.array(scale), np.array(zero))
    assert got[0] == np.float32(np.float32(integer - zero) * np.float32(scale))


def quantized_pickle(parameters: bytes) -> bytes:
    """Write the state of one quantized tensor of 12 elements in storage 0."""
    out = b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_qtensor\n(("
    out += b"X\x07\x00\x00\x00storagectorch\nQInt8Storage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    return out + b"K\x0ctQK\x00K\x0c\x85K\x01\x85" + parameters + b"\x89}tRs."


def number(value: Any) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (b"(" + number(1) + number(0.5) + number(3) + b"t", "unknown way"),
        (b"(ctorch\nqint8\n" + number(0.5) + number(3) + b"t", "unknown way 'torch.qint8'"),
        (b"(ctorch\nper_tensor_affine\n" + number(1) + number(3) + b"t", "do not fit"),
        (b"(ctorch\nper_tensor_affine\n" + number(0.5) + number(0.5) + b"t", "do not fit"),
        (b"(ctorch\nper_tensor_affine\n" + number(0.5) + b"t", "damaged"),
        (b"(ctorch\nper_tensor_affine\n" + number(float("nan")) + number(0) + b"t", "not finite"),
        (b"(ctorch\nper_tensor_affine\n" + number(0.5) + number(2**70) + b"t", "no small numbers"),
        (
            b"(ctorch\nper_channel_affine\n" + number([0.5]) + number([1]) + number(0) + b"t",
            "do not fit",
        ),
        (b"ctorch\nper_tensor_affine\n(tR", "calls what is a name"),
        (number(()), "damaged"),
    ],
)
def test_forged_scales_are_refused(parameters: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "q.pth"

    def write(inner: bytes) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data.pkl", quantized_pickle(inner))
            archive.writestr("x/data/0", bytes(range(12)))

    write(b"(ctorch\nper_tensor_affine\n" + number(0.5) + number(2) + b"t")
    np.testing.assert_array_equal(read_weights(path)["w"], (np.arange(12) - 2.0) * 0.5)
    write(parameters)
    with pytest.raises(ModelFileError, match=message):
        read_weights(path)
