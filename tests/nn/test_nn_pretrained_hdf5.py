"""Our reader of HDF5 beside h5py: the same arrays, and clear answers to what Keras never writes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ironlearn.exceptions import ModelFileError
from ironlearn.nn.pretrained import read_weights
from ironlearn.nn.pretrained.hdf5 import read_hdf5

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.h5"))
NAMES = st.text("abcdefgh_0123456789", min_size=1, max_size=12)
KINDS = ["<f2", "<f4", "<f8", ">f4", ">f8", "<i1", "<i2", "<i4", "<i8", ">i4", "<u1", "<u8", "?"]


def written(arrays: dict[str, Any], **settings: Any) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w", **settings) as file:
        for name, array in arrays.items():
            file[name] = array
    return out.getvalue()


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_files_of_keras_hold_what_h5py_finds(path: Path) -> None:
    expected = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda n, d: expected.update({n: d[()]}) if isinstance(d, h5py.Dataset) else None
        )
    found = read_weights(path)
    assert list(found) == sorted(expected)
    for name, array in expected.items():
        if array.dtype == "V2":
            array = (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.lists(NAMES, min_size=1, max_size=3).map("/".join),
        hnp.arrays(st.sampled_from(KINDS), hnp.array_shapes(min_dims=0, min_side=0, max_dims=4)),
        min_size=1,
        max_size=20,
    )
)
def test_any_arrays_in_any_groups(arrays: dict[str, Any]) -> None:
    # A name cannot be an array and a group.
    chosen = {
        name: array
        for name, array in arrays.items()
        if not any(other.startswith(name + "/") for other in arrays)
    }
    found = read_hdf5(written(chosen))
    assert set(found) == set(chosen)
    for name, array in chosen.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].flags.c_contiguous
        np.testing.assert_array_equal(found[name], array)


def test_many_members_make_trees_of_more_levels() -> None:
    arrays = {f"g/{i:04}": np.array([i], np.int32) for i in range(1500)}
    found = read_hdf5(written(arrays))
    assert list(found) == sorted(arrays)
    assert [int(value[0]) for value in found.values()] == list(range(1500))


def test_compact_arrays_and_other_attributes_are_read() -> None:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        create.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3,))
        h5py.h5d.create(file.id, b"small", h5py.h5t.NATIVE_INT32, space, create)
        file["small"][...] = [1, 2, 3]
        file["small"].attrs["note"] = "text"
        file["small"].attrs["numbers"] = np.arange(5)
        file["pair"] = np.zeros(2, "V2")
        file["pair"].attrs["dtype"] = np.bytes_(b"bfloat16")
    found = read_hdf5(out.getvalue())
    np.testing.assert_array_equal(found["small"], [1, 2, 3])
    np.testing.assert_array_equal(found["pair"], np.zeros(2, np.float32))


def chunked(file: Any) -> None:
    file.create_dataset("w", data=np.ones(10), chunks=(5,), compression="gzip")


def link(file: Any) -> None:
    file["w"] = np.ones(2)
    file["l"] = h5py.SoftLink("/w")


def external_link(file: Any) -> None:
    file["l"] = h5py.ExternalLink("/etc/passwd", "/w")


def external(file: Any) -> None:
    file.create_dataset("w", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "w", (4,))
    file.create_virtual_dataset("w", layout)


def twice(file: Any) -> None:
    file["w"] = np.ones(2)
    file["v"] = file["w"]


def ordered(file: Any) -> None:
    file.create_group("g", track_order=True)["w"] = np.ones(2)


def accents(file: Any) -> None:
    file["é"] = np.ones(2)


def words(file: Any) -> None:
    file["w"] = ["a", "b"]


def complex_numbers(file: Any) -> None:
    file["w"] = np.ones(2, np.complex64)


def opaque(file: Any) -> None:
    file["w"] = np.zeros(2, "V2")


def never_written(file: Any) -> None:
    file.create_dataset("w", (4,), "f4")


def shared_type(file: Any) -> None:
    file["t"] = np.dtype("f4")
    file.create_dataset("w", (1,), file["t"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (chunked, "'w': it is stored in chunks"),
        (link, "symbolic links"),
        (external_link, "newer form"),
        (external, "data are in another file"),
        (virtual, "in chunks, virtually"),
        (twice, "same object more than once"),
        (ordered, "'g' is in HDF5's newer form"),
        (accents, "not ASCII"),
        (words, "no array of integers"),
        (complex_numbers, "no array of integers"),
        (opaque, "opaque bytes"),
        (never_written, "has 0 bytes, not 16"),
        (shared_type, "shared"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_keras_never_writes_is_refused_by_name(make: Any, message: str) -> None:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        make(file)
    with pytest.raises(ModelFileError, match=message):
        read_hdf5(out.getvalue())


def test_the_latest_form_is_refused() -> None:
    with pytest.raises(ModelFileError, match="superblock of version 3"):
        read_hdf5(written({"w": np.ones(2)}, libver="latest"))


def test_every_truncation_is_refused() -> None:
    data = written({"g/w": np.arange(5.0)})
    assert set(read_hdf5(data)) == {"g/w"}
    last = max(i for i, byte in enumerate(data) if byte)
    for size in range(0, last, 7):
        with pytest.raises(ModelFileError):
            read_hdf5(data[:size])


def test_a_file_without_arrays_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e.h5").write_bytes(written({}))
    with pytest.raises(ModelFileError, match="holds no arrays"):
        read_weights(tmp_path / "e.h5")
