"""The operations of the GPU against the base operations in double precision."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import pytest

from ironlearn.nn.backend.cuda.operations import CudaOps
from ironlearn.nn.backend.ops import Ops
from nn.cuda.cases import TOLERANCE, Case, all_cases, dtype_named, flat
from standin.cupy import counts

PUBLIC = sorted(name for name in dir(Ops) if not name.startswith("_"))


def test_every_operation_has_a_case() -> None:
    proven = {name for case in all_cases() for name in case.operations}
    assert proven <= set(PUBLIC)
    assert not set(PUBLIC) - proven, "operations without a proof on the GPU"


def test_signatures_are_the_same() -> None:
    assert not {n for n in dir(CudaOps) if not n.startswith("_")} - set(PUBLIC) - {"kernels"}
    for name in PUBLIC:
        base = inspect.signature(getattr(Ops, name)).parameters
        own = inspect.signature(getattr(CudaOps, name)).parameters
        assert [(p.name, p.kind, p.default) for p in own.values()] == [
            (p.name, p.kind, p.default) for p in base.values()
        ], name


def send(device: Any, value: Any, dtype: np.dtype[Any]) -> Any:
    """Return host arrays on the device, floats as `dtype`; nested sequences keep their form."""
    if isinstance(value, np.ndarray):
        return device.send(value.astype(dtype) if value.dtype.kind == "f" else value)
    if isinstance(value, list | tuple):
        return type(value)(send(device, item, dtype) for item in value)
    return value


def _widened(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return host arrays whose floats have been rounded to `dtype`, in double precision."""
    if isinstance(value, np.ndarray):
        return value.astype(dtype).astype(np.float64) if value.dtype.kind == "f" else value.copy()
    if isinstance(value, list | tuple):
        return type(value)(_widened(item, dtype) for item in value)
    return value


@pytest.mark.parametrize("name", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_operation(gpu: Any, case: Case, name: str) -> None:
    if name not in case.dtypes:
        return
    dtype = dtype_named(name)
    with np.errstate(all="ignore"):
        wide = {k: _widened(v, dtype) for k, v in case.arrays.items()}
        expected = flat(case.run(Ops(np), wide))
    arrays = {k: send(gpu, v, dtype) for k, v in case.arrays.items()}
    before = copy.deepcopy(arrays)
    counts.reset()
    answer = flat(case.run(gpu.ops, arrays))
    stands_in = "standin" in gpu.xp.__version__
    if stands_in:
        assert (counts.launches > 0) == case.kernels
        waited = counts.waits > 0 or counts.to_host > 0
        assert waited == case.waits, "whether the operation waits for the device"
    assert len(answer) == len(expected)
    for got, want in zip(answer, expected, strict=True):
        if want is None:
            assert got is None
            continue
        want = np.asarray(want)
        assert gpu.owns(got)
        assert got.shape == want.shape
        value = gpu.receive(got)
        if want.dtype.kind != "f":
            np.testing.assert_array_equal(value, want)
            continue
        assert got.dtype == dtype
        scale = max(1.0, float(np.abs(want[np.isfinite(want)]).max(initial=0)))
        np.testing.assert_allclose(
            value.astype(np.float64),
            want,
            rtol=0,
            atol=TOLERANCE[name] * case.factor * scale,
        )
    if "optimizer_step" not in case.operations:
        for key, was in before.items():
            for got, want in zip(flat(arrays[key]), flat(was), strict=True):
                if gpu.owns(got):
                    assert gpu.receive(got).tobytes() == gpu.receive(want).tobytes(), key
