"""Reports beside scikit-learn's own functions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import (
    average_precision_score,
    classification_report,
    confusion_matrix,
    roc_auc_score,
)
from sklearn.naive_bayes import GaussianNB as Theirs
from sklearn.svm import LinearSVC as TheirSVC

from ironlearn.evaluation import evaluate, plot_confusion, plot_precision_recall, plot_roc
from ironlearn.naive_bayes import GaussianNB


def test_report_of_many_classes() -> None:
    X, y = load_digits(return_X_y=True)
    model = GaussianNB().fit(X[::2], y[::2])
    X, y = X[1::2], y[1::2]
    report = evaluate(model, X, y)
    theirs = classification_report(y, model.predict(X), output_dict=True)
    assert report.accuracy == pytest.approx(theirs["accuracy"])
    for k, name in enumerate(report.classes):
        assert report.precision[k] == pytest.approx(theirs[name]["precision"])
        assert report.recall[k] == pytest.approx(theirs[name]["recall"])
        assert report.f1[k] == pytest.approx(theirs[name]["f1-score"])
        assert report.support[k] == theirs[name]["support"]
    assert report.macro["f1"] == pytest.approx(theirs["macro avg"]["f1-score"])
    assert report.weighted["f1"] == pytest.approx(theirs["weighted avg"]["f1-score"])
    assert report.confusion == confusion_matrix(y, model.predict(X)).tolist()
    auc = roc_auc_score(y, model.predict_proba(X), multi_class="ovr")
    assert report.roc_auc == pytest.approx(auc)
    assert report.roc is not None
    assert report.precision_recall is not None
    for curve in (report.roc, report.precision_recall):
        assert len(curve.x) == len(curve.y)
        assert all(a <= b for a, b in zip(curve.x, curve.x[1:], strict=False))
        assert min(curve.y) >= 0
        assert max(curve.y) <= 1
    assert json.loads(report.to_json())["macro"]["f1"] == report.macro["f1"]
    assert "macro mean" in report.to_text()


def test_two_classes_and_decision_values() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    model = TheirSVC().fit(X, y)
    report = evaluate(model, X, y)
    scores = model.decision_function(X)
    assert report.roc_auc == pytest.approx(roc_auc_score(y, scores))
    assert report.precision_recall is not None
    assert report.precision_recall.area == pytest.approx(average_precision_score(y, scores))
    assert report.roc is not None
    area = np.trapezoid(report.roc.y, report.roc.x)
    assert area == pytest.approx(report.roc_auc, abs=0.01)


def test_labels_that_were_not_learned_and_classes_without_rows() -> None:
    X, y = load_digits(return_X_y=True)
    model = Theirs().fit(X[y < 9], y[y < 9])
    report = evaluate(model, X, y)
    assert report.classes[-1] == "9"
    assert report.recall[-1] == 0.0
    assert report.roc is None
    assert evaluate(model, X[y == 3], y[y == 3]).roc_auc is None


def test_bad_input() -> None:
    model = GaussianNB().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(ValueError, match="y has no rows"):
        evaluate(model, [[0.0]], [])
    with pytest.raises(ValueError, match="inconsistent"):
        evaluate(model, [[0.0]], [0, 1])


def test_plots() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    X, y = load_digits(return_X_y=True)
    report = evaluate(GaussianNB().fit(X, y), X, y)
    axes = plot_confusion(report)
    assert [t.get_text() for t in axes.texts][:2] == [str(v) for v in report.confusion[0][:2]]
    axes = plot_roc({"nb": report})
    assert axes.get_legend_handles_labels()[1] == [f"nb, area {report.roc_auc:.4f}"]
    axes = plot_precision_recall(report)
    assert axes.get_xlabel() == "recall"
    assert plot_roc(report, ax=axes) is axes
    pyplot.close("all")

    class NoScores:
        classes_ = np.arange(10)

        def predict(self, X: np.ndarray) -> np.ndarray:
            return np.zeros(len(X), dtype=int)

    with pytest.raises(ValueError, match="the report has no curve"):
        plot_roc(evaluate(NoScores(), X, y))
    pyplot.close("all")
