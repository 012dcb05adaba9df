"""VGG16, ResNet-18 and MobileNetV2 beside plain NumPy, and weights that are of other networks."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from ironlearn.exceptions import InvalidParameterError, ModelFileError
from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor, backward, no_grad
from ironlearn.nn.layers.sequential import initialize
from ironlearn.nn.pretrained import read_weights
from ironlearn.nn.pretrained.efficientnet_lite import EfficientNetLite0
from ironlearn.nn.pretrained.mobilenet import MobileNetV2
from ironlearn.nn.pretrained.pictures import preprocess
from ironlearn.nn.pretrained.resnet import ResNet18
from ironlearn.nn.pretrained.vgg import VGG16
from nn import plain_pictures as plain

CLASSES = 7


@functools.cache
def arrays(kind: str) -> plain.Arrays:
    if kind == "vgg":
        return plain.vgg_arrays(1, CLASSES)
    return plain.resnet_arrays(CLASSES) if kind == "resnet" else plain.mobile_arrays(CLASSES)


def network(kind: str, size: int = 0, **settings: Any) -> Any:
    """Return a network, built for images of `size` unless it is 0."""
    settings = {"classes": CLASSES, **settings}
    if kind == "mobile":
        net: Any = MobileNetV2(alpha=0.35, **settings)
    else:
        net = {"vgg": VGG16, "resnet": ResNet18}[kind](**settings)
    return initialize(net, (size, size, 3)) if size else net


def answers(net: Any, x: Any) -> Any:
    with no_grad():
        return net(Tensor(x)).data


def images(size: int, n: int = 2) -> Any:
    return np.random.default_rng(5).standard_normal((n, size, size, 3), np.float32)


@functools.cache
def expected(kind: str, size: int, keras: bool = False) -> tuple[Any, Any]:
    """Return maps and logits of `images` as plain NumPy computes them."""
    x = images(size).transpose(0, 3, 1, 2).astype(np.float64)
    more = {"keras": True} if keras else {}
    return getattr(plain, kind)(arrays(kind), x, **more)


def agree(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4 * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("kind", "size"),
    [("vgg", 32), ("resnet", 64), ("resnet", 47), ("mobile", 64), ("mobile", 47)],
)
def test_networks_compute_what_their_papers_say(kind: str, size: int) -> None:
    x = images(size)
    maps, logits = expected(kind, size)
    net = network(kind, size).load_torch(arrays(kind))
    agree(answers(net, x), logits)
    bare = network(kind, size, include_top=False).load_torch(arrays(kind))
    with no_grad():
        agree(bare.features(Tensor(x)).data, maps.transpose(0, 2, 3, 1))
    features = answers(bare, x)
    agree(features, maps.mean(axis=(2, 3)))
    assert features.shape[1:] == bare.output_shape((size, size, 3))


def by_name(kind: str) -> plain.Arrays:
    """Return arrays in the names of Keras's published files."""
    if kind == "vgg":
        names = [
            f"block{b + 1}_conv{c + 1}" for b, n in enumerate((2, 2, 3, 3, 3)) for c in range(n)
        ]
        roles = {"conv2d": ("W_1:0", "b_1:0"), "dense": ("W_1:0", "b_1:0")}
        names += ["fc1", "fc2", "predictions"]
        form = "{0}/{0}_{1}"
    else:
        parts = ["Conv1", "bn_Conv1"]
        for i in range(17):
            head = f"block_{i}" if i else "expanded_conv"
            for part in ("expand", "depthwise", "project")[0 if i else 1 :]:
                parts += [f"{head}_{part}", f"{head}_{part}_BN"]
        names = [*parts, "Conv_1", "Conv_1_bn", "Logits"]
        roles = {
            "conv2d": ("kernel:0",),
            "depthwise_conv2d": ("depthwise_kernel:0",),
            "batch_normalization": ("gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"),
            "dense": ("kernel:0", "bias:0"),
        }
        form = "{0}/{0}/{1}"
    layers = plain.keras_layers(arrays(kind), 1)
    return {
        form.format(name, role): value
        for name, (what, variables) in zip(names, layers, strict=True)
        for role, value in zip(roles[what], variables, strict=True)
    }


@pytest.mark.parametrize("form", ["numbered", "named"])
@pytest.mark.parametrize(("kind", "size"), [("vgg", 32), ("mobile", 64), ("mobile", 47)])
def test_keras_files_load(kind: str, size: int, form: str, tmp_path: Path) -> None:
    if form == "named":
        stored = by_name(kind)
    else:
        stored = plain.numbered(plain.keras_layers(arrays(kind), 1))
    found = stored
    if kind == "mobile":
        with h5py.File(tmp_path / "k.h5", "w") as file:
            for name, value in stored.items():
                file[name] = value
        found = read_weights(tmp_path / "k.h5")
    x = images(size)
    _, logits = expected(kind, size, kind == "mobile")
    net = network(kind, size).load_keras(found)
    assert net.variant == "keras"
    agree(answers(net, x), logits)
    if kind == "mobile":
        # And back: nothing of the other library is left.
        agree(answers(net.load_torch(arrays(kind)), x), expected(kind, size)[1])
    without = {k: v for k, v in found.items() if "dense" not in k and "fc" not in k}
    without = {k: v for k, v in without.items() if "Logits" not in k and "predictions" not in k}
    for loaded in (found, without):
        bare = network(kind, size, include_top=False).load_keras(loaded)
        assert answers(bare, x).shape == (2, 512 if kind == "vgg" else 1280)


@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_small_weights_load(kind: str, tmp_path: Path) -> None:
    small: dict[str, Any] = {}
    for name, value in arrays("mobile").items():
        if kind == "float16" and value.dtype == np.float32:
            small[name] = value.astype(np.float16)
        elif kind == "int8" and value.ndim > 1:
            scale = np.abs(value).reshape(len(value), -1).max(axis=1, keepdims=True) / 127
            rows = np.rint(value.reshape(len(value), -1) / scale)
            small[name] = rows.astype(np.int8).reshape(value.shape)
            small[f"{name}_scale"] = scale.astype(np.float32)
        else:
            small[name] = value
    save_file(small, tmp_path / "w.safetensors")
    net = network("mobile", 32).load_torch(read_weights(tmp_path / "w.safetensors"))
    full = network("mobile", 32).load_torch(arrays("mobile"))
    for (name, a), b in zip(full.state().items(), net.state().values(), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=0.02 * np.abs(a).max(), err_msg=name)
    assert any(
        (a != b).any() for a, b in zip(full.state().values(), net.state().values(), strict=True)
    )


WRONG = [
    ("resnet", {}, "vgg", r"lack 'conv1.weight' of shape \(64, 3, 7, 7\)"),
    ("vgg", {}, "resnet", r"lack 'features.0.weight' of shape \(64, 3, 3, 3\)"),
    (
        "resnet",
        {"classes": 9},
        "resnet",
        r"'fc.weight' has the shape \(7, 512\), but the network needs \(9, 512\)",
    ),
    (
        "mobile",
        {},
        "vgg",
        r"lack 'features.0.0.weight' of shape \(16, 3, 3, 3\)",
    ),
]


@pytest.mark.parametrize(("kind", "settings", "given", "message"), WRONG)
def test_the_first_mismatch_is_named(kind: str, settings: Any, given: str, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        network(kind, 32, **settings).load_torch(arrays(given))


def test_more_than_the_network_has_is_named() -> None:
    deeper = plain.resnet_arrays(CLASSES, blocks=3)
    message = r"hold 'layer1.2.conv1.weight' of shape \(64, 64, 3, 3\), which the network does not"
    for top in (True, False):
        with pytest.raises(ModelFileError, match=message):
            network("resnet", 32, include_top=top).load_torch(deeper)
    deeper = arrays("mobile") | {"features.19.0.weight": np.ones((2, 2), np.float32)}
    with pytest.raises(ModelFileError, match="'features.19.0.weight'"):
        network("mobile", 32).load_torch(deeper)
    more = plain.numbered(plain.keras_layers(arrays("mobile"), 1))
    more["layers/conv2d_99/vars/0"] = np.ones((1, 1, 2, 2), np.float32)
    with pytest.raises(ModelFileError, match="'layers/conv2d_99/vars/0'"):
        network("mobile", 32).load_keras(more)


def test_other_widths_are_named() -> None:
    message = r"has the shape \(16, 3, 3, 3\), but the network needs \(32, 3, 3, 3\)"
    with pytest.raises(ModelFileError, match=message):
        initialize(MobileNetV2(), (32, 32, 3)).load_torch(arrays("mobile"))
    stored = plain.numbered(plain.keras_layers(arrays("mobile"), 1))
    message = r"conv2d/vars/0' has the shape \(3, 3, 3, 16\), but the network needs \(3, 3, 3, 32\)"
    with pytest.raises(ModelFileError, match=message):
        initialize(MobileNetV2(), (32, 32, 3)).load_keras(stored)
    with pytest.raises(ModelFileError, match="lack 'layers/conv2d/vars/0'|lack 'Conv1/kernel'"):
        network("mobile", 32).load_keras(arrays("mobile"))


def test_a_negative_variance_is_refused() -> None:
    broken = dict(arrays("mobile"))
    broken["features.0.1.running_var"] = -np.ones(16, np.float32)
    with pytest.raises(ModelFileError, match=r"'features.0.1' has a negative variance"):
        network("mobile", 32).load_torch(broken)


def test_a_larger_efficientnet_is_refused() -> None:
    from ironlearn.nn.pretrained.bert import BertEncoder

    net = initialize(EfficientNetLite0(), (32, 32, 3))
    with pytest.raises(ModelFileError, match="lack '_conv_stem.weight'"):
        net.load_torch(arrays("resnet"))
    # BERT's blocks beyond those of the network are refused as well.
    from nn.test_nn_pretrained_networks import HEADS, INNER, WIDTH, bert_arrays

    with pytest.raises(ModelFileError, match=r"hold 'encoder.layer.2\."):
        BertEncoder(30, WIDTH, 2, HEADS, INNER, 12).load_huggingface(bert_arrays(3))


def test_features_can_be_trained_on() -> None:
    net = network("mobile", 32, include_top=False).load_torch(arrays("mobile"))
    y = net(Tensor(images(32)))
    backward(F.sum(y))
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MobileNetV2(alpha=0), "alpha of MobileNetV2"),
        (lambda: MobileNetV2(alpha=True), "alpha of MobileNetV2"),
        (lambda: MobileNetV2(variant="caffe"), "variant of MobileNetV2 must be one of"),
        (lambda: VGG16(variant="x"), "variant of VGG16 must be one of"),
        (lambda: ResNet18(classes=0), "classes of ResNet18"),
        (lambda: preprocess(np.zeros((9, 9, 3), np.uint8), 32, 16), "resize must be at least"),
        (lambda: preprocess(np.zeros((9, 9, 3), np.uint8), scale="x"), "scale must be one of"),
        (lambda: preprocess(np.zeros((9, 9, 3), np.uint8), size=0), "size"),
    ],
)
def test_wrong_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
    assert issubclass(InvalidParameterError, ValueError)


@pytest.mark.parametrize("shape", [(300, 400), (400, 300), (256, 256), (150, 210)])
def test_the_middle_of_a_picture_is_kept(shape: tuple[int, int]) -> None:
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    picture = np.stack([rows * 255 // height, columns * 255 // width, rows * 0 + 30], axis=2)
    out = preprocess(picture.astype(np.uint8))
    assert out.shape == (224, 224, 3)
    assert out.dtype == np.float32
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    values = (out * std + mean) * 255
    np.testing.assert_allclose(values[..., 2], 30, atol=1e-3)
    # The middle is the middle, and the scale is that of the shorter side.
    np.testing.assert_allclose(values[111:113, 111:113, :2].mean(axis=(0, 1)), 127.5, atol=2)
    short = min(shape)
    expected = 255 / height * short / 256
    slope = (values[200, 100, 0] - values[20, 100, 0]) / 180
    np.testing.assert_allclose(slope, expected, rtol=0.03)


def test_scales_of_pictures() -> None:
    colour = np.zeros((256, 256, 3), np.uint8) + np.array([255, 0, 51], np.uint8)
    np.testing.assert_allclose(preprocess(colour, scale="tf")[0, 0], [1, -1, -0.6], atol=1e-6)
    expected = [51 - 103.939, 0 - 116.779, 255 - 123.68]
    np.testing.assert_allclose(preprocess(colour, scale="caffe")[0, 0], expected, atol=1e-4)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    np.testing.assert_allclose(preprocess(colour)[0, 0], expected, atol=1e-6)
    grey = Image.fromarray(np.full((300, 260), 51, np.uint8))
    for kind, scale in (("vgg", "caffe"), ("mobile", "tf")):
        net = network(kind, variant="keras")
        np.testing.assert_array_equal(net.preprocess(grey), preprocess(grey, scale=scale))
        np.testing.assert_array_equal(network(kind).preprocess(grey), preprocess(grey))
    np.testing.assert_array_equal(network("resnet").preprocess(grey), preprocess(grey))
