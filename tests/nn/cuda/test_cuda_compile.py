"""Every kernel compiles for the GPUs that there are, by NVIDIA's own compiler, without a GPU."""

from __future__ import annotations

import pytest

from ironlearn.nn.backend.cuda.source import PRECISIONS, options, source
from standin import nvrtc
from standin.compiled import signatures

pytestmark = pytest.mark.nvrtc


@pytest.mark.parametrize("architecture", ["sm_75", "sm_80", "sm_90"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_kernels_compile(precision: str, architecture: str) -> None:
    cubin = nvrtc.compile_cubin(source(), options(precision), architecture)
    assert cubin[:4] == b"\x7fELF"
    missing = [name for name in signatures(source()) if f".text.{name}".encode() not in cubin]
    assert not missing, "kernels that the machine code does not have"


def test_an_error_is_found() -> None:
    broken = source() + '\nextern "C" __global__ void broken(real *x) { put(x, 0); }\n'
    with pytest.raises(RuntimeError, match="broken"):
        nvrtc.compile_cubin(broken + "\n#error broken", options("float32"), "sm_80")
