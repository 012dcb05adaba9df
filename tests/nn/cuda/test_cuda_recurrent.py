"""How recurrent layers are launched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nn.cuda.cases_recurrent import _STEPPED, _arrays
from standin import cupy as standin_cupy
from standin.cupy import counts


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize(("units", "steps"), [(50, 9), (64, 9), (None, 9)])
def test_launches_of_a_sequence(kind: str, units: int | None, steps: int) -> None:
    """One each way where u is small; one a step, and the last state's gradient, where it is not.

    The gradient of each bias is one more.
    """
    with standin_cupy.install():
        from ironlearn.nn.backend import get_device

        device = get_device("cuda")
        width = _STEPPED[kind][3] if units is None else units
        given = {
            name: device.send(value.astype(np.float32))
            for name, value in _arrays(kind, 2, steps, 3, width).items()
        }
        gradients = [value for name, value in given.items() if name.startswith("g")]
        inputs = [value for name, value in given.items() if not name.startswith("g")]
        ops: Any = device.ops
        counts.reset()
        *outputs, cache = getattr(ops, kind)(*inputs)
        assert counts.launches == (1 if units else steps)
        counts.reset()
        getattr(ops, f"{kind}_backward")(*gradients, *inputs, outputs[0], cache)
        biases = 2 if kind == "gru" else 1
        assert counts.launches == (1 if units else steps + 1) + biases
        assert (counts.waits, counts.to_host, counts.to_device) == (0, 0, 0)
