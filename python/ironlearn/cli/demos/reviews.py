"""Short reviews, in which a "not" turns the meaning around, told apart by an LSTM."""

from __future__ import annotations

import numpy as np

from ironlearn.cli.demos import Outcome, Settings

_GOOD = ("good", "fine", "moving", "clever", "funny", "warm", "thrilling", "honest")
_BAD = ("bad", "dull", "clumsy", "slow", "silly", "cold", "boring", "false")
_THINGS = ("film", "story", "play", "cast", "ending", "score")
_FRAMES = (
    ("the {thing} is {word}", False),
    ("the {thing} is not {word}", True),
    ("a {word} {thing} from start to end", False),
    ("by no means a {word} {thing}", True),
    ("I found the {thing} {word} , and so did others", False),
    ("nobody would call this {thing} {word}", True),
    ("not once is the {thing} anything but {word}", False),
)


def reviews() -> tuple[list[str], list[str]]:
    """Return texts of a small grammar, and whether they praise.

    Every frame comes with words of both kinds equally often, and so do the negations: single words
    tell little.
    """
    texts, labels = [], []
    for frame, turned in _FRAMES:
        for thing in _THINGS:
            for kind, words in (("praise", _GOOD), ("complaint", _BAD)):
                for word in words:
                    texts.append(frame.format(thing=thing, word=word))
                    praise = (kind == "praise") != turned
                    labels.append("praise" if praise else "complaint")
    return texts, labels


def run(settings: Settings) -> Outcome:
    """Train on three quarters of the reviews and tell the rest."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.model_selection import train_test_split

    from ironlearn.naive_bayes import MultinomialNB
    from ironlearn.text import LSTMTextClassifier

    texts, labels = reviews()
    train, test, y, y_test = train_test_split(
        texts, np.array(labels), test_size=0.25, random_state=settings.seed, stratify=labels
    )
    model = LSTMTextClassifier(
        epochs=settings.epochs or 12,
        learning_rate=5e-3,
        random_state=settings.seed,
        verbose=int(settings.verbose),
    ).fit(train, y)
    words = CountVectorizer()
    counting = MultinomialNB().fit(words.fit_transform(train), y)
    shown = ["the ending is not funny", "not once is the cast anything but warm"]
    lines = [
        f"{text!r}: {answer}" for text, answer in zip(shown, model.predict(shown), strict=True)
    ]
    return Outcome(
        f"texts of a small grammar: {len(train)} to train, {len(test)} to test",
        "accuracy",
        float(np.mean(model.predict(test) == y_test)),
        float(np.mean(counting.predict(words.transform(test)) == y_test)),
        "naive Bayes, which counts words",
        lines,
        model.plot_history() if settings.plot else None,
    )
