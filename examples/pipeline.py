"""ironlearn inside scikit-learn: a table with gaps and words, a pipeline, a grid search."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from ironlearn.ensemble import RandomForestClassifier


def customers(n: int, rng: np.random.RandomState) -> tuple[pd.DataFrame, pd.Series]:
    """Customers with an age (sometimes unknown), a plan and usage, and whether they left."""
    frame = pd.DataFrame(
        {
            "age": rng.normal(45, 15, n).round(),
            "plan": rng.choice(["basic", "plus", "pro"], n, p=[0.5, 0.3, 0.2]),
            "hours": rng.gamma(2.0, 10.0, n),
        }
    )
    risk = 1.5 * (frame["plan"] == "basic") - 0.08 * frame["hours"] + 0.02 * (50 - frame["age"])
    left = pd.Series(np.where(risk + rng.normal(0, 0.5, n) > 0, "left", "stayed"), name="outcome")
    frame.loc[rng.uniform(size=n) < 0.1, "age"] = np.nan
    return frame, left


def main() -> None:
    X, y = customers(1500, np.random.RandomState(0))
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    columns = ColumnTransformer(
        [("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["plan"])],
        remainder="passthrough",
    )
    # Missing ages go straight to the forest, which learns where to send them.
    model = Pipeline([("columns", columns), ("forest", RandomForestClassifier(random_state=0))])
    search = GridSearchCV(
        model, {"forest__n_estimators": [50], "forest__min_samples_leaf": [1, 5, 20]}, cv=3
    ).fit(X_train, y_train)
    majority = y_test.value_counts(normalize=True).max()
    print("best:", search.best_params_)
    print(f"accuracy {search.score(X_test, y_test):.3f}, always the majority {majority:.3f}")


if __name__ == "__main__":
    main()
