"""Train here, predict elsewhere: a model file, and a process that never loads scikit-learn."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from ironlearn.ensemble import RandomForestClassifier

SERVICE = """
import sys, time
import numpy as np
from ironlearn import serving
model = serving.load(sys.argv[1])
row = np.load(sys.argv[2])[:1]
label = model.predict(row)[0]
start = time.perf_counter()
for _ in range(200):
    model.predict(row)
micros = (time.perf_counter() - start) / 200 * 1e6
print(f"a {model.type} says {label}; {micros:.0f} microseconds a row")
print("scikit-learn was loaded:", "sklearn" in sys.modules)
"""


def main() -> None:
    X, y = load_digits(return_X_y=True)
    with tempfile.TemporaryDirectory() as folder:
        model, rows = Path(folder, "digits.ironlearn"), Path(folder, "rows.npy")
        RandomForestClassifier(random_state=0).fit(X, y).save(model)
        np.save(rows, X.astype(np.float32))
        print(f"the model file has {model.stat().st_size / 1e6:.1f} MB", flush=True)
        subprocess.run([sys.executable, "-c", SERVICE, str(model), str(rows)], check=True)


if __name__ == "__main__":
    main()
