"""Every kernel compiles for the GPUs that there are, by NVIDIA's own compiler, without a GPU."""

from __future__ import annotations

import pytest

from ironlearn.nn.backend.cuda.source import PRECISIONS, options, source
from standin import nvrtc
from standin.compiled import launch_bounds, signatures

#: Registers of a multiprocessor, the number that they are given out by, threads of a block.
_REGISTERS, _RUN, _MOST_THREADS = 1 << 16, 8, 1024
#: Bytes that a thread may keep outside its registers: some, where that lets a multiprocessor hold
#: one more block, but no arrays.
_SPILLED = 192

pytestmark = pytest.mark.nvrtc


@pytest.mark.parametrize("architecture", ["sm_75", "sm_80", "sm_90"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_kernels_compile(precision: str, architecture: str) -> None:
    cubin, usages = nvrtc.compile_cubin(source(), options(precision), architecture)
    assert cubin[:4] == b"\x7fELF"
    missing = [name for name in signatures(source()) if f".text.{name}".encode() not in cubin]
    assert not missing, "kernels that the machine code does not have"
    assert usages.keys() == signatures(source()).keys()
    # A block needs its registers at once; a GPU refuses to launch what is too large.
    bounds = launch_bounds(source())
    taken = {
        name: _RUN * -(-usage.registers // _RUN) * bounds.get(name, _MOST_THREADS)
        for name, usage in usages.items()
    }
    too_large = {name: size for name, size in taken.items() if size > _REGISTERS}
    assert not too_large, "kernels that want __launch_bounds__"
    if precision != "float64":
        spilled = {name: u.spilled for name, u in usages.items() if u.spilled > _SPILLED}
        assert not spilled, "kernels whose numbers have no place in registers"


def test_an_error_is_found() -> None:
    broken = source() + '\nextern "C" __global__ void broken(real *x) { put(x, 0); }\n'
    with pytest.raises(RuntimeError, match="broken"):
        nvrtc.compile_cubin(broken + "\n#error broken", options("float32"), "sm_80")
