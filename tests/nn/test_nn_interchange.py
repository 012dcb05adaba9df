"""Arrays shared with other libraries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ironlearn.nn import Tensor, from_dlpack
from ironlearn.nn import functional as F
from standin import cupy as standin_cupy


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.uint8, bool])
def test_there_and_back(dtype: Any) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    tensor = from_dlpack(array)
    assert isinstance(tensor, Tensor)
    assert np.shares_memory(tensor.data, array)
    again = np.from_dlpack(tensor)
    assert np.shares_memory(again, array)
    np.testing.assert_array_equal(again, array)


def test_strides_stay() -> None:
    array = np.arange(24.0).reshape(4, 6)[::2, ::3].T
    tensor = from_dlpack(array)
    assert np.shares_memory(tensor.data, array)
    np.testing.assert_array_equal(tensor.data, array)


def test_a_tensor_of_the_tape_is_refused() -> None:
    tensor = Tensor(np.ones(3), requires_grad=True)
    for one in (tensor, F.mul(tensor, tensor)):
        with pytest.raises(BufferError, match="detach"):
            np.from_dlpack(one)
        np.from_dlpack(one.detach())


def test_what_cannot_be_shared() -> None:
    with pytest.raises(TypeError, match="got a list"):
        from_dlpack([1.0])
    with pytest.raises(TypeError, match="complex64"):
        from_dlpack(np.zeros(2, np.complex64))

    class Elsewhere:
        def __dlpack__(self, **wishes: Any) -> Any:
            raise AssertionError

        def __dlpack_device__(self) -> tuple[int, int]:
            return (8, 0)

    with pytest.raises(TypeError, match="NVIDIA GPU, got one on Metal"):
        from_dlpack(Elsewhere())

    class Broken(Elsewhere):
        def __dlpack__(self, **wishes: Any) -> Any:
            raise BufferError("exports only once")

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    with pytest.raises(TypeError, match="exports only once"):
        from_dlpack(Broken())


def test_arrays_on_a_gpu_go_to_its_device() -> None:
    with standin_cupy.install():
        import cupy

        class There:
            def __dlpack__(self, **wishes: Any) -> Any:
                return np.arange(3.0).__dlpack__()

            def __dlpack_device__(self) -> tuple[int, int]:
                return (2, 0)

        tensor = from_dlpack(There())
        assert isinstance(tensor.data, cupy.ndarray)
        assert tensor.device.name == "cuda:0"


@pytest.mark.oracle
def test_with_pytorch() -> None:
    import torch

    ours = from_dlpack(torch.arange(6.0).reshape(2, 3))
    theirs = torch.from_dlpack(ours)
    theirs[0, 0] = 7
    assert ours.data[0, 0] == 7
    with pytest.raises((TypeError, BufferError)):
        from_dlpack(torch.zeros(3, requires_grad=True))
    with pytest.raises(TypeError, match="cannot be shared"):
        from_dlpack(torch.zeros(3, dtype=torch.bfloat16))
