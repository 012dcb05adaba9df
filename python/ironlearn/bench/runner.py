"""Runs cases: one process a library, taking turns."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ironlearn import _threads
from ironlearn.bench.cases import Case
from ironlearn.bench.libraries import LIBRARIES, installed, takes
from ironlearn.bench.results import Results
from ironlearn.bench.stamp import same, stamp
from ironlearn.exceptions import DataFileError, InvalidParameterError

#: A fit that takes longer is not repeated.
SLOW = 10.0
#: Most rounds of one case.
_MOST_ROUNDS = 200


class WorkerError(RuntimeError):
    """A library's process failed at a request."""


class _Process:
    """The process of one library."""

    def __init__(self, library: str, threads: int) -> None:
        count = str(threads)
        limits = ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB_MAXIMUM", "NUMEXPR", "IRONLEARN")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ironlearn.bench.worker", library, count],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **{f"{name}_NUM_THREADS": count for name in limits}},
            # Ctrl-C is for the runner, which ends its workers itself.
            start_new_session=True,
        )

    def ask(self, op: str, **more: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"op": op, **more}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"the process ended with code {self._process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply["ok"]

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def run(
    cases: Sequence[Case],
    *,
    threads: int | None = None,
    repeats: int = 5,
    min_seconds: float = 0.2,
    libraries: Sequence[str] | None = None,
    path: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Results:
    """Measure cases in every library that has their model.

    The libraries take turns: one fit and one prediction of each in every round, in their own
    processes, each limited to the same number of threads. A fit of more than 10 s is not
    repeated.

    Parameters
    ----------
    cases : sequence of Case
        What `ironlearn.bench.select` returns.
    threads : int, default=None
        Threads of each library; ``None`` takes all processors.
    repeats : int, default=5
        Least number of rounds.
    min_seconds : float, default=0.2
        Rounds go on until each library has worked that long on a case.
    libraries : sequence of str, default=None
        ``None`` takes all that are installed.
    path : path-like, default=None
        A JSON file that is written after each case. Finished cases in it that were taken
        with the same settings, machine and software are kept.
    fresh : bool, default=False
        Measure again what the file has, and replace a file of another machine or software.
    progress : callable, default=None
        Called with a case's name, the number of finished cases and of all.

    Returns
    -------
    Results
        After Ctrl-C, what was finished until then, with ``interrupted`` set.

    Raises
    ------
    InvalidParameterError
        A number is out of range or a library is not known or not installed.
    DataFileError
        The file exists and holds something else, or results of another machine or of other
        software without `fresh`.
    """
    threads = _checked_threads(threads)
    if repeats < 1:
        raise InvalidParameterError(f"repeats must be at least 1, got {repeats}.")
    if not 0 <= min_seconds < float("inf"):
        raise InvalidParameterError(f"min_seconds must be at least 0, got {min_seconds}.")
    chosen = _checked_libraries(libraries)
    # Of all libraries, so that cases measured beside some of them fit into one file.
    results = Results(stamp(threads, installed()))
    if path is not None and os.path.exists(path):
        # Read even if nothing is kept: a file of something else is not overwritten.
        before = Results.read(path)
        if same(before.stamp, results.stamp):
            results.cells = before.cells
        elif not fresh:
            differing = [k for k in results.stamp if before.stamp.get(k) != results.stamp[k]]
            raise DataFileError(
                f"{os.fspath(path)} holds results of another machine or other software (they "
                f"differ in {', '.join(k for k in differing if k not in ('date', 'data'))}): "
                "name another file, or pass fresh=True (--fresh) to replace them."
            )
    runner = _Runner(chosen, threads, repeats, min_seconds)
    try:
        for done, case in enumerate(cases):
            if progress is not None:
                progress(case.name, done, len(cases))
            old = results.cell(case.name)
            if old is not None and not fresh and runner.is_finished(old):
                continue
            results.put(runner.measure(case))
            if path is not None:
                results.save(path)
        if progress is not None:
            progress("", len(cases), len(cases))
    except KeyboardInterrupt:
        results.interrupted = True
    finally:
        runner.end()
    return results


def _checked_threads(threads: int | None) -> int:
    most = _threads.available_cpus()
    if threads is None:
        return most
    if not 1 <= threads <= most:
        raise InvalidParameterError(
            f"threads must be between 1 and {most}, the processors this process may use; got "
            f"{threads}."
        )
    return threads


def _checked_libraries(libraries: Sequence[str] | None) -> list[str]:
    there = installed()
    if libraries is None:
        return there
    for name in libraries:
        if name not in LIBRARIES:
            raise InvalidParameterError(
                f"there is no library {name!r}; known are {', '.join(LIBRARIES)}."
            )
        if name not in there:
            raise InvalidParameterError(f"{name} is not installed.")
    return [name for name in LIBRARIES if name in libraries]


class _Runner:
    """The processes, and how a case is measured with them."""

    def __init__(
        self, libraries: Sequence[str], threads: int, repeats: int, min_seconds: float
    ) -> None:
        self.libraries = libraries
        self.threads = threads
        self.repeats = repeats
        self.min_seconds = min_seconds
        self._processes: dict[str, _Process] = {}

    def is_finished(self, cell: dict[str, Any]) -> bool:
        """Return whether a cell of a file need not be measured again."""
        return (
            cell.get("repeats") == self.repeats
            and cell.get("min_seconds") == self.min_seconds
            and all("error" not in entry for entry in cell["libraries"].values())
        )

    def end(self) -> None:
        """End all processes."""
        while self._processes:
            self._processes.popitem()[1].end()

    def _ask(self, library: str, op: str, **more: Any) -> Any:
        if library not in self._processes:
            self._processes[library] = _Process(library, self.threads)
        return self._processes[library].ask(op, **more)

    def measure(self, case: Case) -> dict[str, Any]:
        """Return the cell of one case."""
        timed = ("predict",) if case.one_row else ("fit", "predict")
        taking = [library for library in self.libraries if takes(library, case)]
        times: dict[str, dict[str, list[float]]] = {}
        worked: dict[str, float] = {}
        entries: dict[str, dict[str, Any]] = {}

        def attempt(library: str, op: str, **more: Any) -> Any:
            try:
                return self._ask(library, op, **more)
            except WorkerError as error:
                entries[library] = {"error": str(error)}
                times.pop(library, None)
                # What it holds is not known any more.
                self._processes.pop(library).end()
                return None

        slow = set()
        for library in taking:
            first = attempt(library, "begin", case=case.name)
            if first is None:
                continue
            times[library] = {what: [] for what in timed}
            worked[library] = 0.0
            if first["fit"] > SLOW:
                # Too long for a warm-up that is thrown away.
                slow.add(library)
                for what in timed:
                    times[library][what].append(first[what])
        for done in range(_MOST_ROUNDS):
            turn = [
                library
                for library in times
                if library not in slow
                and (done < self.repeats or worked[library] < self.min_seconds)
            ]
            if not turn:
                break
            for library in turn:
                for what in timed:
                    answer = attempt(library, what)
                    if answer is None:
                        break
                    seconds, calls = answer
                    times[library][what].append(seconds)
                    worked[library] += seconds * calls
        for library in list(times):
            score = attempt(library, "score")
            if score is not None:
                entries[library] = {
                    **{what: _summary(seconds) for what, seconds in times[library].items()},
                    "score": score,
                }
        return {
            "case": case.name,
            "model": case.model,
            "source": case.source,
            "kind": case.kind,
            "rows": case.rows,
            "test_rows": case.test_rows,
            "settings": dict(case.settings),
            "one_row": case.one_row,
            "repeats": self.repeats,
            "min_seconds": self.min_seconds,
            "libraries": {name: entries[name] for name in taking},
        }


def _summary(seconds: list[float]) -> dict[str, Any]:
    return {
        "best": min(seconds),
        "median": statistics.median(seconds),
        "runs": len(seconds),
    }
