"""pytest-benchmark over the cases of ``ironlearn bench``."""

from __future__ import annotations

from typing import Any

import pytest

from ironlearn import _threads, bench
from ironlearn.bench.data import EXTERNAL
from ironlearn.bench.libraries import installed, takes
from ironlearn.bench.session import Session
from ironlearn.exceptions import DataFileError


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--suite", default="quick", choices=bench.SUITES, help="which cases")
    parser.addoption("--threads", type=int, default=_threads.available_cpus())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test over the cases of its module's MODELS and the libraries that have them."""
    if "case" not in metafunc.fixturenames:
        return
    cases = [
        case
        for case in bench.select(metafunc.config.getoption("--suite"))
        if case.model in metafunc.module.MODELS
    ]
    pairs = [(case, library) for case in cases for library in installed() if takes(library, case)]
    metafunc.parametrize(
        ("case", "library"), pairs, ids=[f"{case.name}-{library}" for case, library in pairs]
    )


@pytest.fixture
def session(case: bench.Case, library: str, request: pytest.FixtureRequest) -> Session:
    try:
        return Session(library, case, request.config.getoption("--threads"))
    except DataFileError as error:
        assert case.source in EXTERNAL
        pytest.skip(str(error))


@pytest.fixture
def time(benchmark: Any, case: bench.Case, library: str) -> Any:
    """The benchmark, grouped so that the libraries of a case stand together."""
    benchmark.extra_info["library"] = library

    def run(what: str, call: Any) -> Any:
        benchmark.group = f"{case.name} {what}"
        return benchmark(call)

    return run
