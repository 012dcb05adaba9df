"""Every public name is documented as numpydoc wants it, and every example runs."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import re
from typing import Any

import pytest

import ironlearn

MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(ironlearn.__path__, "ironlearn.")
    if not info.name.endswith("__main__")
)
#: Packages whose ``__all__`` is what users see.
PACKAGES = [
    name for name in MODULES if not any(part.startswith("_") for part in name.split(".")[1:])
]


def _public() -> dict[str, Any]:
    """Return every class and function that a public module of ironlearn's names in ``__all__``."""
    found: dict[str, Any] = {"ironlearn.load": ironlearn.load}
    for module_name in PACKAGES:
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", []):
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                found[f"{thing.__module__}.{name}"] = thing
    return found


PUBLIC = _public()


def _arguments(thing: Any) -> list[str]:
    return [
        parameter.name
        for parameter in inspect.signature(thing).parameters.values()
        if parameter.name not in ("self", "cls")
    ]


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _described(section: str) -> set[str]:
    """Return the names that a section of parameters describes."""
    heads = re.findall(r"^([*\w]+(?:, [*\w]+)*)(?: : .+)?$", section, flags=re.MULTILINE)
    return {name.lstrip("*") for head in heads for name in head.split(", ")}


def test_there_is_something_to_document() -> None:
    assert len(PUBLIC) >= 10
    assert "ironlearn.tree.classifier.DecisionTreeClassifier" in PUBLIC
    assert _described("a, b : int\n    Text here.\n*rest : list\n    More.") == {"a", "b", "rest"}


@pytest.mark.parametrize("name", PUBLIC)
def test_parameters_and_answers_are_described(name: str) -> None:
    thing = PUBLIC[name]
    text = inspect.getdoc(thing) or ""
    assert re.match(r"\S.*[.]$", text.partition("\n\n")[0], flags=re.DOTALL), "a first sentence"
    sections = _sections(text)
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        return
    described = _described(sections.get("Parameters", ""))
    if dataclasses.is_dataclass(thing):
        # Results that users read and do not make.
        described |= _described(sections.get("Attributes", ""))
    arguments = set(_arguments(thing))
    assert not arguments - described
    returns = inspect.signature(thing).return_annotation
    if inspect.isfunction(thing) and arguments and returns not in (None, "None"):
        assert {"Returns", "Yields"} & set(sections)


@pytest.mark.parametrize("name", [n for n, thing in PUBLIC.items() if inspect.isclass(thing)])
def test_public_methods_are_described(name: str) -> None:
    for method, thing in vars(PUBLIC[name]).items():
        inner = getattr(thing, "__func__", getattr(thing, "fget", thing))
        if method.startswith("_") or not inspect.isfunction(inner):
            continue
        text = inspect.getdoc(inner) or ""
        assert re.match(r"\S.*[.]", text), f"{method} has no docstring"
        sections = _sections(text)
        if "Parameters" in sections:
            missing = set(_arguments(inner)) - _described(sections["Parameters"])
            assert not missing, f"{method} does not describe {missing}"


# Other tests of the process have imported scikit-learn's classes, which a patch warns about.
@pytest.mark.filterwarnings("ignore:These modules imported scikit-learn's classes")
@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    said: list[str] = []
    for test in finder.find(module, name):
        runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)


@pytest.mark.parametrize("name", [n for n, thing in PUBLIC.items() if inspect.isclass(thing)])
def test_estimators_show_an_example(name: str) -> None:
    if hasattr(PUBLIC[name], "fit"):
        assert ">>>" in _sections(inspect.getdoc(PUBLIC[name]) or "").get("Examples", "")
