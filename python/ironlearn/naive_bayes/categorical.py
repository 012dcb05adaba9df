"""Categorical naive Bayes."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ironlearn import _core, _modelfile
from ironlearn._frames import columns_of, refuse_lazy, validate_data
from ironlearn._parameters import ARRAY_LIKE, BOOLEAN, N_JOBS, NONE, integer, real
from ironlearn._vocabulary import Vocabularies, as_rows, is_table, whole_numbers
from ironlearn.base import FLOATS
from ironlearn.naive_bayes._base import NaiveBayes

_CODES = (np.int64, np.uint8, np.uint16, np.int32)
_READY = frozenset(np.dtype(kind) for kind in _CODES)
_LEAST_ALPHA = 1e-10


class CategoricalNB(NaiveBayes):
    r"""Naive Bayes with a distribution over categories for each feature in each class.

    The probability of category :math:`i` of feature :math:`j` in class :math:`c` is
    :math:`(N_{jic} + \alpha) / (N_{jc} + \alpha n_j)`, with the weighted counts :math:`N`
    and the number of categories :math:`n_j`.

    Columns of integers (and of floats that are whole numbers) hold category codes 0, 1, 2,
    ..., as in scikit-learn. Beyond that, columns of strings, objects and pandas categoricals
    are accepted: each gets its own sorted vocabulary. A category that did not occur in
    training has a count of zero: its probability is :math:`\alpha / (N_{jc} + \alpha n_j)`,
    where scikit-learn raises ``IndexError``.

    Parameters
    ----------
    alpha : float, default=1.0
        Additive (Lidstone) smoothing; 0 is none.
    force_alpha : bool, default=True
        If false, an `alpha` below 1e-10 is raised to that, with a warning.
    fit_prior : bool, default=True
        Learn class priors; if false they are uniform.
    class_prior : array-like of shape (n_classes,), default=None
        Prior probabilities of the classes, taken as they are.
    min_categories : int or array-like of shape (n_features,), default=None
        Least number of categories of each feature.
    n_jobs : int, default=None
        Threads; ``None`` uses every processor this process may use. Results do not depend
        on it.

    Attributes
    ----------
    category_count_ : list of ndarray of shape (n_classes, n_categories)
        For each feature, the sum of weights of each class's rows in each category. Read-only.
    class_count_ : ndarray of shape (n_classes,)
        Sum of the weights of each class's rows.
    class_log_prior_ : ndarray of shape (n_classes,)
        Logarithm of each class's probability.
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    feature_log_prob_ : list of ndarray of shape (n_classes, n_categories)
        Logarithms of the smoothed probabilities of each feature's categories. Read-only.
    n_categories_ : ndarray of shape (n_features,)
        Number of categories of each feature.
    categories_ : list of (ndarray or None)
        The vocabulary of each column that has one; ``None`` where integers are codes.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    Notes
    -----
    Rows are counted in one pass. Missing values are refused. With ``alpha=0`` a category
    that a class never had makes that class impossible.

    The model is that of Manning, Raghavan and Schütze, "Introduction to Information
    Retrieval" (2008), chapter 13, with one variable a feature.

    Examples
    --------
    >>> import numpy as np
    >>> from ironlearn.naive_bayes import CategoricalNB
    >>> X = np.array([["red", "S"], ["red", "M"], ["blue", "L"], ["blue", "M"]], dtype=object)
    >>> y = np.array([0, 0, 1, 1])
    >>> model = CategoricalNB().fit(X, y)
    >>> model.predict(np.array([["blue", "S"], ["red", "XL"]], dtype=object))
    array([1, 0])
    >>> model.categories_[1]
    array(['L', 'M', 'S'], dtype=object)
    """

    category_count_: list[NDArray[np.float64]]
    class_count_: NDArray[np.float64]
    class_log_prior_: NDArray[np.float64]
    feature_log_prob_: list[NDArray[np.float64]]
    n_categories_: NDArray[np.int64]
    categories_: list[NDArray[Any] | None]
    _vocabularies: Vocabularies | None

    _dtypes: ClassVar[tuple[type, ...]] = _CODES
    _parameters = {
        "alpha": (real(0),),
        "force_alpha": (BOOLEAN,),
        "fit_prior": (BOOLEAN,),
        "class_prior": (ARRAY_LIKE, NONE),
        "min_categories": (ARRAY_LIKE, integer(1), NONE),
        "n_jobs": N_JOBS,
    }

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        force_alpha: bool = True,
        fit_prior: bool = True,
        class_prior: ArrayLike | None = None,
        min_categories: ArrayLike | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.alpha = alpha
        self.force_alpha = force_alpha
        self.fit_prior = fit_prior
        self.class_prior = class_prior
        self.min_categories = min_categories
        self.n_jobs = n_jobs

    def __sklearn_tags__(self) -> Any:
        # Not tags.input_tags.string: scikit-learn's check of it wants any object accepted.
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.positive_only = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to rows X of shape (n_samples, n_features) with labels y.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Category codes, strings, objects or pandas categoricals.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.

        Returns
        -------
        self : CategoricalNB
            The fitted estimator.

        Raises
        ------
        ValueError
            X holds missing or negative values, numbers that are not whole, or columns that
            mix strings and numbers.
        """
        return self._update(X, y, None, sample_weight, first=True, whole=True)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Add the counts of further rows; new categories and words are added.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Further rows.
        y : array-like of shape (n_samples,)
            Their labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that can occur; needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.

        Returns
        -------
        self : CategoricalNB
            The updated estimator.
        """
        first = not hasattr(self, "_model")
        return self._update(X, y, classes, sample_weight, first=first, whole=False)

    def _update(
        self, X: Any, y: Any, classes: Any, sample_weight: Any, *, first: bool, whole: bool
    ) -> Self:
        self._validate_parameters()
        self._require_y(y)
        known = None if first else self._vocabularies
        codes, vocabularies = self._learn_codes(X, known, reset=first)
        labels, y_codes, weights = self._check_targets(
            codes, y, classes, sample_weight, first=first, whole=whole
        )
        log_prior = self._checked_prior(len(labels))
        alpha = self._checked_alpha()
        with _negative_named():
            counts = _core.categorical_nb_counts(
                codes,
                y_codes,
                weights,
                n_classes=len(labels),
                min_categories=self._checked_min_categories(codes.shape[1]),
                n_threads=self._n_threads(),
            )
        if not first:
            old = self._model.arrays()[0]
            if known is not None and vocabularies is not None:
                old = _with_new_words(old, known, vocabularies)
            counts = _core.categorical_nb_merge(old, counts)
        if log_prior is None:
            with np.errstate(divide="ignore"):
                log_prior = np.log(counts[0]) - np.log(counts[0].sum())
        model = _core.CategoricalModel.from_arrays(counts, log_prior, alpha)
        self.classes_ = labels
        self._set_model(model, vocabularies)
        return self

    def _set_model(self, model: _core.CategoricalModel, vocabularies: Vocabularies | None) -> None:
        (count, categories, cells), log_prior, _ = model.arrays()
        self._model = model
        self._vocabularies = vocabularies
        self.class_count_ = count
        self.class_log_prior_ = log_prior
        self.n_categories_ = categories
        self.category_count_ = _matrices(cells, categories, len(count))
        self.feature_log_prob_ = _matrices(model.log_prob(), categories, len(count))
        self.categories_ = (
            [None] * len(categories) if vocabularies is None else list(vocabularies.values)
        )

    def _checked_alpha(self) -> float:
        alpha = float(self.alpha)
        if not np.isfinite(alpha):
            raise ValueError(f"The 'alpha' parameter must be finite, got {alpha}.")
        if alpha < _LEAST_ALPHA and not self.force_alpha:
            warnings.warn(
                f"alpha too small will result in numeric errors, setting alpha = {_LEAST_ALPHA:.1e}"
                ". Use `force_alpha=True` to keep alpha unchanged.",
                stacklevel=5,
            )
            return _LEAST_ALPHA
        return alpha

    def _checked_prior(self, k: int) -> NDArray[np.float64] | None:
        """Return the logarithms of given priors, or ``None`` where they are learned."""
        if self.class_prior is None:
            return None if self.fit_prior else np.full(k, -np.log(k))
        prior = np.array(self.class_prior, dtype=np.float64)
        if prior.shape != (k,):
            raise ValueError(
                f"Number of priors must match number of classes: got {prior.size} for {k}."
            )
        if not (prior >= 0).all() or np.isinf(prior).any():
            raise ValueError(f"class_prior must be finite and non-negative, got {prior}.")
        with np.errstate(divide="ignore"):
            return np.log(prior)

    def _checked_min_categories(self, d: int) -> NDArray[np.int64] | None:
        if self.min_categories is None:
            return None
        least = np.array(self.min_categories)
        if least.dtype.kind not in "iu":
            raise ValueError(
                f"'min_categories' should have integral type. Got {least.dtype} instead."
            )
        if least.shape not in ((), (d,)):
            raise ValueError(
                f"'min_categories' should have shape ({d},) when an array-like is provided. Got "
                f"{least.shape} instead."
            )
        return np.ascontiguousarray(np.broadcast_to(least, (d,)), dtype=np.int64)

    def _learn_codes(
        self, X: Any, known: Vocabularies | None, *, reset: bool
    ) -> tuple[NDArray[Any], Vocabularies | None]:
        """Return X as codes, and its vocabularies together with the known ones."""
        refuse_lazy(X)
        given, X = X, as_rows(X)
        if not is_table(X) and known is None:
            return self._numbers(X, given, reset=reset), None
        X = self._table(X, given, reset=reset)
        found, codes = Vocabularies.learn(X)
        if not reset:
            start = known or Vocabularies([None] * X.shape[1])
            found = start.joined(found)
            codes = found.encode(X)
        return codes, found if found.any else None

    def _fit_input(self, X: Any, *, reset: bool = True) -> NDArray[Any]:
        """Return X as codes by the vocabularies of the fitted model."""
        refuse_lazy(X)
        given, X = X, as_rows(X)
        known = self._vocabularies
        if known is None and not is_table(X):
            return self._numbers(X, given, reset=reset)
        X = self._table(X, given, reset=reset)
        return (known or Vocabularies([None] * X.shape[1])).encode(X)

    def _numbers(self, X: Any, given: Any, *, reset: bool) -> NDArray[Any]:
        kinds = {d.kind for d in X.dtypes} if hasattr(X, "iloc") else {X.dtype.kind}
        accepted = _CODES if kinds <= set("biu") else FLOATS
        X = validate_data(self, given, reset=reset, dtype=list(accepted), order="C")
        return whole_numbers(X) if X.dtype.kind == "f" else X

    def _table(self, X: Any, given: Any, *, reset: bool) -> Any:
        if X.ndim != 2:
            raise ValueError(f"Expected 2D array, got {X.ndim}D array instead.")
        for axis, what in enumerate(("sample", "feature")):
            if X.shape[axis] == 0:
                raise ValueError(
                    f"Found array with 0 {what}(s) (shape={X.shape}) while a minimum of 1 is "
                    f"required by {type(self).__name__}."
                )
        # What was given may have column names that the rows have not.
        named = X if columns_of(given) is None else given
        validate_data(self, named, reset=reset, skip_check_array=True)
        return X

    def _predict_input(self, X: Any) -> NDArray[Any]:
        if getattr(self, "_vocabularies", None) is None:
            return super()._predict_input(X)
        return self._fit_input(X, reset=False)

    @classmethod
    def _ready_dtypes(cls) -> frozenset[np.dtype[Any]]:
        return _READY

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likeliest class of each row of X (n_samples, n_features)."""
        with _negative_named():
            return super().predict(X)

    def predict_joint_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return ``log P(class) + log P(row | class)``, shape (n_samples, n_classes)."""
        with _negative_named():
            return super().predict_joint_log_proba(X)

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        (count, categories, cells), log_prior, alpha = self._model.arrays()
        tensors = {
            "class_count": count,
            "n_categories": categories,
            "category_count": cells,
            "log_prior": log_prior,
        }
        attributes: dict[str, Any] = {"alpha": alpha}
        if self._vocabularies is not None:
            attributes["vocabularies"] = self._vocabularies.pack(tensors)
        self._pack_classes(attributes, tensors)
        return attributes, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        counts = (tensors["class_count"], tensors["n_categories"], tensors["category_count"])
        model = _core.CategoricalModel.from_arrays(
            counts, tensors["log_prior"], float(attributes["alpha"])
        )
        if len(counts[1]) != self.n_features_in_:
            raise ValueError("n_categories and n_features_in_ do not fit together")
        self._unpack_classes(attributes, tensors, len(counts[0]))
        vocabularies = None
        if "vocabularies" in attributes:
            vocabularies = Vocabularies.unpack(
                attributes["vocabularies"], self.n_features_in_, tensors
            )
            for words, n in zip(vocabularies.values, counts[1], strict=True):
                if words is not None and len(words) > n:
                    raise ValueError("a vocabulary is larger than its number of categories")
        self._set_model(model, vocabularies)


class _negative_named:
    """Adds scikit-learn's words to the native error about a negative code."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ValueError) and "the negative code" in str(error):
            raise ValueError(
                f"Negative values in data passed to CategoricalNB (input X): {error}"
            ) from None


def _matrices(
    flat: NDArray[np.float64], categories: NDArray[np.int64], k: int
) -> list[NDArray[np.float64]]:
    """Return the matrix (n_classes, n_categories) of each feature: views of `flat`."""
    out = []
    start = 0
    for n in categories.tolist():
        out.append(flat[start : start + k * n].reshape(k, n))
        start += k * n
    return out


def _with_new_words(old: Any, known: Vocabularies, wider: Vocabularies) -> Any:
    """Return counts by the known vocabularies as counts by the wider ones."""
    count, categories, cells = old
    parts = []
    widths = categories.copy()
    for j, part in enumerate(_matrices(cells, categories, len(count))):
        before, after = known.values[j], wider.values[j]
        if before is None or after is None or len(before) == len(after):
            parts.append(part.ravel())
            continue
        places = np.searchsorted(after, before)
        widths[j] = max(widths[j], len(after))
        moved = np.zeros((len(count), int(widths[j])))
        moved[:, places] = part[:, : len(before)]
        parts.append(moved.ravel())
    return count, widths, np.concatenate(parts)
