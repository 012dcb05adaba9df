"""Files and targets, good and bad."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.datasets import dump_svmlight_file

from ironlearn.exceptions import DataError, DataFileError
from ironlearn.io import Table, check_target, read_dataset, read_table

FRAME = pd.DataFrame(
    {
        "size": [1.5, 2.5, None, 4.0],
        "colour": ["red", "green", None, "red"],
        "when": ["2024-01-05", "2024-02-29 12:30", None, "2023-12-31"],
        "open": [True, False, True, False],
        "kind": ["a", "b", "a", "b"],
    }
)


def _write(frame: pd.DataFrame, path: Path) -> Path:
    suffix = path.suffix
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".tsv":
        frame.to_csv(path, index=False, sep="\t")
    elif suffix == ".gz":
        frame.to_csv(path, index=False, compression="gzip")
    elif suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_feather(path)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.parquet", "t.feather"])
def test_a_frame_comes_back_from_each_format(tmp_path: Path, name: str) -> None:
    frame = FRAME.copy()
    if name.endswith(("parquet", "feather")):
        frame["when"] = pd.to_datetime(frame["when"], format="ISO8601")
    data = read_dataset(_write(frame, tmp_path / name), "kind")
    assert data.y.tolist() == ["a", "b", "a", "b"]
    table = data.table
    assert {n: table.kind(n) for n in table.names} == {
        "size": "number",
        "colour": "category",
        "when": "date",
        "open": "boolean",
    }
    np.testing.assert_array_equal(table.values("size"), [1.5, 2.5, np.nan, 4.0])
    assert table.values("colour").tolist() == ["red", "green", None, "red"]
    dates = np.array(
        ["2024-01-05", "2024-02-29T12:30", "NaT", "2023-12-31"], dtype="datetime64[us]"
    )
    np.testing.assert_array_equal(table.values("when"), dates)
    assert table.values("open").tolist() == [1.0, 0.0, 1.0, 0.0]


def test_formats_are_told_by_their_contents(tmp_path: Path) -> None:
    path = tmp_path / "data"
    FRAME.to_parquet(path)
    assert "size" in read_table(path)
    path.write_text("a;b\n1;2\n3;4\n")
    assert read_table(path).values("b").tolist() == [2.0, 4.0]
    path.write_text("1 1:0.5 3:2\n-1 2:1\n")
    data = read_dataset(path)
    assert data.y.tolist() == [1, -1]
    assert data.table.sparse.shape == (2, 3)


def test_libsvm_and_npz(tmp_path: Path) -> None:
    X = np.array([[0.0, 1.0, 0.0], [2.0, 0.0, 3.0]])
    path = tmp_path / "d.svm.gz"
    with gzip.open(path, "wb") as file:
        dump_svmlight_file(X, [0, 1], file, zero_based=False)
    data = read_dataset(path)
    np.testing.assert_array_equal(data.table.sparse.toarray(), X)
    assert data.y.dtype.kind == "i"
    np.savez(tmp_path / "d.npz", X=X, y=np.array(["u", "v"]))
    data = read_dataset(tmp_path / "d.npz")
    assert data.y.tolist() == ["u", "v"]
    assert data.table.names == ("x0", "x1", "x2")
    np.savez(tmp_path / "c.npz", a=X[:, 0], b=np.array(["p", "q"]), c=np.array([1, 2]))
    data = read_dataset(tmp_path / "c.npz", "c")
    assert data.table.names == ("a", "b")
    assert data.table.kind("b") == "category"


def test_no_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("1, x, ?\n2, y, 5\n")
    table = read_table(path, header=False)
    assert table.names == ("0", "1", "2")
    np.testing.assert_array_equal(table.values("2"), [np.nan, 5.0])


def _truncated(path: Path, keep: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def test_missing_empty_and_other_paths(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=r"no\.csv does not exist"):
        read_table(tmp_path / "no.csv")
    with pytest.raises(DataFileError, match="is not a file"):
        read_table(tmp_path)
    for content, words in (("", "is empty"), ("\n\n", "is empty"), ("a,b\n", "has no rows")):
        (tmp_path / "e.csv").write_text(content)
        with pytest.raises(DataFileError, match=words):
            read_table(tmp_path / "e.csv")


@pytest.mark.parametrize("name", ["t.csv.gz", "t.parquet", "t.feather"])
@pytest.mark.parametrize("keep", [0.3, 0.8])
def test_truncated_files_are_refused(tmp_path: Path, name: str, keep: float) -> None:
    path = _truncated(_write(FRAME, tmp_path / name), keep)
    with pytest.raises(DataFileError, match=rf"{name} cannot be read, it may be truncated"):
        read_table(path)


def test_truncated_npz_and_pickles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, X=np.ones((50, 3)), y=np.arange(50))
    with pytest.raises(DataFileError, match="cannot be read"):
        read_table(_truncated(path, 0.5))
    np.savez(path, X=np.array([{}, 1], dtype=object), allow_pickle=True)
    with pytest.raises(DataFileError, match="allow_pickle"):
        read_table(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n3\n", "line 3: 1 fields where 2 are expected"),
        ("a,b\n1,2\n3,4,5\n", "cannot be read"),
        ("a,b\n1,2,3\n4,5,6\n", "cannot be read"),
        ("a,a\n1,2\n", "column 'a' more than once"),
        ("a,b\n1,inf\n", "column 'b' holds inf in row 0"),
    ],
)
def test_bad_csv(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataFileError, match=words) as caught:
        read_table(path)
    assert "t.csv" in str(caught.value)


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(DataFileError, match=r"t\.csv"):
        read_table(path)
    path = tmp_path / "t.svm"
    path.write_text("1 1:0.5\nnonsense\n")
    with pytest.raises(DataFileError, match=r"t\.svm cannot be read"):
        read_table(path)


def test_duplicate_columns_of_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DataFileError, match="'a' more than once"):
        read_table(tmp_path / "t.parquet")


def test_npz_of_wrong_shapes(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    for arrays, words in (
        ({"a": np.ones((2, 2))}, "array 'a' has shape"),
        ({"X": np.ones((2, 2)), "y": np.ones(3)}, "'y' has 3 rows, but 'X' has 2"),
        ({"a": np.ones(2), "b": np.ones(3)}, "'b' has 3 rows"),
        ({"X": np.ones(2)}, "X must have two dimensions"),
        ({"X": np.ones((2, 2), complex), "y": np.arange(2)}, "complex128"),
        ({}, "no arrays"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(DataFileError, match=words):
            read_table(path)


def test_a_target_that_is_not_there(tmp_path: Path) -> None:
    path = _write(FRAME, tmp_path / "t.csv")
    with pytest.raises(DataFileError, match=r"no column 'Kinds'; did you mean 'kind'\?.*'size'"):
        read_dataset(path, "Kinds")
    with pytest.raises(DataFileError, match="name the column to predict"):
        read_dataset(path)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([1.0, np.nan, 2.0], r"missing in 1 of 3 rows \(first: row 1\)"),
        (["a", None, "b"], "missing in 1 of 3"),
        (["a", "", "b"], "missing in 1 of 3"),
        ([1.5, 2.0, 3.0], "continuous.*needs the task regression"),
        ([1.0, np.inf, 3.0], "infinity"),
        ([1, 1, 1], r"one class only \(1\)"),
        ([], "no rows"),
        ([1, "a", 2.0], "type float, int, str"),
        ([1j, 2j], "complex"),
        (np.ones((2, 2)), "one dimension"),
        (np.array(["2024-01-01"], dtype="datetime64[D]"), "datetime64"),
    ],
)
def test_bad_targets(y: object, words: str) -> None:
    if isinstance(y, list) and {type(v) for v in y} == {int, str, float}:
        y = np.array(y, dtype=object)
    with pytest.raises(DataError, match=words):
        check_target(y, name="t")


def test_rare_classes() -> None:
    with pytest.raises(DataError, match=r"fewer rows than the 3 folds: 'b' \(2 rows\); use fewer"):
        check_target(["a"] * 5 + ["b"] * 2, folds=3)
    with pytest.raises(DataError, match="if it is a quantity, choose the task regression"):
        check_target(np.arange(100), folds=5)
    assert check_target(["a"] * 3 + ["b"] * 3, folds=3).tolist() == ["a"] * 3 + ["b"] * 3


def test_good_targets() -> None:
    assert check_target(np.array([True, False])).dtype == bool
    assert check_target(np.array([1.0, 2.0])).dtype.kind == "i"
    assert check_target(np.array([1, 2], dtype=object)).dtype.kind == "i"
    assert check_target(pd.Series(["x", "y"], dtype="category")).tolist() == ["x", "y"]


def test_columns_of_frames() -> None:
    frame = pd.DataFrame(
        {
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "maybe": pd.array([True, None, False], dtype="boolean"),
            "coded": pd.Categorical([1, 2, 1]),
            "zoned": pd.to_datetime(["2024-01-01T00:00+02:00"] * 3),
            "gap": pd.to_timedelta([1, 2, None], unit="s"),
            "mixed": ["1", 2, None],
        }
    )
    table = Table.from_any(frame)
    np.testing.assert_array_equal(table.values("nullable"), [1.0, np.nan, 3.0])
    np.testing.assert_array_equal(table.values("maybe"), [1.0, np.nan, 0.0])
    assert table.values("coded").tolist() == ["1", "2", "1"]
    assert table.values("zoned")[0] == np.datetime64("2023-12-31T22:00")
    np.testing.assert_array_equal(table.values("gap"), [1.0, 2.0, np.nan])
    assert table.values("mixed").tolist() == ["1", "2", None]


def test_columns_that_no_kind_takes() -> None:
    with pytest.raises(DataError, match="column 'a' holds a list in row 1"):
        Table.from_any(pd.DataFrame({"a": ["x", [1]]}))
    with pytest.raises(DataError, match="'a' occurs more than once"):
        Table.from_any(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(DataError, match="two dimensions"):
        Table.from_any(np.ones(3))
    with pytest.raises(DataError, match="'x1' holds -inf in row 0"):
        Table.from_any(np.array([[1.0, -np.inf]]))
    with pytest.raises(DataError, match="NaN or infinity"):
        Table.from_any(sp.csr_matrix(np.array([[np.nan, 0.0]])))
    with pytest.raises(DataError, match="'b' has 1 rows, but 'a' has 2"):
        Table.from_any({"a": [1, 2], "b": [1]})


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["01/02/2024", "13/02/2024"], "date"),
        (["01/13/2024", "02/02/2024"], "date"),
        (["01/02/2024", "02/03/2024"], "category"),  # either order: not for us to guess
        (["2024-01-01T10:00:00Z", "2024-01-01 10:00:00+01:00"], "date"),
        (["2024-01-01", "soon"], "category"),
        (["2024-13-01", "2024-01-01"], "category"),
        (["20240101", "20240102"], "category"),
    ],
)
def test_dates_in_texts(texts: list[str], kind: str) -> None:
    assert Table.from_any({"d": np.array(texts, dtype=object)}).kind("d") == kind


def test_without_pandas_the_extra_is_named(tmp_path: Path) -> None:
    path = _write(FRAME, tmp_path / "t.csv")
    program = (
        "import sys\n"
        "sys.modules['pandas'] = sys.modules['pyarrow'] = None\n"
        "from ironlearn.cli import main\n"
        f"sys.exit(main(['compare', '--data', {str(path)!r}, '--target', 'kind']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "ironlearn compare: error: reading CSV files needs pandas: pip install 'ironlearn[data]'\n"
    )
