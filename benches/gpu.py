"""Training steps and predictions on a GPU: ironlearn beside PyTorch, and beside the CPU.

``python benches/gpu.py --json benches/results/gpu.json`` needs CuPy and a GPU (extra ``gpu``);
PyTorch takes part where it is installed and sees the same GPU. The libraries take turns on the same
batches, which both send from the host; a call ends when the last loss has come back. Each case is
measured in float32 and, where a network trains by the training loop, in TF32, float16 and bfloat16
(mixed precision). Run again, it goes on where it was interrupted.

What a step computes is counted in products of matrices (a multiplication and an addition are two
operations); ``achieved`` is its rate in relation to the largest rate that big products reach on
this GPU in that precision, measured in the same run, and ``of_peak`` to what the device's data
sheet has for float32, from its clock and the number of its cores.

k-means assignment and kernel-SVM prediction are measured beside the same estimators on the CPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

PRECISIONS = ("float32", "tf32", "float16", "bfloat16")
#: Cases that are no run of the training loop: float32 only.
ONLY_FLOAT32 = ("gan_mlp", "conv_vae", "capsule", "seq2seq", "vgg16_forward", "one_image")
#: Cores for float32 of a multiprocessor, by compute capability; the newest known for newer ones.
CORES = {"75": 64, "80": 64, "86": 128, "87": 128, "89": 128, "90": 128, "100": 128, "120": 128}


def operations(name: str) -> int:
    """Return the operations of the matrix products of one step of the case, by counting them."""
    from ironlearn.nn import backend
    from ironlearn.nn.backend.ops import Ops
    from networks import ours
    from networks.cases import CASES, PLACE

    count = 0

    class Counting(Ops):
        def matmul(self, a: Any, b: Any) -> Any:
            nonlocal count
            out = super().matmul(a, b)
            count += 2 * out.size * a.shape[-1]
            return out

    device = backend.get_device("cpu")
    before, place = device.ops, (PLACE.device, PLACE.precision)
    case = CASES[name]
    try:
        device.ops, PLACE.device, PLACE.precision = Counting(np), "cpu", "float32"
        CASES[name] = dataclasses.replace(case, steps=1)
        make = ours.CASES[name]
        # The operations themselves are counted, so none may be left to native plans.
        with _eagerly(ours):
            make()()
    finally:
        device.ops, (PLACE.device, PLACE.precision) = before, place
        CASES[name] = case
    return count


class _eagerly:
    """Let the networks' module train and predict operation by operation."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __enter__(self) -> None:
        self.trainer, self.predict = self.module.Trainer, self.module.predict
        trainer, predict = self.trainer, self.predict
        self.module.Trainer = lambda *a, **k: trainer(*a, **{**k, "executor": "eager"})
        self.module.predict = lambda *a, **k: predict(*a, **{**k, "executor": "eager"})

    def __exit__(self, *error: object) -> None:
        self.module.Trainer, self.module.predict = self.trainer, self.predict


def describe(device: Any) -> dict[str, Any]:
    """Return what the GPU is, and its peak in float32."""
    cupy = device.xp
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    gpu = cupy.cuda.Device(0)
    capability = str(gpu.compute_capability)
    cores = CORES.get(capability, 128)
    units = int(gpu.attributes["MultiProcessorCount"])
    clock = float(gpu.attributes["ClockRate"]) * 1e3
    return {
        "name": properties["name"].decode(),
        "compute_capability": capability,
        "memory_bytes": device.memory()[1],
        "cupy": cupy.__version__,
        "cuda_runtime": int(cupy.cuda.runtime.runtimeGetVersion()),
        "cuda_driver": int(cupy.cuda.runtime.driverGetVersion()),
        "peak_float32_tflops": round(2 * units * cores * clock / 1e12, 2),
    }


def product_rate(device: Any, precision: str, size: int, repeats: int) -> float:
    """Return the operations a second of products of `size` x `size` matrices."""
    xp = device.xp
    dtype: Any = {"float16": np.float16}.get(precision, np.float32)
    if precision == "bfloat16":
        import ml_dtypes

        dtype = ml_dtypes.bfloat16
    a = device.send(np.ones((size, size), dtype))

    def run() -> float:
        best = float("inf")
        for _ in range(repeats + 1):
            device.synchronize()
            start = time.perf_counter()
            xp.matmul(a, a)
            device.synchronize()
            best = min(best, time.perf_counter() - start)
        return 2 * size**3 / best

    if precision == "tf32":
        with device.tf32():
            return run()
    return run()


def take_turns(
    calls: dict[str, Callable[[], Any]], steps: int, seconds: float, rounds: int
) -> dict[str, dict[str, float]]:
    """Return best and median time of a step of each callable, in milliseconds."""
    for call in calls.values():
        call()
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    begin = time.perf_counter()
    while True:
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append((time.perf_counter() - start) / steps)
        done = len(next(iter(times.values())))
        if done >= 3 and (done >= rounds or time.perf_counter() - begin > seconds):
            break
    return {
        name: {
            "best_ms": round(1e3 * min(values), 5),
            "median_ms": round(1e3 * statistics.median(values), 5),
        }
        for name, values in times.items()
    }


def network_cells(args: Any, device: Any, rates: dict[str, float], peak: float) -> Iterator[Any]:
    """Yield one cell a network and precision."""
    from networks import ours
    from networks.cases import CASES, PLACE

    peer = _torch()
    for name in args.cases.split(",") if args.cases else CASES:
        for precision in args.precisions.split(","):
            if precision != "float32" and name in ONLY_FLOAT32:
                continue
            key = f"{name}/{precision}"
            if args.done(key):
                continue
            PLACE.device, PLACE.precision = "cuda", precision
            calls = {"ironlearn": ours.CASES[name]()}
            if peer is not None and name in peer.CASES:
                calls["torch"] = peer.CASES[name]()
            cell: dict[str, Any] = {"case": key, "what": CASES[name].what}
            cell["batch"] = CASES[name].batch
            cell["libraries"] = take_turns(calls, CASES[name].steps, args.seconds, args.rounds)
            cell["last_value"] = {library: call() for library, call in calls.items()}
            cell["operations"] = operations(name)
            rate = cell["operations"] / (1e-3 * cell["libraries"]["ironlearn"]["best_ms"])
            cell["achieved"] = round(rate / rates[precision], 4)
            cell["of_peak_float32"] = round(rate / (1e12 * peak), 4)
            yield cell


def classical_cells(args: Any, device: Any) -> Iterator[Any]:
    """Yield cells of k-means assignment and of kernel machines, GPU beside CPU."""
    from ironlearn.cluster import KMeans
    from ironlearn.svm import SVC

    rng = np.random.default_rng(0)
    n = args.rows
    X = rng.standard_normal((n, 50)).astype(np.float32)
    there = device.send(X)
    few = slice(0, min(n, 5_000))
    models: dict[str, Any] = {}
    if not args.done("KMeans.predict"):
        models["KMeans.predict"] = KMeans(100, max_iter=3, random_state=0).fit(X[: 200 * 100])
    if not args.done("SVC.predict"):
        models["SVC.predict"] = SVC().fit(X[few], (X[few, :3].sum(axis=1) > 0).astype(int))
    for key, model in models.items():

        def on_gpu(model: Any = model) -> None:
            model.predict(there)
            device.synchronize()

        calls = {"cuda": on_gpu, "cpu": lambda model=model: model.predict(X)}
        cell: dict[str, Any] = {"case": key, "what": f"{n} rows of 50 float32 numbers"}
        cell["places"] = take_turns(calls, 1, args.seconds, args.rounds)
        same = device.receive(model.predict(there)) == model.predict(X)
        cell["same_answers"] = round(float(same.mean()), 6)
        yield cell


def _torch() -> Any:
    """Return the networks in PyTorch, if it is installed and sees a GPU."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        print("PyTorch is left out: it sees no GPU", file=sys.stderr)
        return None
    from networks import in_torch

    return in_torch


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the results; finished cells are kept")
    parser.add_argument("--cases", default="", help="names, separated by commas; all by default")
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each cell")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the estimators' data")
    parser.add_argument("--size", type=int, default=8192, help="of the products that set the rate")
    args = parser.parse_args(arguments)

    from ironlearn.bench.stamp import stamp
    from ironlearn.nn import get_device
    from neural_peers import versions

    device = get_device("cuda")
    device.warmup(("float32", "float16", "bfloat16"))
    gpu = describe(device)
    result: dict[str, Any] = {"stamp": {**stamp(1, []), "libraries": versions(), "gpu": gpu}}
    cells: list[dict[str, Any]] = []
    if args.json and args.json.exists():
        old = json.loads(args.json.read_text())
        for key in ("binary", "commit", "gpu"):
            if old["stamp"].get(key) != result["stamp"].get(key):
                raise SystemExit(f"{args.json} has another {key}; move it away first.")
        result, cells = {k: v for k, v in old.items() if k != "cells"}, old["cells"]
    args.done = lambda key: any(cell["case"] == key for cell in cells)
    wanted = args.precisions.split(",")
    unknown = set(wanted) - set(PRECISIONS)
    if unknown:
        parser.error(f"--precisions takes {', '.join(PRECISIONS)}, got {', '.join(unknown)}")
    rates = {name: product_rate(device, name, args.size, 5) for name in wanted}
    result["product_tflops"] = {name: round(rate / 1e12, 3) for name, rate in rates.items()}
    peak = gpu["peak_float32_tflops"]
    for source in (network_cells(args, device, rates, peak), classical_cells(args, device)):
        for cell in source:
            cells.append(cell)
            if args.json:
                fresh = args.json.with_suffix(".part")
                fresh.write_text(json.dumps({**result, "cells": cells}, indent=1) + "\n")
                fresh.replace(args.json)
            print(cell["case"], cell.get("libraries") or cell.get("places"), flush=True)


if __name__ == "__main__":
    main()
