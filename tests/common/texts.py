"""The text data sets of tests marked ``realdata``."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np

_Texts = tuple[list[str], np.ndarray]


def questions(data_dir: Path, part: str) -> _Texts:
    """Return TREC's questions of `part` ("train" or "test") and their kinds."""
    path = data_dir / f"text_classification/trec/TREC.{part}"
    lines = path.read_text(encoding="latin-1").strip("\n").split("\n")
    kinds, texts = zip(*(line.split(" ", 1) for line in lines), strict=True)
    return list(texts), np.array([kind.split(":", 1)[0] for kind in kinds])


def news(data_dir: Path) -> _Texts:
    """Return AG News, its test file, and the topics."""
    with gzip.open(data_dir / "text_classification/ag_news/test.csv.gz", "rt") as stream:
        rows = list(csv.reader(stream))
    return [f"{title} {text}" for _, title, text in rows], np.array([int(row[0]) for row in rows])


def reviews(data_dir: Path) -> _Texts:
    """Return sentences of film reviews, and one where they are favourable."""
    folder = data_dir / "text_classification/rt_polarity"
    parts = [
        (folder / f"rt-polarity.{name}").read_text("latin-1").rstrip("\n").split("\n")
        for name in ("neg", "pos")
    ]
    return parts[0] + parts[1], np.repeat([0, 1], [len(part) for part in parts])
