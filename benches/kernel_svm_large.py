"""Kernel SVM on many rows within a small cache: time, peak memory, support vectors.

``python benches/kernel_svm_large.py --json large.json`` fits ``SVC`` to 100,000 x 50 rows made
by scikit-learn's ``make_classification`` and writes what it took. The memory is that of the
whole process above what it held before the fit, so the copy of the support vectors and the
solver's own arrays count as well as the cache.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from sklearn.datasets import make_classification

from ironlearn import _threads
from ironlearn.bench.stamp import stamp
from ironlearn.svm import SVC

MEGABYTE = 2**20


class Peak:
    """The largest resident memory of this process while the block runs."""

    def __enter__(self) -> Peak:
        self.before = self.most = psutil.Process().memory_info().rss
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._done.wait(0.01):
            self.most = max(self.most, process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def data(rows: int, features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return rows and labels to train with, and a tenth as many to test with."""
    X, y = make_classification(
        n_samples=rows + rows // 10,
        n_features=features,
        n_informative=min(10, features),
        n_redundant=0,
        n_clusters_per_class=2,
        class_sep=1.5,
        flip_y=0.01,
        random_state=0,
    )
    X = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float64)
    return X[:rows], y[:rows], X[rows:], y[rows:]


def measure(rows: int, features: int, cache: float, settings: dict[str, Any]) -> dict[str, Any]:
    """Fit once and return what it took."""
    X, y, X_test, y_test = data(rows, features)
    # Starts the threads, so that their stacks are not counted.
    SVC().fit(X[:2000], y[:2000]).predict(X_test[:500])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    with Peak() as peak:
        start = time.perf_counter()
        model = SVC(kernel="rbf", cache_size=cache, **settings).fit(X, y)
        seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    accuracy = model.score(X_test, y_test)
    return {
        "rows": rows,
        "features": features,
        "cache_size": cache,
        "settings": settings,
        "fit_seconds": round(seconds, 2),
        "fit_cpu_seconds": round(
            after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime, 2
        ),
        "predict_seconds": round(time.perf_counter() - start, 2),
        "peak_megabytes_above_start": round((peak.most - peak.before) / MEGABYTE, 1),
        "support_vectors": len(model.support_),
        "iterations": int(model.n_iter_.sum()),
        "converged": model.fit_status_ == 0,
        "accuracy": round(float(accuracy), 4),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--cache", type=float, default=200.0, help="megabytes")
    parser.add_argument("--no-shrinking", action="store_true")
    parser.add_argument("--json", type=Path, help="file to write")
    given = parser.parse_args()
    settings = {"shrinking": not given.no_shrinking}
    result = {
        "stamp": stamp(_threads.resolve(None), ["scikit-learn"]),
        "result": measure(given.rows, given.features, given.cache, settings),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n")
    if not result["result"]["converged"]:
        sys.exit("the solver did not converge")


if __name__ == "__main__":
    main()
