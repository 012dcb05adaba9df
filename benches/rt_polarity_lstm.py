"""Ten-fold accuracy of `LSTMTextClassifier` on film reviews, beside TF-IDF with naive Bayes.

``python benches/rt_polarity_lstm.py --json rt.json`` trains on nine tenths of the 10,662 sentences
of rt-polarity in ``IRONLEARN_DATA`` and reads the last, ten times. The file is written after each
fold; started again with the same file, the run goes on with the folds that are missing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import StratifiedKFold

from ironlearn import _threads
from ironlearn._modelfile import write_atomically
from ironlearn.bench.stamp import stamp
from ironlearn.naive_bayes import MultinomialNB
from ironlearn.text import LSTMTextClassifier


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return sentences and labels."""
    parts = [
        (folder / f"rt_polarity/rt-polarity.{name}").read_text("latin-1").rstrip("\n").split("\n")
        for name in ("neg", "pos")
    ]
    labels = np.repeat(["negative", "positive"], [len(part) for part in parts])
    return np.array(parts[0] + parts[1], dtype=object), labels


def naive_bayes(train: list[str], y: np.ndarray, test: list[str], truth: np.ndarray) -> float:
    """Return the accuracy of TF-IDF over words and pairs with naive Bayes."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = MultinomialNB().fit(words.fit_transform(train), y)
    return float(np.mean(model.predict(words.transform(test)) == truth))


def measure(
    texts: np.ndarray, y: np.ndarray, fold: int, parameters: dict[str, Any]
) -> dict[str, Any]:
    """Return what one fold gave."""
    folds = StratifiedKFold(10, shuffle=True, random_state=0).split(texts, y)
    train, test = list(folds)[fold]
    model = LSTMTextClassifier(**parameters, random_state=fold)
    start, cpu = time.perf_counter(), time.process_time()
    model.fit(texts[train].tolist(), y[train])
    result = {
        "fold": fold,
        "fit_seconds": time.perf_counter() - start,
        "fit_cpu_seconds": time.process_time() - cpu,
        "loss": model.history_["loss"],
        "words": len(model.vocabulary_),
    }
    start = time.perf_counter()
    answers = model.predict(texts[test].tolist())
    result["predict_seconds"] = time.perf_counter() - start
    result["accuracy"] = float(np.mean(answers == y[test]))
    result["naive_bayes"] = naive_bayes(
        texts[train].tolist(), y[train], texts[test].tolist(), y[test]
    )
    return result


def main(arguments: list[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the results to this file, and go on there")
    parser.add_argument("--preset", default="accurate", choices=list(LSTMTextClassifier.PRESETS))
    parser.add_argument("--folds", type=int, default=10, help="how many of the ten (default all)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another parameter, as JSON",
    )
    chosen = parser.parse_args(arguments)
    data = os.environ.get("IRONLEARN_DATA")
    if not data:
        parser.error("IRONLEARN_DATA must name the folder that holds text_classification/.")
    parameters = dict(LSTMTextClassifier.PRESETS[chosen.preset])
    for one in chosen.set:
        name, _, value = one.partition("=")
        parameters[name] = json.loads(value)
    texts, y = read(Path(data) / "text_classification")
    described = {"preset": chosen.preset, "parameters": parameters}
    results: list[dict[str, Any]] = []
    if chosen.json and chosen.json.exists():
        before = json.loads(chosen.json.read_text())
        if {k: before.get(k) for k in described} != described:
            parser.error(f"{chosen.json} was measured with other parameters.")
        results = before["results"]
    done = {result["fold"] for result in results}
    for fold in range(chosen.folds):
        if fold not in done:
            results.append(measure(texts, y, fold, parameters))
            last = results[-1]
            print(
                f"fold {fold}: {last['accuracy']:.4f}, naive Bayes {last['naive_bayes']:.4f}, "
                f"{last['fit_seconds']:.1f} s ({last['fit_cpu_seconds']:.1f} s of CPU)",
                flush=True,
            )
        means = {k: float(np.mean([r[k] for r in results])) for k in ("accuracy", "naive_bayes")}
        if chosen.json:
            stamped = {"stamp": stamp(_threads.available_cpus(), ["scikit-learn"]), **described}
            whole = {**stamped, "mean": means, "results": results}
            write_atomically(chosen.json, (json.dumps(whole, indent=1) + "\n").encode())
    print(
        f"mean of {len(results)}: {means['accuracy']:.4f}, naive Bayes {means['naive_bayes']:.4f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
