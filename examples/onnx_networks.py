"""A network trained here, run by ONNX Runtime, and read back as layers.

Needs ``pip install 'ironlearn[onnx]' onnxruntime``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from sklearn.datasets import load_digits

from ironlearn.io.onnx import from_onnx, save_onnx
from ironlearn.nn.train import predict
from ironlearn.vision import CNNClassifier


def main() -> None:
    images, digits = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    network = CNNClassifier(epochs=3, random_state=0).fit(images[:1500], digits[:1500])
    test = images[1500:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.onnx"
        save_onnx(network, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        print(f"{path.stat().st_size / 1024:.0f} KB")
        label, probabilities = session.run(None, {session.get_inputs()[0].name: test})
        outputs = [output.name for output in session.get_outputs()]
        layers = from_onnx(path, output=outputs[1])
    print("equal labels:", bool((label == network.predict(test)).all()))
    again = predict(layers, test)
    print(f"read back, largest difference: {np.abs(again - probabilities).max():.1e}")


if __name__ == "__main__":
    main()
