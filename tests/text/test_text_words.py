"""Tokens, vocabularies and batches of texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ironlearn import _modelfile
from ironlearn.exceptions import ModelFileError
from ironlearn.text._batches import TextData, by_length
from ironlearn.text._encoder import Encoder
from ironlearn.text._naive_bayes import log_count_ratios
from ironlearn.text._tokens import as_texts, tokenize
from ironlearn.text._vocabulary import FIRST, PADDING, UNKNOWN, Vocabulary, padded


def test_words_and_signs() -> None:
    assert tokenize("Don't stop: it’s 3.5!") == [
        *["don't", "stop", ":", "it’s", "3", ".", "5", "!"]
    ]
    assert tokenize("Ünïcode 東京 ok", punctuation=False) == ["ünïcode", "東京", "ok"]
    assert tokenize(" \n\t") == []


@given(st.text())
def test_no_sign_is_lost_and_no_space_is_kept(text: str) -> None:
    words = tokenize(text, lowercase=False)
    assert "".join(words) == "".join(text.split())


def test_what_is_no_list_of_texts_is_refused() -> None:
    with pytest.raises(TypeError, match="single str; pass a list of texts"):
        as_texts("one text")
    with pytest.raises(TypeError, match=r"X\[1\] must be a str, got 3 \(int\)"):
        as_texts(["a", 3])
    with pytest.raises(TypeError, match="None"):
        as_texts([None])
    with pytest.raises(TypeError, match="decode it"):
        as_texts([b"bytes"])
    with pytest.raises(TypeError, match="must be a list of texts, got int"):
        as_texts(3)
    with pytest.raises(ValueError, match="holds no texts"):
        as_texts([])
    with pytest.raises(ValueError, match=r"one text a sample, got the shape \(2, 2\)"):
        as_texts(np.array([["a", "b"], ["c", "d"]]))
    assert as_texts(np.array([["a"], ["b"]])) == ["a", "b"]


def test_vocabulary_counts_texts_and_not_words() -> None:
    texts = [["b", "b", "b", "a"], ["c", "a"], ["c", "a"]]
    assert Vocabulary.learn(texts).words == ["a", "c", "b"]
    assert Vocabulary.learn(texts, min_df=2).words == ["a", "c"]
    assert Vocabulary.learn(texts, min_df=0.9).words == ["a"]
    assert Vocabulary.learn(texts, max_features=1).words == ["a"]
    assert len(Vocabulary.learn(texts)) == 3 + FIRST
    # The order of the texts does not matter.
    assert Vocabulary.learn(texts[::-1]).words == ["a", "c", "b"]


def test_encoding_truncates_and_knows_what_is_unknown() -> None:
    encoder = Encoder(Vocabulary(["good", "bad"]), True, True, 3)
    first, empty, none = encoder(["good BAD strange good", "", "?"])
    assert first.tolist() == [FIRST, FIRST + 1, UNKNOWN]
    assert empty.tolist() == none.tolist() == [UNKNOWN]


def test_vocabularies_survive_files_and_bad_ones_do_not() -> None:
    tensors: dict[str, np.ndarray] = {}
    encoder = Encoder(Vocabulary(["naïve", "東京"]), False, True, 9)
    described = encoder.pack(tensors)
    again = Encoder.unpack(described, tensors)
    assert again.vocabulary.words == encoder.vocabulary.words
    assert (again.lowercase, again.punctuation, again.max_length) == (False, True, 9)
    with pytest.raises(ModelFileError, match="max_length"):
        Encoder.unpack({**described, "max_length": 0}, tensors)
    twice: dict[str, np.ndarray] = {}
    bad = _modelfile.pack_values("vocabulary", np.array(["a", "a"], dtype=object), twice)
    with pytest.raises(ValueError, match="twice"):
        Vocabulary.unpack(bad, twice)


def test_batches_hold_every_text_once_and_fill_up_little() -> None:
    rng = np.random.default_rng(0)
    texts = [np.full(n, i + FIRST, np.int32) for i, n in enumerate(rng.integers(1, 60, 500))]
    y = np.arange(500)
    data = TextData(texts, y, y + 1.0, batch_size=16)
    seen, cells = [], 0
    for x, target, weight in data.batches(0, np.random.default_rng(1)):
        assert weight is not None
        np.testing.assert_array_equal(x[:, 0], target + FIRST)
        np.testing.assert_array_equal(weight, target + 1)
        np.testing.assert_array_equal((x != PADDING).sum(axis=1), [len(texts[i]) for i in target])
        seen += target.tolist()
        cells += x.size
    assert sorted(seen) == list(range(500))
    assert seen != list(range(500))
    assert cells < 1.2 * sum(map(len, texts))
    rest = list(data.batches(0, np.random.default_rng(1), 5))
    whole = list(data.batches(0, np.random.default_rng(1)))
    assert len(whole) == data.n_batches == 32
    np.testing.assert_array_equal(rest[0][0], whole[5][0])


def test_word_dropout_replaces_words_and_nothing_else() -> None:
    texts = [np.full(40, FIRST, np.int32), np.full(20, FIRST, np.int32)]
    data = TextData(texts, np.zeros(2), batch_size=2, word_dropout=0.5)
    ((x, _, _),) = data.batches(0, np.random.default_rng(0))
    assert set(np.unique(x)) == {PADDING, UNKNOWN, FIRST}
    assert sorted((x != PADDING).sum(axis=1)) == [20, 40]
    assert 15 < (x == UNKNOWN).sum() < 45
    # The texts themselves stay as they are.
    assert (texts[0] == FIRST).all()


def test_padded_and_by_length() -> None:
    assert padded([np.array([4, 5], np.int32), np.array([], np.int32)]).tolist() == [[4, 5], [0, 0]]
    assert padded([np.array([], np.int32)]).tolist() == [[0]]
    texts = [np.zeros(n, np.int32) for n in (3, 1, 2)]
    assert [rows.tolist() for rows in by_length(texts, 2)] == [[1, 2], [0]]


def test_ratios_are_those_of_counts() -> None:
    texts = [np.array([2, 2, 3]), np.array([2]), np.array([4])]
    found = log_count_ratios(texts, np.array([1, 1, 0]), 2, 5)
    # Counts plus one: class 1 has (3, 2, 1), class 0 has (1, 1, 2).
    expected = np.log(np.array([3, 2, 1]) / 6) - np.log(np.array([1, 1, 2]) / 4)
    np.testing.assert_allclose(found[2:, 0], expected)
    assert (found[:2] == 0).all()
    several = log_count_ratios(texts, np.array([0, 1, 2]), 3, 5)
    assert several.shape == (5, 3)
    assert several[4].argmax() == 2
