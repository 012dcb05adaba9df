"""Texts classified by an LSTM."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import ironlearn
from ironlearn import serving
from ironlearn.exceptions import InvalidParameterError, ModelFileError
from ironlearn.nn.layers import LSTM, Bidirectional, Dense, Embedding, GlobalMaxPool1D
from ironlearn.text import LSTMTextClassifier

QUICK: dict[str, Any] = {
    "epochs": 2,
    "embedding_dim": 8,
    "units": 6,
    "hidden_units": 5,
    "random_state": 0,
}


def order_matters(n: int, seed: int) -> tuple[list[str], list[str]]:
    """Texts whose class is which of two words comes first: counting words tells nothing."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(n):
        first = bool(rng.integers(2))
        words = ["cat", "dog"] if first else ["dog", "cat"]
        for _ in range(int(rng.integers(0, 5))):
            words.insert(int(rng.integers(len(words) + 1)), f"w{rng.integers(6)}")
        texts.append(" ".join(words))
        labels.append("cat first" if first else "dog first")
    return texts, labels


TEXTS = ["a fine film", "a dull film", "fine acting", "dull and slow", "so so"] * 6
LABELS = ["good", "bad", "good", "bad", "fair"] * 6


def test_it_learns_what_counting_words_cannot() -> None:
    texts, labels = order_matters(600, 0)
    model = LSTMTextClassifier(
        epochs=10, embedding_dim=8, units=16, learning_rate=0.01, random_state=0
    ).fit(texts, labels)
    others, truth = order_matters(200, 1)
    assert model.score(others, truth) > 0.95


def test_the_network_is_the_documented_one() -> None:
    model = LSTMTextClassifier(epochs=1, random_state=0).fit(TEXTS[::5] + TEXTS[1::5], [1, 0] * 6)
    embedding, lstm, dense, last = model._model.layers
    assert isinstance(embedding, Embedding)
    assert (embedding.output_dim, embedding.mask_zero) == (64, True)
    assert isinstance(lstm, LSTM)
    assert (lstm.units, lstm.return_sequences) == (50, False)
    assert isinstance(dense, Dense)
    assert (dense.units, dense.activation) == (64, "relu")
    assert (last.units, last.activation) == (1, None)
    defaults = LSTMTextClassifier()
    assert (defaults.epochs, defaults.batch_size, defaults.learning_rate) == (10, 32, 1e-3)
    assert defaults.optimizer == "adam"


def test_options_are_layers() -> None:
    model = LSTMTextClassifier(
        **QUICK, bidirectional=True, pooling="max", dropout=0.1, embedding_dropout=0.1
    ).fit(TEXTS, LABELS)
    kinds = [type(layer).__name__ for layer in model._model.layers]
    assert kinds == [
        *["Embedding", "SpatialDropout1D", "Bidirectional", "GlobalMaxPool1D"],
        *["Dropout", "Dense", "Dropout", "Dense"],
    ]
    assert isinstance(model._model.layers[2], Bidirectional)
    assert isinstance(model._model.layers[3], GlobalMaxPool1D)
    assert model._model.layers[-1].units == 3


@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        np.array(LABELS),
        np.array(LABELS, dtype=object),
        [{"good": 3, "bad": -1, "fair": 0}[label] for label in LABELS],
        [label == "good" for label in LABELS],
    ],
    ids=["list", "str", "object", "int", "bool"],
)
def test_labels_of_any_type_and_files(labels: Any, tmp_path: Path) -> None:
    model = LSTMTextClassifier(**QUICK).fit(TEXTS, labels)
    proba = model.predict_proba([*TEXTS[:5], "", "unheard of"])
    assert proba.shape == (7, len(set(labels)))
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert set(model.predict(TEXTS).tolist()) <= set(labels)
    model.save(tmp_path / "model")
    for other in (ironlearn.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert isinstance(other, LSTMTextClassifier)
        assert other.get_params() == model.get_params()
        assert other.vocabulary_ == model.vocabulary_
        np.testing.assert_array_equal(other.classes_, model.classes_)
        np.testing.assert_array_equal(other.predict_proba(TEXTS), model.predict_proba(TEXTS))
    served = serving.load(tmp_path / "model")
    np.testing.assert_array_equal(served.predict_proba(TEXTS), model.predict_proba(TEXTS))
    np.testing.assert_array_equal(served.predict(TEXTS), model.predict(TEXTS))


def test_serving_needs_no_scikit_learn(tmp_path: Path) -> None:
    LSTMTextClassifier(**QUICK).fit(TEXTS, LABELS).save(tmp_path / "model")
    program = (
        "import sys\nfrom ironlearn import serving\n"
        f"print(serving.load({str(tmp_path / 'model')!r}).predict(['a fine film']).tolist())\n"
        "print('sklearn' in sys.modules)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert out.stdout.splitlines()[1] == "False"


def test_equal_seeds_give_equal_models_and_others_others() -> None:
    settings = {**QUICK, "dropout": 0.3, "embedding_dropout": 0.3, "word_dropout": 0.2}
    first = LSTMTextClassifier(**settings).fit(TEXTS, LABELS).predict_proba(TEXTS)
    again = LSTMTextClassifier(**settings).fit(TEXTS, LABELS).predict_proba(TEXTS)
    other = clone(LSTMTextClassifier(**settings)).set_params(random_state=1).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other.predict_proba(TEXTS))


def test_answers_do_not_depend_on_the_texts_beside() -> None:
    model = LSTMTextClassifier(**QUICK).fit(TEXTS, LABELS)
    long = "film " * 40
    together = model.predict_proba(["so so", long, "", "a fine film"])
    alone = [model.predict_proba([text])[0] for text in ("so so", long, "", "a fine film")]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_a_text_without_words_is_an_unknown_word_and_long_ones_are_cut() -> None:
    model = LSTMTextClassifier(**QUICK, max_length=3).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(model.predict_proba([" "]), model.predict_proba(["unheard"]))
    np.testing.assert_array_equal(
        model.predict_proba(["a fine film"]), model.predict_proba(["a fine film that is dull"])
    )


def test_vectors_start_at_naive_bayes() -> None:
    settings = {**QUICK, "epochs": 1, "learning_rate": 1e-12, "embedding_init": "naive_bayes"}
    model = LSTMTextClassifier(**settings).fit(TEXTS, [label == "good" for label in LABELS])
    table = model._model.layers[0].embeddings.data
    words = model.vocabulary_
    assert table[words["fine"], 0] > 1 > 0 > table[words["dull"], 0]
    assert (table[0] == 0).all()
    with pytest.raises(ValueError, match="embedding_dim of at least 3"):
        LSTMTextClassifier(**{**settings, "embedding_dim": 2}).fit(TEXTS, LABELS)


def test_weights_of_samples_and_classes_count() -> None:
    texts = ["the same text"] * 40
    labels = ["a", "b"] * 20
    settings = {**QUICK, "epochs": 30, "learning_rate": 0.02}
    heavy = np.where(np.array(labels) == "a", 9.0, 1.0)
    by_sample = LSTMTextClassifier(**settings).fit(texts, labels, sample_weight=heavy)
    by_class = LSTMTextClassifier(**settings, class_weight={"a": 9.0}).fit(texts, labels)
    for model in (by_sample, by_class):
        assert abs(model.predict_proba(texts[:1])[0, 0] - 0.9) < 0.05
    np.testing.assert_allclose(
        by_sample.predict_proba(texts[:1]), by_class.predict_proba(texts[:1]), atol=1e-6
    )


def test_early_stopping_and_validation_data() -> None:
    model = LSTMTextClassifier(**{**QUICK, "epochs": 5}, early_stopping=True, min_df=1)
    model.fit(TEXTS, LABELS)
    assert len(model.history_["val_loss"]) == model.n_epochs_ <= 5
    model.set_params(early_stopping=False).fit(TEXTS, LABELS, validation_data=(["so"], ["fair"]))
    assert len(model.history_["val_loss"]) == 5
    assert "so" in model.vocabulary_
    with pytest.raises(ValueError, match="not among the classes"):
        model.fit(TEXTS, LABELS, validation_data=(["so"], ["great"]))
    with pytest.raises(ValueError, match="1 texts, but 2 labels"):
        model.fit(TEXTS, LABELS, validation_data=(["so"], ["fair", "bad"]))


def test_warm_start_goes_on() -> None:
    model = LSTMTextClassifier(**QUICK, warm_start=True).fit(TEXTS, LABELS)
    words = model.vocabulary_
    model.fit(TEXTS[:10], LABELS[:10])
    assert model.n_epochs_ == 4
    assert model.vocabulary_ == words


def test_bad_input_is_told_and_leaves_the_model() -> None:
    model = LSTMTextClassifier(**QUICK)
    with pytest.raises(NotFittedError):
        model.predict(["text"])
    model.fit(TEXTS, LABELS)
    before = model.predict_proba(TEXTS)
    for texts, labels, message in [
        (TEXTS, LABELS[:-1], "X holds 30 texts, but y 29 labels"),
        ("a text", ["good"], "single str"),
        ([*TEXTS[:-1], None], LABELS, r"X\[29\] must be a str, got None"),
        (TEXTS, ["good"] * 30, "at least 2 classes"),
        (["one two", "three four"], ["a", "b"], "min_df=2"),
        (TEXTS, None, "requires y"),
        (TEXTS, np.linspace(0, 1, 30), "Unknown label type: continuous"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            model.fit(texts, labels)
        np.testing.assert_array_equal(model.predict_proba(TEXTS), before)
    with pytest.raises(TypeError, match=r"X\[0\] must be a str"):
        model.predict([3])


@pytest.mark.parametrize("name", sorted(LSTMTextClassifier._parameters))
def test_parameters_are_checked_by_name(name: str) -> None:
    assert set(LSTMTextClassifier._parameters) == set(LSTMTextClassifier._get_param_names())
    with pytest.raises(InvalidParameterError, match=f"'{name}'"):
        LSTMTextClassifier(**{name: object()}).fit(TEXTS, LABELS)


def test_presets() -> None:
    model = LSTMTextClassifier.from_preset("accurate", epochs=1)
    assert model.bidirectional
    assert model.epochs == 1
    with pytest.raises(InvalidParameterError, match="'best'"):
        LSTMTextClassifier.from_preset("best")


def test_a_file_whose_parts_do_not_fit_is_refused(tmp_path: Path) -> None:
    from ironlearn import _modelfile

    path = tmp_path / "model"
    LSTMTextClassifier(**QUICK).fit(TEXTS, LABELS).save(path)
    contents = _modelfile.read(path)
    words = [f"w{i}" for i in range(500)]
    contents.attributes["encoder"]["vocabulary"] = _modelfile.pack_values(
        "vocabulary", np.array(words, dtype=object), contents.tensors
    )
    _modelfile.write(path, contents)
    for load in (ironlearn.load, serving.load):
        with pytest.raises(ModelFileError, match="the vocabulary has 502 words"):
            load(path)


@pytest.mark.realdata
def test_film_reviews_are_told_apart(data_dir: Path) -> None:
    folder = data_dir / "text_classification/rt_polarity"
    parts = [
        (folder / f"rt-polarity.{name}").read_text("latin-1").split("\n")[:1200]
        for name in ("neg", "pos")
    ]
    train, test = parts[0][:1000] + parts[1][:1000], parts[0][1000:] + parts[1][1000:]
    model = LSTMTextClassifier.from_preset("accurate", epochs=3, random_state=0)
    model.fit(train, np.repeat([0, 1], 1000))
    assert model.score(test, np.repeat([0, 1], 200)) > 0.62
