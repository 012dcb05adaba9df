"""Reviews told apart as they are: training, probabilities, a file, what counting words misses.

Without arguments it takes reviews of a small grammar, in which a "not" turns the meaning around.
``--rt-polarity FOLDER`` takes the two files of film reviews ``rt-polarity.pos`` and ``.neg``, with
the accurate preset, which takes some minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split

import ironlearn
from ironlearn.cli.demos.reviews import reviews
from ironlearn.naive_bayes import MultinomialNB
from ironlearn.text import LSTMTextClassifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rt-polarity", type=Path, metavar="FOLDER", help="film reviews")
    parser.add_argument("--epochs", type=int, default=12, help="passes over the texts")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the training")
    chosen = parser.parse_args()

    if chosen.rt_polarity:
        texts, labels = [], []
        for kind in ("neg", "pos"):
            lines = (chosen.rt_polarity / f"rt-polarity.{kind}").read_text("latin-1").splitlines()
            texts += lines
            labels += [kind] * len(lines)
        model = LSTMTextClassifier.from_preset("accurate", random_state=0)
    else:
        texts, labels = reviews()
        model = LSTMTextClassifier(epochs=chosen.epochs, learning_rate=5e-3, random_state=0)
    train, test, y, y_test = train_test_split(
        texts, np.array(labels), test_size=0.2, random_state=0, stratify=labels
    )
    model.fit(train, y, validation_data=(test, y_test))
    print(model.summary())
    print(f"{len(model.vocabulary_)} words known; test accuracy {model.score(test, y_test):.4f}")

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    counting = MultinomialNB().fit(words.fit_transform(train), y)
    print(f"TF-IDF with naive Bayes: {counting.score(words.transform(test), y_test):.4f}")

    shown = [*test[:3], "not bad at all", ""]
    for text, shares in zip(shown, model.predict_proba(shown), strict=True):
        sure = ", ".join(f"{c} {p:.2f}" for c, p in zip(model.classes_, shares, strict=True))
        print(f"{text!r}: {sure}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reviews.ironlearn"
        model.save(path)
        same = np.array_equal(ironlearn.load(path).predict(test), model.predict(test))
        print(f"{path.stat().st_size / 1e3:.0f} kB on disk, the same answers: {same}")

    if chosen.plot is not None:
        model.plot_history().savefig(chosen.plot)
        print("wrote", chosen.plot)


if __name__ == "__main__":
    main()
