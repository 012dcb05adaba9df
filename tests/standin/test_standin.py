"""What proves the kernels is proven itself: faults of every kind are found."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ironlearn.nn.backend import get_device
from standin import cupy as standin
from standin.compiled import Compiled, launch_bounds, signatures
from standin.cupy import counts

pytestmark = pytest.mark.cxx

xp = standin.module

CODE = """
extern "C" __global__ void turned(const float *x, float *y, long long n, long long careful) {
    __shared__ float held[64];
    int t = threadIdx.x;
    held[t] = x[t];
    if (careful) __syncthreads();
    y[t] = held[(t + 1) % n];
}
extern "C" __global__ void uneven_end(long long n) {
    if (threadIdx.x < n) __syncthreads();
}
extern "C" __global__ void uneven_wait(long long n) {
    if (threadIdx.x < n) __syncthreads();
    else __syncwarp();
}
extern "C" __global__ void __launch_bounds__(64, 2) bounded(float *y) { y[0] = 1; }
extern "C" __global__ void at(float *y, long long i) { y[i] = 1; }
extern "C" __global__ void read(const float *x, float *y, long long i) { y[0] = x[i]; }
extern "C" __global__ void numbers(double *y, long long i, double d) { y[0] = i, y[1] = d; }
extern "C" __global__ void is_null(const float *x, float *y) { y[0] = x == 0; }
extern "C" __global__ void shared_before(float *y) {
    __shared__ float held[1];
    y[blockIdx.x] = held[0];
    held[0] = 1;
}
extern "C" __global__ void dynamic(float *y, long long i) {
    float *held = (float *)shim::dynamic_shared;
    y[blockIdx.x] = held[0];
    held[i] = 1;
}
extern "C" __global__ void where(long long *y) {
    long long block = blockIdx.x + gridDim.x * (blockIdx.y + (long long)gridDim.y * blockIdx.z);
    long long thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    y[block * blockDim.x * blockDim.y * blockDim.z + thread] = block * 1000 + thread;
}
extern "C" __global__ void lanes(long long *y) {
    long long t = threadIdx.x;
    y[t] = __shfl_xor_sync(0xFFFFFFFFu, t, 1);
    y[blockDim.x + t] = __shfl_down_sync(0xFFFFFFFFu, t, 4);
    y[2 * blockDim.x + t] = __shfl_sync(0xFFFFFFFFu, t, 5);
}
"""


@pytest.fixture(autouse=True)
def _fresh() -> None:
    counts.reset()


@pytest.fixture(scope="module")
def kernels() -> Any:
    return xp.RawModule(code=CODE)


def launch(
    kernels: Any, name: str, *arguments: Any, grid: Any = (1,), block: Any = (1,), shared: int = 0
) -> None:
    kernels.get_function(name)(grid, block, arguments, shared_mem=shared)


def ramp(*shape: int) -> Any:
    return xp.asarray(np.arange(np.prod(shape), dtype=np.float32).reshape(shape))


# Kernels.


@pytest.fixture(params=[0, 1, 2], ids=["upwards", "downwards", "odd first"])
def order(request: pytest.FixtureRequest) -> Iterator[int]:
    """The order in which the threads of the next launch take turns."""
    before = Compiled.launches
    Compiled.launches = request.param - 1
    yield request.param
    Compiled.launches = before + 1


def test_a_barrier_makes_every_order_right(kernels: Any, order: int) -> None:
    y = xp.empty(64, np.float32)
    launch(kernels, "turned", ramp(64), y, 64, 1, block=(64,))
    np.testing.assert_array_equal(y.get(), np.roll(np.arange(64), -1))


def test_a_missing_barrier_gives_a_wrong_answer(kernels: Any, order: int) -> None:
    y = xp.empty(64, np.float32)
    launch(kernels, "turned", ramp(64), y, 64, 0, block=(64,))
    wrong = np.flatnonzero(y.get() != np.roll(np.arange(64), -1))
    # Whoever reads before its neighbour has written.
    upwards, downwards, odd_first = range(63), [63], range(1, 63, 2)
    expected = [upwards, downwards, [*odd_first, 63]][order]
    np.testing.assert_array_equal(wrong, expected)
    assert np.isnan(y.get()[wrong]).all()


@pytest.mark.parametrize("threads", [32, 64, 33])
def test_a_barrier_that_some_never_reach_is_reported(kernels: Any, threads: int) -> None:
    with pytest.raises(RuntimeError, match="uneven_end: .*while others had ended"):
        launch(kernels, "uneven_end", threads - 1, block=(threads,))
    launch(kernels, "uneven_end", threads, block=(threads,))
    launch(kernels, "uneven_end", 0, block=(threads,))


def test_different_barriers_are_reported(kernels: Any) -> None:
    with pytest.raises(RuntimeError, match="uneven_wait: threads .* wait at different barriers"):
        launch(kernels, "uneven_wait", 16, block=(32,))
    launch(kernels, "uneven_wait", 32, block=(32,))


@pytest.mark.parametrize("i", [-1, -60, 12, 70])
def test_writing_outside_an_array_is_reported(kernels: Any, i: int) -> None:
    y = ramp(3, 4)
    with pytest.raises(RuntimeError, match=r"at wrote outside an array of \(3, 4\)"):
        launch(kernels, "at", y, i)
    launch(kernels, "at", y, 11)
    assert y.get()[2, 3] == 1


def test_what_is_read_outside_an_array_is_no_number(kernels: Any) -> None:
    y = ramp(1)
    launch(kernels, "read", ramp(4), y, 4)
    assert np.isnan(y.get()[0])
    launch(kernels, "read", ramp(4), y, 3)
    assert y.get()[0] == 3


@pytest.mark.parametrize(
    ("grid", "block", "shared", "message"),
    [
        ((0,), (32,), 0, "a grid of .* is not valid"),
        ((1, 0), (32,), 0, "a grid of .* is not valid"),
        ((1, 65536), (32,), 0, "a grid of .* is not valid"),
        ((1, 1, 65536), (32,), 0, "a grid of .* is not valid"),
        ((1,), (0,), 0, "1 to 1024 threads"),
        ((1,), (1025,), 0, "1 to 1024 threads"),
        ((1,), (32, 33), 0, "1 to 1024 threads"),
        ((1,), (32,), (48 << 10) + 1, "48 KiB of shared memory"),
    ],
)
def test_an_impossible_launch_is_refused(
    kernels: Any, grid: Any, block: Any, shared: int, message: str
) -> None:
    with pytest.raises(RuntimeError, match=message):
        launch(kernels, "at", ramp(4), 0, grid=grid, block=block, shared=shared)


def test_more_threads_than_a_kernel_s_bound_are_refused(kernels: Any) -> None:
    assert launch_bounds(CODE) == {"bounded": 64}
    launch(kernels, "bounded", ramp(1), block=(32, 2))
    with pytest.raises(RuntimeError, match="more than its launch bounds"):
        launch(kernels, "bounded", ramp(1), block=(32, 3))


def test_shared_memory_is_garbage_in_every_block(kernels: Any) -> None:
    y = xp.zeros(3, np.float32)
    launch(kernels, "shared_before", y, grid=(3,))
    assert np.isnan(y.get()).all()
    y = xp.zeros(3, np.float32)
    launch(kernels, "dynamic", y, 3, grid=(3,), shared=16)
    assert np.isnan(y.get()).all()


def test_writing_beyond_shared_memory_is_reported(kernels: Any) -> None:
    with pytest.raises(RuntimeError, match="beyond its dynamic shared memory"):
        launch(kernels, "dynamic", ramp(1), 4, shared=16)


def test_threads_and_blocks_have_their_numbers(kernels: Any) -> None:
    y = xp.empty((24, 30), np.int64)
    launch(kernels, "where", y, grid=(2, 3, 4), block=(5, 3, 2))
    expected = np.arange(24)[:, None] * 1000 + np.arange(30)
    np.testing.assert_array_equal(y.get(), expected)


def test_lanes_exchange_numbers(kernels: Any, order: int) -> None:
    y = xp.empty((3, 64), np.int64)
    launch(kernels, "lanes", y, block=(64,))
    t = np.arange(64)
    down = np.where(t % 32 < 28, t + 4, t)
    np.testing.assert_array_equal(y.get(), [t ^ 1, down, t // 32 * 32 + 5])


def test_arguments_arrive(kernels: Any) -> None:
    y = xp.empty(2, np.float64)
    launch(kernels, "numbers", y, -(2**62), 0.1)
    np.testing.assert_array_equal(y.get(), [-(2.0**62), 0.1])
    flag = ramp(1)
    launch(kernels, "is_null", 0, flag)
    assert flag.get()[0] == 1
    launch(kernels, "is_null", ramp(2), flag)
    assert flag.get()[0] == 0
    assert counts.launches == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1,), "takes 3 arguments, got 2"),
        ((1, 2), "a double is wanted, got 2"),
        ((1.0, 2.0), "a long long is wanted, got 1.0"),
        ((np.int64(1), 2.0), "a long long is wanted"),
        ((2**63, 1.0), "more than 64 bits"),
    ],
)
def test_arguments_of_another_type_are_refused(
    kernels: Any, arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises((TypeError, OverflowError), match=message):
        launch(kernels, "numbers", xp.empty(2), *arguments)


def test_only_whole_arrays_of_the_device_are_passed(kernels: Any) -> None:
    with pytest.raises(TypeError, match="not NumPy arrays"):
        launch(kernels, "at", np.zeros(3, np.float32), 0)
    with pytest.raises(TypeError, match="a pointer is wanted"):
        launch(kernels, "at", 7, 0)
    with pytest.raises(RuntimeError, match="an array of strides"):
        launch(kernels, "at", ramp(4, 4)[:, ::2], 0)
    with pytest.raises(RuntimeError, match="no kernel 'absent'"):
        launch(kernels, "absent")


def test_views_share_their_memory(kernels: Any) -> None:
    y = ramp(4, 2)
    launch(kernels, "at", y[2:], 1)
    np.testing.assert_array_equal(y.get().ravel(), [0, 1, 2, 3, 4, 1, 6, 7])


def test_source_that_is_no_cpp_is_reported() -> None:
    module = xp.RawModule(code='extern "C" __global__ void broken(float *y) { y[0] = nothing; }')
    with pytest.raises(RuntimeError, match="do not compile(.|\n)*nothing"):
        module.compile()
    with pytest.raises(TypeError, match="'float x' is of no known type"):
        signatures('extern "C" __global__ void odd(float x) {}')


# Arrays.


def test_numpy_arrays_are_refused_among_arrays_of_the_device() -> None:
    a, host = ramp(3), np.ones(3, np.float32)
    for mix in (
        lambda: a + host,
        lambda: host + a,
        lambda: xp.add(a, host),
        lambda: xp.concatenate([a, host]),
        lambda: xp.where(a > 0, a, host),
        lambda: a[np.array([0])],
        lambda: a.__setitem__(slice(None), host),
        lambda: a.__iadd__(host),
        lambda: np.asarray(a),
    ):
        with pytest.raises(TypeError, match="Unsupported type|Implicit conversion"):
            mix()
    a += 1
    np.testing.assert_array_equal(a.get(), [1, 2, 3])


@pytest.mark.parametrize(
    "act",
    [
        lambda a: float(a[0]),
        lambda a: int(a[0]),
        lambda a: bool(a[0]),
        lambda a: [1, 2, 3][xp.asarray(1)],
        lambda a: a if a.any() else None,
        lambda a: a[a > 1],
        lambda a: a.get(),
        lambda a: a.item(0),
        lambda a: a.tolist(),
        lambda a: repr(a),
        xp.asnumpy,
        xp.unique,
        xp.nonzero,
        xp.flatnonzero,
        lambda a: a.nonzero(),
        lambda a: xp.where(a > 1),
        lambda a: xp.cuda.Device(0).synchronize(),
        lambda a: xp.cuda.get_current_stream().synchronize(),
    ],
)
def test_waiting_for_the_device_is_counted(act: Any) -> None:
    a = ramp(3)
    counts.reset()
    act(a)
    assert counts.waits == 1


def test_work_that_stays_on_the_device_is_not_counted() -> None:
    a, mask = ramp(3, 4), xp.zeros((3, 4), bool)
    counts.reset()
    b = xp.where(a > 1, a, -a) @ a.T + a.sum(axis=1, keepdims=True)
    b[1:] *= 2
    xp.add.at(b, xp.zeros(2, np.int64), b[:2].copy())
    a[mask] = 0
    xp.empty_like(b).shape[0]
    assert (counts.waits, counts.to_host, counts.to_device) == (0, 0, 0)


def test_copies_to_the_device_are_counted() -> None:
    xp.asarray(np.zeros(3))
    xp.array([1, 2])
    xp.empty(3).set(np.zeros(3))
    assert counts.to_device == 3
    with pytest.raises(TypeError, match="same dtype"):
        xp.empty(3).set(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="Shape mismatch"):
        xp.empty(3).set(np.zeros(2))


@pytest.mark.parametrize(
    "act",
    [
        lambda a: xp.busday_count,
        lambda a: xp.spacing,
        lambda a: a.byte_swap(),
        lambda a: np.spacing(a),
    ],
)
def test_unknown_functions_are_refused(act: Any) -> None:
    with pytest.raises((AttributeError, TypeError), match="(?i)cupy"):
        act(ramp(3))


@pytest.mark.parametrize(
    "act",
    [
        lambda a: xp.max(a, initial=0),
        lambda a: a.max(initial=0),
        lambda a: xp.sum(a, where=a > 0),
        lambda a: np.sum(a, where=a > 0),
        lambda a: xp.add(a, a, where=a > 0),
        lambda a: np.add(a, a, where=a > 0),
        lambda a: np.add.reduce(a),
        lambda a: xp.zeros((2,), float, "C", 1),
    ],
)
def test_unknown_parameters_are_refused(act: Any) -> None:
    with pytest.raises(TypeError):
        act(ramp(3))


def test_empty_arrays_hold_garbage() -> None:
    for array in (
        xp.empty((2, 3), np.float32),
        xp.empty_like(xp.zeros(5)),
        xp.ndarray((4,), np.float16),
    ):
        assert np.isnan(array.get()).all()
    assert (xp.empty(3, np.int64).get() == -1).all()


def test_products_of_bfloat16_stay_bfloat16() -> None:
    a = ramp(3, 3).astype(ml_dtypes.bfloat16)
    assert (a @ a).dtype == xp.matmul(a, a).dtype == ml_dtypes.bfloat16


def test_the_stand_in_is_there_only_while_installed() -> None:
    def found() -> bool:
        return sys.modules.get("cupy") is xp

    assert not found()
    with standin.install():
        assert found()
        device = get_device("cuda")
        assert device.owns(device.send(np.zeros(3)))
        assert not device.owns(np.zeros(3))
    assert not found()
