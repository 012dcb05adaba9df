"""Makes the checkpoints in `golden/` (needs PyTorch and Keras): small files of other libraries.

``python tests/nn/make_golden_checkpoints.py``. They are kept, so that tests need neither library.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def torch_files() -> None:
    import numpy as np
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    values = torch.arange(12, dtype=torch.float32)
    state = {
        "plain": values.reshape(3, 4),
        "turned": values.reshape(3, 4).T,
        "part": values.reshape(3, 4)[1:, ::2],
        "half": values[:3].half() / 3,
        "bfloat": (values[:3] / 3).bfloat16(),
        "long": torch.tensor([1, -2]),
        "bool": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    content = {"state": state, "epoch": 3, "optimizer": {"lr": 1e-3, "betas": (0.9, 0.99)}}
    torch.save(content, FOLDER / "zip.pth")
    torch.save(content, FOLDER / "chain.pth", _use_new_zipfile_serialization=False)
    plain = {k: v.detach().contiguous().clone() for k, v in state.items()}
    save_file(plain, FOLDER / "plain.safetensors")
    np.savez(
        FOLDER / "expected.npz",
        **{k: (v.float() if v.dtype == torch.bfloat16 else v).numpy() for k, v in plain.items()},
    )


def keras_files() -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, kernel_initializer="ones")])
    net.save(FOLDER / "tiny.keras")
    net.save_weights(FOLDER / "tiny.weights.h5")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    torch_files()
    keras_files()
