"""What all forests share: growing trees, warm starts, out-of-bag answers, single trees, files."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ironlearn import _core, _modelfile
from ironlearn._parameters import BOOLEAN, CALLABLE, NONE, VERBOSE, Table, integer, real
from ironlearn._random import seed_from
from ironlearn.ensemble import _bootstrap, _steps
from ironlearn.exceptions import ModelFileError
from ironlearn.tree import _pruning, _settings
from ironlearn.tree._base import TreeEstimator

#: Parameters of the ensemble, beside those of its trees.
TABLE: Table = {
    "n_estimators": (integer(1),),
    "bootstrap": (BOOLEAN,),
    "oob_score": (BOOLEAN, CALLABLE),
    "verbose": (VERBOSE,),
    "warm_start": (BOOLEAN,),
    "max_samples": (integer(1), real(0.0, closed="neither"), NONE),
}


class Forest(TreeEstimator):
    """Base of forests, whatever they predict and however their trees find thresholds."""

    _multi_output = True
    #: The class of `estimators_`.
    _tree_type: ClassVar[type[Any]]
    #: How thresholds are found: "best" or "random".
    _splitter: ClassVar[str] = "best"

    n_estimators: int
    bootstrap: bool
    oob_score: bool | Callable[[Any, Any], float]
    random_state: Any
    verbose: int
    warm_start: bool
    ccp_alpha: float
    max_samples: Any
    max_features: Any

    oob_score_: float
    _seed: int
    _n_samples: int
    #: Rows that each tree drew, 0 without bootstrap, and their weights.
    _n_draws: int
    _draw_weights: NDArray[np.float64] | None

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Grow the forest.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Numbers; NaN is a missing value. Sparse X is made dense.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets; with several columns each tree learns all of them.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.

        Returns
        -------
        self : estimator
            The fitted forest.
        """
        self._validate_parameters()
        if not self.bootstrap and (self.oob_score or self.max_samples is not None):
            name = "oob_score" if self.oob_score else "max_samples"
            raise ValueError(f"`{name}` is only available if bootstrap=True, got bootstrap=False.")
        kept = self._kept_model()
        first = 0 if kept is None else kept.n_trees
        X = self._fit_input(X, reset=kept is None)
        targets, weights = self._learn_targets(X, y, sample_weight, kept is not None)
        if first < self.n_estimators or self._n_samples != len(X):
            for name in ("oob_score_", self._oob_name):
                self.__dict__.pop(name, None)
        self._n_samples = len(X)
        self._n_draws = 0
        self._draw_weights = weights if self.bootstrap else None
        total = float(len(X)) if weights is None else float(weights.sum())
        if self.bootstrap:
            self._n_draws = _bootstrap.n_draws(self.max_samples, len(X), weights)
            # A tree's rows weigh as often as they were drawn.
            total = float(self._n_draws)
        settings = self._native_settings(X, total)
        if kept is None:
            self._seed = seed_from(self.random_state)
        votes = None
        if first == self.n_estimators:
            warnings.warn(
                "Warm-start fitting without increasing n_estimators does not fit new trees.",
                stacklevel=3,
            )
        else:
            model, votes = self._grow(X, targets, weights, first, settings)
            if kept is not None:
                model = _core.ForestModel.concat([kept, model])
            self._set_model(model)
        if self.oob_score and (votes is not None or not hasattr(self, "oob_score_")):
            if first > 0:
                votes = _steps.add(self._votes(self._model, X, range(first)), votes)
            assert votes is not None
            answers, voters = votes
            if (voters == 0).any():
                warnings.warn(
                    "Some inputs do not have OOB scores. This probably means too few trees were "
                    "used to compute any reliable OOB estimates.",
                    UserWarning,
                    stacklevel=3,
                )
            self._set_oob(answers / np.maximum(voters, 1)[:, None], targets, y)
        return self

    @property
    @abstractmethod
    def _oob_name(self) -> str:
        """The attribute that holds the out-of-bag answers."""

    @abstractmethod
    def _learn_targets(
        self, X: NDArray[np.float32], y: Any, sample_weight: Any, warm: bool
    ) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        """Return y as native code takes it, and the rows' weights; refuse what does not fit."""

    @abstractmethod
    def _native_settings(self, X: NDArray[np.float32], total: float) -> dict[str, Any]:
        """Return the settings of the native function for rows of this total weight."""

    @abstractmethod
    def _set_oob(self, means: NDArray[np.float64], targets: NDArray[Any], y: Any) -> None:
        """Set the out-of-bag attributes from the means of the trees' answers.

        A row that every tree saw has zeros. `targets` are what `_learn_targets` made of y.
        """

    @abstractmethod
    def _dress(self, tree: Any) -> None:
        """Give a tree taken out of the forest the attributes that depend on the targets."""

    def _grow(
        self,
        X: NDArray[np.float32],
        targets: NDArray[Any],
        weights: NDArray[np.float64] | None,
        first: int,
        settings: dict[str, Any],
    ) -> tuple[_core.ForestModel, _steps.Votes | None]:
        """Grow the trees from number `first` on, and let them vote out of the bag."""

        def some(done: int, count: int) -> tuple[_core.ForestModel, _steps.Votes | None]:
            return _core.forest_fit(
                X,
                targets,
                weights,
                splitter=self._splitter,
                categorical=self._mask,
                seed=self._seed,
                n_trees=count,
                first_tree=first + done,
                bootstrap=bool(self.bootstrap),
                n_draws=self._n_draws,
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
    ) -> _steps.Votes:
        drawn = (self._drawn(number) for number in numbers)
        return _bootstrap.out_of_bag_votes(model, X, drawn, self._n_threads())

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
    def estimators_(self) -> list[Any]:
        """The trees; those of a classifier predict class codes, as scikit-learn's do."""
        if "_model" not in self.__dict__:
            raise AttributeError("estimators_ is set by fit")
        if "_trees" not in self.__dict__:
            self._trees = [self._tree(i) for i in range(self._model.n_trees)]
        return self._trees

    @property
    def estimator_(self) -> Any:
        """An unfitted tree, as those of the forest were made."""
        check_is_fitted(self)
        shared = self._tree_type._get_param_names()
        parameters = {k: v for k, v in self.get_params(deep=False).items() if k in shared}
        parameters["splitter"] = self._splitter
        if "class_weight" in parameters:
            # Class weights are in the rows' weights already.
            parameters["class_weight"] = None
        return self._tree_type(**parameters)

    def _tree(self, index: int) -> Any:
        tree = self.estimator_
        tree.n_features_in_ = self.n_features_in_
        tree.max_features_ = _settings.drawn_features(self.max_features, self.n_features_in_)
        tree._categories = self._categories
        self._dress(tree)
        tree._set_model(self._model.tree(index))
        return tree

    def __len__(self) -> int:
        """Return the number of trees."""
        return self._model.n_trees

    def __getitem__(self, index: int) -> Any:
        """Return one tree."""
        return self.estimators_[index]

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
            tensors[self._oob_name.rstrip("_")] = getattr(self, self._oob_name)
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
            name = self._oob_name.rstrip("_")
            _modelfile.check_floats(name, tensors[name], self._oob_shape(rows))
            setattr(self, self._oob_name, tensors[name])

    @abstractmethod
    def _oob_shape(self, rows: int) -> tuple[int, ...]:
        """The shape of the out-of-bag answers for so many rows."""
