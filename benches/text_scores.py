"""Scores and times on real texts, ironlearn beside scikit-learn.

``python benches/text_scores.py --json text.json`` trains the classifiers for sparse data on
TF-IDF rows of TREC, AG News and the film reviews in ``IRONLEARN_DATA``. Both libraries get the
same rows and take turns in one process; a time is the best of the rounds.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import naive_bayes as sk_naive_bayes
from sklearn import svm as sk_svm
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from ironlearn import _threads, naive_bayes, svm
from ironlearn.bench.stamp import stamp

_Texts = tuple[list[str], np.ndarray]

#: Name, packages of both libraries, class, parameters.
MODELS: list[tuple[str, Any, Any, str, dict[str, Any]]] = [
    ("MultinomialNB", naive_bayes, sk_naive_bayes, "MultinomialNB", {}),
    ("ComplementNB", naive_bayes, sk_naive_bayes, "ComplementNB", {}),
    ("BernoulliNB", naive_bayes, sk_naive_bayes, "BernoulliNB", {}),
    ("LinearSVC", svm, sk_svm, "LinearSVC", {"random_state": 0}),
    ("LinearSVC/hinge", svm, sk_svm, "LinearSVC", {"loss": "hinge", "random_state": 0}),
    ("LinearSVC/l1", svm, sk_svm, "LinearSVC", {"penalty": "l1", "random_state": 0}),
    (
        "LinearSVC/crammer_singer",
        svm,
        sk_svm,
        "LinearSVC",
        {"multi_class": "crammer_singer", "random_state": 0},
    ),
]


def _trec(folder: Path) -> tuple[_Texts, _Texts]:
    parts = []
    for part in ("train", "test"):
        lines = (folder / f"trec/TREC.{part}").read_text("latin-1").strip("\n").split("\n")
        kinds, texts = zip(*(line.split(" ", 1) for line in lines), strict=True)
        parts.append((list(texts), np.array([kind.split(":", 1)[0] for kind in kinds])))
    return parts[0], parts[1]


def _every_fourth(texts: list[str], labels: np.ndarray) -> tuple[_Texts, _Texts]:
    held = np.arange(len(texts)) % 4 == 0
    train = [text for text, h in zip(texts, held, strict=True) if not h]
    test = [text for text, h in zip(texts, held, strict=True) if h]
    return (train, labels[~held]), (test, labels[held])


def _ag_news(folder: Path) -> tuple[_Texts, _Texts]:
    with gzip.open(folder / "ag_news/test.csv.gz", "rt") as stream:
        rows = list(csv.reader(stream))
    texts = [f"{title} {text}" for _, title, text in rows]
    return _every_fourth(texts, np.array([int(row[0]) for row in rows]))


def _rt_polarity(folder: Path) -> tuple[_Texts, _Texts]:
    parts = [
        (folder / f"rt_polarity/rt-polarity.{name}").read_text("latin-1").rstrip("\n").split("\n")
        for name in ("neg", "pos")
    ]
    return _every_fourth(parts[0] + parts[1], np.repeat([0, 1], [len(part) for part in parts]))


#: Reader of each set, and the words that give it its usual score.
SETS: dict[str, tuple[Callable[[Path], tuple[_Texts, _Texts]], dict[str, Any]]] = {
    "trec": (
        _trec,
        {"ngram_range": (1, 2), "sublinear_tf": True, "token_pattern": r"\S+"},
    ),
    "rt_polarity": (_rt_polarity, {"ngram_range": (1, 2), "sublinear_tf": True}),
    "ag_news": (_ag_news, {}),
}


def _time(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(
    models: dict[str, Any], rows: tuple[Any, np.ndarray, Any, np.ndarray], rounds: int
) -> dict[str, Any]:
    """Return scores and best times of `models`, by library, that take turns."""
    X, y, X_test, y_test = rows
    best: dict[str, dict[str, float]] = {
        name: {"fit": np.inf, "predict": np.inf} for name in models
    }
    for _ in range(rounds):
        for name, model in models.items():
            times = best[name]
            times["fit"] = min(times["fit"], _time(lambda m=model: m.fit(X, y)))
            times["predict"] = min(times["predict"], _time(lambda m=model: m.predict(X_test)))
    answers = {name: model.predict(X_test) for name, model in models.items()}
    ours, theirs = answers.values()
    return {
        "score": {name: float(np.mean(answer == y_test)) for name, answer in answers.items()},
        "seconds": best,
        "equal_predictions": float(np.mean(ours == theirs)),
    }


def main(arguments: list[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--rounds", type=int, default=5, help="timings of each call (default 5)")
    parser.add_argument("--threads", type=int, default=_threads.available_cpus())
    parser.add_argument(
        "--words", choices=["usual", "single"], default="usual", help="single: unigrams for all"
    )
    chosen = parser.parse_args(arguments)
    data = os.environ.get("IRONLEARN_DATA")
    if not data:
        parser.error("IRONLEARN_DATA must name the folder that holds text_classification/.")
    warnings.simplefilter("ignore")
    results = []
    print(f"{'case':38} {'score':>7} {'sklearn':>8} {'fit':>10} {'ratio':>6} {'predict':>10} ratio")
    with threadpool_limits(chosen.threads):
        for name, (read, words) in SETS.items():
            (train, y), (test, y_test) = read(Path(data) / "text_classification")
            vectorizer = TfidfVectorizer(**(words if chosen.words == "usual" else {}))
            rows = vectorizer.fit_transform(train), y, vectorizer.transform(test), y_test
            for label, own, other, kind, parameters in MODELS:
                mine = getattr(own, kind)(**parameters, n_jobs=chosen.threads)
                models = {"ironlearn": mine, "scikit-learn": getattr(other, kind)(**parameters)}
                case = f"{label}/{name}"
                result = {"case": case, "shape": list(rows[0].shape), "stored": rows[0].nnz}
                result.update(measure(models, rows, chosen.rounds))
                results.append(result)
                times, score = result["seconds"], result["score"]
                line = f"{case:38} {score['ironlearn']:7.4f} {score['scikit-learn']:8.4f}"
                for what in ("fit", "predict"):
                    own_time, their_time = (times[k][what] for k in ("ironlearn", "scikit-learn"))
                    line += f" {1e3 * own_time:7.2f} ms {their_time / own_time:5.1f}x"
                print(line, flush=True)
    if chosen.json:
        stamped = {"stamp": stamp(chosen.threads, ["scikit-learn"]), "words": chosen.words}
        chosen.json.write_text(json.dumps({**stamped, "results": results}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
