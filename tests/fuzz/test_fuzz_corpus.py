"""Files that once broke a reader, and some new ones: refused or read, and nothing else happens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.mutations import CORPUS, READERS, generator

FILES = sorted(CORPUS.iterdir(), key=lambda path: path.name)

#: Reads the named file and, if told so, new inputs, in a process whose audit hook stays its own.
PROGRAM = """
import sys
from pathlib import Path
from fuzz import guard
from fuzz.mutations import generator

reader, count, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
read, make = guard.reader_of(reader), generator(reader, 1)
for warm in range(20):
    path.write_bytes(make(-1 - warm))
    guard.check(read, path, 1)
guard.install()
guard.limit_memory(256 << 20)
for k in range(count):
    data = make(k)
    path.write_bytes(data)
    outcome, detail, _ = guard.check(read, path, len(data))
    assert outcome in ("read", "refused"), (k, outcome, detail)
    print(outcome)
for name in sys.argv[4:]:
    outcome, detail, _ = guard.check(read, Path(name), Path(name).stat().st_size)
    assert outcome == Path(name).name.split("-")[0], (name, outcome, detail)
print("done")
"""


def test_the_corpus_is_small() -> None:
    assert 20 <= len(FILES)
    assert sum(path.stat().st_size for path in FILES) < 300_000


@pytest.mark.parametrize("reader", READERS)
def test_readers_survive_the_corpus_and_new_inputs(reader: str, tmp_path: Path) -> None:
    models = reader == "model-file"
    mine = [str(path) for path in FILES if (path.suffix == ".ironlearn") == models]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, reader, "400", str(tmp_path / "input"), *mine],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    lines = done.stdout.split()
    assert lines[-1] == "done"
    # Not all inputs fail at the first check.
    assert lines.count("read") >= 5
    assert lines.count("refused") >= 200


@pytest.mark.parametrize("reader", READERS)
def test_inputs_are_functions_of_their_number(reader: str) -> None:
    a, b = generator(reader, 0), generator(reader, 0)
    first = [a(k) for k in range(5)]
    assert [b(k) for k in reversed(range(5))][::-1] == first
    assert generator(reader, 1)(0) != first[0]


def test_the_guard_sees_what_a_file_does(tmp_path: Path) -> None:
    """A reader that executes, hangs, or takes too much is caught: the guard itself can fail."""
    program = """
import os, pickle, sys
from pathlib import Path
from fuzz import guard

class Evil:
    def __reduce__(self):
        return os.system, ("true",)

path = Path(sys.argv[1])
path.write_bytes(pickle.dumps(Evil()))
guard.SECONDS = 0.2
guard.install()
guard.limit_memory(64 << 20)

def endless(path):
    while True:
        pass

readers = (lambda p: pickle.loads(p.read_bytes()), endless, lambda p: len(bytearray(1 << 28)),
           lambda p: 10**6, lambda p: open(p, "w").write("x"), lambda p: [][1])
print([guard.check(read, path, 50)[0] for read in readers])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "x")],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    expected = ["executed", "too long", "MemoryError", "too much", "executed", "IndexError"]
    assert done.stdout.strip() == str(expected)
