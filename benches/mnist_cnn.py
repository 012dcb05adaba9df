"""Accuracy of the convolutional classifier on MNIST: several seeds, the test images used once.

``python benches/mnist_cnn.py --json mnist.json`` trains ``CNNClassifier`` with a preset on MNIST in
``IRONLEARN_DATA`` (``mnist/``) for each seed. What is measured while training comes from images
held back from the 60,000; the 10,000 test images are looked at when a training has ended. Trainings
write checkpoints beside the file, and both are gone on with when the command is run again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ironlearn import _threads
from ironlearn.bench.stamp import same, stamp
from ironlearn.vision import CNNClassifier


def images(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels of MNIST's "train" or "t10k"."""
    raw = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)
    return pixels, np.frombuffer(labels, np.uint8, offset=8)


def train(
    folder: Path, preset: str, more: dict[str, Any], seed: int, rows: int, checkpoint: Path | None
) -> dict[str, Any]:
    """Train once and return what came of it."""
    X, y = images(folder, "train")
    order = np.random.default_rng(seed).permutation(len(X))[:rows]
    held, kept = order[: len(order) // 12], order[len(order) // 12 :]
    model = CNNClassifier.from_preset(preset, random_state=seed, verbose=2, **more)
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(
        X[kept],
        y[kept],
        validation_data=(X[held], y[held]),
        checkpoint=checkpoint,
        resume=checkpoint is not None,
    )
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    X_test, y_test = images(folder, "t10k")
    found = {
        "seed": seed,
        "test_accuracy": float(model.score(X_test, y_test)),
        "validation_accuracy": model.history_["val_accuracy"][-1],
        "training_images": len(kept),
        "seconds": seconds,
        "history": model.history_.to_dict(),
    }
    if checkpoint is not None:
        # The one before the last is kept beside it.
        for file in checkpoint.parent.glob(f"{checkpoint.name}*"):
            file.unlink()
    return found


def main(arguments: list[str]) -> int:
    """Train, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write results to this file, go on from it")
    parser.add_argument("--preset", choices=tuple(CNNClassifier.PRESETS), default="accurate")
    parser.add_argument("--epochs", type=int, help="passes over the images (the preset's)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=60_000, help="images to train and to hold back")
    chosen = parser.parse_args(arguments)
    data = os.environ.get("IRONLEARN_DATA")
    if not data:
        parser.error("IRONLEARN_DATA must name the folder that holds mnist/.")
    more = {} if chosen.epochs is None else {"epochs": chosen.epochs}
    settings = CNNClassifier.from_preset(chosen.preset, **more).get_params()
    settings = {k: v for k, v in settings.items() if k not in ("random_state", "verbose")}
    how = {"preset": chosen.preset, "rows": chosen.rows, "settings": settings}
    results: dict[str, Any] = {"stamp": stamp(_threads.resolve(None), []), **how, "runs": []}
    if chosen.json and chosen.json.exists():
        before = json.loads(chosen.json.read_text())
        if same(before["stamp"], results["stamp"]) and all(before[k] == how[k] for k in how):
            results["runs"] = before["runs"]
    for seed in range(chosen.seeds):
        if any(run["seed"] == seed for run in results["runs"]):
            continue
        checkpoint = chosen.json and chosen.json.with_suffix(f".seed{seed}.checkpoint")
        folder = Path(data) / "mnist"
        run = train(folder, chosen.preset, more, seed, chosen.rows, checkpoint)
        results["runs"].append(run)
        print(f"seed {seed}: test accuracy {run['test_accuracy']:.4f}", flush=True)
        if chosen.json:
            chosen.json.write_text(json.dumps(results, indent=1) + "\n")
    scores = [run["test_accuracy"] for run in results["runs"][: chosen.seeds]]
    results["median_test_accuracy"] = float(np.median(scores))
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")
    print(f"median test accuracy of {len(scores)} seeds: {np.median(scores):.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
