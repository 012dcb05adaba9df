"""CategoricalNB beside scikit-learn and beside the plain-Python version."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits, load_iris
from sklearn.naive_bayes import CategoricalNB as Theirs

import ironlearn
from ironlearn import _core, _modelfile, serving
from ironlearn.exceptions import ModelFileError
from ironlearn.naive_bayes import CategoricalNB
from ironlearn.reference import categorical_nb as reference


def _digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return X.astype(np.int64), y


def _assert_equal(ours: CategoricalNB, theirs: Any, X: np.ndarray) -> None:
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_array_equal(ours.n_categories_, theirs.n_categories_)
    np.testing.assert_allclose(ours.class_count_, theirs.class_count_, rtol=1e-12)
    np.testing.assert_allclose(ours.class_log_prior_, theirs.class_log_prior_, rtol=1e-12)
    assert len(ours.category_count_) == len(theirs.category_count_)
    for a, b in zip(ours.category_count_, theirs.category_count_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    for a, b in zip(ours.feature_log_prob_, theirs.feature_log_prob_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        ours.predict_joint_log_proba(X), theirs.predict_joint_log_proba(X), rtol=1e-9
    )
    np.testing.assert_allclose(
        ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-7, atol=1e-12
    )
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.uint16, np.int8, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_scikit_learn(dtype: Any, weighted: bool) -> None:
    X, y = _digits()
    weights = np.random.RandomState(0).rand(len(y)) if weighted else None
    _assert_equal(CategoricalNB().fit(X.astype(dtype), y, weights), Theirs().fit(X, y, weights), X)


@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha": 0.3},
        {"fit_prior": False},
        {"class_prior": [0.2, 0.3, 0.5]},
        {"min_categories": 20},
        {"min_categories": [3, 9, 12, 4]},
    ],
)
def test_parameters_mean_what_they_mean_there(parameters: dict[str, Any]) -> None:
    X, y = load_iris(return_X_y=True)
    X = X.round().astype(int)
    _assert_equal(CategoricalNB(**parameters).fit(X, y), Theirs(**parameters).fit(X, y), X)


def test_no_smoothing_and_the_least_one() -> None:
    X, y = load_iris(return_X_y=True)
    X = X.round().astype(int)
    ours = CategoricalNB(alpha=0).fit(X, y)
    with np.errstate(divide="ignore"):
        theirs = Theirs(alpha=0).fit(X, y)
    np.testing.assert_allclose(
        ours.predict_joint_log_proba(X), theirs.predict_joint_log_proba(X), rtol=1e-9
    )
    with pytest.warns(UserWarning, match="setting alpha = 1.0e-10"):
        ours = CategoricalNB(alpha=0, force_alpha=False).fit(X, y)
    with pytest.warns(UserWarning, match="alpha too small"):
        theirs = Theirs(alpha=0, force_alpha=False).fit(X, y)
    _assert_equal(ours, theirs, X)


@pytest.mark.realdata
def test_equals_scikit_learn_on_images(data_dir: Path) -> None:
    folder = data_dir / "fashion_mnist"
    images = gzip.open(folder / "t10k-images-idx3-ubyte.gz").read()
    labels = gzip.open(folder / "t10k-labels-idx1-ubyte.gz").read()
    X = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784) // 16
    y = np.frombuffer(labels, np.uint8, offset=8)
    # More rows than one chunk counts, more features than one group.
    rows = slice(0, 6000)
    _assert_equal(CategoricalNB().fit(X[rows], y[rows]), Theirs().fit(X[rows], y[rows]), X[rows])


@pytest.mark.realdata
def test_a_census_is_a_table_of_words(data_dir: Path) -> None:
    from sklearn.preprocessing import OrdinalEncoder

    frame = pd.read_csv(data_dir / "tabular/adult/adult-train.csv.gz", header=None, nrows=5000)
    y = frame.pop(14).to_numpy()
    frame = frame[[1, 3, 5, 6, 7, 8, 9, 13]]
    codes = OrdinalEncoder(dtype=np.int64).fit_transform(frame)
    ours, theirs = CategoricalNB().fit(frame, y), Theirs().fit(codes, y)
    np.testing.assert_allclose(
        ours.predict_joint_log_proba(frame), theirs.predict_joint_log_proba(codes), rtol=1e-9
    )


@given(
    rows=st.integers(1, 60),
    width=st.integers(1, 9),
    classes=st.integers(1, 15),
    top=st.sampled_from([1, 2, 7, 300]),
    seed=st.integers(0, 10_000),
    weighted=st.booleans(),
    dtype=st.sampled_from([np.int64, np.uint8, np.uint16, np.int32]),
    alpha=st.sampled_from([1.0, 0.25]),
)
def test_any_shape(
    rows: int,
    width: int,
    classes: int,
    top: int,
    seed: int,
    weighted: bool,
    dtype: Any,
    alpha: float,
) -> None:
    rng = np.random.RandomState(seed)
    top = min(top, np.iinfo(dtype).max)
    X = rng.randint(top, size=(rows, width)).astype(dtype)
    y = rng.randint(classes, size=rows).astype(np.uint32)
    weights = rng.randint(0, 4, size=rows).astype(float) if weighted else None
    least = rng.randint(1, 9, size=width) if seed % 2 else None
    arguments = {"n_classes": classes, "min_categories": least, "n_threads": 1}
    ours = _core.categorical_nb_counts(X, y, weights, **arguments)
    plain = reference.categorical_nb_counts(X, y, weights, **arguments)
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_array_equal(a, b)
    prior = rng.randn(classes) - 5
    model = _core.CategoricalModel.from_arrays(ours, prior, alpha)
    Z = rng.randint(min(top + 3, np.iinfo(dtype).max), size=(7, width)).astype(dtype)
    joint = reference.joint_log_likelihood(Z, plain, prior, alpha)
    np.testing.assert_allclose(model.joint_log_likelihood(Z, n_threads=1), joint, rtol=1e-9)
    np.testing.assert_array_equal(
        model.predict_codes(Z, n_threads=1),
        model.joint_log_likelihood(Z, n_threads=1).argmax(axis=1),
    )
    cut = rows // 2
    if cut:
        least = None
        arguments["min_categories"] = None
        whole = _core.categorical_nb_counts(X, y, weights, **arguments)
        for core in (_core, reference):
            parts = [
                core.categorical_nb_counts(
                    X[s], y[s], weights[s] if weighted else None, **arguments
                )
                for s in (slice(0, cut), slice(cut, None))
            ]
            for a, b in zip(core.categorical_nb_merge(*parts), whole, strict=True):
                np.testing.assert_array_equal(a, b)


def test_a_row_of_weight_two_is_two_rows() -> None:
    X, y = _digits()
    repeats = np.random.RandomState(1).randint(0, 4, size=len(y))
    weighted = CategoricalNB().fit(X, y, repeats)
    repeated = CategoricalNB(min_categories=X.max(axis=0) + 1).fit(
        X.repeat(repeats, axis=0), y.repeat(repeats)
    )
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-9)


def test_partial_fit_equals_one_fit() -> None:
    X, y = _digits()
    ours = CategoricalNB()
    for start in range(0, 1797, 300):
        rows = slice(start, start + 300)
        ours.partial_fit(X[rows], y[rows], classes=range(10))
    # scikit-learn's own n_categories_ is that of the last batch, so one fit is the judge.
    _assert_equal(ours, Theirs().fit(X, y), X)


def test_partial_fit_refuses_unknown_classes_and_keeps_the_model() -> None:
    X, y = load_iris(return_X_y=True)
    X = X.round().astype(int)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        CategoricalNB().partial_fit(X, y)
    model = CategoricalNB().partial_fit(X, y, classes=[0, 1, 2])
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match=r"label\(s\) \[3\] in y do not exist"):
        model.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="not the same as on last call"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="Negative values"):
        model.partial_fit(-X, y)
    with pytest.raises(ValueError, match="held integer codes before"):
        model.partial_fit(X.astype(str), y)
    np.testing.assert_array_equal(model.predict_proba(X), before)


WORDS = [["red", "S"], ["red", "M"], ["blue", "L"], ["blue", "M"], ["green", "L"]]
LABELS = np.array([0, 0, 1, 1, 1])


@pytest.mark.parametrize(
    "X",
    [
        WORDS,
        np.array(WORDS),
        np.array(WORDS, dtype=object),
        np.array(WORDS, dtype="S5"),
        pd.DataFrame(WORDS, columns=["colour", "size"]),
        pd.DataFrame(WORDS, columns=["colour", "size"]).astype("category"),
    ],
    ids=["list", "str", "object", "bytes", "frame", "categorical"],
)
def test_words_are_codes_of_their_sorted_vocabulary(X: Any, tmp_path: Path) -> None:
    codes = np.array([[2, 2], [2, 1], [0, 0], [0, 1], [1, 0]])
    model = CategoricalNB().fit(X, LABELS)
    theirs = Theirs().fit(codes, LABELS)
    np.testing.assert_allclose(
        model.predict_joint_log_proba(X), theirs.predict_joint_log_proba(codes), rtol=1e-12
    )
    assert [v.tolist() for v in model.categories_ if v is not None] == [
        ["blue", "green", "red"],
        ["L", "M", "S"],
    ]
    model.save(tmp_path / "m")
    served = serving.load(tmp_path / "m")
    for other in (ironlearn.load(tmp_path / "m"), served):
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
        np.testing.assert_allclose(other.predict_proba(X), model.predict_proba(X), rtol=1e-12)


def test_mixed_columns() -> None:
    rng = np.random.RandomState(0)
    frame = pd.DataFrame(
        {
            "code": rng.randint(5, size=200),
            "word": rng.choice(["a", "b", "c"], size=200),
            "flag": rng.rand(200) < 0.5,
            "level": pd.Categorical(rng.choice([10, 30], size=200), categories=[30, 20, 10]),
            "whole": rng.randint(3, size=200).astype(float),
            "name": pd.Series(rng.choice(["x", "y"], size=200), dtype="string"),
        }
    )
    y = rng.randint(2, size=200)
    codes = np.column_stack(
        [
            frame["code"],
            np.unique(frame["word"], return_inverse=True)[1],
            frame["flag"].astype(int),
            np.asarray(frame["level"]).astype(int) // 30,
            frame["whole"].astype(int),
            (frame["name"] == "y").astype(int),
        ]
    )
    model = CategoricalNB().fit(frame, y)
    theirs = Theirs().fit(codes, y)
    np.testing.assert_allclose(
        model.predict_joint_log_proba(frame), theirs.predict_joint_log_proba(codes), rtol=1e-12
    )
    kinds = [v if v is None else v.tolist() for v in model.categories_]
    assert kinds == [None, ["a", "b", "c"], None, [10, 30], None, ["x", "y"]]
    assert model.feature_names_in_.tolist() == list(frame.columns)
    # Plain numbers mean the words of a vocabulary of numbers.
    frame["level"] = frame["level"].astype(int)
    np.testing.assert_array_equal(model.predict(frame), theirs.predict(codes))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"code": "other"}))


def test_unseen_categories_have_a_count_of_zero() -> None:
    X, y = np.array([[0], [1], [1], [1]]), np.array([0, 0, 1, 1])
    model = CategoricalNB(alpha=0.5).fit(X, y)
    with pytest.raises(IndexError):
        Theirs().fit(X, y).predict([[7]])
    want = np.log([0.5, 0.5]) + np.log([0.5 / 3.0, 0.5 / 3.0])
    for unseen in (2, 7, 2**40):
        np.testing.assert_allclose(model.predict_joint_log_proba([[unseen]])[0], want)
    # A category that is only possible (min_categories) is the same.
    wide = CategoricalNB(alpha=0.5, min_categories=4).fit(X, y)
    np.testing.assert_allclose(
        wide.predict_joint_log_proba([[3]]), wide.predict_joint_log_proba([[9]])
    )
    words = CategoricalNB().fit([["a"], ["b"]], [0, 1])
    np.testing.assert_allclose(words.predict_proba([["zzz"]]), [[0.5, 0.5]])


def test_partial_fit_learns_new_words() -> None:
    rng = np.random.RandomState(3)
    frame = pd.DataFrame(
        {"word": np.sort(rng.choice(list("hgfedcba"), 100))[::-1], "code": np.arange(100) // 9}
    )
    y = rng.randint(3, size=100)
    whole = CategoricalNB().fit(frame, y)
    model = CategoricalNB()
    for start in range(0, 100, 20):
        model.partial_fit(frame[start : start + 20], y[start : start + 20], classes=[0, 1, 2])
    np.testing.assert_allclose(
        model.predict_joint_log_proba(frame), whole.predict_joint_log_proba(frame), rtol=1e-12
    )
    np.testing.assert_array_equal(model.n_categories_, whole.n_categories_)
    for a, b in zip(model.category_count_, whole.category_count_, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        ([[0.5], [1]], ValueError, "0.5, which is not a whole number"),
        ([[0], [-4]], ValueError, "Negative values in data passed to CategoricalNB.*-4"),
        ([[0.0], [-4.0]], ValueError, "Negative values"),
        ([[0.0], [np.nan]], ValueError, "NaN"),
        ([[0.0], [np.inf]], ValueError, "infinity"),
        ([[0], [2**40]], ValueError, "too large"),
        ([[0.0], [1e300]], ValueError, "too large"),
        ([["a"], [1]], ValueError, "mixes strings and numbers"),
        ([["a"], [None]], ValueError, "column 0 of X has a missing value in row 1"),
        ([["a"], [np.nan]], ValueError, "missing value in row 1"),
        ([["a"], [{}]], TypeError, "must be a string or a number, got dict"),
        (["a", "b"], ValueError, "2D"),
        (np.empty((0, 1), dtype=object), ValueError, "0 sample"),
        (np.empty((2, 0), dtype=object), ValueError, "0 feature"),
        (pd.DataFrame({"d": pd.to_datetime(["2020", "2021"])}), ValueError, "'d' of X.*datetime"),
        (pd.DataFrame({"c": pd.Categorical(["a", None])}), ValueError, "'c' of X has a missing"),
        (pd.DataFrame({"c": pd.array(["a", None], dtype="string")}), ValueError, "missing"),
        (pd.DataFrame({"c": pd.Categorical([(1,), (2,)])}), ValueError, "categories of type tuple"),
    ],
)
def test_bad_values_are_named(X: Any, error: type[Exception], words: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        with pytest.raises(error, match=words):
            CategoricalNB().fit(X, [0, 1])


def test_bad_values_at_predict_are_named() -> None:
    model = CategoricalNB().fit([[0], [1]], [0, 1])
    for X, words in [
        ([[-1]], "Negative values"),
        ([[0.5]], "not a whole number"),
        ([["a"]], "held integer codes in fit, but 'a' now"),
    ]:
        for method in (model.predict, model.predict_proba):
            with pytest.raises(ValueError, match=words):
                method(X)
    model = CategoricalNB().fit([["a"], ["b"]], [0, 1])
    with pytest.raises(ValueError, match="held values like 'a' in fit, but 3 now"):
        model.predict([[3]])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"class_prior": [0.5]}, "Number of priors must match"),
        ({"class_prior": [-0.5, 1.5]}, "non-negative"),
        ({"min_categories": [1.5]}, "integral type"),
        ({"min_categories": [1, 2]}, r"should have shape \(1,\)"),
        ({"min_categories": 2**40}, "too large"),
        ({"alpha": np.inf}, "finite"),
        ({"alpha": -1.0}, "'alpha' parameter"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CategoricalNB(**parameters).fit([[0], [1]], [0, 1])


def test_identifiers_as_categories() -> None:
    rng = np.random.RandomState(0)
    X = np.column_stack([rng.permutation(60_000), rng.randint(4, size=60_000)])
    y = rng.randint(20, size=60_000)
    _assert_equal(CategoricalNB().fit(X, y), Theirs().fit(X, y), X[:500])


def test_attributes_cannot_be_changed_behind_the_model() -> None:
    model = CategoricalNB().fit([[0], [1]], [0, 1])
    for array in (model.feature_log_prob_[0], model.category_count_[0], model.class_count_):
        with pytest.raises(ValueError, match="read-only"):
            array.flat[0] = 1.0


def test_forged_vocabularies_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    CategoricalNB().fit(WORDS, LABELS).save(path)
    good = _modelfile.read(path)
    description = good.attributes["vocabularies"]
    for vocabularies, tensors in [
        ([[5, description[0][1]]], {}),
        ([[1, {"kind": "number"}]], {"vocabulary.1": np.array([3, 2, 1])}),
        ([[1, {"kind": "number"}]], {"vocabulary.1": np.arange(99)}),
        (description, {"vocabulary.0.offsets": np.array([0, 4])}),
        (description, {"n_categories": np.array([3, -3])}),
        (description, {"category_count": -good.tensors["category_count"]}),
        (description, {"log_prior": np.zeros(3)}),
    ]:
        contents = _modelfile.read(path)
        contents.attributes["vocabularies"] = vocabularies
        contents.tensors.update(tensors)
        _modelfile.write(tmp_path / "bad", contents)
        with pytest.raises(ModelFileError):
            ironlearn.load(tmp_path / "bad")
