"""Decides where a patched estimator trains."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator

from ironlearn.patch import _events
from ironlearn.patch._fitted import FOREIGN, MODEL, PARTS

#: What ironlearn raises for what it does not do. Anything else is a defect and is shown.
_REFUSALS = (ValueError, TypeError, NotImplementedError)


def train(
    estimator: Any,
    method: str,
    original: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Train in ironlearn, or in scikit-learn with a report of the reason."""
    name = estimator._ironlearn_genuine.__name__
    started = time.perf_counter()
    continues = _continues(estimator, method)
    model = estimator.__dict__.get(MODEL) if continues else None
    if not continues and not get_config()["skip_parameter_validation"]:
        # Both refuse what scikit-learn refuses, in its words.
        estimator._validate_params()
    parameters, reason = _parameters_for(estimator)
    reason = _refusal(estimator, continues, args, kwargs) or reason
    cause: Exception | None = None
    if reason is None:
        random_state: Any = getattr(estimator, "random_state", None)
        drawn = (
            random_state.get_state() if isinstance(random_state, np.random.RandomState) else None
        )
        try:
            if model is None:
                model = estimator._ironlearn_native(**parameters)
            else:
                model.set_params(**parameters)
            getattr(model, method)(*args, **kwargs)
        except _REFUSALS as error:
            if continues:
                raise  # what was learned so far is here, not in scikit-learn
            cause, reason = error, _first_line(error)
            if drawn is not None:
                random_state.set_state(drawn)
        else:
            _forget(estimator)
            estimator.__dict__[MODEL] = model
            _record("native", name, method, "", started)
            return estimator
    _events.forbid(name, method, reason, cause)
    _train_genuine(estimator, method, original, args, kwargs, name, cause, started)
    _record("fallback", name, method, reason, started)
    _events.announce(name, method, reason, stacklevel=3)
    return estimator


def _train_genuine(
    estimator: Any,
    method: str,
    original: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    name: str,
    cause: Exception | None,
    started: float,
) -> None:
    before = dict(estimator.__dict__)
    foreign = set(before.get(FOREIGN, ()))
    # scikit-learn must not find what ironlearn fitted.
    for key in (MODEL, PARTS):
        estimator.__dict__.pop(key, None)
    try:
        original(estimator, *args, **kwargs)
    except BaseException as error:
        # A failed call leaves what was fitted before it.
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        if cause is not None and isinstance(error, Exception):
            _record("error", name, method, "", started)
        raise
    own = estimator._ironlearn_defaults
    estimator.__dict__[FOREIGN] = sorted(
        foreign | {k for k in estimator.__dict__ if k not in before and k not in own}
    )


def _record(kind: Any, name: str, method: str, reason: str, started: float) -> None:
    _events.record(_events.Event(kind, name, method, reason, time.perf_counter() - started))


def _forget(estimator: Any) -> None:
    """Drop what an earlier training call left: scikit-learn's attributes, parts of the model."""
    for key in estimator.__dict__.pop(FOREIGN, ()):
        estimator.__dict__.pop(key, None)
    estimator.__dict__.pop(PARTS, None)


def _continues(estimator: Any, method: str) -> bool:
    """Tell whether the call goes on from an earlier one."""
    fitted = MODEL in estimator.__dict__ or FOREIGN in estimator.__dict__
    return fitted and (method == "partial_fit" or bool(getattr(estimator, "warm_start", False)))


def _refusal(
    estimator: Any, continues: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str | None:
    """Return why ironlearn is not asked at all, or ``None``."""
    if continues and FOREIGN in estimator.__dict__:
        return "the model was begun in scikit-learn, for the reason reported then"
    hook = _overridden_hook(type(estimator), estimator._ironlearn_genuine)
    if hook is not None:
        return f"{hook} is overridden, which only scikit-learn's training calls"
    if getattr(estimator, "_skl_callbacks", None):
        return "callbacks are set"
    if get_config()["array_api_dispatch"]:
        for value in (*args, *kwargs.values()):
            if hasattr(value, "__array_namespace__") and not isinstance(value, np.ndarray):
                return f"array_api_dispatch with an array of {type(value).__module__}"
    return None


def _overridden_hook(kind: type, genuine: type) -> str | None:
    """Return the private method of scikit-learn's that a subclass overrides, if any."""
    for base in kind.__mro__:
        if "_ironlearn_genuine" in vars(base):
            return None
        for name in vars(base):
            if (
                name.startswith("_")
                and not name.endswith("__")
                and not hasattr(BaseEstimator, name)
                and _is_method(inspect.getattr_static(genuine, name, None))
            ):
                return f"{base.__name__}.{name}"
    return None


def _is_method(static: Any) -> bool:
    return callable(static) or isinstance(static, property | classmethod | staticmethod)


def _parameters_for(estimator: Any) -> tuple[dict[str, Any], str | None]:
    """Return ironlearn's parameters, and why it cannot take scikit-learn's, if so."""
    native = estimator._ironlearn_native
    known = estimator._ironlearn_native_defaults
    chosen: dict[str, Any] = {}
    for name, default in estimator._ironlearn_defaults.items():
        value = getattr(estimator, name, default)
        rules = native._parameters.get(name) if name in known else None
        if rules is not None and any(rule.test(value) for rule in rules):
            chosen[name] = value
        elif not _same(value, default):
            if rules is None:
                return {}, f"ironlearn's {native.__name__} has no parameter {name!r}"
            accepted = " or ".join(rule.text for rule in rules)
            shown = repr(value)
            shown = shown if len(shown) <= 80 else shown[:77] + "..."
            return {}, f"{name}={shown} is not supported; {accepted} is"
    return chosen, None


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, int | float | str) and a == b)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
