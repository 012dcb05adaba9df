"""The process of one library: JSON lines in, JSON lines out."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any

from ironlearn.bench.cases import CASES
from ironlearn.bench.session import Session


class Worker:
    """Answers the runner's requests for one library."""

    def __init__(self, library: str, threads: int) -> None:
        self.library = library
        self.threads = threads
        self.session: Session | None = None

    def answer(self, request: dict[str, Any]) -> Any:
        """Return the answer to a request: its "op" and, to begin, the name of the "case"."""
        if request["op"] == "begin":
            self.session = None
            self.session = Session(self.library, CASES[request["case"]], self.threads)
            return self.session.first()
        assert self.session is not None
        if request["op"] == "score":
            return self.session.score()
        return self.session.time(request["op"])


def main() -> None:
    """Serve until the input ends."""
    library, threads = sys.argv[1], int(sys.argv[2])
    # Whatever a library prints must not come between the answers.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(library, threads)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError):
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(threads))
        for line in sys.stdin:
            try:
                reply = {"ok": worker.answer(json.loads(line))}
            except Exception as error:
                reply = {"error": f"{type(error).__name__}: {error}"}
            channel.write(json.dumps(reply) + "\n")
            channel.flush()


if __name__ == "__main__":
    main()
