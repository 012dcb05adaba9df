"""Naive Bayes on real texts: scikit-learn's log-probabilities and scores on equal splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import naive_bayes as theirs
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.model_selection import StratifiedKFold, cross_val_score

from common import texts
from ironlearn import naive_bayes

pytestmark = pytest.mark.realdata

DISCRETE = ["MultinomialNB", "ComplementNB", "BernoulliNB"]


def split(
    name: str, data_dir: Path, kind: Any = TfidfVectorizer
) -> tuple[Any, np.ndarray, Any, np.ndarray]:
    """Return rows and labels to train on, and to test on."""
    vectorizer = kind()
    if name == "trec":
        train, y = texts.questions(data_dir, "train")
        test, y_test = texts.questions(data_dir, "test")
        return vectorizer.fit_transform(train), y, vectorizer.transform(test), y_test
    read = {"ag_news": texts.news, "rt_polarity": texts.reviews}[name]
    both, y = read(data_dir)
    X = vectorizer.fit_transform(both)
    held = np.arange(len(y)) % 4 == 0
    return X[~held], y[~held], X[held], y[held]


def assert_same(ours: Any, other: Any, X: Any, y: np.ndarray, X_dense: Any = None) -> None:
    given = X if X_dense is None else X_dense
    joint = other.predict_joint_log_proba(given)
    np.testing.assert_allclose(ours.predict_joint_log_proba(X), joint, rtol=1e-9)
    # A logarithm near zero is a difference of large numbers: theirs decide how exact it is.
    scale = 1e-12 * np.abs(joint).max()
    np.testing.assert_allclose(
        ours.predict_log_proba(X), other.predict_log_proba(given), rtol=1e-9, atol=scale
    )
    np.testing.assert_array_equal(ours.predict(X), other.predict(given))
    assert ours.score(X, y) == other.score(given, y)


@pytest.mark.parametrize("name", ["trec", "ag_news", "rt_polarity"])
@pytest.mark.parametrize("words", [CountVectorizer, TfidfVectorizer])
def test_discrete_models_equal_scikit_learn(name: str, words: Any, data_dir: Path) -> None:
    X, y, X_test, y_test = split(name, data_dir, words)
    for kind in DISCRETE:
        ours = getattr(naive_bayes, kind)().fit(X, y)
        other = getattr(theirs, kind)().fit(X, y)
        np.testing.assert_allclose(ours.feature_log_prob_, other.feature_log_prob_, rtol=1e-9)
        assert_same(ours, other, X_test, y_test)
        assert ours.score(X_test, y_test) > 0.65


@pytest.mark.parametrize("name", ["trec", "ag_news", "rt_polarity"])
def test_gaussian_of_sparse_rows_equals_that_of_dense_ones(name: str, data_dir: Path) -> None:
    X, y, X_test, y_test = split(name, data_dir)
    # scikit-learn's needs dense rows: the most frequent words of some of them.
    often = np.argsort(-X.getnnz(axis=0), kind="stable")[:250]
    X, y = X[::4, often], y[::4]
    X_test, y_test = X_test[::4, often], y_test[::4]
    ours = naive_bayes.GaussianNB().fit(X, y)
    other = theirs.GaussianNB().fit(X.toarray(), y)
    np.testing.assert_allclose(ours.theta_, other.theta_, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(ours.var_, other.var_, rtol=1e-9)
    assert_same(ours, other, X_test, y_test, X_test.toarray())


def test_multinomial_reaches_the_published_score_on_film_reviews(data_dir: Path) -> None:
    both, y = texts.reviews(data_dir)
    X = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(both)
    folds = StratifiedKFold(10, shuffle=True, random_state=0)
    models = naive_bayes.MultinomialNB(), theirs.MultinomialNB()
    ours, other = (cross_val_score(model, X, y, cv=folds) for model in models)
    np.testing.assert_array_equal(ours, other)
    assert ours.mean() > 0.78
