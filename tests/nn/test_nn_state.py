"""Networks in files: they come back whole, and damaged or hostile ones are refused."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.numpy import save

import ironlearn
from ironlearn import _modelfile, serving
from ironlearn.exceptions import ModelFileError
from ironlearn.nn.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
    Sequential,
)
from ironlearn.nn.optimizers import OPTIMIZERS
from ironlearn.nn.state import (
    NETWORK,
    difference,
    fingerprint,
    load_network,
    network_from,
    network_state,
    optimizer_from,
    optimizer_state,
    save_network,
)
from ironlearn.nn.train import Trainer, predict


def convolutional() -> Sequential:
    layers: list[Layer] = [
        Conv2D(3, 3, activation="relu"),
        BatchNorm(),
        MaxPool2D(2),
        Sequential([Flatten(), Dropout(0.2)]),
        Dense(2),
    ]
    return Sequential(layers).initialize((6, 6, 1), 1)


IMAGES = np.random.default_rng(0).standard_normal((5, 6, 6, 1)).astype(np.float32)


def contents() -> _modelfile.Contents:
    values, tensors = network_state(convolutional())
    return _modelfile.Contents(NETWORK, {}, {"network": json.loads(json.dumps(values))}, tensors)


def forged(held: _modelfile.Contents) -> bytes:
    """Return a file with these contents and a right checksum."""
    metadata = {
        "format": "ironlearn",
        "format_version": "1",
        "type": held.type,
        "library_version": "0",
        "parameters": json.dumps(held.parameters),
        "attributes": json.dumps(held.attributes),
    }
    tensors = {name: np.array(value, order="C") for name, value in held.tensors.items()}
    metadata["checksum"] = _modelfile._digest(metadata, tensors)
    return save(tensors, metadata)


def load(data: bytes) -> Layer:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network"
        path.write_bytes(data)
        return load_network(path)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_comes_back(dtype: str, tmp_path: Path) -> None:
    network = convolutional().astype(dtype)
    Trainer(network, "cross_entropy", "adam").fit((IMAGES, np.arange(5) % 2), epochs=2)
    network.layers[0].kernel.trainable = False
    save_network(network, tmp_path / "network")
    again = load_network(tmp_path / "network")
    np.testing.assert_array_equal(predict(again, IMAGES), predict(network, IMAGES))
    assert predict(again, IMAGES).dtype == dtype
    assert [p.trainable for p in again.parameters()] == [p.trainable for p in network.parameters()]
    assert fingerprint(again) == fingerprint(network)
    assert [layer.number for layer in again.layers_of()] == [
        layer.number for layer in network.layers_of()
    ]


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_an_optimizer_comes_back(name: str) -> None:
    network = Sequential([Dense(2)]).initialize((3,))
    x, y = np.ones((4, 3), np.float32), np.arange(4) % 2
    trainer = Trainer(network, "cross_entropy", OPTIMIZERS[name](learning_rate=0.05))
    trainer.fit((x, y), epochs=2)
    values, tensors = optimizer_state(trainer.optimizer)
    again = optimizer_from(json.loads(json.dumps(values)), tensors, network)
    assert repr(again) == repr(trainer.optimizer)
    assert again.steps == 2
    for key, array in trainer.optimizer.state().items():
        np.testing.assert_array_equal(again.state()[key], array)
    for change in (
        lambda v, t: v.update(type="Adama"),
        lambda v, t: v.update(config={"learning_rate": -1.0}),
        lambda v, t: v.update(config=[]),
        lambda v, t: t.update({"optimizer.steps": np.zeros(2, np.int64)}),
        lambda v, t: t.update({"optimizer.other": np.zeros(2)}),
    ):
        bad, arrays = copy.deepcopy(values), dict(tensors)
        change(bad, arrays)
        with pytest.raises(ModelFileError):
            optimizer_from(bad, arrays, network)


def test_what_cannot_be_saved_is_refused(tmp_path: Path) -> None:
    class Mine(Layer):
        pass

    with pytest.raises(ValueError, match="Sequential is not built: it has nothing to save"):
        save_network(Sequential([Dense(2)]), tmp_path / "network")
    with pytest.raises(ValueError, match="a Mine cannot be saved"):
        save_network(Sequential([Mine()]).initialize((2,)), tmp_path / "network")
    assert not list(tmp_path.iterdir())


def test_another_models_file_is_refused(tmp_path: Path) -> None:
    held = contents()
    held.type = "GaussianNB"
    with pytest.raises(ModelFileError, match="holds a 'GaussianNB', not a network"):
        load(forged(held))


def refused(change: Any, message: str | None = None) -> None:
    held = contents()
    change(held)
    with pytest.raises(ModelFileError, match=message):
        load(forged(held))


def test_hostile_descriptions_are_refused() -> None:
    def spec(held: Any) -> Any:
        return held.attributes["network"]["spec"]

    def layer(held: Any, i: int) -> Any:
        return spec(held)["config"]["layers"][i]

    refused(lambda h: layer(h, 0).update(type="os.system"), "unknown layer type 'os.system'")
    refused(lambda h: layer(h, 0).update(type=3), "unknown layer type 3")
    refused(lambda h: layer(h, 0).update(more=3), "must be a value, a list or a layer")
    refused(lambda h: layer(h, 0)["config"].update(filters=-1), "filters of Conv2D")
    refused(lambda h: layer(h, 0)["config"].update(filters=4), "more than the file holds")
    refused(lambda h: layer(h, 0)["config"].update(filters=10**15), "more than the file holds")
    refused(lambda h: layer(h, 0)["config"].update(command="ls"), "settings of a Conv2D")
    refused(lambda h: layer(h, 4)["config"].update(units=1), "has the shape")
    refused(lambda h: layer(h, 4)["config"].update(units=2.5))
    refused(lambda h: spec(h)["config"].update(layers=[]))
    refused(lambda h: spec(h)["config"].update(layers=3))
    refused(lambda h: h.attributes["network"].update(spec=None))
    refused(lambda h: h.attributes["network"].pop("input_shape"))
    refused(lambda h: h.attributes["network"].update(input_shape=[6, 6, -1]), "no shape")
    refused(lambda h: h.attributes["network"].update(input_shape=[6, 6, 1 << 40]), "no shape")
    refused(lambda h: h.attributes["network"].update(input_shape=[6] * 99), "no shape")
    refused(lambda h: h.attributes["network"].update(input_shape=[6, 6]))
    refused(lambda h: h.attributes["network"].update(dtype="object"), "float32 or float64")
    refused(lambda h: h.attributes["network"].update(frozen=["layers.9.kernel"]))
    refused(lambda h: h.attributes.update(network=[]))
    refused(lambda h: h.attributes.clear())
    many = {"type": "Flatten", "config": {}}
    refused(lambda h: spec(h)["config"].update(layers=[many] * 10_001), "more than 10000 layers")

    def deep(held: Any) -> None:
        inner = {"type": "Flatten", "config": {}}
        for _ in range(40):
            inner = {"type": "Sequential", "config": {"layers": [inner]}}
        held.attributes["network"]["spec"] = inner

    refused(deep, "nested more than")


def test_hostile_arrays_are_refused() -> None:
    kernel = "network.layers.4.kernel"
    refused(lambda h: h.tensors.pop(kernel))
    refused(lambda h: h.tensors.update({"network.more": np.zeros(9)}), "unknown 'more'")
    refused(lambda h: h.tensors.update(other=np.zeros(3)), "unknown array 'other'")
    refused(lambda h: h.tensors.update({kernel: h.tensors[kernel].T}), "has the shape")
    for bad in (np.nan, np.inf):
        refused(
            lambda h, bad=bad: h.tensors.update({kernel: np.full_like(h.tensors[kernel], bad)}),
            "not finite",
        )


def test_memory_is_taken_only_for_what_the_file_holds() -> None:
    held = contents()
    held.attributes["network"]["spec"]["config"]["layers"][4]["config"]["units"] = 300_000_000
    tracemalloc.start()
    with pytest.raises(ModelFileError):
        load(forged(held))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


@hypothesis_settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(place: float, bit: int) -> None:
    data = bytearray(forged(contents()))
    data[int(place * len(data))] ^= 1 << bit
    with pytest.raises(ModelFileError):
        load(bytes(data))


@hypothesis_settings(max_examples=40, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_noticed(place: float) -> None:
    data = forged(contents())
    with pytest.raises(ModelFileError):
        load(data[: int(place * len(data))])


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    found = []
    for key, item in items:
        found.append((value, key))
        found += _places(item)
    return found


@hypothesis_settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_changed_description_is_refused_or_works(data: Any) -> None:
    held = contents()
    owner, key = data.draw(st.sampled_from(_places(held.attributes)))
    owner[key] = data.draw(_PLAIN)
    try:
        network = load(forged(held))
    except ModelFileError:
        return
    try:
        assert np.shape(predict(network, IMAGES))[0] == len(IMAGES)
    except ValueError:
        # A file may say that it wants other inputs than these.
        pass


def test_differences_are_named() -> None:
    one, other = convolutional().spec(), convolutional().spec()
    assert difference(one, other) is None
    other["config"]["layers"][3]["config"]["layers"][1]["config"]["rate"] = 0.5
    assert difference(one, other) == ("network.layers.3.layers.1.rate is 0.2 there, but 0.5 here")
    other["config"]["layers"].pop()
    other["config"]["layers"][3] = {"type": "Flatten", "config": {}}
    assert difference(one, other) == (
        "network.layers.3.type is 'Sequential' there, but 'Flatten' here"
    )
    assert difference([1], [1, 2]) == "network has 1 items there, but 2 here"


def test_other_arrays_may_stand_beside_a_network() -> None:
    values, tensors = network_state(convolutional(), "encoder")
    tensors["decoder.layers.0.kernel"] = np.zeros(3)
    again = network_from(values, tensors, "encoder")
    np.testing.assert_array_equal(predict(again, IMAGES), predict(convolutional(), IMAGES))


def test_serving_a_network_needs_no_scikit_learn(tmp_path: Path) -> None:
    network = convolutional()
    save_network(network, tmp_path / "network")
    np.save(tmp_path / "images.npy", IMAGES)
    program = (
        "import sys, numpy as np\n"
        "from ironlearn import serving\n"
        f"model = serving.load({str(tmp_path / 'network')!r})\n"
        f"answers = model.predict(np.load({str(tmp_path / 'images.npy')!r}))\n"
        f"np.save({str(tmp_path / 'answers.npy')!r}, answers)\n"
        "heavy = {'sklearn', 'scipy', 'pandas', 'matplotlib', 'rich', 'joblib'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"
    np.testing.assert_array_equal(np.load(tmp_path / "answers.npy"), predict(network, IMAGES))


def test_serving_refuses_what_is_no_network(tmp_path: Path) -> None:
    held = contents()
    held.attributes["network"]["spec"]["type"] = "System"
    (tmp_path / "network").write_bytes(forged(held))
    with pytest.raises(ModelFileError, match="unknown layer type 'System'"):
        serving.load(tmp_path / "network")
    (tmp_path / "network").write_bytes(forged(contents()))
    with pytest.raises(ModelFileError, match="holds a 'Network'"):
        ironlearn.load(tmp_path / "network")
