"""Preprocessing learns from the training rows alone and survives a file."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from ironlearn.evaluation import Preprocessor, Schema
from ironlearn.exceptions import DataError, ModelFileError
from ironlearn.io import Table

VIEWS = ["plain", "tree", "scaled", "shares", "codes"]


def _frame(n: int = 60, seed: int = 0) -> pd.DataFrame:
    rng = np.random.RandomState(seed)
    frame = pd.DataFrame(
        {
            "id": np.arange(n),
            "size": rng.randn(n),
            "count": rng.randint(0, 5, n),
            "colour": rng.choice(["red", "green", "blue"], n),
            "town": [f"town {v}" for v in rng.randint(0, 30, n)],
            "open": rng.rand(n) < 0.5,
            "when": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(rng.randint(0, 10**6, n), unit="s"),
            "same": "x",
        }
    )
    frame.loc[rng.rand(n) < 0.2, "size"] = None
    frame.loc[3, "colour"] = None
    frame.loc[4, "when"] = pd.NaT
    return frame


def test_what_columns_are_used_as() -> None:
    schema = Schema.infer(Table.from_any(_frame()))
    assert schema.kinds == {
        "size": "number",
        "count": "number",
        "colour": "category",
        "town": "category",
        "open": "boolean",
        "when": "date",
    }
    assert schema.dropped == {"id": "identifier: consecutive numbers", "same": "constant"}
    lines = "\n".join(Preprocessor().fit(Table.from_any(_frame())).describe())
    assert "numeric (2): size, count" in lines
    assert "missing values (2): size, when" in lines
    assert "not used (2): id (identifier: consecutive numbers), same (constant)" in lines


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([None] * 30, "empty"),
        ([f"key {i}" for i in range(30)], "identifier: all values differ"),
        ([f"{'word ' * 12}{i % 29}" for i in range(30)], "free text"),
        ([np.nan] * 30, "empty"),
        ([7.0] * 30, "constant"),
        (list(np.arange(30.0) + 5), "identifier: consecutive numbers"),
    ],
)
def test_columns_that_teach_nothing(values: list[Any], reason: str) -> None:
    table = Table.from_any({"a": np.array(values), "b": np.arange(30) % 7})
    assert Schema.infer(table).dropped == {"a": reason}
    alone = Table.from_any({"a": np.array(values)})
    if reason == "identifier: consecutive numbers":
        assert Schema.infer(alone).kinds == {"a": "number"}
        return
    with pytest.raises(DataError, match=r"no column can be learned from: a \("):
        Schema.infer(alone)


def test_numbers_that_look_like_keys_only_by_name() -> None:
    values = np.arange(30) * 17 % 101
    assert "user_id" in Schema.infer(Table.from_any({"user_id": values, "b": values % 5})).dropped
    assert Schema.infer(Table.from_any({"width": values})).dropped == {}


def test_matrix_by_hand() -> None:
    train = Table.from_any(
        {
            "n": np.array([1.0, np.nan, 3.0, 8.0]),
            "c": np.array(["b", "a", None, "b"], dtype=object),
            "d": np.array(
                ["2024-01-01T05:00", "2024-01-03", "NaT", "2024-02-29"], dtype="datetime64[us]"
            ),
        }
    )
    test = Table.from_any(
        {
            "c": np.array(["z", "b"], dtype=object),
            "n": np.array([np.nan, 2.0]),
            "d": np.array(["2023-12-31T05:00", "2024-02-29T10:00"], dtype="datetime64[us]"),
        }
    )
    prepare = Preprocessor().fit(train)
    assert prepare.feature_names_ == [
        "n",
        *(f"d {p}" for p in ("year", "month", "day", "weekday", "hour", "elapsed_days")),
        "n is missing",
        *(f"d {p} is missing" for p in ("year", "month", "day", "weekday", "hour", "elapsed_days")),
        "c=a",
        "c=b",
    ]
    none = [0.0] * 6
    np.testing.assert_allclose(
        prepare.transform(test),
        [
            [3.0, 2023, 12, 31, 6, 5, -1, 1, *none, 0, 0],
            [2.0, 2024, 2, 29, 3, 10, 59 + 5 / 24, 0, *none, 0, 1],
        ],
    )
    tree = Preprocessor("tree").fit(train).transform(test)
    assert np.isnan(tree[0, 0])
    assert tree.shape == (2, 9)
    codes = Preprocessor("codes").fit(train)
    np.testing.assert_array_equal(codes.transform(test)[:, [0, -1]], [[0, 0], [2, 2]])
    assert codes.transform(train)[:, 0].tolist() == [1, 0, 2, 3]
    assert codes.n_categories_ is not None
    assert codes.n_categories_[[0, -1]].tolist() == [4, 3]


def test_scaled_as_scikit_learn_does() -> None:
    rng = np.random.RandomState(0)
    X = rng.randn(50, 4) * [1, 10, 0.1, 5] + 3
    X[rng.rand(50, 4) < 0.2] = np.nan
    table = Table.from_any(X)
    ours = Preprocessor("scaled").fit(table).transform(table)
    theirs = StandardScaler().fit_transform(SimpleImputer(strategy="median").fit_transform(X))
    np.testing.assert_allclose(ours[:, :4], theirs)
    np.testing.assert_array_equal(ours[:, 4:], np.isnan(X))


def test_shares_as_scikit_learn_does() -> None:
    rng = np.random.RandomState(0)
    X = rng.randn(50, 4) * [1, 10, 0.1, 5] + 3
    X[rng.rand(50, 4) < 0.2] = np.nan
    X[:, 3] = 7
    X[::5, 3] = np.nan
    train, test = Table.from_any(X[:30]), Table.from_any(X[30:])
    prepare = Preprocessor("shares").fit(train)
    impute = SimpleImputer(strategy="median").fit(X[:30])
    theirs = MinMaxScaler(clip=True).fit(impute.transform(X[:30]))
    for part, table in ((X[:30], train), (X[30:], test)):
        ours = prepare.transform(table)
        np.testing.assert_allclose(ours[:, :4], theirs.transform(impute.transform(part)))
        np.testing.assert_array_equal(ours[:, 4:], np.isnan(part))


def test_float32_stays() -> None:
    X = np.random.RandomState(0).rand(30, 3).astype(np.float32)
    for view in ("plain", "tree", "scaled"):
        out = Preprocessor(view).fit(Table.from_any(X)).transform(Table.from_any(X))
        assert out.dtype == np.float32


@pytest.mark.parametrize("view", VIEWS)
def test_test_rows_teach_nothing(view: str) -> None:
    """Other test rows, however extreme, change neither what is learned nor training rows."""
    frame = _frame()
    other = frame.copy()
    other.loc[40:, "size"] = 1e9
    other.loc[40:, "colour"] = "new"
    other.loc[40:, "town"] = "elsewhere"
    other.loc[40:, "when"] = pd.Timestamp("1990-01-01")
    rows = np.arange(40)
    states, matrices = [], []
    for data in (frame, other):
        table = Table.from_any(data)
        train = table.take(rows)
        prepare = Preprocessor(view).fit(train, Schema.infer(table))
        states.append(prepare.to_state())
        matrices.append(prepare.transform(train))
    schemas = [state.pop("schema") for state in states]
    assert schemas[0]["kinds"] == schemas[1]["kinds"]
    assert states[0] == states[1]
    np.testing.assert_array_equal(*matrices)


@pytest.mark.parametrize("view", VIEWS)
def test_rows_are_prepared_one_by_one_as_together(view: str) -> None:
    table = Table.from_any(_frame())
    prepare = Preprocessor(view).fit(table)
    together = prepare.transform(table)
    assert together.shape == (60, len(prepare.feature_names_))
    single = np.vstack([prepare.transform(table.take(np.array([i]))) for i in range(60)])
    np.testing.assert_array_equal(single, together)


@pytest.mark.parametrize("view", VIEWS)
def test_state_round_trip(view: str) -> None:
    train, test = Table.from_any(_frame()), Table.from_any(_frame(seed=1))
    prepare = Preprocessor(view).fit(train)
    back = Preprocessor.from_state(json.loads(json.dumps(prepare.to_state())))
    np.testing.assert_array_equal(back.transform(test), prepare.transform(test))
    assert back.feature_names_ == prepare.feature_names_
    assert back.describe()[0] == prepare.describe()[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("view", "other"),
        ("medians", [1.0]),
        ("medians", [[1.0]]),
        ("medians", "abc"),
        ("scale", [0.0] * 8),
        ("marked", ["nothing"]),
        ("categories", []),
        ("categories", [["colour", ["b", "a"]], ["town", ["t"]]]),
        ("frequencies", [["town", [0.5]]]),
        ("origins", []),
        ("schema", {}),
        ("schema", {"kinds": [["a", "file"]], "dropped": [], "sparse": False}),
        ("edges", [[1.0, 0.0]]),
    ],
)
def test_forged_states_are_refused(key: str, value: Any) -> None:
    state = Preprocessor("scaled").fit(Table.from_any(_frame())).to_state()
    state[key] = value
    with pytest.raises(ModelFileError, match=r"the model file holds|view must be"):
        Preprocessor.from_state(state)
    with pytest.raises(ModelFileError, match="no valid preprocessing"):
        Preprocessor.from_state([])


def test_new_tables_that_do_not_fit() -> None:
    frame = _frame()
    prepare = Preprocessor().fit(Table.from_any(frame))
    with pytest.raises(DataError, match="lack the columns 'count', 'town'"):
        prepare.transform(Table.from_any(frame.drop(columns=["count", "town"])))
    with pytest.raises(DataError, match="column 'size' must hold numbers, but holds 'big'"):
        prepare.transform(Table.from_any(frame.assign(size="big")))
    with pytest.raises(DataError, match="column 'when' holds numbers, but .* dates"):
        prepare.transform(Table.from_any(frame.assign(when=1.0)))
    with pytest.raises(DataError, match="column 'size' holds dates, but .* numbers"):
        prepare.transform(Table.from_any(frame.assign(size=frame["when"])))


def test_new_tables_in_another_form() -> None:
    frame = _frame()
    prepare = Preprocessor().fit(Table.from_any(frame))
    expected = prepare.transform(Table.from_any(frame))
    texts = frame.assign(size=[None if v != v else repr(v) for v in frame["size"]])
    shuffled = texts[texts.columns[::-1]].assign(more=1)
    np.testing.assert_array_equal(prepare.transform(Table.from_any(shuffled)), expected)
    empty = frame.assign(size=None, when=None)
    assert np.isfinite(prepare.transform(Table.from_any(empty))).all()
    codes = pd.DataFrame({"c": pd.Categorical([1, 2, 1, 3]), "n": [1.0, 2.0, 5.0, 4.0]})
    prepare = Preprocessor().fit(Table.from_any(codes))
    plain = Table.from_any(codes.astype({"c": float}))
    np.testing.assert_array_equal(
        prepare.transform(plain), prepare.transform(Table.from_any(codes))
    )


def test_unknown_view() -> None:
    with pytest.raises(ValueError, match="view must be one of plain"):
        Preprocessor("other")
