"""A decision tree for classification."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.metadata_routing import UNUSED

from ironlearn import _core
from ironlearn._parameters import options
from ironlearn._random import seed_from
from ironlearn.tree import _settings
from ironlearn.tree._base import TreeClassifier
from ironlearn.tree._single import SingleTree


class DecisionTreeClassifier(SingleTree, TreeClassifier):
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
    class_weight : dict, list of dict, "balanced" or None, default=None
        Weights of the classes; "balanced" makes them inverse to their frequencies. A list has
        one dict an output; a row weighs the product over its outputs.
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
    classes_ : ndarray of shape (n_classes,), or a list of them
        The class labels; with several outputs those of each.
    n_classes_ : int or ndarray of shape (n_outputs,)
        Number of classes.
    n_outputs_, max_features_ : int
        Number of outputs, and of features drawn for a split.
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
        class_weight: dict[Any, float] | list[dict[Any, float]] | str | None = None,
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

    # Nothing that a pipeline would pass on.
    __metadata_request__predict_proba = {"check_input": UNUSED}

    def fit(self, X: Any, y: Any, sample_weight: Any = None, check_input: bool = True) -> Self:
        """Grow the tree.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Numbers; NaN is a missing value. Sparse X is made dense.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels; with several columns all are learned by one tree.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.
        check_input : bool, default=True
            Kept for scikit-learn's callers; input is always checked.

        Returns
        -------
        self : DecisionTreeClassifier
            The fitted tree.
        """
        self._fit(X, y, sample_weight)
        return self

    def _grow(self, X: Any, y: Any, sample_weight: Any) -> _core.ForestModel:
        self._validate_parameters()
        X = self._fit_input(X)
        codes, weights, total = self._fit_targets(X, y, sample_weight, self.class_weight)
        n_classes = self._class_counts()
        settings = _settings.resolve(self, X.shape[0], X.shape[1], n_classes, total)
        self.max_features_ = settings["max_features"]
        return _core.tree_fit(
            X,
            codes,
            weights,
            n_classes=n_classes,
            splitter=self.splitter,
            categorical=self._mask,
            seed=seed_from(self.random_state),
            n_threads=self._n_threads(),
            **settings,
        )

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
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Class labels; of classes that are equally frequent the first.
        """
        X = self._predict_input(X)
        codes = self._model.predict_codes(X, voting="soft", n_threads=self._n_threads())
        return self._labels(codes)

    def predict_proba(self, X: Any, check_input: bool = True) -> Any:
        """Return the class fractions of each row's leaf.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        check_input : bool, default=True
            Kept for scikit-learn's callers; input is always checked.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or a list of them
            Rows add up to one. With several outputs there is one array an output.
        """
        X = self._predict_input(X)
        shares = self._model.predict_proba(X, voting="soft", n_threads=self._n_threads())
        return self._by_output(shares)

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or a list of them
            Minus infinity where a class is not in the leaf.
        """
        with np.errstate(divide="ignore"):
            proba = self.predict_proba(X)
            return [np.log(p) for p in proba] if isinstance(proba, list) else np.log(proba)
