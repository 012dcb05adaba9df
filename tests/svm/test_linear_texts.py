"""Linear classifiers on real texts: scikit-learn's scores and predictions on equal splits."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC as Theirs

from common import texts
from ironlearn.svm import LinearSVC
from svm.objectives import sparse_objective

pytestmark = pytest.mark.realdata

#: What gives each set its usual score.
WORDS: dict[str, dict[str, Any]] = {
    "trec": {"ngram_range": (1, 2), "sublinear_tf": True, "token_pattern": r"\S+"},
    "ag_news": {},
    "rt_polarity": {"ngram_range": (1, 2), "sublinear_tf": True},
}
SCORES = {"trec": 0.905, "ag_news": 0.87, "rt_polarity": 0.77}
KINDS: list[dict[str, Any]] = [{}, {"loss": "hinge"}, {"multi_class": "crammer_singer"}]


def split(name: str, data_dir: Path, **words: Any) -> tuple[Any, np.ndarray, Any, np.ndarray]:
    """Return TF-IDF rows and labels to train on, and to test on."""
    vectorizer = TfidfVectorizer(**words)
    if name == "trec":
        train, y = texts.questions(data_dir, "train")
        test, y_test = texts.questions(data_dir, "test")
    else:
        read = {"ag_news": texts.news, "rt_polarity": texts.reviews}[name]
        both, labels = read(data_dir)
        held = np.arange(len(labels)) % 4 == 0
        train, y = [t for t, h in zip(both, held, strict=True) if not h], labels[~held]
        test, y_test = [t for t, h in zip(both, held, strict=True) if h], labels[held]
    return vectorizer.fit_transform(train), y, vectorizer.transform(test), y_test


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_those_of_scikit_learn(name: str, data_dir: Path) -> None:
    X, y, X_test, y_test = split(name, data_dir, **WORDS[name])
    for parameters in KINDS:
        ours = LinearSVC(random_state=0, **parameters).fit(X, y)
        theirs = Theirs(random_state=0, **parameters).fit(X, y)
        want = sparse_objective(theirs, X, y)
        assert sparse_objective(ours, X, y) <= want * (1 + 1e-4), parameters
        equal = ours.predict(X_test) == theirs.predict(X_test)
        assert equal.mean() >= 0.998, parameters
        assert abs(ours.score(X_test, y_test) - theirs.score(X_test, y_test)) <= 0.002
        if not parameters:
            assert ours.score(X_test, y_test) >= SCORES[name]


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("C", [0.3, 1.0])
def test_sparse_weights_reach_the_objective(name: str, C: float, data_dir: Path) -> None:
    X, y, X_test, _ = split(name, data_dir)
    X, y = X[::3], y[::3]
    ours = LinearSVC(penalty="l1", C=C, random_state=0).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Theirs(penalty="l1", C=C, random_state=0, max_iter=300).fit(X, y)
    assert sparse_objective(ours, X, y) <= sparse_objective(theirs, X, y) * (1 + 1e-4)
    assert np.count_nonzero(ours.coef_) < 0.1 * ours.coef_.size
    assert (ours.predict(X_test) == theirs.predict(X_test)).mean() >= 0.99
