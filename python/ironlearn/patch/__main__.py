"""``python -m ironlearn.patch [options] script.py [arguments]``, or ``-m module``."""

from __future__ import annotations

import argparse
import builtins
import runpy
import sys
import types
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import spec_from_loader
from pathlib import Path

from ironlearn.exceptions import InvalidParameterError
from ironlearn.patch import _events, _install


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ironlearn.patch",
        usage="%(prog)s [options] (script.py | -m module) [arguments]",
        description="Run a script or a module with scikit-learn's estimators replaced.",
    )
    parser.add_argument("--only", metavar="NAMES", help="replace these classes only, as SVC,KMeans")
    parser.add_argument(
        "--fallback",
        choices=_events.MODES,
        help="what happens when scikit-learn must do the training (default: warn)",
    )
    parser.add_argument(
        "--report", action="store_true", help="print what ran where to stderr at the end"
    )
    parser.add_argument("-m", dest="module", action="store_true", help="run a module")
    parser.add_argument("target", help="the script, or the module's name after -m")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Patch, then run what the command line names as the program.

    Parameters
    ----------
    arguments : sequence of str, default=None
        The arguments; ``None`` takes those of the process.
    """
    parser = _parser()
    parsed = parser.parse_args(arguments)
    script = None if parsed.module else Path(parsed.target)
    if script is not None and not script.is_file():
        parser.error(f"there is no script {parsed.target!r}")
    try:
        names = None if parsed.only is None else parsed.only.split(",")
        _install.sklearn_patch(names, fallback=parsed.fallback)
    except InvalidParameterError as error:
        parser.error(str(error))
    sys.argv = [parsed.target, *parsed.arguments]
    try:
        if script is None:
            runpy.run_module(parsed.target, run_name="__main__", alter_sys=True)
        else:
            _run_script(script)
    finally:
        if parsed.report:
            print(_events.report(), file=sys.stderr)


def _run_script(path: Path) -> None:
    """Run the script as ``python path`` would: it is ``__main__``, its folder comes first."""
    sys.path[0] = str(path.resolve().parent)
    loader = SourceFileLoader("__main__", str(path))
    spec = spec_from_loader("__main__", loader)
    main_module = types.ModuleType("__main__")
    main_module.__dict__.update(
        __file__=str(path), __loader__=loader, __spec__=None, __builtins__=builtins
    )
    assert spec is not None
    code = compile(path.read_bytes(), str(path), "exec")
    sys.modules["__main__"] = main_module
    exec(code, main_module.__dict__)


if __name__ == "__main__":
    main()
