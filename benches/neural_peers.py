"""Training steps of ironlearn and PyTorch, or Keras, side by side in one process.

``python benches/neural_peers.py --libraries ironlearn,torch --json out.json`` builds each network
of `networks/cases.py` in each library and lets them take turns on the same batches: rounds of one
call each, so that whatever else the machine does hits all alike. (Recent PyTorch and TensorFlow
cannot share a process.) All are held to the same number of threads. A call is a whole pass by the
library's own training loop (ironlearn: `Trainer.fit`; Keras: ``fit``; PyTorch: the usual five
lines). The best and the median time of a step are kept.

``--memory`` measures instead the largest resident memory of a process that imports one library and
makes a few calls.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

LIBRARIES = {"ironlearn": "ours", "torch": "in_torch", "keras": "in_keras"}


def threads_everywhere(threads: int) -> None:
    """Hold every library to `threads` threads; before any of them is imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["IRONLEARN_NUM_THREADS"] = str(threads)


def load(library: str, threads: int) -> Any:
    """Import the networks of `library`, held to `threads` threads."""
    if library == "torch":
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(0)
    if library == "keras":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    return importlib.import_module(f"networks.{LIBRARIES[library]}")


def versions() -> dict[str, str | None]:
    """Return the versions of the peers, as far as they are installed."""
    found: dict[str, str | None] = {}
    for name in ("torch", "keras", "tensorflow", "tensorflow-cpu"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def measure(name: str, modules: dict[str, Any], seconds: float, rounds: int) -> dict[str, Any]:
    """Return best and median time of a step of the case `name` for each library."""
    from networks.cases import CASES

    case = CASES[name]
    calls = {
        library: module.CASES[name]() for library, module in modules.items() if name in module.CASES
    }
    losses = {library: [call(), call()][-1] for library, call in calls.items()}
    times: dict[str, list[float]] = {library: [] for library in calls}
    begin = time.perf_counter()
    while True:
        for library, call in calls.items():
            start = time.perf_counter()
            losses[library] = call()
            times[library].append((time.perf_counter() - start) / case.steps)
        done = len(next(iter(times.values())))
        if done >= 3 and (done >= rounds or time.perf_counter() - begin > seconds):
            break
    cell: dict[str, Any] = {
        "case": name,
        "what": case.what,
        "batch": case.batch,
        "rounds": done,
        "libraries": {
            library: {
                "best_ms": round(1e3 * min(values), 4),
                "median_ms": round(1e3 * statistics.median(values), 4),
                "loss": losses[library],
            }
            for library, values in times.items()
        },
    }
    peers = [v for k, v in cell["libraries"].items() if k != "ironlearn"]
    if "ironlearn" in cell["libraries"] and peers:
        own = cell["libraries"]["ironlearn"]
        for key in ("best_ms", "median_ms"):
            ratio = min(p[key] for p in peers) / own[key]
            cell[f"ratio_{key.removesuffix('_ms')}"] = round(ratio, 3)
        cell["target"] = round(case.target, 3)
    return cell


def peak() -> float:
    """Return the largest resident memory of this process so far, in MB.

    Not by getrusage: what it tells begins with the memory of the process that started this one.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise OSError("this system does not tell the peak of memory")


def memory(name: str, library: str, threads: int) -> float:
    """Return the largest resident memory, in MB, of a process that runs the case."""
    command = [sys.executable, __file__, "--threads", str(threads), "--child", library, name]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(answer.stdout.strip().splitlines()[-1])


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the results; finished cases are kept")
    parser.add_argument("--cases", default="", help="names, separated by commas; all by default")
    parser.add_argument("--libraries", default="ironlearn,torch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0, help="time for each case")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--child", nargs=2, metavar=("LIBRARY", "CASE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    threads_everywhere(args.threads)
    if args.child:
        library, name = args.child
        call = load(library, args.threads).CASES[name]()
        for _ in range(2):
            call()
        print(peak())
        return
    from networks.cases import CASES

    wanted = args.libraries.split(",")
    names = args.cases.split(",") if args.cases else list(CASES)
    modules = {}
    for library in wanted:
        try:
            modules[library] = load(library, args.threads)
        except ImportError as error:
            print(f"{library} is left out: {error}", file=sys.stderr)
    from ironlearn.bench.stamp import stamp

    result: dict[str, Any] = {"stamp": {**stamp(args.threads, []), "libraries": versions()}}
    cells: list[dict[str, Any]] = []
    if args.json and args.json.exists():
        old = json.loads(args.json.read_text())
        if old["stamp"].get("binary") != result["stamp"]["binary"]:
            raise SystemExit(f"{args.json} is of another build; move it away first.")
        cells = old["cells"]
        result = {"stamp": old["stamp"]}
    for name in names:
        have = next((cell for cell in cells if cell["case"] == name), None)
        if args.memory:
            cell = have or {"case": name}
            cell["peak_mb"] = {
                library: round(memory(name, library, args.threads), 1)
                for library, module in modules.items()
                if name in module.CASES
            }
        elif have and "libraries" in have:
            continue
        else:
            cell = {**(have or {}), **measure(name, modules, args.seconds, args.rounds)}
        if have:
            cells[cells.index(have)] = cell
        else:
            cells.append(cell)
        if args.json:
            args.json.write_text(json.dumps({**result, "cells": cells}, indent=1) + "\n")
        shown = cell.get("peak_mb") or {k: v["best_ms"] for k, v in cell["libraries"].items()}
        print(f"{name:14} {shown} ratio {cell.get('ratio_best', '-')}", flush=True)


if __name__ == "__main__":
    main()
