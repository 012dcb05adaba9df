"""Parameter tables: what each constructor parameter accepts, as data beside the class."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ironlearn.exceptions import InvalidParameterError


@dataclass(frozen=True)
class Rule:
    """One accepted kind of value: a test and its description."""

    test: Callable[[Any], bool]
    text: str


Table = Mapping[str, Sequence[Rule]]


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _interval(kind: Any, name: str, low: float | None, high: float | None, closed: str) -> Rule:
    left = "[" if closed in ("both", "left") and low is not None else "("
    right = "]" if closed in ("both", "right") and high is not None else ")"

    def test(value: Any) -> bool:
        if not isinstance(value, kind) or _is_bool(value) or value != value:
            return False
        if low is not None and (value < low or (left == "(" and value == low)):
            return False
        return high is None or not (value > high or (right == ")" and value == high))

    span = f"{left}{'-inf' if low is None else low}, {'inf' if high is None else high}{right}"
    return Rule(test, f"{name} in the range {span}")


def integer(low: int | None = None, high: int | None = None) -> Rule:
    """Accept an integer in ``[low, high]``; native code takes those of 64 bits."""
    if high is not None:
        return _interval(numbers.Integral, "an int", low, high, "both")
    rule = _interval(numbers.Integral, "an int", low, 2**63 - 1, "both")
    return Rule(rule.test, rule.text.replace(f"{2**63 - 1}]", "2**63)"))


def real(low: float | None = None, high: float | None = None, *, closed: str = "both") -> Rule:
    """Accept a real number between `low` and `high`."""
    return _interval(numbers.Real, "a float", low, high, closed)


def fraction(*, closed: str = "right") -> Rule:
    """Accept a real number that is no integer, between 0 and 1."""
    rule = real(0.0, 1.0, closed=closed)
    return Rule(lambda v: rule.test(v) and not isinstance(v, numbers.Integral), rule.text)


def options(*values: str) -> Rule:
    """Accept one of some strings."""
    listed = ", ".join(repr(v) for v in values)
    return Rule(lambda v: isinstance(v, str) and v in values, f"a str among {{{listed}}}")


def instance(kind: type, text: str) -> Rule:
    """Accept an instance of `kind`."""
    return Rule(lambda v: isinstance(v, kind), text)


NONE = Rule(lambda v: v is None, "None")
BOOLEAN = Rule(_is_bool, "a bool")
VERBOSE = Rule(lambda v: _is_bool(v) or integer(0).test(v), "a bool or a non-negative int")
CALLABLE = Rule(callable, "a callable")
MAPPING = Rule(lambda v: isinstance(v, Mapping), "a dict")
MAPPINGS = Rule(
    lambda v: isinstance(v, list) and all(isinstance(one, Mapping) for one in v), "a list of dicts"
)
ARRAY_LIKE = Rule(
    lambda v: (
        (isinstance(v, Sequence | np.ndarray) and not isinstance(v, str | bytes))
        or hasattr(v, "__array__")
    ),
    "an array-like",
)
N_JOBS = (Rule(lambda v: integer().test(v) and v != 0, "an int other than 0"), NONE)
RANDOM_STATE = (
    integer(0, 2**32 - 1),
    instance(np.random.RandomState, "an instance of numpy.random.RandomState"),
    NONE,
)


def validate(owner: str, table: Table, values: Mapping[str, Any]) -> None:
    """Raise `InvalidParameterError` for the first value that its table row refuses."""
    for name, value in values.items():
        rules = table[name]
        if not any(rule.test(value) for rule in rules):
            accepted = " or ".join(rule.text for rule in rules)
            shown = repr(value)
            shown = shown if len(shown) <= 80 else shown[:77] + "..."
            raise InvalidParameterError(
                f"The {name!r} parameter of {owner} must be {accepted}. Got {shown} instead."
            )
