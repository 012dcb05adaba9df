"""A linear SVM on sparse text features: a pipeline, and C chosen by cross-validation."""

from __future__ import annotations

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from ironlearn.svm import LinearSVC

SUBJECTS = {
    "kitchen": "bread butter oven salt soup knife onion pan stir boil recipe flour",
    "garden": "soil seed water spade rose weed hedge lawn prune compost bloom root",
    "workshop": "saw nail hammer drill bolt plank glue sand screw bench lathe wood",
}
COMMON = "the a and with then for some little old new take put day good well before after"


def notes(n: int, rng: np.random.RandomState) -> tuple[list[str], list[str]]:
    """Short notes of mostly common words with a few from their subject."""
    texts, labels = [], []
    for _ in range(n):
        label = rng.choice(list(SUBJECTS))
        words = [
            *rng.choice(COMMON.split(), 12),
            *rng.choice(SUBJECTS[label].split(), 3),
            *rng.choice(SUBJECTS[rng.choice(list(SUBJECTS))].split(), 2),
        ]
        texts.append(" ".join(rng.permutation(words)))
        labels.append(label)
    return texts, labels


def main() -> None:
    rng = np.random.RandomState(0)
    texts, labels = notes(600, rng)
    new_texts, new_labels = notes(300, rng)

    search = GridSearchCV(
        make_pipeline(TfidfVectorizer(), LinearSVC(random_state=0)),
        {"linearsvc__C": [0.01, 0.1, 1.0, 10.0]},
        cv=3,
    ).fit(texts, labels)
    print(f"best C {search.best_params_['linearsvc__C']}")
    print(f"accuracy on new notes {search.score(new_texts, new_labels):.3f}, by chance 0.333")

    vectorizer, svm = (step for _, step in search.best_estimator_.steps)
    names = vectorizer.get_feature_names_out()
    for label, row in zip(svm.classes_, svm.coef_, strict=True):
        print(f"{label:9s}", " ".join(names[np.argsort(row)[::-1][:6]]))


if __name__ == "__main__":
    main()
