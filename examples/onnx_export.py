"""A forest trained here and run by ONNX Runtime, side by side.

Needs ``pip install 'ironlearn[onnx]' onnxruntime``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from ironlearn.ensemble import RandomForestClassifier
from ironlearn.io.onnx import save_onnx


def main() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_test, y_train, _ = train_test_split(X, y, random_state=0)
    forest = RandomForestClassifier(random_state=0).fit(X_train, y_train)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "forest.onnx"
        save_onnx(forest, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        print(f"{path.stat().st_size / 1024:.0f} KB")
    label, probabilities = session.run(None, {"X": X_test.astype(np.float32)})
    print("equal labels:", bool((label == forest.predict(X_test)).all()))
    gap = np.abs(probabilities - forest.predict_proba(X_test)).max()
    print(f"largest difference of probabilities: {gap:.1e}")


if __name__ == "__main__":
    main()
