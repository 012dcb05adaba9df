"""The restricted unpickler: it accepts no code, and what it accepts Python reads alike."""

from __future__ import annotations

import io
import pickle
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.mutations import HOSTILE, instructions, program, value
from ironlearn.exceptions import ModelFileError
from ironlearn.nn.pretrained.pickled import interpret


def refuse(_: Any) -> Any:
    raise ModelFileError("refers to something outside")


def ours(data: bytes) -> Any:
    return interpret(io.BytesIO(data), {}, refuse)


class Strict(pickle.Unpickler):
    """Python's own, without names."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("persistent")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=400)
@given(st.integers(0, 2**64), PLAIN, st.integers(0, 5))
def test_what_is_accepted_is_what_python_reads(seed: int, good: Any, protocol: int) -> None:
    """Change the instructions of a sound pickle: never more than Python itself would accept."""
    changed = program(random.Random(seed), instructions(pickle.dumps(good, protocol)))
    try:
        found = ours(changed)
    except ModelFileError:
        return
    # Strings of Python 2 are bytes; here they are read as Latin letters.
    assert repr(found) == repr(Strict(io.BytesIO(changed), encoding="latin-1").load())


@settings(max_examples=300)
@given(st.integers(0, 2**64))
def test_programs_of_any_instructions_end_in_data_or_an_error(seed: int) -> None:
    data = b"\x80\x02" + value(random.Random(seed)) + b"."
    try:
        found = ours(data)
    except ModelFileError:
        return
    assert isinstance(found, type(None) | bool | int | float | str | bytes | list | tuple | dict)


NAMES = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=8)


@given(NAMES, NAMES, st.sampled_from(["global", "stack"]))
def test_every_unknown_name_is_refused_and_shown(module: str, name: str, form: str) -> None:
    if form == "global":
        data = f"c{module}\n{name}\n)R.".encode()
    else:
        parts = [b"\x8c" + bytes([len(x)]) + x.encode() for x in (module, name)]
        data = b"\x80\x04" + b"".join(parts) + b"\x93)R."
    with pytest.raises(ModelFileError, match=rf"names '{module}\.{name}'.*nothing of it was exec"):
        ours(data)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused(name: str) -> None:
    module, attribute = name.split(" ")
    with pytest.raises(ModelFileError, match="nothing of it was executed"):
        ours(f"c{module}\n{attribute}\n(Vx\ntR.".encode())


def test_popped_values_are_gone() -> None:
    assert ours(b"\x80\x02K\x01K\x020.") == 1
    assert ours(b"\x80\x02K\x01(K\x02K\x031.") == 1
    with pytest.raises(ModelFileError, match="damaged"):
        ours(b"\x80\x020.")


def test_keys_are_flat() -> None:
    assert ours(b"\x80\x02}(K\x01K\x02\x86K\x03u.") == {(1, 2): 3}
    with pytest.raises(ModelFileError, match="a key that is no string or number"):
        ours(b"\x80\x02})\x85K\x03s.")


@pytest.mark.parametrize("length", [1_000, 2**63, 2**64 - 1])
def test_a_frame_beyond_the_end_is_refused(length: int) -> None:
    data = pickle.dumps([1, 2, "x" * 50], 4)
    place = data.index(b"\x95")
    assert ours(data) == [1, 2, "x" * 50]
    changed = data[: place + 1] + length.to_bytes(8, "little") + data[place + 9 :]
    with pytest.raises(ModelFileError, match="ends before"):
        ours(changed)
