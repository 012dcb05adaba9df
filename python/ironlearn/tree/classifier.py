"""A decision tree for classification."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch
from sklearn.utils.metadata_routing import UNUSED

from ironlearn import _core, _modelfile
from ironlearn._parameters import options
from ironlearn._random import seed_from
from ironlearn.exceptions import ModelFileError
from ironlearn.tree import _pruning, _settings
from ironlearn.tree._base import TreeClassifier
from ironlearn.tree._structure import Tree


class DecisionTreeClassifier(TreeClassifier):
    r"""A decision tree with exact best splits.

    Parameters
    ----------
    criterion : {"gini", "entropy", "log_loss"}, default="gini"
        Impurity that a split lowers; "entropy" and "log_loss" are the information gain.
    splitter : {"best", "random"}, default="best"
        The best threshold of each feature, or one drawn at random.
    max_depth : int, default=None
        Greatest depth; ``None`` grows until leaves are pure or too small.
    min_samples_split : int or float, default=2
        Rows that a node needs to be split; a float is a fraction of all rows.
    min_samples_leaf : int or float, default=1
        Rows that each child keeps at least.
    min_weight_fraction_leaf : float, default=0.0
        Fraction of the total weight that each child keeps at least.
    max_features : int, float, {"sqrt", "log2"}, default=None
        Features drawn for each split; ``None`` takes all.
    random_state : int, RandomState instance or None, default=None
        Decides between equally good splits, drawn features and random thresholds.
    max_leaf_nodes : int, default=None
        Grow best-first up to this number of leaves.
    min_impurity_decrease : float, default=0.0
        Weighted decrease of impurity that a split needs.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes; "balanced" makes them inverse to their frequencies.
    ccp_alpha : float, default=0.0
        Strength of minimal cost-complexity pruning.
    monotonic_cst : array-like of int of shape (n_features,), default=None
        1, -1 or 0: the probability of the second class must rise with the feature, fall, or
        is free. Two classes only.
    categorical_features : array-like or "from_dtype", default=None
        Columns (mask, indices or names) whose values are categories: numbers or strings,
        split by subsets. "from_dtype" takes a data frame's categorical columns. Values not
        seen in training are treated as missing.
    max_bins : int, default=None
        Sort values into this many bins first: faster on continuous data, not exact.
    n_jobs : int, default=None
        Threads; ``None`` uses every processor this process may use. Results do not depend
        on it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    n_classes_, n_outputs_, max_features_ : int
        Number of classes, of targets (1), and of features drawn for a split.
    feature_importances_ : ndarray of shape (n_features,)
        Normalised total decrease of impurity by each feature.
    tree_ : Tree
        The nodes, under scikit-learn's names.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    Notes
    -----
    X is taken as float32. NaN is a missing value: each split sends missing values to the
    side that lowers impurity more. Breiman, Friedman, Olshen and Stone, "Classification and
    Regression Trees", 1984.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ironlearn.tree import DecisionTreeClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X, y)
    >>> tree.predict(X[:2]).tolist(), tree.get_n_leaves()
    ([0, 0], 3)
    """

    _parameters = {
        **_settings.TABLE,
        "splitter": (options("best", "random"),),
        "class_weight": _settings.CLASS_WEIGHT,
    }

    def __init__(
        self,
        *,
        criterion: str = "gini",
        splitter: str = "best",
        max_depth: int | None = None,
        min_samples_split: float = 2,
        min_samples_leaf: float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: float | str | None = None,
        random_state: int | np.random.RandomState | None = None,
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        class_weight: dict[Any, float] | str | None = None,
        ccp_alpha: float = 0.0,
        monotonic_cst: ArrayLike | None = None,
        categorical_features: ArrayLike | str | None = None,
        max_bins: int | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.criterion = criterion
        self.splitter = splitter
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.random_state = random_state
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.class_weight = class_weight
        self.ccp_alpha = ccp_alpha
        self.monotonic_cst = monotonic_cst
        self.categorical_features = categorical_features
        self.max_bins = max_bins
        self.n_jobs = n_jobs

    # "check_input" is nothing that a pipeline would pass on.
    __metadata_request__fit = {"check_input": UNUSED}
    __metadata_request__predict = {"check_input": UNUSED}
    __metadata_request__predict_proba = {"check_input": UNUSED}

    def fit(self, X: Any, y: Any, sample_weight: Any = None, check_input: bool = True) -> Self:
        """Grow the tree.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Numbers; NaN is a missing value. Sparse X is made dense.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.
        check_input : bool, default=True
            Kept for scikit-learn's callers; input is always checked.

        Returns
        -------
        self : DecisionTreeClassifier
            The fitted tree.
        """
        model = self._grow(X, y, sample_weight)
        if self.ccp_alpha > 0:
            model = _pruning.prune(model, float(self.ccp_alpha))
        self._set_model(model)
        return self

    def _grow(self, X: Any, y: Any, sample_weight: Any) -> _core.ForestModel:
        self._validate_parameters()
        X = self._fit_input(X)
        codes, weights, total = self._fit_targets(X, y, sample_weight, self.class_weight)
        settings = _settings.resolve(self, X.shape[0], X.shape[1], len(self.classes_), total)
        self.max_features_ = settings["max_features"]
        return _core.tree_fit(
            X,
            codes,
            weights,
            n_classes=len(self.classes_),
            splitter=self.splitter,
            categorical=self._mask,
            seed=seed_from(self.random_state),
            n_threads=self._n_threads(),
            **settings,
        )

    def _set_model(self, model: _core.ForestModel) -> None:
        super()._set_model(model)
        self.__dict__.pop("tree_", None)

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        attributes, tensors = super()._model_state()
        attributes["max_features_"] = int(self.max_features_)
        return attributes, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        super()._restore_model(attributes, tensors)
        drawn = attributes["max_features_"]
        if type(drawn) is not int or not 1 <= drawn <= self.n_features_in_:
            raise ModelFileError(f"the model file's max_features_ is {drawn!r}.")
        if self._model.n_trees != 1:
            raise ModelFileError(f"the model file holds {self._model.n_trees} trees, not one.")
        self.max_features_ = drawn

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("tree_", None)
        return state

    @cached_property
    def tree_(self) -> Tree:
        """The nodes, under scikit-learn's names."""
        if "_model" not in self.__dict__:
            raise AttributeError("tree_ is set by fit")
        return Tree(self._model)

    def predict(self, X: Any, check_input: bool = True) -> NDArray[Any]:
        """Return the most frequent class of each row's leaf.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        check_input : bool, default=True
            Kept for scikit-learn's callers; input is always checked.

        Returns
        -------
        ndarray of shape (n_samples,)
            Class labels; of classes that are equally frequent the first.
        """
        X = self._predict_input(X)
        codes = self._model.predict_codes(X, voting="soft", n_threads=self._n_threads())
        return self.classes_[codes]

    def predict_proba(self, X: Any, check_input: bool = True) -> NDArray[np.float64]:
        """Return the class fractions of each row's leaf.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        check_input : bool, default=True
            Kept for scikit-learn's callers; input is always checked.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Rows add up to one.
        """
        X = self._predict_input(X)
        return self._model.predict_proba(X, voting="soft", n_threads=self._n_threads())

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Minus infinity where a class is not in the leaf.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def apply(self, X: Any, check_input: bool = True) -> NDArray[np.int64]:
        """Return each row's leaf.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        check_input : bool, default=True
            Kept for scikit-learn's callers; input is always checked.

        Returns
        -------
        ndarray of shape (n_samples,)
            Indices of nodes in `tree_`.
        """
        return self._model.apply(self._predict_input(X), n_threads=self._n_threads())[:, 0]

    def decision_path(self, X: Any, check_input: bool = True) -> Any:
        """Return which nodes each row passes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        check_input : bool, default=True
            Kept for scikit-learn's callers; input is always checked.

        Returns
        -------
        CSR matrix of shape (n_samples, node_count)
            A one for each node that a row passes.
        """
        return self.tree_.decision_path(self._predict_input(X))

    def get_depth(self) -> int:
        """Return the length of the longest path from the root to a leaf."""
        self._check_fitted()
        return self.tree_.max_depth

    def get_n_leaves(self) -> int:
        """Return the number of leaves."""
        self._check_fitted()
        return self.tree_.n_leaves

    def _check_fitted(self) -> None:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)

    @property
    def feature_importances_(self) -> NDArray[np.float64]:
        """Normalised total decrease of impurity by each feature."""
        self._check_fitted()
        return self.tree_.compute_feature_importances()

    def cost_complexity_pruning_path(self, X: Any, y: Any, sample_weight: Any = None) -> Bunch:
        """Return the alphas at which a full tree is pruned, and the impurities of its leaves.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        path : Bunch
            With ``ccp_alphas`` and ``impurities``.
        """
        from sklearn.base import clone

        alphas, impurities = _pruning.path(clone(self)._grow(X, y, sample_weight))
        return Bunch(ccp_alphas=alphas, impurities=impurities)
