"""Kernels give the same bits whichever of their threads goes first."""

from __future__ import annotations

from typing import Any

import pytest

from nn.cuda.cases import Case, all_cases, dtype_named, flat
from nn.cuda.test_cuda_operations import send
from standin.compiled import Compiled


@pytest.mark.parametrize("case", [case for case in all_cases() if case.kernels], ids=str)
def test_bits_do_not_depend_on_the_order_of_threads(gpu: Any, case: Case) -> None:
    name = "float32" if "float32" in case.dtypes else case.dtypes[0]
    answers = []
    for order in range(3):
        arrays = {k: send(gpu, v, dtype_named(name)) for k, v in case.arrays.items()}
        # On a real GPU, where this does nothing, it is three runs.
        Compiled.launches = order
        parts = flat(case.run(gpu.ops, arrays))
        answers.append([None if p is None else gpu.receive(p).tobytes() for p in parts])
    assert answers[0] == answers[1] == answers[2]
