"""What classifiers of raw texts share: words, training, probabilities, files."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ironlearn import _modelfile
from ironlearn._parameters import BOOLEAN, NONE, Table, fraction, integer
from ironlearn.neural_network._estimator import (
    CLASS_WEIGHT,
    DROPOUT,
    TRAINING,
    NeuralClassifier,
)
from ironlearn.nn.layers.base import Layer
from ironlearn.text._batches import TextData
from ironlearn.text._encoder import Encoder, check_words, outputs, probabilities
from ironlearn.text._tokens import as_texts
from ironlearn.text._vocabulary import Ids

#: Rows of the parameter table for what all text classifiers share beside training.
WORDS: Table = {
    "lowercase": (BOOLEAN,),
    "punctuation": (BOOLEAN,),
    "min_df": (integer(1), fraction()),
    "max_features": (integer(1), NONE),
    "max_length": (integer(1),),
    "word_dropout": DROPOUT,
    "class_weight": CLASS_WEIGHT,
}


class TextClassifier(NeuralClassifier):
    """Base of classifiers that take strings.

    A subclass has the parameters of `TRAINING` and `WORDS`, and says in `_network` what reads the
    numbers of words.
    """

    _parameters: ClassVar[Table] = {**TRAINING, **WORDS}

    _encoder: Encoder

    lowercase: bool
    punctuation: bool
    min_df: int | float
    max_features: int | None
    max_length: int
    word_dropout: float

    @abstractmethod
    def _network(self, n_words: int, n_outputs: int) -> Layer:
        """Return the network, not built, for that many words and logits."""

    def _prepare(
        self,
        network: Layer,
        texts: list[Ids],
        codes: NDArray[np.int64],
        weights: NDArray[np.float64] | None,
    ) -> None:
        """Change the initial parameters of a new network by what the training texts tell."""

    def fit(
        self, X: Any, y: Any, *, sample_weight: Any = None, validation_data: Any = None
    ) -> Self:
        """Learn words and network from texts.

        Parameters
        ----------
        X : sequence of str, shape (n_samples,)
            The texts.
        y : array-like of shape (n_samples,)
            Labels: strings, numbers or booleans.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each text counts.
        validation_data : (X, y), default=None
            Watched instead of texts held back. Their words do not enter the vocabulary.

        Returns
        -------
        Self
            The fitted estimator.

        Raises
        ------
        TypeError
            X is no list of strings.
        ValueError
            X and y do not fit each other, y has one class only, or no word is frequent enough.
        """
        self._validate_parameters()
        texts = as_texts(X)
        again = bool(self.warm_start) and hasattr(self, "_model")
        codes = self._codes(y, again=again)
        if len(codes) != len(texts):
            raise ValueError(f"X holds {len(texts)} texts, but y {len(codes)} labels.")
        weights = self._class_weights(codes, sample_weight)
        seed = self._seed()
        held_texts: list[str] = []
        held_codes = codes[:0]
        if validation_data is not None:
            held_texts, held_codes = self._validation(validation_data)
        elif self.early_stopping:
            rows, held = self._held_out(len(texts), seed, codes)
            held_texts, held_codes = [texts[i] for i in held], codes[held]
            texts, codes = [texts[i] for i in rows], codes[rows]
            weights = None if weights is None else weights[rows]
        if again:
            encoded = self._encoder(texts)
        else:
            self._encoder, encoded = self._learn_words(texts)
        binary = len(self.classes_) == 2
        n_words = len(self._encoder.vocabulary)
        n_outputs = 1 if binary else len(self.classes_)
        network = self._start(lambda: self._network(n_words, n_outputs), (None,), seed, again=again)
        if not again:
            self._prepare(network, encoded, codes, weights)
        validation = None
        if held_texts:
            validation = TextData(
                self._encoder(held_texts), self._targets(held_codes), batch_size=256, shuffle=False
            )
        data = TextData(
            encoded,
            self._targets(codes),
            weights,
            batch_size=min(self.batch_size, len(encoded)),
            word_dropout=self.word_dropout,
        )
        self._train(
            network,
            "binary_cross_entropy" if binary else "cross_entropy",
            data,
            seed=seed,
            validation=validation,
            again=again,
        )
        self.n_features_in_ = 1
        return self

    def _targets(self, codes: NDArray[np.int64]) -> NDArray[Any]:
        return codes.astype(np.float32) if len(self.classes_) == 2 else codes

    def _validation(self, data: Any) -> tuple[list[str], NDArray[np.int64]]:
        if not isinstance(data, tuple | list) or len(data) != 2:
            raise ValueError("validation_data must be a pair (X, y) of texts and labels.")
        texts, codes = as_texts(data[0], "validation_data[0]"), self._known_codes(data[1])
        if len(texts) != len(codes):
            raise ValueError(f"validation_data holds {len(texts)} texts, but {len(codes)} labels.")
        return texts, codes

    def _learn_words(self, texts: list[str]) -> tuple[Encoder, list[Ids]]:
        encoder, encoded = Encoder.learn(
            texts,
            lowercase=self.lowercase,
            punctuation=self.punctuation,
            max_length=int(self.max_length),
            min_df=self.min_df,
            max_features=self.max_features,
        )
        if not encoder.vocabulary.words:
            raise ValueError(
                f"no word is in as many of the {len(texts)} texts as min_df={self.min_df} asks: "
                "lower min_df, or pass texts that hold words."
            )
        return encoder, encoded

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class for each text.

        Parameters
        ----------
        X : sequence of str, shape (n_samples,)
            The texts. Unknown words count as one and the same unknown word; a text without any
            word is read as a single unknown one.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        check_is_fitted(self)
        encoded = self._encoder(as_texts(X))
        return probabilities(outputs(self._model, encoded, self.device))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each text.

        Parameters
        ----------
        X : sequence of str, shape (n_samples,)
            The texts.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        chosen = self.predict_proba(X).argmax(axis=1)
        return self.classes_[chosen]

    @property
    def vocabulary_(self) -> dict[str, int]:
        """The known words and their numbers."""
        check_is_fitted(self)
        return dict(self._encoder.vocabulary._numbers)

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        attributes, tensors = super()._model_state()
        attributes["encoder"] = self._encoder.pack(tensors)
        self._pack_classes(attributes, tensors)
        return attributes, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        own = {k: v for k, v in tensors.items() if not k.startswith(("vocabulary", "classes_"))}
        super()._restore_model(attributes, own)
        self._encoder = Encoder.unpack(attributes["encoder"], tensors)
        n_outputs = self._model.output_shape((1,))[-1]
        self._unpack_classes(attributes, tensors, 2 if n_outputs == 1 else n_outputs or 0)
        check_words(self._model, self._encoder)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        return tags
