"""Makes the files of `corpus/`: one for each way in which a reader once failed or could fail.

``python tests/fuzz/make_corpus.py``. A file named ``refused-...`` must be refused, and a file
named ``read-...`` must be read; `test_fuzz_corpus` says so. Model files among them are seeds of
`mutations`.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.mutations import CORPUS, GOLDEN, generator, stored_zip, text, with_header


def torch_zip(value: bytes, *storages: bytes) -> bytes:
    """Return a checkpoint of one value, given as instructions of a pickle."""
    members = [("archive/data.pkl", b"\x80\x02}" + text("w") + value + b"s.")]
    return stored_zip(members + [(f"archive/data/{i}", s) for i, s in enumerate(storages)])


def storage(size: int, kind: str = "FloatStorage") -> bytes:
    """Return the reference to storage 0."""
    out = b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text("0") + text("cpu")
    return out + b"J" + struct.pack("<I", size) + b"tQ"


def call(name: str, *arguments: bytes) -> bytes:
    return b"c" + name.replace(" ", "\n").encode() + b"\n(" + b"".join(arguments) + b"tR"


def pytorch() -> dict[str, bytes]:
    """Return hostile checkpoints."""
    numbers = np.arange(12, dtype=np.float32).tobytes()
    tensor = b"K\x00K\x03K\x04\x86K\x04K\x01\x86\x89"
    plain = call("torch._utils _rebuild_tensor_v2", storage(12), tensor)
    # 60 levels of pairs that are the same pair: the hash of the last has 2**60 parts.
    nested = b")q\x00" + b"0h\x00h\x00\x86q\x00" * 60
    # One tensor under thousands of names, two bytes each.
    wide = call(
        "torch._utils _rebuild_tensor_v2", storage(300), b"K\x00J,\x01\x00\x00\x85K\x01\x85\x89"
    )
    shared = b"](" + wide + b"q\x00" + b"h\x00" * 4000 + b"e"
    many = b"](" + b"K\x01" * 8000 + b"eq\x00"
    sizes = b"](" + many + b"ctorch\nSize\nq\x01" + b"h\x01h\x00\x85R0" * 4000 + b"e"
    dicts = b"](" + b"](" + (text("a") + b"K\x01\x86") * 2000 + b"eq\x00"
    dicts += b"ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00\x85R0" * 2000 + b"e"
    rows = b"](" + many + b"ctorch._utils\n_rebuild_tensor_v2\nq\x02" + storage(12) + b"q\x03"
    rows += b"h\x02(h\x03K\x00h\x00h\x00tR" * 1000 + b"e"
    long = b"}" + text("n" * 5000) + plain + b"s"
    digits = b"}\x8b" + struct.pack("<i", 3000) + b"\x7f" * 3000 + plain + b"s"
    empty = call(
        "torch._utils _rebuild_tensor_v2",
        storage(12),
        b"K\x00K\x00" + (b"\x8a\x06" + (2**46).to_bytes(6, "little")) * 2 + b"\x87",
        b"K\x01K\x01K\x01\x87\x89",
    )
    return {
        "refused-tuple-hash.pth": torch_zip(b"}" + nested + b"K\x01s"),
        "refused-shared-storage.pth": torch_zip(shared, bytes(1200)),
        "refused-many-sizes.pth": torch_zip(sizes),
        "refused-many-dicts.pth": torch_zip(dicts),
        "refused-long-shapes.pth": torch_zip(rows, numbers),
        "refused-long-name.pth": torch_zip(long, numbers),
        "refused-digits.pth": torch_zip(digits, numbers),
        "refused-empty-huge.pth": torch_zip(empty, numbers),
        "refused-eval.pth": torch_zip(call("builtins eval", text("__import__('os').abort()"))),
        "refused-system.pth": torch_zip(call("os system", text("touch executed"))),
        "refused-from-bytes.pth": torch_zip(call("torch.storage _load_from_bytes", text("x"))),
        "refused-list-of-keys.pth": _keys(b"]q\x00]a."),
        "read-shared-storage.pth": torch_zip(
            b"](" + plain + b"q\x00" + b"h\x00" * 7 + b"e", numbers
        ),
    }


def _keys(keys: bytes) -> bytes:
    import pickletools

    good = (GOLDEN / "chain.pth").read_bytes()
    start = 0
    for _ in range(4):
        start += [place for _, _, place in pickletools.genops(good[start:])][-1] + 1
    return good[:start] + b"\x80\x02" + keys


def safetensors() -> dict[str, bytes]:
    """Return hostile files of safetensors."""
    entry = {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}
    axes = {"dtype": "F32", "shape": [1] * 100, "data_offsets": [0, 4]}
    return {
        "refused-huge-empty.safetensors": with_header(json.dumps({"w": entry}).encode(), b""),
        "refused-many-axes.safetensors": with_header(json.dumps({"w": axes}).encode(), bytes(4)),
        "refused-deep.safetensors": with_header(b'{"a":' * 2000 + b"1" + b"}" * 2000, b""),
    }


def hdf5() -> dict[str, bytes]:
    """Return hostile files of HDF5."""
    good = (GOLDEN / "tiny.weights.h5").read_bytes()
    node = good.index(b"SNOD")
    circle = bytearray(good)
    # A group's member that is the group itself.
    circle[node + 16 : node + 24] = (96).to_bytes(8, "little")
    more = bytearray(good)
    more[node + 6 : node + 8] = b"\xff\xff"
    return {
        "refused-circle.h5": bytes(circle),
        "refused-many-members.h5": bytes(more),
        **_never_ending(),
    }


def _never_ending() -> dict[str, bytes]:
    make = generator("keras-h5", 0)
    return {f"read-endless-{k}.h5": make(k) for k in ENDLESS}


#: Inputs of the reader of HDF5, seed 0, from which h5py 3.16 does not come back when it is asked
#: for an attribute of an array. What is damaged is of no interest to us, so we read them.
ENDLESS = (263,)


def models() -> None:
    """Write small files of networks, which bring descriptions of layers."""
    from ironlearn.series import LSTMForecaster
    from ironlearn.text import LSTMTextClassifier

    steps = np.arange(60)
    few = {"epochs": 1, "random_state": 0}
    LSTMForecaster(window=4, horizon=2, units=2, n_layers=1, **few).fit(np.sin(steps / 3) + 2).save(
        CORPUS / "read-forecaster.ironlearn"
    )
    texts = ["good film", "bad film", "fine plot", "poor plot"] * 8
    LSTMTextClassifier(embedding_dim=2, units=2, hidden_units=2, **few).fit(
        texts, [1, 0] * 16
    ).save(CORPUS / "read-texts.ironlearn")


if __name__ == "__main__":
    CORPUS.mkdir(exist_ok=True)
    for name, data in {**pytorch(), **safetensors(), **hdf5()}.items():
        (CORPUS / name).write_bytes(data)
        print(f"{len(data):7} {name}")
    models()
