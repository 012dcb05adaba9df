"""Files of other libraries: what they hold, and that hostile ones are refused."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ironlearn.exceptions import ModelFileError
from ironlearn.nn.pretrained import read_weights
from ironlearn.nn.pretrained.pickled import interpret

GOLDEN = Path(__file__).parent / "golden"
EXPECTED = dict(np.load(GOLDEN / "expected.npz"))


@pytest.mark.parametrize("name", ["zip.pth", "chain.pth", "plain.safetensors"])
def test_every_tensor_is_read(name: str) -> None:
    prefix = "" if name.endswith("safetensors") else "state."
    found = read_weights(GOLDEN / name)
    assert set(found) == {prefix + key for key in EXPECTED}
    for key, value in EXPECTED.items():
        got = found[prefix + key]
        assert got.dtype == value.dtype, key
        assert got.flags.c_contiguous
        np.testing.assert_array_equal(got, value, err_msg=key)


@pytest.mark.parametrize("name", ["tiny.keras", "tiny.weights.h5"])
def test_keras_files_are_read(name: str) -> None:
    found = read_weights(GOLDEN / name)
    assert sorted(value.shape for value in found.values()) == [(2, 3), (3,)]
    assert {float(v) for value in found.values() for v in value.ravel()} == {0.0, 1.0}


def nothing(_: Any) -> Any:
    raise ModelFileError("no persistent values")


def plain(value: Any, protocol: int) -> Any:
    table = {"collections.OrderedDict": lambda arguments: dict(*arguments)}
    return interpret(io.BytesIO(pickle.dumps(value, protocol)), table, nothing)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.tuples(inner, inner, inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=20,
)


@given(VALUES, st.integers(3, 5))
def test_plain_data_come_back(value: Any, protocol: int) -> None:
    assert plain(value, protocol) == value


def test_shared_and_ordered_containers_come_back() -> None:
    inner = [1]
    assert plain({"a": inner, "b": inner}, 2) == {"a": [1], "b": [1]}
    assert plain(OrderedDict(a=1), 2) == {"a": 1}


class Runs:
    """Would run a command if it were unpickled."""

    def __reduce__(self) -> Any:
        import os

        return os.system, ("echo executed",)


@pytest.mark.parametrize("protocol", range(6))
def test_names_are_refused_and_nothing_runs(protocol: int, capfd: Any) -> None:
    with pytest.raises(ModelFileError, match=r"posix.system|nt.system"):
        plain({"weights": Runs()}, protocol)
    assert "executed" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"cbuiltins\neval\n(Vprint(1)\ntR.", "builtins.eval"),
        (b"(Vx\nibuiltins\neval\n.", "instruction INST"),
        (b"(cbuiltins\nlist\no.", "builtins.list"),
        (b"\x80\x02}b.", "damaged"),
        (b"\x80\x02}}b.", "sets attributes of a dict"),
        (b"\x80\x02]K\x01K\x02\x86R.", "calls what is no function"),
        (b"\x80\x02\x82\x01.", "instruction EXT1"),
        (b"\x80\x02Vkey\nQ.", "no persistent values"),
        (b"\x80\x02K\x01K\x02a.", "fills a int"),
        (b"\x80\x02}(K\x01u.", "a key without a value"),
        (b"\x80\x02}]K\x01s.", "a key that is no string"),
        (b"\x80\x02(", "damaged"),
        (b"\x80\x02}", "damaged"),
        (b"", "damaged"),
        (b"\x80\x05\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", "damaged"),
    ],
)
def test_hostile_pickles_are_refused(program: bytes, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        interpret(io.BytesIO(program), {}, nothing)


def rebuilt(path: Path, **members: bytes) -> Path:
    """Write the golden archive with some members replaced."""
    with zipfile.ZipFile(GOLDEN / "zip.pth") as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            short = info.filename.rpartition("/")[2].replace(".", "_")
            target.writestr(info.filename, members.get(short, source.read(info)))
    return path


def tensor_pickle(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> bytes:
    """Write the state of one tensor in a storage of 12 elements, as PyTorch does."""
    out = b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n(("
    out += b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    out += b"K\x0ctQ"
    out += pickle.dumps(offset, 2)[2:-1] + pickle.dumps(shape, 2)[2:-1].replace(b"q\x00", b"")
    return out + pickle.dumps(strides, 2)[2:-1].replace(b"q\x00", b"") + b"\x89}tRs."


def test_tensors_must_lie_within_their_storage(tmp_path: Path) -> None:
    good = rebuilt(tmp_path / "a.pth", data_pkl=tensor_pickle((3, 4), (4, 1)))
    np.testing.assert_array_equal(read_weights(good)["w"], EXPECTED["plain"])
    for shape, strides, offset in (
        ((1 << 40,), (0,), 0),
        ((1 << 30, 1 << 30), (0, 0), 0),
        ((12,), (1,), 1),
        ((2,), (12,), 0),
        ((3, 4), (4, 2), 0),
        ((1,), (1,), 1 << 40),
        ((2, 2), (1,), 0),
        ((-1,), (1,), 0),
        ((2,), (-1,), 1),
    ):
        bad = rebuilt(tmp_path / "b.pth", data_pkl=tensor_pickle(shape, strides, offset))
        with pytest.raises(ModelFileError, match=r"does not lie within|do not fit"):
            read_weights(bad)


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    cases = {
        "big endian": rebuilt(tmp_path / "a", byteorder=b"big"),
        "short": rebuilt(tmp_path / "b", **{"0": b"\x00" * 8}),
        "no pickle": rebuilt(tmp_path / "c", data_pkl=b""),
    }
    bomb = tmp_path / "d"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("x/data.pkl", b"\x00" * 10_000_000)
    two = tmp_path / "e"
    with zipfile.ZipFile(two, "w") as target:
        target.writestr("x/data.pkl", b"")
        target.writestr("y/data.pkl", b"")
    for path in (*cases.values(), bomb, two):
        with pytest.raises(ModelFileError):
            read_weights(path)


def test_a_header_of_any_length_is_one_of_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "w"
    for length in range(100, 100 + 256):
        header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(length)
        path.write_bytes(struct.pack("<Q", length) + header + struct.pack("<f", 2.5))
        assert read_weights(path)["w"].tolist() == [2.5]


def test_other_files_are_refused(tmp_path: Path) -> None:
    for content in (
        b"",
        b"hello there, no weights",
        struct.pack("<Q", 1 << 60) + b"{}",
        b"\x80\x02K\x01.",
    ):
        path = tmp_path / "x"
        path.write_bytes(content)
        with pytest.raises(ModelFileError):
            read_weights(path)
    with pytest.raises(FileNotFoundError):
        read_weights(tmp_path / "missing")


FILES = [p for p in sorted(GOLDEN.iterdir()) if p.suffix in (".pth", ".safetensors")]


@settings(max_examples=300)
@given(
    st.sampled_from(FILES),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 64) | st.none(),
)
def test_changed_bytes_give_tensors_or_a_clear_error(
    tmp_path_factory: Any, path: Path, changes: list[tuple[int, int]], cut: int | None
) -> None:
    data = bytearray(path.read_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    if cut is not None:
        data = data[: len(data) - cut * 8]
    changed = tmp_path_factory.getbasetemp() / f"changed-{path.name}"
    changed.write_bytes(bytes(data))
    try:
        found = read_weights(changed)
    except (ModelFileError, MemoryError):
        return
    assert sum(value.nbytes for value in found.values()) < 100 * len(data)


def test_the_golden_pickle_has_only_known_names() -> None:
    with zipfile.ZipFile(GOLDEN / "zip.pth") as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("data.pkl")]
        used = {
            a
            for _, a, _ in pickletools.genops(archive.read(name))
            if isinstance(a, str) and " " in a
        }
    assert "torch._utils _rebuild_tensor_v2" in used
