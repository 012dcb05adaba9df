"""Where and with what a measurement was taken."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ironlearn import _core, _threads
from ironlearn.bench.libraries import version


def cpu_model() -> str:
    """Return the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git() -> tuple[str | None, bool | None]:
    """Return the commit of the source tree that this package is in, and whether it was changed."""
    here = Path(__file__).resolve().parent
    if not any((parent / ".git").exists() for parent in here.parents):
        return None, None
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return commit, bool(changed)


def stamp(threads: int, libraries: Sequence[str]) -> dict[str, Any]:
    """Return the stamp of measurements taken now."""
    build = _core.build_info()
    commit, changed = _git()
    assert _core.__file__ is not None
    return {
        "ironlearn": build["version"],
        "commit": commit,
        "changed": changed,
        "binary": hashlib.sha256(Path(_core.__file__).read_bytes()).hexdigest()[:16],
        "release": build["release"],
        "simd": build["simd"],
        "cpu": cpu_model(),
        "cpus": _threads.available_cpus(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in (*libraries,) if name != "ironlearn"},
        "numpy": _numpy_version(),
        "data": bool(os.environ.get("IRONLEARN_DATA")),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _numpy_version() -> str:
    import numpy as np

    return np.__version__


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Return whether two stamps name the same machine and software."""
    return {**a, "date": None, "data": None} == {**b, "date": None, "data": None}
