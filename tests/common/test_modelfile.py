"""The model file: format, versions, hostile contents."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

import ironlearn
from ironlearn import _modelfile, serving
from ironlearn.exceptions import ModelFileError
from ironlearn.naive_bayes import GaussianNB

X = np.array([[0.0, 1.0], [1.0, 0.0], [5.0, 6.0], [6.0, 5.0]])
Y = np.array([0, 0, 1, 1])


def _forge(path: Path, **changes: str) -> None:
    """Write a file with changed metadata and a right checksum."""
    GaussianNB().fit(X, Y).save(path)
    contents = _modelfile.read(path)
    metadata = {
        "format": "ironlearn",
        "format_version": "1",
        "type": contents.type,
        "library_version": "0",
        "parameters": json.dumps(contents.parameters),
        "attributes": json.dumps(contents.attributes),
        **changes,
    }
    metadata["checksum"] = _modelfile._digest(metadata, contents.tensors)
    path.write_bytes(save(contents.tensors, metadata))


def test_a_newer_version_is_named(tmp_path: Path) -> None:
    _forge(tmp_path / "m", format_version="2")
    with pytest.raises(ModelFileError, match="format version 2.*reads up to 1"):
        ironlearn.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("type", "os.system", "known are"),
        ("format", "other", "not an ironlearn model file"),
        ("parameters", '{"no_such": 1}', "no parameter 'no_such'"),
        ("parameters", "[1]", "not a JSON object"),
        ("parameters", '{"var_smoothing": -1}', "var_smoothing"),
        ("attributes", "{}", "n_features_in_"),
        ("attributes", '{"n_features_in_": 0}', "n_features_in_"),
        ("attributes", '{"n_features_in_": 3, "epsilon_": 0}', "fit"),
    ],
)
def test_forged_metadata_is_refused(tmp_path: Path, key: str, value: str, words: str) -> None:
    _forge(tmp_path / "m", **{key: value})
    with pytest.raises(ModelFileError, match=words):
        ironlearn.load(tmp_path / "m")


def test_forged_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    GaussianNB().fit(X, Y).save(path)
    for name, array in [
        ("theta", np.full((2, 2), np.nan)),
        ("var", -np.ones((2, 2))),
        ("theta", np.zeros((3, 2))),
        ("log_prior", np.zeros(5)),
        ("theta", np.zeros((2, 2), dtype=np.float32)),
        ("classes_", np.zeros((2, 1))),
        ("classes_", np.zeros(3)),
    ]:
        GaussianNB().fit(X, Y).save(path)
        contents = _modelfile.read(path)
        contents.tensors[name] = array
        _modelfile.write(path, contents)
        with pytest.raises(ModelFileError):
            ironlearn.load(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"old")
    model = GaussianNB().fit(X, np.array([0, 0, "a", "a"], dtype=object)[[0, 1, 2, 3]].astype(str))
    model.classes_ = np.array([object(), object()])
    with pytest.raises(ValueError, match="classes_ holds values of type object"):
        model.save(path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for data in (b"", b"\x00" * 100, b"PK\x03\x04" + b"x" * 100, save({"a": np.zeros(3)})):
        path.write_bytes(data)
        with pytest.raises(ModelFileError):
            serving.load(path)
    with pytest.raises(FileNotFoundError):
        ironlearn.load(tmp_path / "missing")


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, 5, 9]),
        np.array([False, True]),
        np.array([0.5, 1.5]),
        np.array(["a", "", "é" * 5]),
        np.array(["x", "yy"], dtype=object),
        np.array([], dtype="U1"),
    ],
)
def test_values_round_trip(values: np.ndarray) -> None:
    tensors: dict[str, np.ndarray] = {}
    description = json.loads(json.dumps(_modelfile.pack_values("v", values, tensors)))
    back = _modelfile.unpack_values("v", description, tensors)
    assert back.tolist() == values.tolist()
    assert back.dtype.kind == values.dtype.kind


def test_offsets_are_checked() -> None:
    tensors = {"v.bytes": np.zeros(3, np.uint8), "v.offsets": np.array([0, 2, 1, 3])}
    with pytest.raises(ModelFileError, match="offsets"):
        _modelfile.unpack_values("v", {"kind": "string"}, tensors)
