"""A million hostile files for the readers of weights and models.

``python tests/fuzz/fuzz_checkpoints.py --json fuzz.json`` gives each reader its share of
``--inputs`` files that `mutations` makes of small sound ones, in a process of its own with little
memory. A reader may return arrays or raise `ModelFileError`. Anything else is counted as a failure
and its input is written to ``--keep``: another exception, a crash of the process, more than 5
seconds of processor time, more memory than the limit, more bytes of arrays than 64 times the file,
and any event of Python's audit hooks that tells of code that was run, imported or compiled, of a
process, of a socket or of a file opened for writing.

``--only READER --seed S --number K`` writes input K of a reader to ``--keep`` and shows what comes
of it.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import importlib.metadata
import json
import multiprocessing
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import guard
from fuzz.mutations import READERS, generator
from ironlearn.bench.stamp import stamp

#: Shares of the readers.
SHARES = {
    "pytorch-zip": 0.15,
    "pytorch-chain": 0.2,
    "safetensors": 0.35,
    "keras-h5": 0.23,
    "keras-zip": 0.02,
    "model-file": 0.05,
}
MEMORY = 256 << 20
#: Seconds without a sign of life after which a process counts as hanging in native code.
SILENCE = 120


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("safetensors", "h5py")}


def work(reader: str, seed: int, first: int, last: int, folder: str, pipe: Any) -> None:
    """Read inputs `first` to `last`; report every thousandth step, every failure, and the end."""
    read, make = guard.reader_of(reader), generator(reader, seed)
    path = Path(folder) / f"fuzz-{os.getpid()}"
    outcomes: collections.Counter[str] = collections.Counter()
    longest = 0.0
    for k in range(50):
        # What is imported late is imported now, before imports count as execution.
        path.write_bytes(make(-1 - k))
        guard.check(read, path, path.stat().st_size)
    guard.install()
    # The highest mark begins anew; getrusage would tell that of the process before exec.
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS")
    guard.limit_memory(MEMORY)
    for k in range(first, last):
        data = make(k)
        path.write_bytes(data)
        if k % 100 == 0:
            pipe.send(("at", k))
        outcome, detail, seconds = guard.check(read, path, len(data))
        outcomes[outcome] += 1
        longest = max(longest, seconds)
        if outcome not in ("read", "refused"):
            pipe.send(("failure", k, outcome, detail))
    path.unlink()
    grown = _memory("VmHWM") - before
    pipe.send(("end", dict(outcomes), longest, grown, time.process_time()))


def _memory(name: str) -> int:
    """Return bytes of memory of this process, as Linux counts them under `name`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def fuzz(reader: str, seed: int, count: int, folder: str, keep: Path) -> dict[str, Any]:
    """Return what came of `count` inputs of `reader`."""
    make = generator(reader, seed)
    context = multiprocessing.get_context("spawn")
    outcomes: collections.Counter[str] = collections.Counter()
    failures: list[dict[str, Any]] = []
    longest = cpu = 0.0
    grown = 0
    start, first = time.perf_counter(), 0

    def failed(k: int, outcome: str, detail: str) -> None:
        failures.append({"number": k, "outcome": outcome, "detail": detail})
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{reader}-{seed}-{k}").write_bytes(make(k))
        print(f"{reader} {k}: {outcome} {detail}", flush=True)

    while first < count:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(reader, seed, first, count, folder, theirs))
        process.start()
        theirs.close()
        at, ended = first, False
        try:
            while ours.poll(SILENCE):
                message = ours.recv()
                if message[0] == "at":
                    at = message[1]
                elif message[0] == "failure":
                    failed(*message[1:])
                else:
                    _, found, seconds, more, used = message
                    outcomes.update(found)
                    longest, grown, ended = max(longest, seconds), max(grown, more), True
                    cpu += used
                    break
        except EOFError:
            pass
        if ended:
            process.join()
            break
        if process.is_alive():
            process.kill()
        process.join()
        # The process died between two signs of life: find the input, one process each.
        for k in range(at, min(at + 100, count)):
            one = context.Process(target=work, args=(reader, seed, k, k + 1, folder, _Silent()))
            one.start()
            one.join(SILENCE)
            died = one.exitcode
            if one.is_alive():
                one.kill()
                one.join()
            if died != 0:
                failed(k, "crash", f"exit code {died}")
                outcomes["crash"] += 1
                first = k + 1
                break
        else:
            failed(at, "crash", "not found again by itself")
            first = min(at + 100, count)
    return {
        "inputs": count,
        "outcomes": dict(sorted(outcomes.items())),
        "failures": failures,
        "seconds": {"wall": time.perf_counter() - start, "cpu": cpu},
        "longest_input_cpu_seconds": longest,
        "peak_memory_growth_bytes": grown,
    }


class _Silent:
    def send(self, message: Any) -> None:
        pass


def show(reader: str, seed: int, number: int, keep: Path) -> None:
    """Write one input and show what comes of it."""
    keep.mkdir(parents=True, exist_ok=True)
    path = keep / f"{reader}-{seed}-{number}"
    path.write_bytes(generator(reader, seed)(number))
    print(path, guard.check(guard.reader_of(reader), path, path.stat().st_size))
    try:
        guard.reader_of(reader)(path)
    except Exception:
        traceback.print_exc()


def main(arguments: list[str]) -> int:
    """Fuzz, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--inputs", type=int, default=1_040_000, help="files, all readers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="readers at the same time")
    parser.add_argument("--only", choices=tuple(READERS), help="one reader")
    parser.add_argument("--number", type=int, help="show one input of --only")
    parser.add_argument("--folder", default="/dev/shm", help="where files are written for reading")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    chosen = parser.parse_args(arguments)
    if chosen.number is not None:
        show(
            chosen.only or parser.error("--number needs --only"),
            chosen.seed,
            chosen.number,
            chosen.keep,
        )
        return 0
    results: dict[str, Any] = {
        "stamp": {**stamp(1, []), "readers_use": _versions()},
        "seed": chosen.seed,
        "limits": {"memory_bytes": MEMORY, "cpu_seconds": guard.SECONDS, "growth": guard.GROWTH},
        "readers": {},
    }
    shares = {chosen.only: 1.0} if chosen.only else SHARES
    with concurrent.futures.ThreadPoolExecutor(max(1, chosen.jobs)) as pool:
        # Each has a process of its own; the threads only wait for them.
        waiting = {
            pool.submit(
                fuzz, name, chosen.seed, round(chosen.inputs * share), chosen.folder, chosen.keep
            ): name
            for name, share in shares.items()
        }
        for done in concurrent.futures.as_completed(waiting):
            reader, found = waiting[done], done.result()
            results["readers"][reader] = found
            print(f"{reader}: {found['inputs']} inputs, {found['outcomes']}", flush=True)
            results["inputs"] = sum(r["inputs"] for r in results["readers"].values())
            results["failures"] = sum(len(r["failures"]) for r in results["readers"].values())
            if chosen.json:
                chosen.json.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if results["failures"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
