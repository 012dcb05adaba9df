"""Networks for pictures in plain NumPy, channels first, by the names of torchvision's weights."""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray[Any, Any]]


def conv(x: Any, kernel: Any, stride: int = 1, padding: Any = (0, 0)) -> Any:
    """Convolve (N, C, H, W) with (out, in, h, w); one input channel means one for each output."""
    before, after = padding
    x = np.pad(x, ((0, 0), (0, 0), (before, after), (before, after)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]
    if kernel.shape[1] == 1 < x.shape[1]:
        return np.einsum("nchwij,cij->nchw", windows, kernel[:, 0])
    return np.einsum("nchwij,ocij->nohw", windows, kernel, optimize=True)


def norm(w: Arrays, x: Any, name: str, eps: float) -> Any:
    gain, offset, mean, var = (
        w[f"{name}.{part}"].astype(np.float64)[:, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(var + eps) * gain + offset


def max_pool(x: Any, size: int, stride: int, padding: int) -> Any:
    edges = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    x = np.pad(x, edges, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    return windows[:, :, ::stride, ::stride].max(axis=(4, 5))


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def relu6(x: Any) -> Any:
    return np.clip(x, 0, 6)


class Maker:
    """Draws weights under names, so that values neither vanish nor explode."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.arrays: Arrays = {}

    def dense(self, name: str, outputs: int, *inputs: int, bias: bool = True) -> None:
        scale = np.float32(np.sqrt(2 / np.prod(inputs)))
        kernel = self.rng.standard_normal((outputs, *inputs), np.float32) * scale
        self.arrays[f"{name}.weight"] = kernel
        if bias:
            self.arrays[f"{name}.bias"] = self.rng.standard_normal(outputs, np.float32)

    def norm(self, name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean"):
            self.arrays[f"{name}.{part}"] = self.rng.standard_normal(channels, np.float32)
        variance = self.rng.random(channels, np.float32) + np.float32(0.5)
        self.arrays[f"{name}.running_var"] = variance
        self.arrays[f"{name}.num_batches_tracked"] = np.array(7)


# VGG16 --------------------------------------------------------------------------------------------

#: Places of the convolutions in ``features``, their channels, and whether a maximum follows.
VGG = (
    (0, 64, False),
    (2, 64, True),
    (5, 128, False),
    (7, 128, True),
    (10, 256, False),
    (12, 256, False),
    (14, 256, True),
    (17, 512, False),
    (19, 512, False),
    (21, 512, True),
    (24, 512, False),
    (26, 512, False),
    (28, 512, True),
)


def vgg_arrays(cells: int, classes: int) -> Arrays:
    make, before = Maker(0), 3
    for place, channels, _ in VGG:
        make.dense(f"features.{place}", channels, before, 3, 3)
        before = channels
    make.dense("classifier.0", 4096, 512 * cells)
    make.dense("classifier.3", 4096, 4096)
    make.dense("classifier.6", classes, 4096)
    return make.arrays


def vgg(w: Arrays, x: Any) -> tuple[Any, Any]:
    """Return maps and logits."""
    for place, _, pool in VGG:
        kernel = w[f"features.{place}.weight"].astype(np.float64)
        bias = w[f"features.{place}.bias"][:, None, None]
        x = relu(conv(x, kernel, 1, (1, 1)) + bias)
        x = max_pool(x, 2, 2, 0) if pool else x
    y = x.reshape(len(x), -1)
    for i in (0, 3, 6):
        y = y @ w[f"classifier.{i}.weight"].T + w[f"classifier.{i}.bias"]
        y = relu(y) if i < 6 else y
    return x, y


# ResNet-18 ----------------------------------------------------------------------------------------


def resnet_arrays(classes: int, blocks: int = 2) -> Arrays:
    make, before = Maker(1), 64
    make.dense("conv1", 64, 3, 7, 7, bias=False)
    make.norm("bn1", 64)
    for stage, channels in enumerate((64, 128, 256, 512)):
        for i in range(blocks):
            name = f"layer{stage + 1}.{i}"
            make.dense(f"{name}.conv1", channels, before, 3, 3, bias=False)
            make.norm(f"{name}.bn1", channels)
            make.dense(f"{name}.conv2", channels, channels, 3, 3, bias=False)
            make.norm(f"{name}.bn2", channels)
            if i == 0 and stage:
                make.dense(f"{name}.downsample.0", channels, before, 1, 1, bias=False)
                make.norm(f"{name}.downsample.1", channels)
            before = channels
    make.dense("fc", classes, 512)
    return make.arrays


def resnet(w: Arrays, x: Any) -> tuple[Any, Any]:
    """Return maps and logits."""
    x = relu(norm(w, conv(x, w["conv1.weight"], 2, (3, 3)), "bn1", 1e-5))
    x = max_pool(x, 3, 2, 1)
    for stage in range(4):
        for i in range(2):
            name = f"layer{stage + 1}.{i}"
            stride = 2 if stage and i == 0 else 1
            y = conv(x, w[f"{name}.conv1.weight"], stride, (1, 1))
            y = relu(norm(w, y, f"{name}.bn1", 1e-5))
            y = norm(w, conv(y, w[f"{name}.conv2.weight"], 1, (1, 1)), f"{name}.bn2", 1e-5)
            if f"{name}.downsample.0.weight" in w:
                x = conv(x, w[f"{name}.downsample.0.weight"], stride)
                x = norm(w, x, f"{name}.downsample.1", 1e-5)
            x = relu(x + y)
    return x, x.mean(axis=(2, 3)) @ w["fc.weight"].T + w["fc.bias"]


# MobileNetV2 --------------------------------------------------------------------------------------

#: Expansion, channels of alpha 0.35, stride of each block.
MOBILE = (
    (1, 8, 1),
    (6, 8, 2),
    (6, 8, 1),
    (6, 16, 2),
    (6, 16, 1),
    (6, 16, 1),
    (6, 24, 2),
    (6, 24, 1),
    (6, 24, 1),
    (6, 24, 1),
    (6, 32, 1),
    (6, 32, 1),
    (6, 32, 1),
    (6, 56, 2),
    (6, 56, 1),
    (6, 56, 1),
    (6, 112, 1),
)


def mobile_arrays(classes: int) -> Arrays:
    make, before = Maker(2), 16
    make.dense("features.0.0", 16, 3, 3, 3, bias=False)
    make.norm("features.0.1", 16)
    for i, (expansion, channels, _) in enumerate(MOBILE):
        name, wide, place = f"features.{i + 1}.conv", before * expansion, 0
        if expansion > 1:
            make.dense(f"{name}.0.0", wide, before, 1, 1, bias=False)
            make.norm(f"{name}.0.1", wide)
            place = 1
        make.dense(f"{name}.{place}.0", wide, 1, 3, 3, bias=False)
        make.norm(f"{name}.{place}.1", wide)
        make.dense(f"{name}.{place + 1}", channels, wide, 1, 1, bias=False)
        make.norm(f"{name}.{place + 2}", channels)
        before = channels
    make.dense("features.18.0", 1280, before, 1, 1, bias=False)
    make.norm("features.18.1", 1280)
    make.dense("classifier.1", classes, 1280)
    return make.arrays


def mobile(w: Arrays, x: Any, keras: bool = False) -> tuple[Any, Any]:
    """Return maps and logits; Keras pads behind where it takes every second of an even number."""
    eps = 1e-3 if keras else 1e-5

    def edges(y: Any, stride: int) -> tuple[int, int]:
        return (0, 1) if keras and stride == 2 and y.shape[2] % 2 == 0 else (1, 1)

    x = conv(x, w["features.0.0.weight"], 2, edges(x, 2))
    x = relu6(norm(w, x, "features.0.1", eps))
    for i, (expansion, channels, stride) in enumerate(MOBILE):
        name, y, place = f"features.{i + 1}.conv", x, 0
        if expansion > 1:
            y = relu6(norm(w, conv(y, w[f"{name}.0.0.weight"]), f"{name}.0.1", eps))
            place = 1
        y = conv(y, w[f"{name}.{place}.0.weight"], stride, edges(y, stride))
        y = relu6(norm(w, y, f"{name}.{place}.1", eps))
        y = norm(w, conv(y, w[f"{name}.{place + 1}.weight"]), f"{name}.{place + 2}", eps)
        x = x + y if stride == 1 and x.shape[1] == channels else y
    x = relu6(norm(w, conv(x, w["features.18.0.weight"]), "features.18.1", eps))
    return x, x.mean(axis=(2, 3)) @ w["classifier.1.weight"].T + w["classifier.1.bias"]


# Keras's names ------------------------------------------------------------------------------------


def keras_layers(w: Arrays, cells: int) -> list[tuple[str, list[Any]]]:
    """Return kind and variables of the layers of the same network as Keras has them."""
    layers: list[tuple[str, list[Any]]] = []
    for name, kernel in w.items():
        if not name.endswith(".weight"):
            continue
        head = name.removesuffix(".weight")
        if kernel.ndim == 1:
            parts = ("weight", "bias", "running_mean", "running_var")
            layers.append(("batch_normalization", [w[f"{head}.{part}"] for part in parts]))
            continue
        if kernel.ndim == 2:
            kind, kernel = "dense", kernel.T
            if head == "classifier.0":
                kernel = kernel.reshape(512, cells, -1).transpose(1, 0, 2).reshape(512 * cells, -1)
        elif kernel.shape[1] == 1:
            kind, kernel = "depthwise_conv2d", kernel.transpose(2, 3, 0, 1)
        else:
            kind, kernel = "conv2d", kernel.transpose(2, 3, 1, 0)
        bias = [w[f"{head}.bias"]] if f"{head}.bias" in w else []
        layers.append((kind, [np.ascontiguousarray(kernel), *bias]))
    return layers


def numbered(layers: list[tuple[str, list[Any]]]) -> Arrays:
    """Return arrays in the names of Keras 3."""
    counts: dict[str, int] = {}
    found = {}
    for kind, variables in layers:
        n = counts.get(kind, 0)
        counts[kind] = n + 1
        for i, value in enumerate(variables):
            found[f"layers/{kind}{f'_{n}' if n else ''}/vars/{i}"] = value
    return found
