"""The same readers under a fuzzer that looks for inputs which reach new lines: atheris, libFuzzer.

``python tests/fuzz/fuzz_guided.py pytorch-zip -runs=100000 -seed=1`` (``pip install atheris``)
begins with the first inputs that `mutations` makes for the reader, and from then on changes what
reached something new: bytes, or a fresh input of `mutations`. It stops at the first input for which
`guard` says anything but "read" or "refused". Other options are libFuzzer's.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports(include=["ironlearn.nn.pretrained", "ironlearn._modelfile"]):
    from fuzz import guard
    from fuzz.mutations import READERS, generator


def main(arguments: list[str]) -> None:
    """Run until something fails or libFuzzer's limits are reached."""
    reader = arguments[1]
    if reader not in READERS:
        raise SystemExit(f"the reader must be one of {', '.join(READERS)}, got {reader!r}.")
    read, make = guard.reader_of(reader), generator(reader, 0)
    folder = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    path = Path(folder) / "input"
    for k in range(200):
        data = make(k)
        path.write_bytes(data)
        guard.check(read, path, len(data))
        (Path(folder) / f"seed{k}").write_bytes(data)
    path.unlink()
    path = Path(tempfile.mkstemp(dir=Path(folder).parent)[1])
    guard.install()

    def one(data: bytes) -> None:
        path.write_bytes(data)
        outcome, detail, _ = guard.check(read, path, len(data))
        if outcome not in ("read", "refused"):
            raise AssertionError(f"{reader}: {outcome} {detail}")

    def change(data: bytes, most: int, seed: int) -> bytes:
        if random.Random(seed).random() < 0.2:
            return make(seed)[:most]
        return atheris.Mutate(data, len(data))

    atheris.Setup([arguments[0], *arguments[2:], folder], one, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
