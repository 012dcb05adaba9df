"""LinearSVC's objective and predictions beside scikit-learn's LIBLINEAR."""

from __future__ import annotations

import csv
import gzip
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC as Theirs

from ironlearn import _core
from ironlearn.svm import LinearSVC
from svm.objectives import objective

#: Every combination that LIBLINEAR supports.
COMBINATIONS: list[dict[str, Any]] = [
    {"loss": "squared_hinge", "dual": True},
    {"loss": "squared_hinge", "dual": False},
    {"loss": "squared_hinge", "dual": "auto"},
    {"loss": "hinge", "dual": True},
    {"loss": "hinge", "dual": "auto"},
    {"penalty": "l1", "dual": False},
    {"penalty": "l1", "dual": "auto"},
    {"multi_class": "crammer_singer"},
]


def compare(
    X: Any,
    y: np.ndarray,
    sample_weight: np.ndarray | None = None,
    *,
    max_iter: int = 5000,
    theirs_X: Any = None,
    **parameters: Any,
) -> tuple[LinearSVC, Any]:
    """Fit both; ours must converge, to an objective that is not above theirs."""
    settings = {"random_state": 0, **parameters}
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        ours = LinearSVC(**settings).fit(X, y, sample_weight)
    given = np.asarray(X, dtype=np.float64) if theirs_X is None else theirs_X
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Theirs(**settings, max_iter=max_iter).set_params(tol=1e-7)
        theirs.fit(given, y, sample_weight)
    best = objective(theirs, given, y, sample_weight)
    assert objective(ours, X, y, sample_weight) <= best * (1 + 1e-4)
    return ours, theirs


def assert_same_where_clear(ours: Any, theirs: Any, X: Any, allowed: float) -> None:
    """Equal predictions for rows whose best class leads by a clear margin."""
    scores = theirs.decision_function(X)
    if scores.ndim == 1:
        lead = np.abs(scores)
    else:
        ordered = np.sort(scores, axis=1)
        lead = ordered[:, -1] - ordered[:, -2]
    clear = lead > 0.1
    assert clear.mean() > 0.5
    differ = ours.predict(X)[clear] != theirs.predict(X)[clear]
    assert differ.mean() <= allowed


def digits(rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return X[:rows] / 16, y[:rows]


@pytest.mark.parametrize("parameters", COMBINATIONS, ids=str)
@pytest.mark.parametrize("extra", ["plain", "balanced", "dict", "sample", "no_intercept", "scaled"])
def test_digits(parameters: dict[str, Any], extra: str) -> None:
    X, y = digits(200)
    weights = np.random.RandomState(0).randint(0, 3, len(y)).astype(float)
    more: dict[str, Any] = {
        "plain": {},
        "balanced": {"class_weight": "balanced"},
        "dict": {"class_weight": {0: 3.0, 4: 0.5}},
        "sample": {},
        "no_intercept": {"fit_intercept": False, "C": 0.1},
        "scaled": {"intercept_scaling": 5.0, "C": 10.0},
    }[extra]
    sample_weight = weights if extra == "sample" else None
    ours, theirs = compare(X, y, sample_weight, max_iter=1000, **parameters, **more)
    if extra == "plain":
        assert_same_where_clear(ours, theirs, X, allowed=0.02)
    if extra == "no_intercept":
        np.testing.assert_array_equal(ours.intercept_, 0)


@pytest.mark.parametrize("parameters", COMBINATIONS, ids=str)
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
def test_small_tables(parameters: dict[str, Any], load: Any) -> None:
    X, y = load(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    ours, theirs = compare(X, y, max_iter=2000, **parameters)
    assert_same_where_clear(ours, theirs, X, allowed=0.01)


@pytest.mark.parametrize("parameters", COMBINATIONS, ids=str)
def test_unscaled_data_converge(parameters: dict[str, Any]) -> None:
    # Widely different ranges: LIBLINEAR does not converge here in any sensible time.
    X, y = load_breast_cancer(return_X_y=True)
    compare(X, y, max_iter=300, **parameters)


@pytest.mark.parametrize("parameters", COMBINATIONS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_sparse_equals_dense(parameters: dict[str, Any], dtype: Any, index: Any) -> None:
    X, y = digits(200)
    dense = LinearSVC(random_state=0, **parameters).fit(X, y)
    csr = sparse.csr_matrix(X.astype(dtype))
    csr.indices, csr.indptr = csr.indices.astype(index), csr.indptr.astype(index)
    ours = LinearSVC(random_state=0, **parameters).fit(csr, y)
    # Digits are sixteenths: exact in either precision.
    assert objective(ours, X, y) == pytest.approx(objective(dense, X, y), rel=1e-4)
    np.testing.assert_allclose(
        ours.decision_function(csr), ours.decision_function(X), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_array_equal(ours.predict(csr), ours.predict(X))


@settings(max_examples=60)
@given(
    rows=st.integers(4, 70),
    width=st.integers(1, 90),
    classes=st.integers(2, 4),
    seed=st.integers(0, 10_000),
    parameters=st.sampled_from(COMBINATIONS),
    dtype=st.sampled_from([np.float64, np.float32, np.int16]),
    order=st.sampled_from(["C", "F", "strided", "csr", "csc"]),
    C=st.sampled_from([0.01, 1.0, 30.0]),
)
def test_any_shape(
    rows: int,
    width: int,
    classes: int,
    seed: int,
    parameters: dict[str, Any],
    dtype: Any,
    order: str,
    C: float,
) -> None:
    rng = np.random.RandomState(seed)
    y = np.arange(rows) % classes
    X = (rng.randn(rows, width) * 2 + rng.randn(classes, width)[y]).astype(dtype)
    X[rng.rand(rows, width) < 0.3] = 0
    form: Any = X
    if order == "F":
        form = np.asfortranarray(X)
    elif order == "strided":
        form = np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    elif order in ("csr", "csc"):
        form = sparse.csr_array(X).asformat(order)
    before = form.copy()
    compare(form, y, max_iter=1000, theirs_X=X.astype(np.float64), C=C, **parameters)
    unchanged = form != before
    assert not (unchanged.nnz if sparse.issparse(unchanged) else unchanged.any())


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["mnist", "letter", "spambase"])
@pytest.mark.parametrize("parameters", [COMBINATIONS[i] for i in (1, 3, 5, 7)], ids=str)
def test_real_tables(name: str, parameters: dict[str, Any], data_dir: Path) -> None:
    if name == "mnist":
        images = gzip.open(data_dir / "mnist/train-images-idx3-ubyte.gz").read(16 + 784 * 500)
        labels = gzip.open(data_dir / "mnist/train-labels-idx1-ubyte.gz").read(8 + 500)
        X = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784) / 255.0
        y = np.frombuffer(labels, np.uint8, offset=8)
    else:
        file = {"letter": "letter/letter-recognition", "spambase": "spambase/spambase"}[name]
        with gzip.open(data_dir / f"tabular/{file}.data.gz", "rt") as stream:
            table = np.array(list(csv.reader(stream)))
        # The file is sorted by class.
        table = table[:: len(table) // 800]
        y, X = (table[:, 0], table[:, 1:]) if name == "letter" else (table[:, -1], table[:, :-1])
        X = X.astype(float)
        X = X / X.std(axis=0).clip(1e-9)
    compare(X, y, max_iter=50, C=0.1, **parameters)


@pytest.mark.realdata
@pytest.mark.parametrize("parameters", [COMBINATIONS[i] for i in (0, 1, 3, 5, 7)], ids=str)
def test_real_texts(parameters: dict[str, Any], data_dir: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    lines = (data_dir / "text_classification/trec/TREC.train").read_text("latin-1").splitlines()
    labels, texts = zip(*(line.split(" ", 1) for line in lines[:1500]), strict=True)
    X = TfidfVectorizer().fit_transform(texts)
    y = np.array([label.split(":")[0] for label in labels])
    ours, theirs = compare(X, y, max_iter=1000, theirs_X=X, **parameters)
    assert_same_where_clear(ours, theirs, X, allowed=0.01)


@pytest.mark.parametrize("parameters", COMBINATIONS, ids=str)
@pytest.mark.parametrize("form", ["dense", "csr"])
def test_threads_do_not_change_bits(parameters: dict[str, Any], form: str) -> None:
    X, y = load_digits(return_X_y=True)
    given: Any = sparse.csr_array(X / 16) if form == "csr" else X / 16
    models = [
        LinearSVC(n_jobs=n, random_state=0, max_iter=40, tol=1e-3, **parameters) for n in (1, 2, 4)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        first, *others = [model.fit(given, y) for model in models]
    for other in others:
        np.testing.assert_array_equal(first.coef_, other.coef_)
        np.testing.assert_array_equal(first.intercept_, other.intercept_)
        np.testing.assert_array_equal(
            first.decision_function(given), other.decision_function(given)
        )


TIER_PROGRAM = """
import sys
import numpy as np
from sklearn.datasets import load_digits
from ironlearn.svm import LinearSVC
X, y = load_digits(return_X_y=True)
X, y = X[:300] / 16, y[:300]
for dtype in ("f4", "f8"):
    for parameters in ({}, {"loss": "hinge"}, {"penalty": "l1"}, {"multi_class": "crammer_singer"}):
        model = LinearSVC(random_state=0, **parameters).fit(X.astype(dtype), y)
        sys.stdout.buffer.write(np.column_stack([model.coef_, model.intercept_]).tobytes())
"""


@pytest.mark.parametrize("tier", ["scalar", "avx2"])
def test_every_tier_reaches_the_objective(tier: str) -> None:
    if tier != "scalar" and _core.build_info()["simd_detected"] == "scalar":
        pytest.skip(f"this processor lacks {tier}")
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", TIER_PROGRAM],
        env={**os.environ, "IRONLEARN_SIMD": tier},
        capture_output=True,
        check=True,
    ).stdout
    fits = iter(np.frombuffer(out).reshape(-1, 10, 65))
    X, y = digits(300)
    for _ in range(2):
        for parameters in ({}, {"loss": "hinge"}, {"penalty": "l1"}, COMBINATIONS[-1]):
            ours = LinearSVC(random_state=0, **parameters).fit(X, y)
            want = objective(ours, X, y)
            weights = next(fits)
            ours.coef_, ours.intercept_ = weights[:, :-1], weights[:, -1]
            assert objective(ours, X, y) == pytest.approx(want, rel=1e-4)
