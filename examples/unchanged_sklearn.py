"""A program of scikit-learn's alone: run it plainly, or by ``python -m ironlearn.patch``."""

from __future__ import annotations

import time

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier


def main() -> None:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    for model in (
        GaussianNB(),
        DecisionTreeClassifier(random_state=0),
        RandomForestClassifier(random_state=0),
        GridSearchCV(SVC(), {"C": [1, 10]}, cv=3),
    ):
        start = time.perf_counter()
        score = model.fit(X_train, y_train).score(X_test, y_test)
        seconds = time.perf_counter() - start
        print(f"{type(model).__name__:<24} accuracy {score:.3f} in {seconds:.3f} s")
    where = RandomForestClassifier.__module__.partition(".")[0]
    print(f"the forest came from {where}")


if __name__ == "__main__":
    main()
