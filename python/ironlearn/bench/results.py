"""Measurements and their file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ironlearn._modelfile import write_atomically
from ironlearn.exceptions import DataFileError

FORMAT = "ironlearn-bench"
VERSION = 1


@dataclass
class Results:
    """A stamp and the cells measured under it.

    Attributes
    ----------
    stamp : dict
        Where and with what; see `ironlearn.bench.stamp`.
    cells : list of dict
        One a case: ``case``, ``model``, ``settings``, ``shape``, ``repeats``,
        ``min_seconds`` and ``libraries``, which maps a library to ``fit`` and ``predict``
        (each with ``best``, ``median`` and ``runs``, seconds) and ``score``, or to ``error``.
    interrupted : bool
        Whether Ctrl-C ended the run.
    """

    stamp: dict[str, Any]
    cells: list[dict[str, Any]] = field(default_factory=list)
    interrupted: bool = False

    def cell(self, case: str) -> dict[str, Any] | None:
        """Return the cell of a case."""
        return next((cell for cell in self.cells if cell["case"] == case), None)

    def put(self, cell: dict[str, Any]) -> None:
        """Add a cell, or replace the one of the same case."""
        for i, old in enumerate(self.cells):
            if old["case"] == cell["case"]:
                self.cells[i] = cell
                return
        self.cells.append(cell)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the results as JSON, atomically."""
        content = {
            "format": FORMAT,
            "format_version": VERSION,
            "stamp": self.stamp,
            "cells": self.cells,
        }
        write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Results:
        """Return the results in a file.

        Raises
        ------
        DataFileError
            The file cannot be read, is no file of results, or is of a newer version.
        """
        name = os.fspath(path)
        try:
            content = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise DataFileError(f"{name} cannot be read: {error}") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise DataFileError(f"{name} holds no results of ironlearn bench.")
        found = content.get("format_version")
        if not isinstance(found, int) or found > VERSION:
            raise DataFileError(
                f"{name} is of format version {found!r}; this ironlearn reads up to {VERSION}."
            )
        stamp, cells = content.get("stamp"), content.get("cells")
        if (
            not isinstance(stamp, dict)
            or not isinstance(cells, list)
            or any(not isinstance(c, dict) or not {"case", "libraries"} <= set(c) for c in cells)
        ):
            raise DataFileError(f"{name} holds damaged results.")
        return cls(stamp, cells)


def ratio(cell: dict[str, Any], library: str, what: str) -> float | None:
    """Return how many times faster than `library` ironlearn is at "fit" or "predict"."""
    ours = cell["libraries"].get("ironlearn", {}).get(what)
    theirs = cell["libraries"].get(library, {}).get(what)
    if not ours or not theirs or not ours["best"]:
        return None
    return float(theirs["best"] / ours["best"])
