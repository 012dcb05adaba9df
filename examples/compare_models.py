"""The functions behind `ironlearn compare`: equal splits, a corrected test, a report."""

from __future__ import annotations

import argparse
from pathlib import Path

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from ironlearn import evaluation
from ironlearn.ensemble import RandomForestClassifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, help="write the comparison as HTML to this file")
    out = parser.parse_args().report

    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    result = evaluation.compare(
        X, y, models=["gaussian_nb", "random_forest"], cv=3, name="breast cancer"
    )
    print(result.to_text())
    if out is not None:
        out.write_text(result.to_html(), encoding="utf-8")
        print("wrote", out)

    # One model on rows that it has not seen, in detail.
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    report = evaluation.evaluate(
        RandomForestClassifier(random_state=0).fit(X_train, y_train), X_test, y_test
    )
    print(f"accuracy {report.accuracy:.3f}, confusion {report.confusion}")


if __name__ == "__main__":
    main()
