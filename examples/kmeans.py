"""k-means twice: how many clusters there are, and a picture in sixteen colours."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_sample_image, make_blobs
from sklearn.metrics import silhouette_score

from ironlearn.cluster import KMeans


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, help="write the quantised picture to this PNG")
    parser.add_argument("--step", type=int, default=1, help="take every STEP-th row and column")
    arguments = parser.parse_args()

    X, _ = make_blobs(1500, centers=5, cluster_std=0.8, random_state=3)
    print("clusters  inertia  silhouette")
    for k in range(2, 9):
        model = KMeans(k, n_init=5, random_state=0).fit(X)
        print(f"{k:8d}  {model.inertia_:7.0f}  {silhouette_score(X, model.labels_):10.3f}")

    step = max(arguments.step, 1)
    picture = load_sample_image("china.jpg")[::step, ::step].astype(np.float32) / 255
    colours = picture.reshape(-1, 3)
    model = KMeans(16, random_state=0).fit(colours)
    flat = model.cluster_centers_[model.labels_].reshape(picture.shape)
    error = np.sqrt(np.mean((flat - picture) ** 2))
    print(f"16 colours for {len(colours)} pixels: root mean square error {error:.3f}")

    if arguments.picture is not None:
        from PIL import Image

        Image.fromarray((flat * 255).round().astype(np.uint8)).save(arguments.picture)
        print("wrote", arguments.picture)


if __name__ == "__main__":
    main()
