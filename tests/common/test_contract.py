"""The contract that every public estimator keeps."""

from __future__ import annotations

import gc
import importlib
import inspect
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

import ironlearn
from common import registry
from common.expected import EXPECTED_FAILURES
from ironlearn.base import TYPES
from ironlearn.exceptions import InvalidParameterError, ModelFileError

NAMES = registry.names()
each = pytest.mark.parametrize("name", NAMES)


@each
@pytest.mark.filterwarnings("ignore")
def test_check_estimator(name: str) -> None:
    results = check_estimator(
        registry.make(name, **registry.LEARNING.get(name, {})),
        on_fail=None,
        expected_failed_checks=EXPECTED_FAILURES.get(name),
    )
    failed = [(r["check_name"], r["exception"]) for r in results if r["status"] == "failed"]
    assert not failed


@each
def test_parameter_table_covers_the_constructor(name: str) -> None:
    kind = type(registry.make(name))
    assert set(kind._parameters) == set(kind._get_param_names())
    defaults = inspect.signature(kind).parameters
    for parameter, rules in kind._parameters.items():
        assert any(rule.test(defaults[parameter].default) for rule in rules), parameter


@each
def test_bad_parameters_are_named(name: str) -> None:
    X, y = registry.data(name)
    for parameter in type(registry.make(name))._parameters:
        estimator = registry.make(name).set_params(**{parameter: object()})
        with pytest.raises(InvalidParameterError, match=repr(parameter)):
            estimator.fit(X, y)


@each
def test_same_bits_for_any_number_of_threads(name: str) -> None:
    X, y = registry.data(name)
    X, y = np.tile(X, (20, 1)), np.tile(y, 20)
    first = None
    for n_jobs in (1, 2, 4):
        fitted = registry.make(name, n_jobs=n_jobs).fit(X, y)
        now = [a.tobytes() for a in registry.answers(name, fitted, X)]
        first = first or now
        assert now == first


@each
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_save_load_and_pickle_keep_every_answer(name: str, dtype: type, tmp_path: Path) -> None:
    X, y = registry.data(name, dtype)
    fitted = registry.make(name).fit(X, y)
    fitted.save(tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    for other in (ironlearn.load(tmp_path / "model"), pickle.loads(pickle.dumps(fitted))):
        assert type(other) is type(fitted)
        assert str(other.get_params()) == str(fitted.get_params())
        for a, b in zip(
            registry.answers(name, fitted, X), registry.answers(name, other, X), strict=True
        ):
            np.testing.assert_array_equal(a, b)


@each
def test_string_labels_survive_a_file(name: str, tmp_path: Path) -> None:
    if not is_classifier(registry.make(name)):
        return
    X, y = registry.data(name)
    labels = np.array([f"ziffer {v} é" for v in range(10)])[y]
    fitted = registry.make(name).fit(X, labels)
    fitted.save(tmp_path / "model")
    loaded = ironlearn.load(tmp_path / "model")
    assert loaded.predict(X).tolist() == fitted.predict(X).tolist()
    assert loaded.classes_.dtype == fitted.classes_.dtype


@each
def test_a_changed_file_is_refused(name: str, tmp_path: Path) -> None:
    X, y = registry.data(name)
    path = tmp_path / "model"
    registry.make(name).fit(X, y).save(path)
    good = path.read_bytes()
    rng = np.random.RandomState(0)
    places = {0, 7, 8, 9, len(good) - 1, *rng.randint(0, len(good), 60).tolist()}
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << rng.randint(8)
        path.write_bytes(bad)
        with pytest.raises(ModelFileError):
            ironlearn.load(path)
    for length in (0, 5, 8, 100, len(good) - 1):
        path.write_bytes(good[:length])
        with pytest.raises(ModelFileError):
            ironlearn.load(path)


@each
def test_serving_needs_no_scikit_learn(name: str, tmp_path: Path) -> None:
    X, y = registry.data(name)
    fitted = registry.make(name).fit(X, y)
    fitted.save(tmp_path / "model")
    np.save(tmp_path / "X.npy", X)
    program = (
        "import sys; sys.modules['sklearn'] = None; sys.modules['scipy'] = None\n"
        "import numpy as np; from ironlearn import serving\n"
        f"m = serving.load({str(tmp_path / 'model')!r}); X = np.load({str(tmp_path / 'X.npy')!r})\n"
        f"np.save({str(tmp_path / 'out.npy')!r}, m.predict(X))\n"
        "assert not [m for m in sys.modules if m.startswith('sklearn.')]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), fitted.predict(X))


@each
def test_not_fitted(name: str) -> None:
    X, _ = registry.data(name)
    with pytest.raises(NotFittedError):
        registry.make(name).predict(X)
    with pytest.raises(NotFittedError):
        registry.make(name).save("nowhere")


@each
def test_bad_rows_at_predict(name: str) -> None:
    X, y = registry.data(name)
    fitted = registry.make(name).fit(X, y)
    for bad, words in [
        (X[:, :5], "features"),
        (X[:0], "0 sample"),
        (X[0], "2D"),
        (np.where(X == X[0, 0], np.inf, X.astype(float)), "infinity|inf"),
        (X.astype(complex), "[Cc]omplex"),
    ]:
        with pytest.raises((ValueError, TypeError), match=words):
            fitted.predict(bad)


@each
def test_bad_rows_at_fit(name: str) -> None:
    X, y = registry.data(name)
    for bad_X, bad_y, words in [
        (X[:0], y[:0], "0 sample|minimum"),
        (X[:, :0], y, "0 feature"),
        (X.astype(complex), y, "[Cc]omplex"),
        (np.where(X == X[0, 0], np.inf, X.astype(float)), y, "infinity|inf"),
        ([[1.0, 2.0], [3.0]], [0, 1], "inhomogeneous|sequence"),
    ]:
        with pytest.raises((ValueError, TypeError), match=words):
            registry.make(name).fit(bad_X, bad_y)


@each
def test_one_row_equals_many(name: str) -> None:
    X, y = registry.data(name)
    fitted = registry.make(name).fit(X, y)
    for whole, rows in zip(
        registry.answers(name, fitted, X[:20]),
        zip(*(registry.answers(name, fitted, X[i : i + 1]) for i in range(20)), strict=True),
        strict=True,
    ):
        np.testing.assert_allclose(whole, np.concatenate(rows), rtol=1e-12, atol=1e-12)


def _fit_in_child(name: str, queue: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    X, y = registry.data(name)
    X, y = np.tile(X, (20, 1)), np.tile(y, 20)
    queue.put(registry.make(name, n_jobs=2).fit(X, y).predict(X))


@each
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_after_fit_and_fit_after_fork(name: str) -> None:
    X, y = registry.data(name)
    X, y = np.tile(X, (20, 1)), np.tile(y, 20)
    parent = registry.make(name, n_jobs=2).fit(X, y).predict(X)
    context = multiprocessing.get_context("fork")
    for _ in range(2):
        queue = context.Queue()
        child = context.Process(target=_fit_in_child, args=(name, queue))
        child.start()
        np.testing.assert_array_equal(queue.get(timeout=60), parent)
        child.join(60)
        assert child.exitcode == 0


@each
def test_a_thousand_fits_leave_memory_flat(name: str) -> None:
    psutil = pytest.importorskip("psutil")
    X, y = registry.data(name)
    X, y = X[:100, :20].copy(), y[:100]
    process = psutil.Process()

    def fits(n: int) -> None:
        for _ in range(n):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                registry.make(name).fit(X, y).predict(X)
        gc.collect()

    fits(200)
    before = process.memory_info().rss
    fits(1000)
    assert process.memory_info().rss - before < 8 * 2**20


@each
def test_two_fits_in_two_threads(name: str) -> None:
    X, y = registry.data(name)
    X, y = np.tile(X, (10, 1)), np.tile(y, 10)
    alone = registry.make(name).fit(X, y).predict(X)
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(registry.make(name).fit(X, y).predict(X)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for answer in found:
        np.testing.assert_array_equal(answer, alone)


@each
def test_inputs_are_left_alone_and_may_be_read_only(name: str) -> None:
    X, y = registry.data(name)
    X.setflags(write=False)
    y = y.copy()
    y.setflags(write=False)
    before = X.tobytes(), y.tobytes()
    registry.make(name).fit(X, y).predict(X)
    assert (X.tobytes(), y.tobytes()) == before


@each
def test_clone_and_repr(name: str) -> None:
    estimator = registry.make(name)
    assert str(clone(estimator).get_params()) == str(estimator.get_params())
    assert name in repr(estimator)


@each
def test_docstring_has_the_sections_of_numpydoc(name: str) -> None:
    text = inspect.getdoc(type(registry.make(name))) or ""
    for section in ("Parameters", "Attributes", "Examples"):
        assert f"{section}\n---" in text
    for parameter in type(registry.make(name))._parameters:
        assert f"\n{parameter} : " in text, parameter


@each
def test_every_type_of_the_table_is_public(name: str) -> None:
    assert name in importlib.import_module(TYPES[name]).__all__


@each
def test_a_failed_fit_leaves_the_former_model(name: str) -> None:
    X, y = registry.data(name)
    estimator = registry.make(name).fit(X, y)
    before = registry.answers(name, estimator, X)
    wider = np.hstack([X, X[:, :1]])
    wider[-1, -1] = -1 if name == "CategoricalNB" else np.inf
    for bad in ((wider, y), (X, y[:-1])):
        if bad[0] is X and "KMeans" in name:
            continue  # y is not used
        with pytest.raises(ValueError):  # noqa: PT011
            estimator.fit(*bad)
        assert estimator.n_features_in_ == X.shape[1]
        for old, new in zip(before, registry.answers(name, estimator, X), strict=True):
            np.testing.assert_array_equal(old, new)


@each
def test_warnings_of_fit_point_at_the_caller(name: str) -> None:
    X, y = registry.data(name)
    estimator = registry.make(name)
    if "max_iter" not in estimator.get_params():
        return
    estimator.set_params(max_iter=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X, y)
    assert all(warning.filename == __file__ for warning in caught)
