"""A decision tree for regression."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ironlearn import _core
from ironlearn._parameters import options
from ironlearn._random import seed_from
from ironlearn.tree import _settings
from ironlearn.tree._base import TreeRegressor
from ironlearn.tree._single import SingleTree


class DecisionTreeRegressor(SingleTree, TreeRegressor):
    """A regression tree with exact best splits.

    Parameters
    ----------
    criterion : {"squared_error", "absolute_error", "poisson"}, default="squared_error"
        What a split lowers: the squared distance to the mean, the distance to the median, or
        half the Poisson deviance from the mean (targets are not negative). "friedman_mse" is
        an old name of "squared_error".
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
    ccp_alpha : float, default=0.0
        Strength of minimal cost-complexity pruning.
    monotonic_cst : array-like of int of shape (n_features,), default=None
        1, -1 or 0: the prediction must rise with the feature, fall, or is free. One output
        only.
    categorical_features : array-like or "from_dtype", default=None
        Columns (mask, indices or names) whose values are categories: numbers or strings,
        split by subsets. "from_dtype" takes a data frame's categorical columns. Values not
        seen in training are treated as missing.
    max_bins : int, default=None
        Sort values into this many bins first: not exact.
    n_jobs : int, default=None
        Threads; ``None`` uses every processor this process may use. Results do not depend
        on it.

    Attributes
    ----------
    n_outputs_, max_features_ : int
        Number of outputs, and of features drawn for a split.
    feature_importances_ : ndarray of shape (n_features,)
        Normalised total decrease of the criterion by each feature.
    tree_ : Tree
        The nodes, under scikit-learn's names.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    Notes
    -----
    X is taken as float32, y as float64. NaN is a missing value: each split sends missing values
    to the side that lowers the criterion more. Breiman, Friedman, Olshen and Stone,
    "Classification and Regression Trees", 1984.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from ironlearn.tree import DecisionTreeRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> tree = DecisionTreeRegressor(max_depth=2, random_state=0).fit(X, y)
    >>> tree.predict(X[:2]).round(1).tolist(), tree.get_n_leaves()
    ([225.9, 96.3], 4)
    """

    _parameters = {
        **_settings.TABLE,
        **_settings.REGRESSION,
        "splitter": (options("best", "random"),),
    }

    def __init__(
        self,
        *,
        criterion: str = "squared_error",
        splitter: str = "best",
        max_depth: int | None = None,
        min_samples_split: float = 2,
        min_samples_leaf: float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: float | str | None = None,
        random_state: int | np.random.RandomState | None = None,
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
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
        self.ccp_alpha = ccp_alpha
        self.monotonic_cst = monotonic_cst
        self.categorical_features = categorical_features
        self.max_bins = max_bins
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None, check_input: bool = True) -> Self:
        """Grow the tree.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Numbers; NaN is a missing value. Sparse X is made dense.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Numbers; with several columns all are learned by one tree.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.
        check_input : bool, default=True
            Kept for scikit-learn's callers; input is always checked.

        Returns
        -------
        self : DecisionTreeRegressor
            The fitted tree.
        """
        self._fit(X, y, sample_weight)
        return self

    def _grow(self, X: Any, y: Any, sample_weight: Any) -> _core.ForestModel:
        self._validate_parameters()
        X = self._fit_input(X)
        values, weights, total = self._fit_values(X, y, sample_weight)
        outputs = 1 if values.ndim == 1 else values.shape[1]
        settings = _settings.resolve(self, X.shape[0], X.shape[1], None, total, outputs)
        self.max_features_ = settings["max_features"]
        return _core.tree_fit(
            X,
            values,
            weights,
            n_classes=None,
            splitter=self.splitter,
            categorical=self._mask,
            seed=seed_from(self.random_state),
            n_threads=self._n_threads(),
            **settings,
        )

    def predict(self, X: Any, check_input: bool = True) -> NDArray[np.float64]:
        """Return the number of each row's leaf.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        check_input : bool, default=True
            Kept for scikit-learn's callers; input is always checked.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Means of the training targets in the leaf, medians with the absolute error.
        """
        return self._values(X)
