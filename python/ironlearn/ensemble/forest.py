"""Random forests."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from ironlearn import _core, _modelfile
from ironlearn._parameters import (
    BOOLEAN,
    CALLABLE,
    MAPPING,
    NONE,
    VERBOSE,
    integer,
    options,
    real,
)
from ironlearn._random import seed_from
from ironlearn.ensemble import _bootstrap, _steps
from ironlearn.exceptions import ModelFileError
from ironlearn.tree import DecisionTreeClassifier, _pruning, _settings
from ironlearn.tree._base import TreeClassifier


class RandomForestClassifier(TreeClassifier):
    """A forest of exact trees on bootstrap samples (Breiman, "Random Forests", 2001).

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    criterion : {"gini", "entropy", "log_loss"}, default="gini"
        Impurity that a split lowers.
    max_depth : int, default=None
        Greatest depth; ``None`` grows until leaves are pure or too small.
    min_samples_split : int or float, default=2
        Rows that a node needs to be split; a float is a fraction of all rows.
    min_samples_leaf : int or float, default=1
        Rows that each child keeps at least.
    min_weight_fraction_leaf : float, default=0.0
        Fraction of the total weight that each child keeps at least.
    max_features : int, float, {"sqrt", "log2"} or None, default="sqrt"
        Features drawn for each split.
    max_leaf_nodes : int, default=None
        Grow best-first up to this number of leaves.
    min_impurity_decrease : float, default=0.0
        Weighted decrease of impurity that a split needs.
    bootstrap : bool, default=True
        Draw rows with replacement for each tree; otherwise each tree sees all rows.
    oob_score : bool or callable, default=False
        Score each row by the trees that did not see it: by accuracy or by
        ``oob_score(y_true, y_pred)``.
    n_jobs : int, default=None
        Threads; ``None`` uses every processor this process may use. Results do not depend
        on it.
    random_state : int, RandomState instance or None, default=None
        Key of all random numbers; tree i depends on it and on i alone.
    verbose : int, default=0
        Print how many trees are grown: about twenty lines for 1, one a tree for more.
    warm_start : bool, default=False
        Keep the fitted trees and grow only further ones.
    class_weight : dict, "balanced", "balanced_subsample" or None, default=None
        Weights of the classes; "balanced_subsample" weighs each bootstrap sample anew.
    ccp_alpha : float, default=0.0
        Strength of minimal cost-complexity pruning of each tree.
    max_samples : int or float, default=None
        Rows drawn for each tree; ``None`` draws as many as there are, a float that share of
        the total weight.
    monotonic_cst : array-like of int of shape (n_features,), default=None
        1, -1 or 0 for each feature; two classes only.
    voting : {"soft", "hard"}, default="soft"
        Mean of the trees' probabilities, or the share of trees that vote for a class.
    categorical_features : array-like or "from_dtype", default=None
        Columns (mask, indices or names) whose values are categories.
    max_bins : int, default=None
        Sort values into this many bins first: faster on continuous data, not exact.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    n_classes_, n_outputs_ : int
        Number of classes and of targets (1).
    estimator_ : DecisionTreeClassifier
        An unfitted tree, as those of the forest were made.
    estimators_ : list of DecisionTreeClassifier
        The trees; they predict class codes, as scikit-learn's do.
    estimators_samples_ : list of ndarray
        The rows that each tree drew, repeated as often as they were drawn. Made anew at each
        access.
    feature_importances_ : ndarray of shape (n_features,)
        Mean normalised decrease of impurity by each feature.
    oob_score_ : float
        The out-of-bag score, where it was asked for.
    oob_decision_function_ : ndarray of shape (n_samples, n_classes)
        Out-of-bag class probabilities; zeros where every tree saw the row.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ironlearn.ensemble import RandomForestClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> forest = RandomForestClassifier(n_estimators=20, random_state=0).fit(X, y)
    >>> forest.predict(X[:2]).tolist(), len(forest.estimators_)
    ([0, 0], 20)
    """

    _parameters = {
        **_settings.TABLE,
        "n_estimators": (integer(1),),
        "bootstrap": (BOOLEAN,),
        "oob_score": (BOOLEAN, CALLABLE),
        "verbose": (VERBOSE,),
        "warm_start": (BOOLEAN,),
        "class_weight": (MAPPING, options("balanced", "balanced_subsample"), NONE),
        "max_samples": (integer(1), real(0.0, closed="neither"), NONE),
        "voting": (options("soft", "hard"),),
    }

    oob_score_: float
    oob_decision_function_: NDArray[np.float64]
    _n_samples: int
    #: Rows that each tree drew, 0 without bootstrap, and their weights.
    _n_draws: int
    _draw_weights: NDArray[np.float64] | None

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        criterion: str = "gini",
        max_depth: int | None = None,
        min_samples_split: float = 2,
        min_samples_leaf: float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: float | str | None = "sqrt",
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        bootstrap: bool = True,
        oob_score: bool | Callable[[Any, Any], float] = False,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        warm_start: bool = False,
        class_weight: dict[Any, float] | str | None = None,
        ccp_alpha: float = 0.0,
        max_samples: float | None = None,
        monotonic_cst: ArrayLike | None = None,
        voting: str = "soft",
        categorical_features: ArrayLike | str | None = None,
        max_bins: int | None = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.criterion = criterion
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.bootstrap = bootstrap
        self.oob_score = oob_score
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start
        self.class_weight = class_weight
        self.ccp_alpha = ccp_alpha
        self.max_samples = max_samples
        self.monotonic_cst = monotonic_cst
        self.voting = voting
        self.categorical_features = categorical_features
        self.max_bins = max_bins

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Grow the forest.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Numbers; NaN is a missing value. Sparse X is made dense.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.

        Returns
        -------
        self : RandomForestClassifier
            The fitted forest.
        """
        self._validate_parameters()
        if not self.bootstrap and (self.oob_score or self.max_samples is not None):
            name = "oob_score" if self.oob_score else "max_samples"
            raise ValueError(f"`{name}` is only available if bootstrap=True, got bootstrap=False.")
        kept = self._kept_model()
        before = self.classes_ if kept is not None else None
        first = 0 if kept is None else kept.n_trees
        X = self._fit_input(X, reset=kept is None)
        codes, weights, total = self._fit_targets(X, y, sample_weight, None)
        if before is not None and not np.array_equal(before, self.classes_):
            given, self.classes_ = self.classes_, before
            raise ValueError(
                f"warm_start=True: y has the classes {given}, the fitted forest {before}."
            )
        if isinstance(self.class_weight, str) and self.warm_start:
            warnings.warn(
                f"class_weight={self.class_weight!r} with warm_start=True weighs the classes of "
                "each fit anew: pass a dict of weights of all the data's classes instead.",
                UserWarning,
                stacklevel=2,
            )
        # Native code weighs the classes of each bootstrap sample.
        subsample = self.class_weight == "balanced_subsample" and bool(self.bootstrap)
        if self.class_weight is not None and not subsample:
            weights = _bootstrap.class_weighted(self.class_weight, y, codes, weights)
        if first < self.n_estimators or self._n_samples != len(X):
            for name in ("oob_score_", "oob_decision_function_"):
                self.__dict__.pop(name, None)
        self._n_samples = len(X)
        self._n_draws = 0
        self._draw_weights = weights if self.bootstrap else None
        if weights is not None:
            total = float(weights.sum())
        if self.bootstrap:
            self._n_draws = _bootstrap.n_draws(self.max_samples, len(X), weights)
            # A tree's rows weigh as often as they were drawn.
            total = float(self._n_draws)
        settings = _settings.resolve(self, X.shape[0], X.shape[1], len(self.classes_), total)
        if kept is None:
            self._seed = seed_from(self.random_state)
        votes = None
        if first == self.n_estimators:
            warnings.warn(
                "Warm-start fitting without increasing n_estimators does not fit new trees.",
                stacklevel=2,
            )
        else:
            model, votes = self._grow(X, codes, weights, first, settings)
            if kept is not None:
                model = _core.ForestModel.concat([kept, model])
            self._set_model(model)
        if self.oob_score and (votes is not None or not hasattr(self, "oob_score_")):
            if first > 0:
                kept_votes = self._votes(self._model, X, range(first))
                votes = kept_votes if votes is None else kept_votes + votes
            assert votes is not None
            self._set_oob(votes, np.asarray(y).ravel())
        return self

    def _grow(
        self,
        X: NDArray[np.float32],
        codes: NDArray[np.uint32],
        weights: NDArray[np.float64] | None,
        first: int,
        settings: dict[str, Any],
    ) -> tuple[_core.ForestModel, _steps.Votes]:
        """Grow the trees from number `first` on, and let them vote out of the bag."""

        def some(done: int, count: int) -> tuple[_core.ForestModel, _steps.Votes]:
            return _core.forest_fit(
                X,
                codes,
                weights,
                n_classes=len(self.classes_),
                splitter="best",
                categorical=self._mask,
                seed=self._seed,
                n_trees=count,
                first_tree=first + done,
                bootstrap=bool(self.bootstrap),
                n_draws=self._n_draws,
                balanced_subsample=bool(
                    self.class_weight == "balanced_subsample" and self.bootstrap
                ),
                oob=bool(self.oob_score),
                n_threads=self._n_threads(),
                **settings,
            )

        model, votes = _steps.grow(some, self.n_estimators - first, self.verbose)
        if self.ccp_alpha == 0:
            return model, votes
        alpha = float(self.ccp_alpha)
        pruned = [_pruning.prune(model.tree(i), alpha) for i in range(model.n_trees)]
        model = _core.ForestModel.concat(pruned)
        # The pruned trees vote, not the full ones.
        numbers = range(first, self.n_estimators)
        return model, None if votes is None else self._votes(model, X, numbers)

    def _kept_model(self) -> _core.ForestModel | None:
        if not self.warm_start or not hasattr(self, "_model"):
            return None
        if self.n_estimators < self._model.n_trees:
            raise ValueError(
                f"n_estimators={self.n_estimators} must be larger or equal to "
                f"len(estimators_)={self._model.n_trees} when warm_start==True"
            )
        return self._model

    def _votes(
        self, model: _core.ForestModel, X: NDArray[np.float32], numbers: range
    ) -> NDArray[np.float64]:
        drawn = (self._drawn(number) for number in numbers)
        return _bootstrap.out_of_bag_votes(model, X, drawn, self._n_threads())

    def _set_oob(self, votes: NDArray[np.float64], y: NDArray[Any]) -> None:
        total = votes.sum(axis=1)
        if (total == 0).any():
            warnings.warn(
                "Some inputs do not have OOB scores. This probably means too few trees were "
                "used to compute any reliable OOB estimates.",
                UserWarning,
                stacklevel=3,
            )
        self.oob_decision_function_ = votes / np.where(total == 0, 1.0, total)[:, None]
        predicted = self.classes_[self.oob_decision_function_.argmax(axis=1)]
        score = self.oob_score if callable(self.oob_score) else accuracy_score
        self.oob_score_ = float(score(y, predicted))

    def _drawn(self, tree: int) -> NDArray[np.int32]:
        if self._n_draws == 0:
            return np.arange(self._n_samples, dtype=np.int32)
        return _bootstrap.drawn_rows(
            self._seed, tree, self._n_samples, self._n_draws, self._draw_weights
        )

    @property
    def estimators_samples_(self) -> list[NDArray[np.int32]]:
        """The rows that each tree drew, made anew at each access."""
        check_is_fitted(self)
        return [self._drawn(tree) for tree in range(self._model.n_trees)]

    def _set_model(self, model: _core.ForestModel) -> None:
        super()._set_model(model)
        self.__dict__.pop("_trees", None)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_trees", None)
        return state

    @property
    def estimators_(self) -> list[DecisionTreeClassifier]:
        """The trees; they predict class codes, as scikit-learn's do."""
        if "_model" not in self.__dict__:
            raise AttributeError("estimators_ is set by fit")
        if "_trees" not in self.__dict__:
            self._trees = [self._tree(i) for i in range(self._model.n_trees)]
        return self._trees

    @property
    def estimator_(self) -> DecisionTreeClassifier:
        """An unfitted tree, as those of the forest were made."""
        check_is_fitted(self)
        shared = DecisionTreeClassifier._get_param_names()
        parameters = {k: v for k, v in self.get_params(deep=False).items() if k in shared}
        # Class weights are in the rows' weights already.
        parameters["class_weight"] = None
        return DecisionTreeClassifier(**parameters)

    def _tree(self, index: int) -> DecisionTreeClassifier:
        tree = self.estimator_
        tree.n_features_in_ = self.n_features_in_
        tree.classes_ = np.arange(self.n_classes_, dtype=np.float64)
        tree.max_features_ = _settings.drawn_features(self.max_features, self.n_features_in_)
        tree._categories = self._categories
        tree._set_model(self._model.tree(index))
        return tree

    def __len__(self) -> int:
        """Return the number of trees."""
        return self._model.n_trees

    def __getitem__(self, index: int) -> DecisionTreeClassifier:
        """Return one tree."""
        return self.estimators_[index]

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class with most votes for each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Class labels; of classes with equal votes the first.
        """
        X = self._predict_input(X)
        codes = self._model.predict_codes(X, voting=self.voting, n_threads=self._n_threads())
        return self.classes_[codes]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return each class's share of the votes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Rows add up to one.
        """
        X = self._predict_input(X)
        return self._model.predict_proba(X, voting=self.voting, n_threads=self._n_threads())

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Minus infinity where a class has no votes.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def apply(self, X: Any) -> NDArray[np.int64]:
        """Return the leaf of each row in each tree.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_estimators)
            Indices of nodes within their trees.
        """
        return self._model.apply(self._predict_input(X), n_threads=self._n_threads())

    def decision_path(self, X: Any) -> tuple[Any, NDArray[np.int64]]:
        """Return which nodes each row passes, and where each tree's nodes begin.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        indicator : CSR matrix of shape (n_samples, n_nodes)
            A one for each node that a row passes, the trees side by side.
        n_nodes_ptr : ndarray of shape (n_estimators + 1,)
            Columns of tree i are ``n_nodes_ptr[i]`` up to ``n_nodes_ptr[i + 1]``.
        """
        X = self._predict_input(X)
        parts = [tree.tree_.decision_path(X) for tree in self.estimators_]
        return sp.hstack(parts).tocsr(), np.cumsum([0, *(p.shape[1] for p in parts)])

    @property
    def feature_importances_(self) -> NDArray[np.float64]:
        """Mean normalised decrease of impurity by each feature."""
        check_is_fitted(self)
        mean = np.mean(
            [
                tree.tree_.compute_feature_importances()
                for tree in self.estimators_
                if tree.tree_.node_count > 1
            ]
            or [np.zeros(self.n_features_in_)],
            axis=0,
        )
        total = mean.sum()
        return mean / total if total > 0 else mean

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        attributes, tensors = super()._model_state()
        # As text: JSON numbers hold 53 bits in some readers, a seed has 64.
        attributes["seed"] = str(self._seed)
        attributes["n_samples"] = self._n_samples
        attributes["n_draws"] = self._n_draws
        if self._draw_weights is not None:
            tensors["draw_weights"] = self._draw_weights
        if hasattr(self, "oob_score_"):
            attributes["oob_score_"] = self.oob_score_
            tensors["oob_decision_function"] = self.oob_decision_function_
        return attributes, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        super()._restore_model(attributes, tensors)
        seed, rows, draws = (attributes[k] for k in ("seed", "n_samples", "n_draws"))
        if not (isinstance(seed, str) and seed.isdecimal() and int(seed) < 1 << 64):
            raise ModelFileError(f"the model file's seed is {seed!r}, not a 64-bit integer.")
        for name, value, low in (("n_samples", rows, 1), ("n_draws", draws, 0)):
            if type(value) is not int or not low <= value < 1 << 32:
                raise ModelFileError(f"the model file's {name} is {value!r}.")
        self._seed, self._n_samples, self._n_draws = int(seed), rows, draws
        self._draw_weights = tensors.get("draw_weights")
        if self._draw_weights is not None:
            _modelfile.check_floats("draw_weights", self._draw_weights, (rows,))
            if not self._draw_weights.any() or self._draw_weights.min() < 0:
                raise ModelFileError("the model file's draw_weights are negative or all zero.")
        if "oob_score_" in attributes:
            self.oob_score_ = float(attributes["oob_score_"])
            self.oob_decision_function_ = tensors["oob_decision_function"]
            _modelfile.check_floats(
                "oob_decision_function", self.oob_decision_function_, (rows, self.n_classes_)
            )
