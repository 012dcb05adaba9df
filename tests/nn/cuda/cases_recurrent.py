"""Recurrent layers: forward, and backward on what forward kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from nn.cuda.cases import Case

_COLUMNS = {"lstm": 4, "gru": 3, "rnn": 1}


def _arrays(kind: str, n: int, t: int, f: int, h: int) -> dict[str, Any]:
    """Return the inputs of an operation, then the gradients of its outputs."""
    rng = np.random.default_rng(n * 1000 + t * 100 + f * 10 + h)
    columns = _COLUMNS[kind] * h
    scale = 1 / np.sqrt(f + h)
    found = {
        "x": rng.standard_normal((n, t, f)) * 0.7,
        "w": rng.standard_normal((f, columns)) * scale,
        "u": rng.standard_normal((h, columns)) * scale,
        "b": rng.standard_normal(columns) * 0.3,
    }
    if kind == "gru":
        found["bu"] = rng.standard_normal(columns) * 0.3
    for name in ("h0", "c0") if kind == "lstm" else ("h0",):
        found[name] = rng.standard_normal((n, h)) * 0.7
    found["gy"] = rng.standard_normal((n, t, h))
    for name in ("gh", "gc") if kind == "lstm" else ("gh",):
        found[name] = rng.standard_normal((n, h))
    return found


def _mask(n: int, t: int) -> np.ndarray:
    mask = np.random.default_rng(n + t).random((n, t)) < 0.7
    mask[:, t // 2] = False
    mask[0] = True
    return mask


def _case(
    kind: str,
    name: str,
    size: tuple[int, int, int, int],
    *,
    masked: bool = False,
    without: tuple[str, ...] = (),
    factor: float = 1.0,
    needs_x: bool = True,
    **settings: Any,
) -> Case:
    n, t, *_ = size
    given = _arrays(kind, *size)
    gradients = [key for key in given if key.startswith("g")]
    inputs = [key for key in given if not key.startswith("g")]
    for key in without:
        given[key] = None
    if masked:
        given["mask"] = _mask(n, t)
        # What stands where no step is taken must not count, whatever it is.
        given["x"][~given["mask"]] = 30.0

    def run(ops: Any, a: Any) -> Any:
        options = {**settings, "mask": a.get("mask")}
        arrays = [a[key] for key in inputs]
        *outputs, cache = getattr(ops, kind)(*arrays, **options)
        grads = getattr(ops, f"{kind}_backward")(
            *(a[key] for key in gradients),
            *arrays,
            outputs[0],
            cache,
            needs_x=needs_x,
            **options,
        )
        return [*outputs, *grads]

    return Case(name, (kind, f"{kind}_backward"), given, run, factor=factor, kernels=n > 0)


def _forward(kind: str, size: tuple[int, int, int, int], **settings: Any) -> Case:
    arrays = {k: v for k, v in _arrays(kind, *size).items() if not k.startswith("g")}

    def run(ops: Any, a: Any) -> Any:
        *outputs, cache = getattr(ops, kind)(*a.values(), keep=False, **settings)
        assert cache == ()
        return outputs

    return Case(f"forward-{size}", (kind,), arrays, run)


def _strided(kind: str) -> Case:
    """Return the case of inputs that are views."""
    given = _arrays(kind, 3, 4, 5, 6)
    given["wide"] = np.repeat(given.pop("x"), 2, axis=2)
    given["u"] = np.ascontiguousarray(given["u"].T)

    def run(ops: Any, a: Any) -> Any:
        rest = [a[k] for k in given if k not in ("wide", "w", "u") and not k.startswith("g")]
        inputs = [a["wide"][:, :, ::2], a["w"], a["u"].T, *rest]
        *outputs, cache = getattr(ops, kind)(*inputs)
        gradients = [a[k] for k in given if k.startswith("g")]
        return [
            *outputs,
            *getattr(ops, f"{kind}_backward")(*gradients, *inputs, outputs[0], cache),
        ]

    return Case("strided", (kind, f"{kind}_backward"), given, run)


#: (N, T, F, H) of which one launch does the whole sequence.
_WALKED = ((1, 1, 1, 1), (3, 5, 4, 6), (2, 3, 2, 33), (0, 3, 2, 4), (3, 0, 2, 5), (2, 2, 0, 3))
#: u is larger than shared memory and is read from where it is.
_FAR = {"lstm": (2, 3, 5, 57), "gru": (2, 3, 5, 65), "rnn": (2, 3, 5, 115)}
#: u is so large that each step is a product and a launch.
_STEPPED = {"lstm": (2, 3, 3, 193), "gru": (2, 3, 3, 223), "rnn": (2, 3, 3, 385)}


def _cases() -> list[Case]:
    found = []
    for kind in _COLUMNS:
        for size in _WALKED:
            found.append(_case(kind, f"walked-{size}", size))
        # More samples than are walked one a block, the last block not full.
        found.append(_case(kind, "many", (261, 2, 2, 3), masked=True, factor=4.0))
        for way, size in (("walked", (3, 6, 4, 5)), ("far", _FAR[kind]), ("steps", _STEPPED[kind])):
            for reverse in (False, True):
                found.append(
                    _case(
                        kind,
                        f"{way}-masked-{'reverse' if reverse else 'onward'}",
                        size,
                        masked=True,
                        reverse=reverse,
                    )
                )
            found.append(_case(kind, f"{way}-only-last", size, without=("gy",), needs_x=False))
            found.append(_case(kind, f"{way}-only-all", size, without=("gh", "gc")))
            found.append(_forward(kind, size))
        found.append(_strided(kind))
    for activation in ("linear", "relu", "sigmoid", "leaky_relu", "elu"):
        for size in ((3, 4, 2, 5), _STEPPED["rnn"]):
            found.append(_case("rnn", f"{activation}-{size}", size, activation=activation))
    found.append(_forward("rnn", (3, 4, 2, 5), reverse=True, activation="relu"))
    return found


CASES = _cases()
