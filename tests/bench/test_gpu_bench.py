"""The GPU's benchmark script runs through, on the stand-in for CuPy; its times mean nothing."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from standin import cupy as standin_cupy

pytestmark = pytest.mark.cxx

BENCHES = Path(__file__).resolve().parents[2] / "benches"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, with a case small enough for the stand-in."""
    if not BENCHES.is_dir():
        pytest.fail("the benchmarks are not beside the tests")
    monkeypatch.syspath_prepend(str(BENCHES))
    import gpu
    from networks import cases

    small = dataclasses.replace(cases.CASES["dense_stack"], steps=2, batch=2)
    monkeypatch.setitem(cases.CASES, "dense_stack", small)
    monkeypatch.setattr(cases, "PLACE", cases.PLACE)
    monkeypatch.setattr(gpu, "_torch", lambda: None)
    yield gpu
    scripts = ("gpu", "neural_peers", "networks")
    for name in [name for name in sys.modules if name.partition(".")[0] in scripts]:
        del sys.modules[name]


def test_it_runs_and_goes_on(script: Any, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "gpu.json"
    settings = ["--json", str(out), "--cases", "dense_stack", "--seconds", "0", "--rounds", "1"]
    settings += ["--rows", "300", "--size", "16"]
    with standin_cupy.install():
        script.main([*settings, "--precisions", "float32"])
        first = json.loads(out.read_text())
        assert [cell["case"] for cell in first["cells"]] == [
            "dense_stack/float32",
            "KMeans.predict",
            "SVC.predict",
        ]
        script.main([*settings, "--precisions", "float32,tf32,float16"])
    result = json.loads(out.read_text())
    assert result["cells"][:3] == first["cells"]
    assert [cell["case"] for cell in result["cells"][3:]] == [
        "dense_stack/tf32",
        "dense_stack/float16",
    ]
    assert result["stamp"]["gpu"]["name"] == "stand-in"
    for cell in result["cells"]:
        if "libraries" in cell:
            # Two products forward, two weights' gradients and one input's backward, of two rows.
            assert cell["operations"] == 2 * 2 * (2 * 784 * 512 + 3 * 512 * 10)
            assert cell["libraries"]["ironlearn"]["best_ms"] > 0
        else:
            assert cell["same_answers"] >= 0.99


def test_another_gpu_is_not_mixed_in(script: Any, tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    out.write_text(json.dumps({"stamp": {"gpu": {"name": "another"}}, "cells": []}))
    with standin_cupy.install(), pytest.raises(SystemExit, match="another"):
        script.main(["--json", str(out)])
