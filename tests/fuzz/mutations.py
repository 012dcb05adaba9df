"""Inputs for readers of weights and models: each a function of (reader, seed, number).

Some are sound files with some bytes changed; the others are built so that they pass the outer
checks (archives with right checksums, headers of the right length, model files with a right
digest), so that what lies behind them meets something hostile as well.
"""

from __future__ import annotations

import io
import json
import pickletools
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ironlearn import _modelfile

TESTS = Path(__file__).resolve().parents[1]
GOLDEN = TESTS / "nn" / "golden"
MODELS = TESTS / "common" / "golden"
CORPUS = Path(__file__).resolve().parent / "corpus"

#: Numbers at which sizes and offsets go wrong.
EDGES = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 4095, 65535, 65536, 2**31 - 1, 2**31)
WIDE = (*EDGES, 2**32 - 1, 2**32, 2**47, 2**62, 2**63 - 1, 2**63, 2**64 - 1)

#: Names that would do something if a pickle could call them.
HOSTILE = (
    "os system",
    "posix system",
    "subprocess Popen",
    "builtins eval",
    "builtins exec",
    "builtins __import__",
    "builtins open",
    "builtins getattr",
    "builtins bytearray",
    "builtins map",
    "importlib import_module",
    "pickle loads",
    "marshal loads",
    "types CodeType",
    "socket socket",
    "numpy load",
    "numpy.core.multiarray _reconstruct",
    "numpy zeros",
    "torch load",
    "torch._utils _rebuild_meta_tensor_no_storage",
    "torch.storage _load_from_bytes",
    "torch.serialization _get_layout",
    "collections namedtuple",
    "collections defaultdict",
    "functools partial",
    "operator attrgetter",
    "ironlearn.nn.pretrained.pickled Global",
)
KNOWN = (
    "collections OrderedDict",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_qtensor",
    "torch._utils _rebuild_parameter",
    "torch Size",
    "torch FloatStorage",
    "torch HalfStorage",
    "torch BFloat16Storage",
    "torch LongStorage",
    "torch QInt8Storage",
    "torch BoolStorage",
    "torch per_tensor_affine",
    "torch per_channel_affine",
    "torch qint8",
)


def stored_zip(members: list[tuple[str, bytes]]) -> bytes:
    """Return a zip archive of uncompressed members with right checksums."""
    out, directory = bytearray(), bytearray()
    for name, data in members:
        label, crc = name.encode(), zlib.crc32(data)
        sizes = struct.pack("<III", crc, len(data), len(data))
        start = len(out)
        out += struct.pack("<4sHHHHH", b"PK\x03\x04", 20, 2048, 0, 0, 33) + sizes
        out += struct.pack("<HH", len(label), 0) + label + data
        directory += struct.pack("<4sHHHHHH", b"PK\x01\x02", 20, 20, 2048, 0, 0, 33) + sizes
        directory += struct.pack("<HHHHHII", len(label), 0, 0, 0, 0, 0, start) + label
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, len(members), len(members), 0, 0, 0)
    end = end[:12] + struct.pack("<IIH", len(directory), len(out), 0)
    return bytes(out + directory + end)


def havoc(rng: random.Random, good: bytes, places: list[int] | None = None) -> bytes:
    """Return `good` with one to eight small changes, near `places` if there are any."""
    data = bytearray(good)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4, 8))):
        if not data:
            break
        at = rng.choice(places) + rng.randrange(-2, 3) if places else rng.randrange(len(data))
        at = min(max(at, 0), len(data) - 1)
        kind = rng.randrange(9)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        elif kind == 2:
            width = rng.choice((2, 4, 8))
            value = rng.choice((*WIDE, len(good), at, rng.getrandbits(16)))
            data[at : at + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
        elif kind == 3:
            del data[at : at + rng.choice((1, 1, 2, 4, 16, 64))]
        elif kind == 4:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 8, 32)))
        elif kind == 5:
            start = rng.randrange(len(data))
            data[at:at] = data[start : start + rng.choice((4, 16, 64))]
        elif kind == 6:
            start, size = rng.randrange(len(data)), rng.choice((2, 8, 32))
            data[at : at + size] = data[start : start + size]
        elif kind == 7:
            data[at : at + rng.choice((2, 8, 32))] = bytes(rng.choice((2, 8, 32)))
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data)


# Pickles ------------------------------------------------------------------------------------------


def instructions(program: bytes) -> list[bytes]:
    """Return the instructions of a sound pickle, each as its bytes."""
    starts = [place for _, _, place in pickletools.genops(program)]
    return [program[a:b] for a, b in zip(starts, [*starts[1:], len(program)], strict=True)]


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def number(rng: random.Random) -> bytes:
    value = rng.choice(WIDE) * rng.choice((1, 1, 1, -1))
    kind = rng.randrange(6)
    if kind == 0:
        return b"K" + bytes([value & 255])
    if kind == 1:
        return b"J" + struct.pack("<I", value & 0xFFFFFFFF)
    if kind == 2:
        data = value.to_bytes(10, "little", signed=True)
        return b"\x8a" + bytes([len(data)]) + data
    if kind == 3:
        return b"G" + struct.pack(">d", rng.choice((0.0, -1.0, 1e308, float("nan"), 0.5)))
    if kind == 4:
        return b"I" + str(value).encode() + b"\n"
    return b"\x8b" + struct.pack("<i", rng.choice((0, 3, 2000, -1, 2**31 - 1))) + rng.randbytes(3)


def storage(rng: random.Random) -> bytes:
    """Return a reference to a storage: the right one, or nearly."""
    kind = rng.choice(KNOWN[6:12])
    size = b"K" + bytes([rng.choice((12, 12, 12, 3, 0, 255))])
    parts = [text("storage"), b"c" + kind.replace(" ", "\n").encode() + b"\n"]
    parts += [text(rng.choice("00012")), text("cpu"), size]
    if rng.random() < 0.5:
        parts.append(b"N")
    if rng.random() < 0.1:
        parts[rng.randrange(len(parts))] = value(rng, 3)
    return b"(" + b"".join(parts) + b"tQ"


def sizes(rng: random.Random) -> bytes:
    few = [b"K" + bytes([rng.choice((0, 1, 1, 2, 3, 4, 12))]) for _ in range(rng.randrange(4))]
    if few and rng.random() < 0.2:
        few[rng.randrange(len(few))] = number(rng)
    return b"(" + b"".join(few) + b"t"


def tensor(rng: random.Random) -> bytes:
    """Return the call that makes a tensor, sometimes quantized."""
    quantized = rng.random() < 0.4
    name = KNOWN[3] if quantized else KNOWN[rng.choice((1, 2, 2))]
    out = b"c" + name.replace(" ", "\n").encode() + b"\n("
    out += (
        storage(rng) + (b"K\x00" if rng.random() < 0.8 else number(rng)) + sizes(rng) + sizes(rng)
    )
    if quantized:
        scheme = b"c" + KNOWN[rng.choice((12, 13, 14))].replace(" ", "\n").encode() + b"\n"
        parts = [scheme, *(value(rng, 2) if rng.random() < 0.3 else number(rng) for _ in range(3))]
        out += b"(" + b"".join(parts[: rng.choice((3, 3, 4))]) + b"t"
    return out + b"\x89NtR"


def value(rng: random.Random, depth: int = 0) -> bytes:
    """Return instructions that leave one value on the stack, mostly."""
    kind = rng.randrange(14) if depth < 5 else rng.randrange(4)
    if kind == 0:
        return rng.choice((b"N", b"\x88", b"\x89", b")", b"]", b"}"))
    if kind == 1:
        return number(rng)
    if kind == 2:
        return text(rng.choice(("", "storage", "weight", "cpu", "\ud800", "a" * 300, "0")))
    if kind == 3:
        return rng.choice((b"h", b"q")) + bytes([rng.randrange(4)])
    if kind == 4:
        inner = b"".join(value(rng, depth + 1) for _ in range(rng.randrange(4)))
        return b"(" + inner + rng.choice((b"t", b"l", b"d", b"1"))
    if kind == 5:
        return b"](" + b"".join(value(rng, depth + 1) for _ in range(rng.randrange(4))) + b"e"
    if kind == 6:
        inner = [text("k") + value(rng, depth + 1) for _ in range(rng.randrange(3))]
        return b"}(" + b"".join(inner) + b"u"
    if kind == 7:
        pair = rng.choice((b"\x85", b"\x86", b"\x87"))
        return b"".join(value(rng, depth + 1) for _ in range(pair[0] - 0x84)) + pair
    if kind == 8:
        name = rng.choice(HOSTILE if rng.random() < 0.3 else KNOWN)
        return b"c" + name.replace(" ", "\n").encode() + b"\n"
    if kind == 9:
        name = rng.choice(HOSTILE if rng.random() < 0.3 else KNOWN)
        return b"".join(text(part) for part in name.split(" ")) + b"\x93"
    if kind == 10:
        return (
            value(rng, depth + 1) + value(rng, depth + 1) + rng.choice((b"R", b"b", b"\x81", b"s"))
        )
    if kind == 11:
        return value(rng, depth + 1) + b"Q"
    if kind == 12:
        # Tuples within tuples that share their parts: short to write, long to walk.
        return (
            b")"
            + b"2\x86" * rng.randrange(3)
            + b"q\x00"
            + b"h\x00h\x00\x86q\x00" * rng.choice((1, 3, 40))
        )
    return tensor(rng)


def program(rng: random.Random, good: list[bytes]) -> bytes:
    """Return a pickle: a sound one with instructions changed, or one of our own."""
    if rng.random() < 0.4:
        body = text("w") + (tensor(rng) if rng.random() < 0.6 else value(rng))
        if rng.random() < 0.3:
            body += text("v") + value(rng)
        return b"\x80\x02}(" + body + b"u."
    steps = list(good)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at = rng.randrange(len(steps))
        kind = rng.randrange(6)
        if kind == 0:
            del steps[at : at + rng.choice((1, 1, 2, 5))]
            steps = steps or [b"."]
        elif kind == 1:
            steps.insert(at, value(rng))
        elif kind == 2:
            steps[at] = value(rng, 2)
        elif kind == 3:
            other = rng.randrange(len(steps))
            steps[at], steps[other] = steps[other], steps[at]
        elif kind == 4:
            steps[at:at] = steps[at : at + rng.choice((1, 2, 8))]
        else:
            steps[at] = havoc(rng, steps[at])
    return b"".join(steps)


class Zip:
    """PyTorch's archives."""

    def __init__(self) -> None:
        self.files = [(GOLDEN / n).read_bytes() for n in ("zip.pth", "quantized.pth")]
        self.members = [_members(data) for data in self.files]
        self.programs = [
            instructions(next(d for n, d in found if n.endswith("data.pkl")))
            for found in self.members
        ]

    def __call__(self, rng: random.Random) -> bytes:
        which = rng.randrange(len(self.files))
        if rng.random() < 0.25:
            return havoc(rng, self.files[which])
        found = list(self.members[which])
        if rng.random() < 0.85:
            good = self.programs[which]
            found = [
                (name, program(rng, good) if name.endswith("data.pkl") else data)
                for name, data in found
            ]
            if rng.random() < 0.5:
                found = [found[0], ("archive/data/0", bytes(range(48)))]
        for _ in range(rng.choice((0, 0, 1, 2))):
            at = rng.randrange(len(found))
            name, data = found[at]
            kind = rng.randrange(4)
            if kind == 0:
                del found[at]
                found = found or [("archive/data.pkl", b"")]
            elif kind == 1:
                found[at] = (rng.choice(found)[0], data)
            elif kind == 2:
                found[at] = (name, havoc(rng, data))
            else:
                found.append((name, data * rng.choice((0, 1, 2))))
        data = stored_zip(found)
        return havoc(rng, data) if rng.random() < 0.1 else data


def _members(data: bytes) -> list[tuple[str, bytes]]:
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = [(info.filename, archive.read(info)) for info in archive.infolist()]
    # The pickle first; what only PyTorch's own reader looks at is left out.
    found = [(n, d) for n, d in found if n.endswith(("data.pkl", "byteorder")) or "/data/" in n]
    return sorted(found, key=lambda item: not item[0].endswith("data.pkl"))


class Chain:
    """PyTorch's older form: pickles one after the other, then storages."""

    def __init__(self) -> None:
        names = ("chain.pth", "quantized-chain.pth")
        self.files = [(GOLDEN / name).read_bytes() for name in names]
        self.parts = [self._parts(data) for data in self.files]

    @staticmethod
    def _parts(data: bytes) -> tuple[list[list[bytes]], bytes]:
        pickles, start = [], 0
        for _ in range(5):
            end = start + [p for _, _, p in pickletools.genops(data[start:])][-1] + 1
            pickles.append(instructions(data[start:end]))
            start = end
        return pickles, data[start:]

    def __call__(self, rng: random.Random) -> bytes:
        which = rng.randrange(len(self.files))
        if rng.random() < 0.3:
            return havoc(rng, self.files[which])
        pickles, storages = self.parts[which]
        written = [b"".join(steps) for steps in pickles]
        at = rng.choice((3, 3, 3, 3, 4, 2))
        written[at] = program(rng, pickles[at])
        if rng.random() < 0.3:
            written[4] = b"\x80\x02]q\x00" + text("0") + b"a."
            storages = struct.pack("<Q", rng.choice((12, 12, 3, *WIDE))) + bytes(range(48))
        data = b"".join(written) + storages
        return havoc(rng, data) if rng.random() < 0.1 else data


# Headers in JSON ----------------------------------------------------------------------------------


def changed_json(rng: random.Random, good: Any, depth: int = 0) -> Any:
    """Return `good` with one part changed."""
    if isinstance(good, dict) and good and (depth == 0 or rng.random() < 0.8):
        key = rng.choice(sorted(good))
        kind = rng.randrange(10)
        answer = dict(good)
        if kind == 0:
            del answer[key]
        elif kind == 1:
            answer[rng.choice(("", "x", key + "2", "\ud83d"))] = answer[key]
        else:
            answer[key] = changed_json(rng, answer[key], depth + 1)
        return answer
    if isinstance(good, list) and good and rng.random() < 0.8:
        answer = list(good)
        at = rng.randrange(len(answer))
        kind = rng.randrange(6)
        if kind == 0:
            del answer[at]
        elif kind == 1:
            answer.insert(at, answer[at])
        else:
            answer[at] = changed_json(rng, answer[at], depth + 1)
        return answer
    if isinstance(good, int) and rng.random() < 0.7:
        return rng.choice((good + 1, good - 1, -good, good * 4, *WIDE, -1))
    return rng.choice(
        (None, True, "", "F32", "I8", "BF16", "é", [], {}, [1], {"a": 1}, 0, -1, 2**64, 1.5, 1e308)
    )


def with_header(header: bytes, body: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + body


KINDS = {
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "bool": "BOOL",
    **{f"int{n}": f"I{n}" for n in (8, 16, 32, 64)},
    **{f"uint{n}": f"U{n}" for n in (8, 16, 32, 64)},
}


def packed(tensors: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    """Return a safetensors file; unlike that library's own, with its parts in a fixed order."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    body = b""
    for name, array in sorted(tensors.items()):
        data = np.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": KINDS[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [len(body), len(body) + len(data)],
        }
        body += data
    return with_header(json.dumps(header).encode(), body)


class Safetensors:
    """Files of safetensors."""

    def __init__(self) -> None:
        quantized = {
            "w": np.arange(12, dtype=np.int8).reshape(3, 4),
            "w_scale": np.ones((3, 1), np.float32),
            "h": np.ones(3, np.float16),
        }
        self.files = [(GOLDEN / "plain.safetensors").read_bytes(), packed(quantized)]

    def __call__(self, rng: random.Random) -> bytes:
        good = rng.choice(self.files)
        size = 8 + struct.unpack("<Q", good[:8])[0]
        kind = rng.randrange(8)
        if kind < 2:
            return havoc(rng, good)
        if kind == 2:
            return with_header(havoc(rng, good[8:size]), good[size:])
        header = json.loads(good[8:size])
        for _ in range(rng.choice((1, 1, 2, 4))):
            header = changed_json(rng, header)
        written = json.dumps(header, separators=(",", ":")).encode()
        if kind == 3 and rng.random() < 0.3:
            deep = rng.choice((10, 200, 3000)) * rng.choice((b"[", b'{"a":'))
            written = written[:-1] + b',"deep":' + deep
        return with_header(written, good[size:])


class Model:
    """Our own model files, most of them with a right digest."""

    NAMES = (
        "GaussianNB",
        "BernoulliNB",
        "CategoricalNB",
        "KMeans",
        "DecisionTreeClassifier",
        "DecisionTreeRegressor",
        "LinearSVC",
        "SVC-probability",
        "MLPClassifier-labels",
        "MLPRegressor",
    )

    def __init__(self) -> None:
        paths = [MODELS / f"{name}.ironlearn" for name in self.NAMES]
        paths += sorted(CORPUS.glob("read-*.ironlearn"))
        self.files = [path.read_bytes() for path in paths]
        self.contents = [_modelfile.read(path) for path in paths]

    def __call__(self, rng: random.Random) -> bytes:
        which = rng.randrange(len(self.files))
        if rng.random() < 0.2:
            return havoc(rng, self.files[which])
        good = self.contents[which]
        metadata = {
            "format": "ironlearn",
            "format_version": "1",
            "type": good.type,
            "library_version": "0",
            "parameters": good.parameters,
            "attributes": good.attributes,
        }
        tensors = dict(good.tensors)
        for _ in range(rng.choice((1, 1, 2, 3))):
            part = rng.choice(
                ("attributes", "attributes", "parameters", "tensors", "tensors", "type")
            )
            if part == "tensors" and tensors:
                name = rng.choice(sorted(tensors))
                tensors[name] = self._tensor(rng, tensors[name])
                if rng.random() < 0.1:
                    del tensors[name]
            elif part == "type":
                metadata["type"] = rng.choice(self.contents).type
            elif part != "tensors":
                metadata[part] = changed_json(rng, metadata[part])
        for part in ("parameters", "attributes"):
            metadata[part] = json.dumps(metadata[part])
            if rng.random() < 0.03:
                metadata[part] = metadata[part][:-1] + rng.choice(
                    ("", "[" * 3000, "}}", ',"a":1e999}')
                )
        if rng.random() < 0.02:
            metadata["format_version"] = rng.choice(("0", "2", "-1", "x", "9" * 400))
        metadata["checksum"] = _modelfile._digest(metadata, tensors)
        return packed(tensors, metadata)

    @staticmethod
    def _tensor(rng: random.Random, good: np.ndarray) -> np.ndarray:
        kind = rng.randrange(6)
        if kind == 0:
            return np.ascontiguousarray(good[..., None] if rng.random() < 0.5 else good.ravel())
        if kind == 1 and good.ndim:
            return np.ascontiguousarray(good[: rng.randrange(len(good) + 1)])
        if kind == 2:
            with np.errstate(all="ignore"):
                return good.astype(rng.choice(("f4", "f8", "i1", "i4", "i8", "u1", "?")))
        if kind == 3 and good.ndim:
            return np.concatenate([good, good[: rng.randrange(len(good) + 1)]])
        answer = good.copy()
        if answer.size:
            at = rng.randrange(answer.size)
            if answer.dtype.kind == "f":
                answer.flat[at] = rng.choice((float("nan"), float("inf"), -1.0, 0.0, 1e30))
            else:
                answer.view(np.uint8).reshape(-1)[at] ^= 1 << rng.randrange(8)
        return answer


# HDF5 ---------------------------------------------------------------------------------------------


class Hdf5:
    """Keras's ``.weights.h5``: bytes changed near those that are not zero."""

    def __init__(self) -> None:
        names = ("tiny", "int8", "bfloat16")
        self.files = [(GOLDEN / f"{name}.weights.h5").read_bytes() for name in names]
        self.places = [[i for i, b in enumerate(data) if b] for data in self.files]

    def __call__(self, rng: random.Random) -> bytes:
        which = rng.randrange(len(self.files))
        return havoc(rng, self.files[which], self.places[which] if rng.random() < 0.9 else None)


class Keras:
    """Keras's ``.keras``: an archive around HDF5, stored or compressed."""

    def __init__(self) -> None:
        self.file = (GOLDEN / "tiny.keras").read_bytes()
        self.inner = Hdf5()

    def __call__(self, rng: random.Random) -> bytes:
        import zipfile

        if rng.random() < 0.4:
            return havoc(rng, self.file)
        inner = self.inner(rng)
        if rng.random() < 0.6:
            return stored_zip([("config.json", b"{}"), ("model.weights.h5", inner)])
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("model.weights.h5", inner + bytes(rng.choice((0, 0, 10**6))))
        data = out.getvalue()
        return havoc(rng, data) if rng.random() < 0.4 else data


READERS: dict[str, Callable[[], Callable[[random.Random], bytes]]] = {
    "pytorch-zip": Zip,
    "pytorch-chain": Chain,
    "safetensors": Safetensors,
    "keras-h5": Hdf5,
    "keras-zip": Keras,
    "model-file": Model,
}


def generator(reader: str, seed: int) -> Callable[[int], bytes]:
    """Return the function that makes input `k` of `reader` for this seed."""
    make = READERS[reader]()

    def one(k: int) -> bytes:
        return make(random.Random(f"{reader}/{seed}/{k}"))

    return one
