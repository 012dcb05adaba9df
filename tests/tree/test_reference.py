"""The native trees and forests beside the plain-Python ones, node by node.

Equal means equal to the last bit, ties included: both add up class weights in the same order
and break ties by the same hash. The one exception are weights that depend on the class alone:
there the native engine may multiply the number of rows by the weight instead of adding it up,
so sums agree to rounding, and of splits that tie to rounding either may win.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ironlearn import _core
from ironlearn.reference import forest as reference_forest
from ironlearn.reference import tree as reference
from ironlearn.tree import DecisionTreeClassifier

SETTINGS: dict[str, Any] = {
    "criterion": "gini",
    "splitter": "best",
    "max_depth": -1,
    "min_samples_split": 2,
    "min_samples_leaf": 1,
    "min_weight_leaf": 0.0,
    "max_leaf_nodes": -1,
    "min_impurity_decrease": 0.0,
    "max_bins": 0,
    "categorical": None,
    "monotonic": None,
    "seed": 0,
    "n_threads": 1,
}


def assert_same_nodes(native: dict[str, np.ndarray], plain: dict[str, np.ndarray]) -> None:
    assert set(native) == set(plain)
    for name in native:
        assert native[name].dtype == plain[name].dtype, name
        np.testing.assert_array_equal(native[name], plain[name], err_msg=name)


def assert_same_to_rounding(native: dict[str, np.ndarray], plain: dict[str, np.ndarray]) -> None:
    """Walk both at once; where the splits differ they must gain the same, which ends the walk."""
    assert len(native["offsets"]) == len(plain["offsets"])
    starts = zip(native["offsets"][:-1], plain["offsets"][:-1], strict=True)
    stack = [(a, a, b, b) for a, b in starts]
    while stack:
        first, i, other, j = stack.pop()
        for name in ("weighted_n_node_samples", "impurity", "value"):
            np.testing.assert_allclose(native[name][i], plain[name][j], rtol=1e-9, atol=1e-12)
        assert native["n_node_samples"][i] == plain["n_node_samples"][j]
        inner = native["left"][i] >= 0
        if inner != (plain["left"][j] >= 0):
            # A limit on weights or on the gain that is met to rounding, or a node that is pure
            # to rounding.
            continue
        if not inner:
            continue
        children = [(first + native[side][i], other + plain[side][j]) for side in ("left", "right")]
        names = ("feature", "threshold", "missing_left")
        if all(native[name][i] == plain[name][j] for name in names):
            stack += [(first, a, other, b) for a, b in children]
            continue
        gains = [
            sum(arrays["weighted_n_node_samples"][c] * arrays["impurity"][c] for c in ends)
            for arrays, ends in zip((native, plain), zip(*children, strict=True), strict=True)
        ]
        assert gains[0] == pytest.approx(gains[1], abs=1e-9)


def table(
    rows: int, width: int, classes: int, *, seed: int, kind: str, missing: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of values that are few (ties), many, or constant here and there."""
    rng = np.random.RandomState(seed)
    if kind == "few":
        x = rng.randint(-2, 3, size=(rows, width)).astype(np.float32)
    elif kind == "close":
        # Neighbouring numbers, the largest and the smallest ones, and both zeros.
        some = np.array([1.0, np.nextafter(np.float32(1), np.float32(2)), 3e38, -3e38, 1e-45])
        x = rng.choice([*some, 0.0, -0.0], size=(rows, width)).astype(np.float32)
    elif kind == "many":
        x = rng.randn(rows, width).astype(np.float32)
    else:
        x = np.repeat(rng.randn(1, width), rows, axis=0).astype(np.float32)
        x[:, ::2] = rng.randint(0, 3, size=x[:, ::2].shape)
    x[rng.rand(rows, width) < missing] = np.nan
    return np.ascontiguousarray(x), rng.randint(classes, size=rows).astype(np.uint32)


tables = st.builds(
    table,
    rows=st.integers(1, 50),
    width=st.integers(1, 6),
    classes=st.integers(1, 4),
    seed=st.integers(0, 1 << 20),
    kind=st.sampled_from(["few", "many", "constant", "close"]),
    missing=st.sampled_from([0.0, 0.0, 0.2, 0.9]),
)


@st.composite
def settings_for(draw: st.DrawFn, width: int, classes: int) -> dict[str, Any]:
    """Draw a full set of settings."""
    chosen = {
        "criterion": draw(st.sampled_from(["gini", "entropy"])),
        "splitter": draw(st.sampled_from(["best", "best", "random"])),
        "max_depth": draw(st.sampled_from([-1, -1, 1, 3])),
        "min_samples_split": draw(st.sampled_from([2, 2, 5])),
        "min_samples_leaf": draw(st.sampled_from([1, 1, 3])),
        "min_weight_leaf": draw(st.sampled_from([0.0, 0.0, 2.5])),
        "max_features": draw(st.integers(1, width)),
        "max_leaf_nodes": draw(st.sampled_from([-1, -1, 2, 6])),
        "min_impurity_decrease": draw(st.sampled_from([0.0, 0.0, 0.05])),
        "max_bins": draw(st.sampled_from([0, 0, 2, 5])),
        "seed": draw(st.integers(0, (1 << 64) - 1)),
    }
    if draw(st.booleans()) and classes <= 2:
        signs = draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=width, max_size=width))
        chosen["monotonic"] = np.array(signs, dtype=np.int8)
    return {**SETTINGS, **chosen}


def weights_for(kind: str, rows: int, seed: int) -> np.ndarray | None:
    rng = np.random.RandomState(seed)
    if kind == "none":
        return None
    weights = rng.randint(0, 4, rows).astype(float) if kind == "counts" else rng.rand(rows)
    weights[rng.randint(rows)] = 1.5
    return weights


WEIGHTS = st.sampled_from(["none", "counts", "real"])


@hypothesis_settings(max_examples=150)
@given(data=st.data(), rows=tables, weighted=WEIGHTS)
def test_trees_are_equal(
    data: st.DataObject, rows: tuple[np.ndarray, np.ndarray], weighted: str
) -> None:
    x, y = rows
    classes = int(y.max()) + 1
    settings = data.draw(settings_for(x.shape[1], classes))
    weights = weights_for(weighted, len(y), seed=len(y))
    native = _core.tree_fit(x, y, weights, n_classes=classes, **settings)
    plain = reference.tree_fit(x, y, weights, n_classes=classes, **settings)
    assert_same_nodes(native.arrays(), plain)
    np.testing.assert_array_equal(
        native.apply(x, n_threads=1), reference.apply(plain, x, n_threads=1)
    )
    for voting in ("soft", "hard"):
        np.testing.assert_array_equal(
            native.predict_proba(x, voting=voting, n_threads=1),
            reference.predict_proba(plain, x, voting=voting, n_threads=1),
        )


@given(data=st.data(), rows=tables)
def test_trees_with_weights_of_classes_are_equal_to_rounding(
    data: st.DataObject, rows: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = rows
    classes = int(y.max()) + 1
    chosen = data.draw(settings_for(x.shape[1], classes))
    weights = np.array([0.3, 1.7, 0.7, 2.1])[y]
    native = _core.tree_fit(x, y, weights, n_classes=classes, **chosen)
    plain = reference.tree_fit(x, y, weights, n_classes=classes, **chosen)
    assert_same_to_rounding(native.arrays(), plain)


@hypothesis_settings(max_examples=150)
@given(
    data=st.data(),
    rows=st.integers(1, 60),
    levels=st.sampled_from([2, 5, 150]),
    classes=st.integers(1, 4),
    missing=st.sampled_from([0.0, 0.3]),
    weighted=WEIGHTS,
)
def test_trees_with_categories_are_equal(
    data: st.DataObject, rows: int, levels: int, classes: int, missing: float, weighted: str
) -> None:
    rng = np.random.RandomState(rows + levels)
    x = rng.randint(levels, size=(rows, 3)).astype(np.float32)
    x[:, 2] = rng.randn(rows)
    x[rng.rand(rows, 3) < missing] = np.nan
    y = rng.randint(classes, size=rows).astype(np.uint32)
    settings = data.draw(settings_for(3, classes))
    settings["categorical"] = np.array([True, True, False])
    weights = weights_for(weighted, rows, seed=levels)
    native = _core.tree_fit(x, y, weights, n_classes=classes, **settings)
    plain = reference.tree_fit(x, y, weights, n_classes=classes, **settings)
    assert_same_nodes(native.arrays(), plain)
    # Codes that were not there in training, and missing ones, are routed alike.
    other = np.array([[levels + 70, 1, 0], [np.nan, 0, np.nan], [0, np.nan, 9]], dtype=np.float32)
    np.testing.assert_array_equal(
        native.apply(other, n_threads=1), reference.apply(plain, other, n_threads=1)
    )


@hypothesis_settings(max_examples=150)
@given(
    data=st.data(),
    rows=tables,
    weighted=WEIGHTS,
    bootstrap=st.booleans(),
    balanced=st.booleans(),
    oob=st.booleans(),
    first=st.sampled_from([0, 3]),
    share=st.sampled_from([0.3, 1.0]),
)
def test_forests_are_equal(
    data: st.DataObject,
    rows: tuple[np.ndarray, np.ndarray],
    weighted: str,
    bootstrap: bool,
    balanced: bool,
    oob: bool,
    first: int,
    share: float,
) -> None:
    x, y = rows
    classes = int(y.max()) + 1
    settings = data.draw(settings_for(x.shape[1], classes))
    settings |= {
        "n_trees": 3,
        "first_tree": first,
        "bootstrap": bootstrap,
        "n_draws": max(1, round(share * len(y))),
        "balanced_subsample": balanced,
        "oob": oob,
    }
    weights = weights_for(weighted, len(y), seed=first)
    native, votes = _core.forest_fit(x, y, weights, n_classes=classes, **settings)
    plain, counted = reference_forest.forest_fit(x, y, weights, n_classes=classes, **settings)
    assert (votes is None) == (counted is None)
    if balanced and bootstrap:
        assert_same_to_rounding(native.arrays(), plain)
        return
    assert_same_nodes(native.arrays(), plain)
    if votes is not None:
        for native_part, plain_part in zip(votes, counted, strict=True):
            np.testing.assert_array_equal(native_part, plain_part)
    np.testing.assert_array_equal(
        native.predict_proba(x, voting="hard", n_threads=1),
        reference.predict_proba(plain, x, voting="hard", n_threads=1),
    )


@pytest.mark.parametrize("criterion", ["gini", "entropy"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["few", "many"])
def test_larger_trees_are_equal(criterion: str, classes: int, missing: float, kind: str) -> None:
    """Enough rows for every way in which the native engine treats large and small nodes."""
    x, y = table(1500, 4, classes, seed=classes, kind=kind, missing=missing)
    y = np.where(np.nan_to_num(x[:, 0]) > 0.3, y, 0).astype(np.uint32)
    settings = {**SETTINGS, "criterion": criterion, "max_features": 4, "n_classes": classes}
    native = _core.tree_fit(x, y, None, **settings).arrays()
    assert_same_nodes(native, reference.tree_fit(x, y, None, **settings))
    assert len(native["left"]) > 100


@pytest.mark.parametrize("signs", [(1, -1, 0), (-1, 0, 1)])
@pytest.mark.parametrize("max_leaf_nodes", [-1, 20])
def test_constrained_trees_are_equal(signs: tuple[int, ...], max_leaf_nodes: int) -> None:
    rng = np.random.RandomState(0)
    x = rng.randn(400, 3).astype(np.float32)
    y = (x @ [1.0, -1.0, 0.3] + rng.randn(400) > 0).astype(np.uint32)
    chosen = {
        **SETTINGS,
        "max_features": 3,
        "n_classes": 2,
        "monotonic": np.array(signs, dtype=np.int8),
        "max_leaf_nodes": max_leaf_nodes,
    }
    native = _core.tree_fit(x, y, None, **chosen).arrays()
    assert_same_nodes(native, reference.tree_fit(x, y, None, **chosen))
    assert len(native["left"]) > 10
    free = _core.tree_fit(x, y, None, **{**chosen, "monotonic": None}).arrays()
    assert free["feature"].tolist() != native["feature"].tolist()


@pytest.mark.parametrize("seed", range(4))
def test_many_categories_of_many_classes_are_equal(seed: int) -> None:
    rng = np.random.RandomState(seed)
    x = rng.randint(40, size=(500, 2)).astype(np.float32)
    y = ((x[:, 0] * 7 + x[:, 1] + rng.randint(3, size=500)) % 5).astype(np.uint32)
    chosen = {**SETTINGS, "max_features": 2, "n_classes": 5, "categorical": np.ones(2, bool)}
    weights = rng.rand(500)
    native = _core.tree_fit(x, y, weights, **chosen).arrays()
    assert_same_nodes(native, reference.tree_fit(x, y, weights, **chosen))


@pytest.mark.parametrize(
    ("native", "plain"),
    [(_core.tree_fit, reference.tree_fit), (_core.forest_fit, reference_forest.forest_fit)],
)
def test_signatures_are_equal(native: Any, plain: Any) -> None:
    ours, theirs = inspect.signature(native).parameters, inspect.signature(plain).parameters
    assert list(ours) == list(theirs)
    assert [p.kind for p in ours.values()] == [p.kind for p in theirs.values()]


def test_infinity_is_refused_by_both() -> None:
    x, y = np.array([[np.inf], [1.0]], dtype=np.float32), np.array([0, 1], dtype=np.uint32)
    for fit in (_core.tree_fit, reference.tree_fit):
        with pytest.raises(ValueError, match="infinity"):
            fit(x, y, None, n_classes=2, max_features=1, **SETTINGS)


@hypothesis_settings(max_examples=60)
@given(
    rows=st.integers(2, 40),
    width=st.integers(1, 5),
    dtype=st.sampled_from(["b", "u1", "i2", "u4", "i8", "f2", "f4", "f8", ">f8", "O"]),
    layout=st.sampled_from(["C", "F", "strided", "list"]),
    seed=st.integers(0, 1000),
)
def test_every_dtype_and_layout_gives_the_plain_tree(
    rows: int, width: int, dtype: str, layout: str, seed: int
) -> None:
    rng = np.random.RandomState(seed)
    values = rng.randint(0, 5, size=(rows, width))
    y = rng.randint(3, size=rows)
    y[:2] = 0, 1
    X: Any = values.astype(dtype)
    if layout == "F":
        X = np.asfortranarray(X)
    elif layout == "strided":
        X = np.repeat(X, 2, axis=1)[:, ::2]
    elif layout == "list":
        X = X.tolist()
    fitted = DecisionTreeClassifier(random_state=seed).fit(X, y)
    codes = np.unique(y, return_inverse=True)[1].astype(np.uint32)
    chosen = {**SETTINGS, "max_features": width, "n_classes": len(set(y)), "seed": seed}
    plain = reference.tree_fit(values.astype(np.float32), codes, None, **chosen)
    assert_same_nodes(fitted._model.arrays(), plain)
    np.testing.assert_array_equal(
        fitted.apply(X), reference.apply(plain, values.astype(np.float32), n_threads=1)[:, 0]
    )
