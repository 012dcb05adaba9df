"""Damaged and hostile model files are refused by name and never crash the interpreter."""

from __future__ import annotations

import contextlib
import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.numpy import save

import ironlearn
from common.make_golden import GOLDEN
from common.test_golden import FILES, answers
from ironlearn import _modelfile, serving
from ironlearn.exceptions import ModelFileError

LOADERS: list[Callable[[Path], Any]] = [ironlearn.load, serving.load]
BYTES = {name: (GOLDEN / f"{name}.ironlearn").read_bytes() for name in FILES}
CONTENTS = {name: _modelfile.read(GOLDEN / f"{name}.ironlearn") for name in FILES}
TREES = [name for name in FILES if "Tree" in name or "Forest" in name]
names = st.sampled_from(FILES)
many = hypothesis_settings(max_examples=150)


def forged(contents: _modelfile.Contents, header: dict[str, str] | None = None) -> bytes:
    """Return a file with these contents and a right checksum."""
    metadata = {
        "format": "ironlearn",
        "format_version": "1",
        "type": contents.type,
        "library_version": "0",
        "parameters": json.dumps(contents.parameters),
        "attributes": json.dumps(contents.attributes),
        **(header or {}),
    }
    tensors = {name: np.array(value, order="C") for name, value in contents.tensors.items()}
    metadata["checksum"] = _modelfile._digest(metadata, tensors)
    return save(tensors, metadata)


def refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(data)
        for load in LOADERS:
            with pytest.raises(ModelFileError):
                load(path)


def refused_or_works(contents: _modelfile.Contents, name: str) -> None:
    """Write the contents with a right checksum: what is read must be able to predict."""
    rows, _ = answers(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(forged(contents))
        for load in LOADERS:
            try:
                model = load(path)
            except ModelFileError:
                continue
            # A file may say that it wants other rows than these.
            with contextlib.suppress(ValueError):
                assert len(model.predict(rows)) == len(rows)


@many
@given(name=names, place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit(name: str, place: float, bit: int) -> None:
    data = bytearray(BYTES[name])
    data[int(place * len(data))] ^= 1 << bit
    refused(bytes(data))


@many
@given(name=names, place=st.floats(0, 1, exclude_max=True), noise=st.binary(min_size=1))
def test_an_overwritten_region(name: str, place: float, noise: bytes) -> None:
    good = BYTES[name]
    start = int(place * len(good))
    bad = good[:start] + noise[: len(good) - start] + good[start + len(noise) :]
    # Blanks that pad the header may become other blanks without changing what it says.
    assume(bad.translate(None, b" \t\n\r") != good.translate(None, b" \t\n\r"))
    refused(bad)


@many
@given(name=names, share=st.floats(0, 1, exclude_max=True), more=st.binary(max_size=20))
def test_a_truncated_or_lengthened_file(name: str, share: float, more: bytes) -> None:
    good = BYTES[name]
    refused(good[: int(share * len(good))])
    if more:
        refused(good + more)
        refused(more)


@pytest.mark.parametrize("name", FILES)
def test_every_prefix_around_the_header(name: str) -> None:
    good = BYTES[name]
    end = 8 + int.from_bytes(good[:8], "little")
    for length in (*range(12), *range(end - 3, end + 4)):
        refused(good[:length])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**30, -1, 0, 1 << 31, 1 << 63, "", "é", "number", "string", "1", "-5"])
    | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def _paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items: Any = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = enumerate(value)
    return [at, *(path for key, inner in items for path in _paths(inner, (*at, key)))]


@hypothesis_settings(max_examples=400)
@given(name=names, which=st.sampled_from(["attributes", "parameters"]), data=st.data())
def test_forged_attributes_and_parameters(name: str, which: str, data: st.DataObject) -> None:
    contents = copy.deepcopy(CONTENTS[name])
    root = getattr(contents, which)
    path = data.draw(st.sampled_from(_paths(root)[1:]))
    if path:
        inner = root
        for key in path[:-1]:
            inner = inner[key]
        if data.draw(st.booleans()) and isinstance(inner, dict):
            del inner[path[-1]]
        else:
            inner[path[-1]] = data.draw(JSON)
    refused_or_works(contents, name)


@hypothesis_settings(max_examples=400)
@given(name=names, data=st.data())
def test_forged_tensors(name: str, data: st.DataObject) -> None:
    contents = copy.deepcopy(CONTENTS[name])
    tensor = data.draw(st.sampled_from(sorted(contents.tensors)))
    array = contents.tensors[tensor]
    kind = data.draw(st.sampled_from(["cell", "cell", "cell", "drop", "shape", "dtype", "cut"]))
    if kind == "drop":
        del contents.tensors[tensor]
    elif kind == "shape":
        contents.tensors[tensor] = array[None] if data.draw(st.booleans()) else array.ravel()
    elif kind == "dtype":
        dtype = data.draw(st.sampled_from(["f4", "f8", "i1", "i4", "i8", "u8", "u1", "?"]))
        with np.errstate(all="ignore"):
            contents.tensors[tensor] = array.astype(dtype)
    elif kind == "cut":
        contents.tensors[tensor] = array[: data.draw(st.integers(0, max(len(array) - 1, 0)))]
    elif array.size:
        place = data.draw(st.integers(0, array.size - 1))
        wild = [np.nan, np.inf, -np.inf, -1, -2, 0, 1, 2, 5, 127, 1e300]
        value = data.draw(st.sampled_from(wild))
        if array.dtype.kind in "iub":
            value = int(np.nan_to_num(value, nan=3, posinf=100, neginf=-100)) % 128
            value -= 2 if array.dtype.kind == "i" else 0
        changed = array.copy()
        changed.flat[place] = value
        contents.tensors[tensor] = changed
    refused_or_works(contents, name)


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize(
    ("tensor", "change"),
    [
        ("left", lambda a: np.where(np.arange(len(a)) == 0, 0, a)),
        ("left", lambda a: np.where(a > 0, 0, a)),
        ("right", lambda a: np.where(a > 0, a - a, a)),
        ("right", lambda a: np.where(a > 0, len(a), a)),
        ("right", lambda a: np.where(a > 0, -7, a)),
        ("right", lambda a: np.where(a > 0, np.iinfo(np.int32).max, a)),
        ("left", lambda a: np.full_like(a, -1)),
        ("right", lambda a: np.full_like(a, -1)),
        ("feature", lambda a: np.where(a >= 0, 4, a)),
        ("feature", lambda a: np.where(a >= 0, np.iinfo(np.int32).max, a)),
        ("feature", lambda a: np.where(a >= 0, -1, a)),
        ("feature", lambda a: np.where(a < 0, 0, a)),
        ("threshold", lambda a: np.where(np.arange(len(a)) == 0, np.nan, a)),
        ("value", lambda a: np.full_like(a, np.nan)),
        ("value", lambda a: np.full_like(a, np.inf)),
        ("value", lambda a: np.c_[a, a]),
        ("value", lambda a: a[:-1]),
        ("n_node_samples", lambda a: -a),
        ("impurity", lambda a: np.full_like(a, np.nan)),
        ("offsets", lambda a: a + 1),
        ("offsets", lambda a: a[::-1]),
        ("offsets", lambda a: np.array([0], dtype=a.dtype)),
        ("offsets", lambda a: a * 2),
        ("offsets", lambda a: np.array([], dtype=a.dtype)),
        ("category_offsets", lambda a: a + 1),
        ("category_offsets", lambda a: np.where(np.arange(len(a)) == 1, 99, a)),
        ("category_bits", lambda a: np.r_[a, a, np.uint64(1)]),
        ("missing_left", lambda a: a.astype(np.uint8)),
        ("threshold", lambda a: a.astype(np.float32)),
    ],
)
def test_forged_nodes(name: str, tensor: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    contents = copy.deepcopy(CONTENTS[name])
    good = contents.tensors[tensor]
    contents.tensors[tensor] = np.ascontiguousarray(change(good)).astype(
        good.dtype if change(good).dtype.kind == good.dtype.kind == "i" else change(good).dtype
    )
    refused(forged(contents))


@pytest.mark.parametrize("name", [name for name in TREES if "Classifier" in name])
def test_forged_shares(name: str) -> None:
    contents = copy.deepcopy(CONTENTS[name])
    contents.tensors["value"] = -contents.tensors["value"] - 1
    refused(forged(contents))


@pytest.mark.parametrize(
    "header",
    [
        {"attributes": "[" * 100_000},
        {"parameters": '{"a":' * 50_000 + "1" + "}" * 50_000},
        {"attributes": '{"n_features_in_": 1e400}'},
        {"format_version": "9" * 5000},
        {"format_version": "²"},
        {"type": "Contents"},
        {"type": ""},
    ],
)
def test_forged_headers(header: dict[str, str]) -> None:
    refused(forged(CONTENTS["GaussianNB"], header))


def test_a_header_of_brackets() -> None:
    header = b"[" * 200_000
    refused(len(header).to_bytes(8, "little") + header)
    header = b'{"__metadata__":' * 50_000
    refused(len(header).to_bytes(8, "little") + header)
