"""GaussianNB beside scikit-learn and beside the plain-Python version."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.naive_bayes import GaussianNB as Theirs

from ironlearn import _core
from ironlearn.naive_bayes import GaussianNB
from ironlearn.reference import gaussian_nb as reference


def _assert_close(ours: GaussianNB, theirs: Any, X: np.ndarray, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(ours.theta_, theirs.theta_, rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(ours.var_, theirs.var_, rtol=rtol)
    np.testing.assert_allclose(
        ours.predict_joint_log_proba(X), theirs.predict_joint_log_proba(X), rtol=rtol
    )
    np.testing.assert_allclose(
        ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-7, atol=1e-12
    )
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize("load", [load_iris, load_digits, load_breast_cancer])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_scikit_learn(load: Any, weighted: bool) -> None:
    X, y = load(return_X_y=True)
    weights = np.random.RandomState(0).rand(len(y)) if weighted else None
    ours = GaussianNB().fit(X, y, weights)
    theirs = Theirs().fit(X, y, weights)
    _assert_close(ours, theirs, X)
    np.testing.assert_allclose(ours.class_prior_, theirs.class_prior_)
    assert ours.epsilon_ == pytest.approx(theirs.epsilon_, rel=1e-12)


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["letter", "spambase", "shuttle", "mnist"])
def test_equals_scikit_learn_on_real_data(name: str, data_dir: Path) -> None:
    if name == "mnist":
        folder = data_dir / "mnist"
        images = gzip.open(folder / "train-images-idx3-ubyte.gz").read()
        labels = gzip.open(folder / "train-labels-idx1-ubyte.gz").read()
        X = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784)[:5000] / 255.0
        y = np.frombuffer(labels, np.uint8, offset=8)[:5000]
    elif name == "shuttle":
        table = np.loadtxt(data_dir / "tabular/shuttle/shuttle.trn.gz", delimiter=",")
        X, y = table[:, :-1].copy(), table[:, -1]
    else:
        file = {
            "letter": "letter/letter-recognition.data.gz",
            "spambase": "spambase/spambase.data.gz",
        }[name]
        frame = pd.read_csv(data_dir / "tabular" / file, header=None)
        target = 0 if name == "letter" else frame.columns[-1]
        y = frame.pop(target).to_numpy()
        X = frame.to_numpy(dtype=np.float64)
    _assert_close(GaussianNB().fit(X, y), Theirs().fit(X, y), X)


def test_single_precision_is_as_good_as_double() -> None:
    X, y = load_digits(return_X_y=True)
    double = GaussianNB().fit(X, y)
    single = GaussianNB().fit(X.astype(np.float32), y)
    # Digits are integers: exact in either precision, and sums are kept in double.
    np.testing.assert_allclose(single.theta_, double.theta_, rtol=1e-14)
    np.testing.assert_allclose(
        single.predict_joint_log_proba(X.astype(np.float32)),
        double.predict_joint_log_proba(X),
        rtol=1e-12,
    )


@given(
    rows=st.integers(2, 60),
    width=st.integers(1, 9),
    classes=st.integers(1, 4),
    seed=st.integers(0, 10_000),
    weighted=st.booleans(),
    dtype=st.sampled_from([np.float64, np.float32]),
    order=st.sampled_from(["C", "F", "strided"]),
)
def test_any_shape(
    rows: int, width: int, classes: int, seed: int, weighted: bool, dtype: Any, order: str
) -> None:
    rng = np.random.RandomState(seed)
    X = (rng.randn(rows, width) * 10 ** rng.uniform(-2, 2) + rng.randn() * 100).astype(dtype)
    if order == "F":
        X = np.asfortranarray(X)
    elif order == "strided":
        X = np.repeat(X, 2, axis=0)[::2]
    y = rng.randint(classes, size=rows)
    weights = rng.randint(0, 4, size=rows).astype(float) if weighted else None
    if weights is not None:
        weights[np.unique(y, return_index=True)[1]] += 1
    ours = GaussianNB(var_smoothing=1e-3).fit(X, y, weights)
    labels, codes = np.unique(y, return_inverse=True)
    moments, largest = reference.gaussian_nb_moments(
        np.ascontiguousarray(X),
        codes.astype(np.uint32),
        weights,
        n_classes=len(labels),
        n_threads=1,
    )
    count, mean, m2 = moments
    np.testing.assert_allclose(ours.class_count_, count)
    np.testing.assert_allclose(ours.theta_, mean, rtol=1e-10, atol=1e-10)
    var = m2 / count[:, None] + 1e-3 * largest
    np.testing.assert_allclose(ours.var_, var, rtol=1e-8, atol=1e-12)
    if var.min() > 0:
        np.testing.assert_allclose(
            ours.predict_joint_log_proba(X),
            reference.joint_log_likelihood(X, ours.theta_, ours.var_, np.log(count / count.sum())),
            rtol=1e-9,
        )


@given(seed=st.integers(0, 1000), cut=st.integers(1, 59))
def test_merged_moments_are_the_moments_of_all(seed: int, cut: int) -> None:
    rng = np.random.RandomState(seed)
    X, y = rng.randn(60, 3) + 1000, rng.randint(3, size=60).astype(np.uint32)

    def moments(rows: slice) -> Any:
        return _core.gaussian_nb_moments(X[rows], y[rows], None, n_classes=3, n_threads=1)[0]

    whole = moments(slice(None))
    for merge in (_core.gaussian_nb_merge, reference.gaussian_nb_merge):
        merged = merge(moments(slice(0, cut)), moments(slice(cut, None)))
        for a, b in zip(merged, whole, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9)


def test_partial_fit_equals_scikit_learn() -> None:
    X, y = load_digits(return_X_y=True)
    ours, theirs = GaussianNB(), Theirs()
    for start in range(0, 1797, 300):
        rows = slice(start, start + 300)
        ours.partial_fit(X[rows], y[rows], classes=range(10))
        theirs.partial_fit(X[rows], y[rows], classes=range(10))
        _assert_close(ours, theirs, X)


def test_partial_fit_refuses_unknown_classes() -> None:
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        GaussianNB().partial_fit(X, y)
    with pytest.raises(ValueError, match=r"label\(s\) \[2\] in y do not exist"):
        GaussianNB().partial_fit(X, y, classes=[0, 1])
    model = GaussianNB().partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="not the same as on last call"):
        model.partial_fit(X, y, classes=[0, 1])
    before = model.theta_.copy()
    with pytest.raises(ValueError, match="do not exist"):
        model.partial_fit(X, y + 1)
    np.testing.assert_array_equal(model.theta_, before)


def test_priors() -> None:
    X, y = load_iris(return_X_y=True)
    priors = [0.2, 0.3, 0.5]
    _assert_close(GaussianNB(priors=priors).fit(X, y), Theirs(priors=priors).fit(X, y), X)
    for bad, words in [
        ([0.5, 0.5], "Number of priors"),
        ([0.5, 0.5, 0.5], "sum of the priors"),
        ([-0.5, 1.0, 0.5], "non-negative"),
    ]:
        with pytest.raises(ValueError, match=words):
            GaussianNB(priors=bad).fit(X, y)


def test_bad_values_are_named() -> None:
    X, y = load_iris(return_X_y=True)
    for value, words in [(np.nan, "NaN"), (np.inf, "infinity")]:
        bad = X.copy()
        bad[77, 2] = value
        with pytest.raises(ValueError, match=words):
            GaussianNB().fit(bad, y)
        with pytest.raises(ValueError, match=words):
            GaussianNB().fit(X, y).predict(bad)
    with pytest.raises(ValueError, match="Negative values in sample_weight"):
        GaussianNB().fit(X, y, -np.ones(len(y)))
    with pytest.raises(ValueError, match="All sample_weight values are zero"):
        GaussianNB().fit(X, y, np.zeros(len(y)))
    with pytest.raises(ValueError, match="variance overflows; scale X"):
        GaussianNB().fit(X * 1e300, y)


def test_attributes_cannot_be_changed_behind_the_model() -> None:
    X, y = load_iris(return_X_y=True)
    model = GaussianNB().fit(X, y)
    with pytest.raises(ValueError, match="read-only"):
        model.theta_[0, 0] = 1.0


def test_data_frames_keep_their_names() -> None:
    X, y = load_iris(return_X_y=True, as_frame=True)
    model = GaussianNB().fit(X, y)
    assert model.feature_names_in_.tolist() == list(X.columns)
    with pytest.warns(UserWarning, match="valid feature names"):
        model.predict(X.to_numpy())
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X.rename(columns={X.columns[0]: "other"}))


@given(
    rows=st.integers(2, 80),
    width=st.integers(1, 9),
    classes=st.integers(1, 4),
    seed=st.integers(0, 10_000),
    weighted=st.booleans(),
    dtype=st.sampled_from([np.float64, np.float32]),
    form=st.sampled_from(["csr_array", "csc_array", "coo_matrix"]),
)
def test_sparse_rows_give_the_dense_answers(
    rows: int, width: int, classes: int, seed: int, weighted: bool, dtype: Any, form: str
) -> None:
    rng = np.random.RandomState(seed)
    X = (rng.randn(rows, width) * 10 ** rng.uniform(-2, 2) + rng.randn(width) * 100).astype(dtype)
    # Some columns have no zeros, some nothing else.
    X[rng.rand(rows, width) < rng.choice([0, 0.5, 0.9, 1], width)] = 0
    y = rng.randint(classes, size=rows)
    weights = rng.randint(0, 3, size=rows) + 0.1 * rng.rand(rows) if weighted else None
    S = getattr(sparse, form)(X)
    for smoothing in (1e-9, 1e-3):
        dense = GaussianNB(var_smoothing=smoothing).fit(X, y, weights)
        ours = GaussianNB(var_smoothing=smoothing).fit(S, y, weights)
        np.testing.assert_allclose(ours.class_count_, dense.class_count_, rtol=1e-12)
        np.testing.assert_allclose(ours.theta_, dense.theta_, rtol=1e-9, atol=1e-10)
        scale = max(1.0, float(dense.var_.max()))
        np.testing.assert_allclose(ours.var_, dense.var_, rtol=1e-9, atol=1e-14 * scale)
        if smoothing == 1e-3 and dense.var_.min() > 0:
            joint = dense.predict_joint_log_proba(X)
            np.testing.assert_allclose(ours.predict_joint_log_proba(S), joint, rtol=1e-8)
            # The same model, dense and sparse rows.
            wanted = ours.predict_joint_log_proba(X)
            np.testing.assert_allclose(ours.predict_joint_log_proba(S), wanted, rtol=1e-9)


def test_sparse_rows_equal_scikit_learn_and_the_plain_version() -> None:
    X, y = load_digits(return_X_y=True)
    S = sparse.csr_matrix(X)
    their = Theirs().fit(X, y)
    ours = GaussianNB().fit(S, y)
    np.testing.assert_allclose(ours.theta_, their.theta_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.var_, their.var_, rtol=1e-9)
    np.testing.assert_allclose(
        ours.predict_joint_log_proba(S), their.predict_joint_log_proba(X), rtol=1e-9
    )
    parts = GaussianNB()
    for start in range(0, 1797, 300):
        rows = slice(start, start + 300)
        parts.partial_fit(S[rows], y[rows], classes=range(10))
    np.testing.assert_allclose(parts.theta_, their.theta_, rtol=1e-9, atol=1e-12)
    few = (S.data[: S.indptr[20]], S.indices[: S.indptr[20]], S.indptr[:21], 64)
    codes = y[:20].astype(np.uint32)
    arguments: dict[str, Any] = {"n_classes": 10, "n_threads": 1}
    plain, largest = reference.gaussian_nb_moments(few, codes, None, **arguments)
    native, also = _core.gaussian_nb_moments(few, codes, None, **arguments)
    for a, b in zip(native, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    assert also == pytest.approx(largest)


def test_elements_stored_in_parts_are_added_up() -> None:
    parts = sparse.csr_array(
        (np.array([1.0, 2.0, 4.0]), np.array([0, 0, 1]), np.array([0, 2, 3])), shape=(2, 2)
    )
    model = GaussianNB().fit(parts, [0, 1])
    assert model.theta_.tolist() == [[3, 0], [0, 4]]
    assert parts.nnz == 3


def test_bad_values_of_sparse_rows_are_named() -> None:
    X, y = load_digits(return_X_y=True)
    for value, words in [(np.nan, "NaN"), (np.inf, "infinity")]:
        bad = sparse.csr_array(X)
        bad.data[500] = value
        with pytest.raises(ValueError, match=words):
            GaussianNB().fit(bad, y)
        with pytest.raises(ValueError, match=words):
            GaussianNB().fit(X, y).predict(bad)
