"""VGG16, ResNet-18 and MobileNetV2 beside torchvision's and Keras's own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ironlearn.nn.autograd import Tensor, no_grad
from ironlearn.nn.layers.sequential import initialize
from ironlearn.nn.pretrained import read_weights
from ironlearn.nn.pretrained.mobilenet import MobileNetV2
from ironlearn.nn.pretrained.pictures import preprocess
from ironlearn.nn.pretrained.resnet import ResNet18
from ironlearn.nn.pretrained.vgg import VGG16

FORMS = ("zip", "chain", "safetensors", "half")
pytestmark = pytest.mark.oracle


def pictures() -> list[Any]:
    from sklearn.datasets import load_sample_images

    return list(load_sample_images().images)


def disturbed(net: Any) -> Any:
    """Return a network of torchvision whose normalizations have something to do."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.1)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net.eval()


@pytest.mark.parametrize(
    ("name", "ours", "form"),
    [
        ("vgg16", VGG16, "zip"),
        *(("resnet18", ResNet18, form) for form in FORMS),
        *(("mobilenet_v2", MobileNetV2, form) for form in FORMS),
    ],
)
def test_networks_give_the_answers_of_torchvision(
    name: str, ours: Any, form: str, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    from safetensors.torch import save_file

    theirs = disturbed(getattr(torchvision.models, name)())
    if form == "half":
        theirs = theirs.half().float()
        state = {
            k: v.half() if v.is_floating_point() else v for k, v in theirs.state_dict().items()
        }
    else:
        state = theirs.state_dict()
    file = tmp_path / "weights"
    if form in ("safetensors", "half"):
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=form == "zip")
    net = ours().load_torch(read_weights(file))
    x = np.stack([net.preprocess(picture) for picture in pictures()])
    with no_grad(), torch.no_grad():
        wide = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
        expected = theirs(wide).numpy()
        got = net(Tensor(x)).data
        maps = net.features(Tensor(x)).data
        if name == "resnet18":
            cut = torch.nn.Sequential(*list(theirs.children())[:-2])
            their_maps = cut(wide)
        else:
            their_maps = theirs.features(wide)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * max(1, scale))
    their_maps = their_maps.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(maps, their_maps, rtol=0, atol=1e-4 * max(1, their_maps.max()))
    np.testing.assert_array_equal(got.argsort(axis=1)[:, -5:], expected.argsort(axis=1)[:, -5:])


def test_pictures_are_those_of_torchvision() -> None:
    torchvision = pytest.importorskip("torchvision")
    from PIL import Image

    transform = torchvision.transforms._presets.ImageClassification(crop_size=224)
    for picture in pictures():
        for cut in (picture, picture[:301, :500], picture[:, :277], picture[:255, :254]):
            expected = transform(Image.fromarray(cut)).numpy().transpose(1, 2, 0)
            np.testing.assert_allclose(preprocess(cut), expected, atol=1e-5)


KERAS = """
import sys
import numpy as np
import keras
from keras.applications import vgg16, mobilenet_v2

kind, folder = sys.argv[1:]
keras.utils.set_random_seed(0)
if kind == "vgg":
    make, size, more, prepare = vgg16.VGG16, 32, {}, vgg16.preprocess_input
else:
    make, size, more = mobilenet_v2.MobileNetV2, int(kind.partition("-")[2]), {"alpha": 0.35}
    prepare = mobilenet_v2.preprocess_input
more |= {"weights": None, "classes": 10, "classifier_activation": None}
net = make(input_shape=(size, size, 3), **more)
rng = np.random.default_rng(0)
for layer in net.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
        values = [rng.random(v.shape) + 0.5 for v in layer.weights]
        layer.set_weights(values)
net.save_weights(f"{folder}/net.weights.h5")
net.save(f"{folder}/net.keras")
net.save(f"{folder}/older.h5")
x = rng.integers(0, 256, (2, *net.input_shape[1:])).astype(np.float32)
np.savez(f"{folder}/answers.npz", x=x, prepared=prepare(x.copy()),
         y=np.asarray(net.predict(prepare(x.copy()), verbose=0)))
"""


@pytest.mark.parametrize("kind", ["vgg", "mobile-64", "mobile-97"])
def test_networks_give_the_answers_of_keras(kind: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("keras") is None:
        pytest.skip("the package keras is not installed")
    # A process of its own: TensorFlow and PyTorch cannot share one.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KERAS, kind, str(tmp_path)],
        env={"KERAS_BACKEND": "torch", **os.environ},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = np.load(tmp_path / "answers.npz")
    size = answers["x"].shape[1]
    for file in ("net.weights.h5", "net.keras", "older.h5"):
        net: Any = VGG16(classes=10) if kind == "vgg" else MobileNetV2(classes=10, alpha=0.35)
        initialize(net, (size, size, 3)).load_keras(read_weights(tmp_path / file))
        with no_grad():
            got = net(Tensor(answers["prepared"].astype(np.float32))).data
        scale = np.abs(answers["y"]).max()
        np.testing.assert_allclose(got, answers["y"], rtol=0, atol=1e-4 * scale, err_msg=file)
    # A picture that needs neither resizing nor cutting is prepared as Keras does it.
    values = answers["x"][0].astype(np.uint8)
    scale_name = "caffe" if kind == "vgg" else "tf"
    ours = preprocess(values, size, size, scale_name)
    np.testing.assert_allclose(ours, answers["prepared"][0], atol=1e-4)
