"""Exported ONNX models answer as the estimators do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

from common import registry
from ironlearn.cluster import BisectingKMeans, KMeans
from ironlearn.ensemble import RandomForestClassifier, RandomForestRegressor
from ironlearn.exceptions import InvalidParameterError
from ironlearn.io.onnx import save_onnx, to_onnx
from ironlearn.naive_bayes import BernoulliNB, CategoricalNB, MultinomialNB
from ironlearn.svm import SVC, LinearSVC
from ironlearn.tree import DecisionTreeClassifier, DecisionTreeRegressor


def run(model: Any, feed: dict[str, Any]) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else model.SerializeToString(),
        providers=["CPUExecutionProvider"],
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feed), strict=True))


def check(estimator: Any, answers: dict[str, Any], X: Any) -> None:
    """Labels equal, numbers to the tolerance that the export promises."""
    wanted = {
        "label": "predict",
        "prediction": "predict",
        "probabilities": "predict_proba",
        "scores": "decision_function",
        "distances": "transform",
    }
    assert answers
    for name, got in answers.items():
        expected = np.asarray(getattr(estimator, wanted[name])(X))
        assert got.shape == expected.shape
        if name == "label":
            np.testing.assert_array_equal(got, expected)
        else:
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", registry.names())
def test_every_estimator(name: str, dtype: str) -> None:
    X, y = registry.data(name)
    estimator = registry.make(name).fit(X, y)
    random = np.random.default_rng(0)
    if name == "CategoricalNB":
        query = random.integers(0, 20, (400, X.shape[1]))
    else:
        query = np.ascontiguousarray(random.random((400, X.shape[1])), dtype=dtype)
    check(estimator, run(to_onnx(estimator, dtype=dtype), {"X": query}), query)


@pytest.mark.parametrize(
    ("estimator", "classes"),
    [
        (DecisionTreeClassifier(max_depth=4, random_state=0), 2),
        (RandomForestClassifier(7, voting="hard", random_state=0), 3),
        (BernoulliNB(binarize=0.3, alpha=0), 3),
        (MultinomialNB(alpha=0), 3),
        (LinearSVC(fit_intercept=False), 2),
        (SVC(kernel="linear"), 2),
        (SVC(kernel="sigmoid", break_ties=True), 4),
        (SVC(kernel="poly", degree=2, coef0=1.0, decision_function_shape="ovo"), 4),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else str(value),
)
@pytest.mark.parametrize("kind", ["U", "i", "b", "f"])
def test_labels_and_settings(estimator: Any, classes: int, kind: str) -> None:
    random = np.random.default_rng(1)
    X = (random.random((120, 6)) * (random.random((120, 6)) > 0.3)).astype(np.float32)
    y = random.integers(0, classes, 120)
    names = {"U": np.array(list("abcd"))[y], "i": y * 3 - 1, "b": y > 0, "f": y.astype(float)}
    estimator.fit(X, names[kind])
    query = random.random((200, 6)).astype(np.float32)
    query[:20] = 0
    check(estimator, run(to_onnx(estimator), {"X": query}), query)


def test_missing_values_follow_the_tree() -> None:
    random = np.random.default_rng(2)
    X = random.random((500, 5)).astype(np.float32)
    X[random.random(X.shape) < 0.2] = np.nan
    y = np.isnan(X[:, 0]) * 2 + (np.nan_to_num(X[:, 1]) > 0.5)
    forest = RandomForestClassifier(9, random_state=0).fit(X, y)
    query = random.random((300, 5)).astype(np.float32)
    query[random.random(query.shape) < 0.2] = np.nan
    check(forest, run(to_onnx(forest), {"X": query}), query)


def test_thresholds_are_exact_at_the_border() -> None:
    # A threshold between two neighbouring single-precision numbers is none itself.
    low = np.float32(1.0)
    high = np.nextafter(low, np.float32(2.0))
    X = np.array([[low], [high]], dtype=np.float32)
    tree = DecisionTreeClassifier().fit(X, [0, 1])
    for dtype in ("float32", "float64"):
        query = X.astype(dtype)
        check(tree, run(to_onnx(tree, dtype=dtype), {"X": query}), query)


def table(random: np.random.Generator, rows: int, unseen: bool) -> pd.DataFrame:
    words = ["red", "green", "blue", *(["mauve"] if unseen else [])]
    numbers = [3, 10, 11, *([99] if unseen else [])]
    return pd.DataFrame(
        {
            "colour": np.array(words, dtype=object)[random.integers(0, len(words), rows)],
            "size": np.array(numbers)[random.integers(0, len(numbers), rows)],
            "weight": random.random(rows).astype(np.float32),
        }
    )


def test_tree_with_categories() -> None:
    random = np.random.default_rng(3)
    X = table(random, 400, unseen=False)
    y = ((X["colour"] == "green") ^ (X["size"] == 10) ^ (X["weight"] > 0.5)).astype(int)
    for model in (
        DecisionTreeClassifier(categorical_features=[0, 1], random_state=0),
        RandomForestClassifier(5, categorical_features=["colour"], random_state=0),
    ):
        model.fit(X, y)
        query = table(random, 300, unseen=True)
        feed = {
            "colour": query[["colour"]].to_numpy(),
            "size": query[["size"]].to_numpy(np.float64),
            "weight": query[["weight"]].to_numpy(np.float32),
        }
        if isinstance(model, RandomForestClassifier):
            feed["size"] = feed["size"].astype(np.float32)
        check(model, run(to_onnx(model), feed), query)


def test_categorical_nb_on_a_table() -> None:
    random = np.random.default_rng(4)
    X = table(random, 200, unseen=False)[["colour", "size"]]
    X["size"] = X["size"].astype("category")
    X["code"] = random.integers(0, 4, 200)
    model = CategoricalNB(alpha=0.5).fit(X, random.integers(0, 3, 200))
    query = table(random, 100, unseen=True)[["colour", "size"]]
    query["size"] = query["size"].astype("category")
    query["code"] = random.integers(0, 6, 100)
    feed = {
        "colour": query[["colour"]].to_numpy(),
        "size": query["size"].to_numpy(np.float64)[:, None],
        "code": query[["code"]].to_numpy(np.int64),
    }
    check(model, run(to_onnx(model), feed), query)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(2, 40),
    width=st.integers(1, 5),
    depth=st.integers(1, 6),
    levels=st.integers(2, 9),
    seed=st.integers(0, 10**6),
)
def test_random_trees(rows: int, width: int, depth: int, levels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    X = (random.integers(0, levels, (rows, width)) / 3).astype(np.float32)
    X[random.random(X.shape) < 0.1] = np.nan
    y = random.integers(0, 3, rows)
    forest = RandomForestClassifier(3, max_depth=depth, random_state=seed).fit(X, y)
    check(forest, run(to_onnx(forest), {"X": X}), X)


def test_precomputed_kernel() -> None:
    random = np.random.default_rng(5)
    X, y = random.random((60, 4)), random.integers(0, 3, 60)
    model = SVC(kernel="precomputed").fit(X @ X.T, y)
    query = (random.random((20, 4)) @ X.T).astype(np.float64)
    check(model, run(to_onnx(model, dtype="float64"), {"X": query}), query)


def test_sparse_support_vectors() -> None:
    import scipy.sparse as sp

    random = np.random.default_rng(6)
    X = sp.random(80, 30, 0.2, format="csr", random_state=0)
    model = SVC(gamma=0.5).fit(X, random.integers(0, 3, 80))
    query = random.random((20, 30))
    check(model, run(to_onnx(model, dtype="float64"), {"X": query}), query)


@pytest.mark.filterwarnings("ignore:The `probability` parameter:FutureWarning")
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_probabilities_of_pairs_are_coupled(classes: int) -> None:
    random = np.random.default_rng(7)
    y = random.integers(0, classes, 150)
    X = random.normal(size=(150, 4)) + y[:, None] * 0.7
    model = SVC(probability=True, random_state=0).fit(X, y)
    query = random.normal(size=(200, 4)) * 3
    answers = run(to_onnx(model, dtype="float64"), {"X": query})
    assert set(answers) == {"label", "scores", "probabilities"}
    check(model, answers, query)


@pytest.mark.parametrize("kind", [DecisionTreeClassifier, RandomForestClassifier])
def test_several_outputs_of_classes(kind: Any) -> None:
    random = np.random.default_rng(8)
    X = random.random((200, 4)).astype(np.float32)
    y = np.stack([X[:, 0] > 0.5, np.digitize(X[:, 1], [0.3, 0.6])], axis=1).astype(int)
    model = kind(max_depth=5, random_state=0).fit(X, y)
    answers = run(to_onnx(model), {"X": X})
    for k in range(2):
        np.testing.assert_array_equal(answers[f"label_{k}"], model.predict(X)[:, k])
        np.testing.assert_allclose(
            answers[f"probabilities_{k}"], model.predict_proba(X)[k], rtol=1e-6, atol=1e-6
        )


@pytest.mark.parametrize("kind", [DecisionTreeRegressor, RandomForestRegressor])
def test_several_outputs_of_numbers(kind: Any) -> None:
    random = np.random.default_rng(9)
    X = random.random((200, 4)).astype(np.float32)
    model = kind(random_state=0).fit(X, np.stack([X[:, 0] * 3, X[:, 1] - 1e6], axis=1))
    check(model, run(to_onnx(model), {"X": X}), X)


@pytest.mark.parametrize("clusters", [1, 2, 9])
def test_rows_go_down_the_tree_of_clusters(clusters: int) -> None:
    X, _ = registry.data("KMeans")
    model = BisectingKMeans(clusters, random_state=0).fit(X)
    check(model, run(to_onnx(model, dtype="float64"), {"X": X}), X)


def test_one_row_and_no_rows() -> None:
    X, y = registry.data("KMeans")
    model = to_onnx(KMeans(3, random_state=0).fit(X, y)).SerializeToString()
    for rows in (0, 1):
        answers = run(model, {"X": X[:rows].astype(np.float32)})
        assert answers["label"].shape == (rows,)
        assert answers["distances"].shape == (rows, 3)


def test_file_appears_whole(tmp_path: Path) -> None:
    X, y = registry.data("GaussianNB")
    path = tmp_path / "model.onnx"
    save_onnx(registry.make("GaussianNB").fit(X, y), path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]
    query = X[:5].astype(np.float32)
    assert run(path.read_bytes(), {"X": query})["label"].shape == (5,)


def test_bad_input() -> None:
    with pytest.raises(NotFittedError):
        to_onnx(KMeans())
    with pytest.raises(InvalidParameterError, match=r"'estimator' parameter.*dict"):
        to_onnx({})
    X, y = registry.data("GaussianNB")
    fitted = registry.make("GaussianNB").fit(X, y)
    with pytest.raises(InvalidParameterError, match=r"'dtype' parameter.*float16"):
        to_onnx(fitted, dtype="float16")
    called = SVC(kernel=lambda a, b: a @ b.T).fit(X, y)
    with pytest.raises(ValueError, match="'kernel' parameter of SVC is a callable"):
        to_onnx(called)
