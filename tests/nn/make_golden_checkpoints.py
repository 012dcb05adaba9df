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


def quantized_torch_files() -> None:
    import warnings

    import numpy as np
    import torch

    # PyTorch deprecates making such tensors; files with them stay.
    warnings.simplefilter("ignore")
    values = torch.arange(-6, 6, dtype=torch.float32).reshape(3, 4) / 7
    scales, zeros = torch.tensor([0.1, 0.02, 1e-3]), torch.tensor([3, 0, -5])
    floats = torch.tensor([0.5, 0.25, 0.125]), torch.tensor([1.5, 0.0, 2.25])
    state = {
        "tensor": torch.quantize_per_tensor(values, 0.05, 7, torch.qint8),
        "unsigned": torch.quantize_per_tensor(values, 1 / 3, 128, torch.quint8),
        "wide": torch.quantize_per_tensor(values, 1e-6, 0, torch.qint32),
        "rows": torch.quantize_per_channel(values, scales, zeros, 0, torch.qint8),
        "columns": torch.quantize_per_channel(values.T, scales, zeros, 1, torch.qint8),
        "floats": torch.quantize_per_channel(values, *floats, 0, torch.quint8),
    }
    content = {**state, "packed": (state["rows"], torch.ones(3)), "dtype": torch.qint8}
    torch.save(content, FOLDER / "quantized.pth")
    torch.save(content, FOLDER / "quantized-chain.pth", _use_new_zipfile_serialization=False)
    expected = {k: v.dequantize().contiguous().numpy() for k, v in state.items()}
    expected |= {"packed.0": expected["rows"], "packed.1": np.ones(3, np.float32)}
    np.savez(FOLDER / "quantized.npz", **expected)


def keras_files() -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, kernel_initializer="ones")])
    net.save(FOLDER / "tiny.keras")
    net.save_weights(FOLDER / "tiny.weights.h5")


def small_keras_files() -> None:
    """Weights of 1, 2, 4, 5, 7, 8 in types of 8 and 16 bits."""
    import keras
    import numpy as np

    kernel = np.array([[1, 2], [4, 5], [7, 8]], np.float32)
    for kind in ("float16", "bfloat16", "int8"):
        policy = "float32" if kind == "int8" else kind
        net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype=policy)])
        net.layers[0].set_weights([kernel, np.array([0.5, -0.5], np.float32)])
        if kind == "int8":
            net.quantize("int8")
        net.save_weights(FOLDER / f"{kind}.weights.h5")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    torch_files()
    quantized_torch_files()
    keras_files()
    small_keras_files()
