"""Categorical naive Bayes on words: columns of strings need no encoder."""

from __future__ import annotations

import numpy as np

from ironlearn.naive_bayes import CategoricalNB


def weather(n: int, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Days with an outlook, a temperature and a wind, and whether a match was played."""
    outlook = rng.choice(["sunny", "overcast", "rain"], n, p=[0.4, 0.3, 0.3])
    warmth = rng.choice(["hot", "mild", "cool"], n)
    wind = rng.choice(["weak", "strong"], n, p=[0.7, 0.3])
    likely = 0.9 - 0.5 * (outlook == "rain") - 0.2 * (wind == "strong") - 0.2 * (warmth == "hot")
    played = np.where(rng.uniform(size=n) < likely, "yes", "no")
    return np.column_stack([outlook, warmth, wind]).astype(object), played


def main() -> None:
    rng = np.random.RandomState(0)
    X, y = weather(2000, rng)
    X_test, y_test = weather(500, rng)

    model = CategoricalNB(alpha=1.0).fit(X, y)
    majority = max(np.mean(y_test == label) for label in model.classes_)
    print(f"accuracy {model.score(X_test, y_test):.3f}, always the majority {majority:.3f}")

    # A value that never occurred is smoothed, not an error.
    today = np.array([["rain", "mild", "strong"], ["snow", "cool", "weak"]], dtype=object)
    for day, chance in zip(today, model.predict_proba(today), strict=True):
        print(f"{' '.join(day):20s}", dict(zip(model.classes_, chance.round(2), strict=True)))


if __name__ == "__main__":
    main()
