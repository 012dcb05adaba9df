"""A training run in a process of its own, for tests that kill it.

``resume_run.py FOLDER EXECUTOR`` goes on from the checkpoint in FOLDER, and writes the final
weights, the optimizer's slots and the history to FOLDER/final.npz when it has finished.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ironlearn.nn.callbacks import Checkpoint
from ironlearn.nn.data import ArrayData
from ironlearn.nn.layers import Dense, Dropout, Sequential
from ironlearn.nn.schedules import Plateau
from ironlearn.nn.train import Trainer

EPOCHS = 6


def train(folder: Path, executor: str, *, epochs: int = EPOCHS, **settings: Any) -> Trainer:
    """Train, from the checkpoint where there is one."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((330, 6)).astype(np.float32)
    y = (x[:, :2].sum(axis=1) > 0).astype(np.int64)

    def noise(part: Any, rng: np.random.Generator) -> Any:
        return part + 0.1 * rng.standard_normal(part.shape).astype(np.float32)

    network = Sequential([Dense(16, "relu"), Dropout(0.3), Dense(2)]).initialize((6,))
    trainer = Trainer(
        network,
        "cross_entropy",
        "adam",
        schedule=Plateau(patience=1, factor=0.5),
        random_state=7,
        executor=executor,
    )
    trainer.fit(
        ArrayData(x, y, batch_size=16, transform=noise if executor == "eager" else None),
        epochs=epochs,
        validation=(x[:50], y[:50]),
        early_stopping=True,
        patience=50,
        checkpoint=Checkpoint(folder / "state", every_steps=3, every_seconds=None),
        resume=True,
        **settings,
    )
    return trainer


def result(trainer: Trainer) -> dict[str, Any]:
    """Return all that two equal runs have in common."""
    history = {k: v for k, v in trainer.history_.to_dict().items() if k != "seconds"}
    return {
        "history": np.frombuffer(json.dumps(history, sort_keys=True).encode(), np.uint8),
        **{f"network.{k}": v for k, v in trainer.network.state().items()},
        **{f"optimizer.{k}": v for k, v in trainer.optimizer.state().items()},
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    np.savez(folder / "final.npz", **result(train(folder, sys.argv[2])))
