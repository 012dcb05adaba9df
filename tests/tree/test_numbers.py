"""Native trees of numbers, and of several outputs, beside the plain-Python ones, node by node.

Equal means equal to the last bit for the squared error, the Poisson deviance and classes: both
add up in the same order. The native engine moves medians along where the plain one sorts anew,
so with the absolute error scores are equal to rounding, and of cuts that tie either may win.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ironlearn import _core
from ironlearn.reference import forest as reference_forest
from ironlearn.reference import tree as reference
from tree.test_reference import (
    SETTINGS,
    WEIGHTS,
    assert_same_nodes,
    assert_same_to_rounding,
    settings_for,
    table,
    tables,
    weights_for,
)

LOSSES = ["squared_error", "poisson", "absolute_error"]


def targets_for(kind: str, x: np.ndarray, outputs: int, seed: int) -> np.ndarray:
    """Return whole numbers (ties, zeros), real ones, or far ones that vary little."""
    rng = np.random.RandomState(seed)
    if kind == "whole":
        y = rng.randint(0, 4, size=(len(x), outputs)).astype(float)
        y[0] += 1
    else:
        y = rng.rand(len(x), outputs) + np.nan_to_num(np.sign(x[:, :1]))
        y += 1.0 if kind == "real" else 1e7
    return y[:, 0].copy() if outputs == 1 else y


TARGETS = st.sampled_from(["whole", "real", "far"])


def assert_equal(native: dict[str, np.ndarray], plain: dict[str, np.ndarray], loss: str) -> None:
    if loss == "absolute_error":
        assert_same_to_rounding(native, plain)
    else:
        assert_same_nodes(native, plain)


@hypothesis_settings(max_examples=200)
@given(
    data=st.data(),
    rows=tables,
    weighted=WEIGHTS,
    kind=TARGETS,
    loss=st.sampled_from(LOSSES),
    outputs=st.sampled_from([1, 1, 1, 3]),
    categorical=st.booleans(),
)
def test_trees_of_numbers_are_equal(
    data: st.DataObject,
    rows: tuple[np.ndarray, np.ndarray],
    weighted: str,
    kind: str,
    loss: str,
    outputs: int,
    categorical: bool,
) -> None:
    x, _ = rows
    y = targets_for(kind, x, outputs, seed=len(x))
    chosen = data.draw(settings_for(x.shape[1], 1)) | {"criterion": loss}
    if outputs > 1:
        chosen["monotonic"] = None
    if categorical:
        # Codes where values were.
        x = x.copy()
        x[:, 0] = np.where(np.isnan(x[:, 0]), np.nan, np.abs(np.round(np.clip(x[:, 0], -70, 70))))
        chosen["categorical"] = np.arange(x.shape[1]) == 0
        if chosen["monotonic"] is not None:
            chosen["monotonic"][0] = 0
    weights = weights_for(weighted, len(y), seed=len(y))
    native = _core.tree_fit(x, y, weights, n_classes=None, **chosen)
    plain = reference.tree_fit(x, y, weights, n_classes=None, **chosen)
    assert_equal(native.arrays(), plain, loss)
    assert native.class_counts is None
    assert native.n_outputs == outputs
    np.testing.assert_array_equal(
        native.predict_values(x, n_threads=1),
        native.arrays()["value"][native.apply(x, n_threads=1)[:, 0]],
    )


@hypothesis_settings(max_examples=100)
@given(data=st.data(), rows=tables, weighted=WEIGHTS, outputs=st.integers(2, 3))
def test_trees_of_several_outputs_of_classes_are_equal(
    data: st.DataObject, rows: tuple[np.ndarray, np.ndarray], weighted: str, outputs: int
) -> None:
    x, first = rows
    rng = np.random.RandomState(len(x))
    counts = [int(first.max()) + 1, *rng.randint(1, 5, size=outputs - 1).tolist()]
    others = [rng.randint(n, size=len(x)) for n in counts[1:]]
    y = np.stack([first, *others], axis=1).astype(np.uint32)
    chosen = data.draw(settings_for(x.shape[1], 1))
    chosen["criterion"] = data.draw(st.sampled_from(["gini", "entropy"]))
    chosen["monotonic"] = None
    weights = weights_for(weighted, len(y), seed=len(y))
    native = _core.tree_fit(x, y, weights, n_classes=counts, **chosen)
    plain = reference.tree_fit(x, y, weights, n_classes=counts, **chosen)
    assert_same_nodes(native.arrays(), plain)
    assert native.class_counts == counts
    shares = native.predict_proba(x, voting="soft", n_threads=1)
    np.testing.assert_array_equal(
        shares, reference.predict_proba(plain, x, voting="soft", n_threads=1)
    )
    codes = native.predict_codes(x, voting="soft", n_threads=1)
    best = shares.reshape(len(x), outputs, -1).argmax(axis=2)
    np.testing.assert_array_equal(codes, best)
    votes = native.predict_proba(x, voting="hard", n_threads=1)
    np.testing.assert_array_equal(votes.reshape(len(x), outputs, -1).argmax(axis=2), best)


@hypothesis_settings(max_examples=60)
@given(
    data=st.data(),
    rows=tables,
    weighted=WEIGHTS,
    loss=st.sampled_from(LOSSES),
    bootstrap=st.booleans(),
)
def test_forests_of_numbers_are_equal(
    data: st.DataObject,
    rows: tuple[np.ndarray, np.ndarray],
    weighted: str,
    loss: str,
    bootstrap: bool,
) -> None:
    x, _ = rows
    y = targets_for("real", x, 1, seed=len(x))
    chosen = data.draw(settings_for(x.shape[1], 1)) | {"criterion": loss}
    chosen |= {
        "n_trees": 3,
        "first_tree": 2,
        "bootstrap": bootstrap,
        "n_draws": len(y),
        "balanced_subsample": False,
        "oob": True,
    }
    weights = weights_for(weighted, len(y), seed=3)
    native, votes = _core.forest_fit(x, y, weights, n_classes=None, **chosen)
    plain, counted = reference_forest.forest_fit(x, y, weights, n_classes=None, **chosen)
    assert_equal(native.arrays(), plain, loss)
    if loss != "absolute_error":
        np.testing.assert_array_equal(
            native.predict_values(x, n_threads=1),
            reference.predict_values(plain, x, n_threads=1),
        )
        assert (votes is None) == (counted is None)
        if votes is not None:
            for native_part, plain_part in zip(votes, counted, strict=True):
                np.testing.assert_array_equal(native_part, plain_part)


@pytest.mark.parametrize("balanced", [False, True])
def test_forests_of_several_outputs_of_classes_are_equal(balanced: bool) -> None:
    x, first = table(60, 3, 3, seed=4, kind="many", missing=0.0)
    y = np.stack([first, (x[:, 0] > 0).astype(np.uint32)], axis=1)
    chosen = {
        **SETTINGS,
        "max_features": 2,
        "n_trees": 4,
        "first_tree": 0,
        "bootstrap": True,
        "n_draws": 60,
        "balanced_subsample": balanced,
        "oob": True,
    }
    native, votes = _core.forest_fit(x, y, None, n_classes=[3, 2], **chosen)
    plain, counted = reference_forest.forest_fit(x, y, None, n_classes=[3, 2], **chosen)
    assert_same_nodes(native.arrays(), plain)
    assert votes is not None
    assert [part.shape for part in votes] == [(60, 6), (60,)]
    for native_part, plain_part in zip(votes, counted, strict=True):
        np.testing.assert_array_equal(native_part, plain_part)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["few", "many"])
def test_larger_trees_of_numbers_are_equal(loss: str, kind: str) -> None:
    """Enough rows for sorting by digits and for the threads to share the work."""
    x, _ = table(1400, 3, 2, seed=1, kind=kind, missing=0.05)
    y = np.abs(np.nan_to_num(x[:, 0])) + np.random.RandomState(0).rand(1400)
    chosen = {**SETTINGS, "criterion": loss, "max_features": 3, "max_depth": 2}
    plain = reference.tree_fit(x, y, None, n_classes=None, **chosen)
    for drawn in ({}, {"max_bins": 255}):
        chosen |= drawn
        for n_threads in (1, 3):
            chosen["n_threads"] = n_threads
            native = _core.tree_fit(x, y, None, n_classes=None, **chosen).arrays()
            if not drawn:
                assert_equal(native, plain, loss)
        assert len(native["left"]) == 7


@pytest.mark.parametrize(
    ("y", "n_classes", "message"),
    [
        (np.array([1.0, np.nan]), None, "y contains NaN"),
        (np.array([1.0, np.inf]), None, "y contains infinity"),
        (np.array([[1.0], [2.0]]), 2, "n_classes"),
        (np.array([0, 1], dtype=np.uint32), None, "n_classes"),
        (np.array([[0, 1], [1, 2]], dtype=np.uint32), [2, 2], "a class code below 2"),
        (np.array([[0, 1], [1, 0]], dtype=np.uint32), [2, 2, 2], "n_classes"),
        (np.zeros((2, 0)), None, "outputs"),
        (np.zeros(3), None, "y"),
    ],
)
def test_bad_targets_are_refused(y: np.ndarray, n_classes: Any, message: str) -> None:
    x = np.array([[0.0], [1.0]], dtype=np.float32)
    criterion = "gini" if y.dtype == np.uint32 else "squared_error"
    chosen = {**SETTINGS, "criterion": criterion, "max_features": 1}
    with pytest.raises(ValueError, match=message):
        _core.tree_fit(x, y, None, n_classes=n_classes, **chosen)


def test_poisson_refuses_negative_targets_and_zeros_alone() -> None:
    x = np.array([[0.0], [1.0]], dtype=np.float32)
    chosen = {**SETTINGS, "criterion": "poisson", "max_features": 1}
    for y, message in (([-1.0, 2.0], "not negative"), ([0.0, 0.0], "positive sum")):
        with pytest.raises(ValueError, match=message):
            _core.tree_fit(x, np.array(y), None, n_classes=None, **chosen)
