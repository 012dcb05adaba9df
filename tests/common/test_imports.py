"""Imports point one way only, and importing the package stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import ironlearn

ROOT = Path(ironlearn.__file__).parent

#: Row of each module, low to high: a module imports only from its own row or below.
ROWS = {
    "_core": 0,
    "exceptions": 0,
    "_random": 0,
    "_threads": 0,
    "_parameters": 0,
    "_modelfile": 0,
    "_table": 1,
    "_frames": 1,
    "_categories": 0,
    "_csr": 0,
    "_gpu": 0,
    "_vocabulary": 0,
    "_feedforward": 0,
    "_images": 0,
    "_plots": 0,
    "base": 1,
    "naive_bayes": 2,
    "tree": 2,
    "svm": 2,
    "cluster": 2,
    "ensemble": 2.5,
    "nn": 3,
    "augmentation": 4,
    "neural_network": 4.5,
    "vision": 5,
    "series": 5,
    "text": 5.5,
    "evaluation": 7,
    "io": 8,
    "serving": 8,
    "bench": 8,
    "cli": 8,
    "patch": 8,
}


#: Rows within `ironlearn.nn`: the same rule.
NN_ROWS = {
    "backend": 0,
    "initializers": 0,
    "interrupt": 0,
    "settings": 0,
    "autograd": 1,
    "interchange": 2,
    "functional": 2,
    "layers": 3,
    "losses": 4,
    "pair_losses": 4,
    "sequence_losses": 4,
    "optimizers": 4,
    "schedules": 4,
    "data": 4,
    "history": 4,
    "metrics": 4,
    "precision": 4,
    "plan": 5,
    "inference": 5.5,
    "models": 6,
    "pretrained": 6,
    "state": 6,
    "checkpoint": 6.5,
    "diagnosis": 6.5,
    "callbacks": 7,
    "executors": 7,
    "queued": 7,
    "train": 7,
}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "ironlearn" and len(parts) > 1:
                found.add(parts[1])
    return found


def test_imports_point_down() -> None:
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts == ("__init__",):
            continue
        own = parts[0]
        if own == "reference":
            assert _imports(path) <= {"reference", "_random", "exceptions"}, path
            continue
        assert own in ROWS, f"{path}: give {own} a row"
        for name in _imports(path) - {own}:
            if name in ("__version__", "load"):
                continue
            assert name != "reference", f"{path} imports reference"
            assert ROWS[name] <= ROWS[own], f"{path} imports {name}"
            if ROWS[own] == 2:
                assert ROWS[name] < 2, f"{path} imports its neighbour {name}"


def test_imports_within_nn_point_down() -> None:
    for path in (ROOT / "nn").rglob("*.py"):
        parts = path.relative_to(ROOT / "nn").with_suffix("").parts
        if parts == ("__init__",):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module == "ironlearn.nn":
                names = [f"ironlearn.nn.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                if name.startswith("ironlearn.nn."):
                    other = name.split(".")[2]
                    assert NN_ROWS[other] <= NN_ROWS[parts[0]], f"{path} imports {name}"


def test_import_is_light() -> None:
    program = (
        "import sys, ironlearn, ironlearn.serving\n"
        "heavy = {'sklearn', 'scipy', 'pandas', 'matplotlib', 'rich', 'joblib', 'safetensors'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"
