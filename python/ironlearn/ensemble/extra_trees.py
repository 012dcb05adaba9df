"""Extremely randomized trees (Geurts, Ernst and Wehenkel, 2006)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ironlearn.ensemble._classifier import ForestClassifier
from ironlearn.ensemble._regressor import ForestRegressor


class ExtraTreesClassifier(ForestClassifier):
    """A forest of trees whose thresholds are drawn at random.

    At each node some features are drawn, for each of them one threshold, uniform between its
    smallest and its largest value in the node, and the best of these splits is made (Geurts,
    Ernst and Wehenkel, "Extremely randomized trees", Machine Learning 63, 2006).

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
        Features drawn for each split, constant ones included; more are drawn while all of
        them are constant.
    max_leaf_nodes : int, default=None
        Grow best-first up to this number of leaves.
    min_impurity_decrease : float, default=0.0
        Weighted decrease of impurity that a split needs.
    bootstrap : bool, default=False
        Draw rows with replacement for each tree; otherwise each tree sees all rows.
    oob_score : bool or callable, default=False
        With ``bootstrap=True``, score each row by the trees that did not see it: by accuracy
        or by ``oob_score(y_true, y_pred)``.
    n_jobs : int, default=None
        Threads; ``None`` uses every processor this process may use. Results do not depend
        on it.
    random_state : int, RandomState instance or None, default=None
        Key of all random numbers; tree i depends on it and on i alone.
    verbose : int, default=0
        Print how many trees are grown: about twenty lines for 1, one a tree for more.
    warm_start : bool, default=False
        Keep the fitted trees and grow only further ones.
    class_weight : dict, list of dict, "balanced", "balanced_subsample" or None, default=None
        Weights of the classes, one dict an output; "balanced_subsample" weighs each bootstrap
        sample anew.
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
        Columns (mask, indices or names) whose values are categories; a random subset of
        them goes left.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or a list of them
        The class labels, of each output where there are several.
    n_classes_ : int, or ndarray of shape (n_outputs,)
        Number of classes.
    n_outputs_ : int
        Number of outputs.
    estimator_ : DecisionTreeClassifier
        An unfitted tree, as those of the forest were made, with ``splitter="random"``.
    estimators_ : list of DecisionTreeClassifier
        The trees; they predict class codes, as scikit-learn's do.
    estimators_samples_ : list of ndarray
        The rows that each tree drew, repeated as often as they were drawn. Made anew at each
        access.
    feature_importances_ : ndarray of shape (n_features,)
        Mean normalised decrease of impurity by each feature.
    oob_score_ : float
        The out-of-bag score, where it was asked for.
    oob_decision_function_ : ndarray of shape (n_samples, n_classes[, n_outputs])
        Out-of-bag class probabilities; zeros where every tree saw the row. Several outputs
        have two classes at most.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ironlearn.ensemble import ExtraTreesClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> forest = ExtraTreesClassifier(n_estimators=20, random_state=0).fit(X, y)
    >>> forest.predict(X[:2]).tolist(), len(forest.estimators_)
    ([0, 0], 20)
    """

    _parameters = {k: v for k, v in ForestClassifier._parameters.items() if k != "max_bins"}
    _splitter = "random"
    #: Random thresholds need no bins.
    max_bins = None

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
        bootstrap: bool = False,
        oob_score: bool | Callable[[Any, Any], float] = False,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        warm_start: bool = False,
        class_weight: dict[Any, float] | list[dict[Any, float]] | str | None = None,
        ccp_alpha: float = 0.0,
        max_samples: float | None = None,
        monotonic_cst: ArrayLike | None = None,
        voting: str = "soft",
        categorical_features: ArrayLike | str | None = None,
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


class ExtraTreesRegressor(ForestRegressor):
    """A forest of trees whose thresholds are drawn at random.

    At each node some features are drawn, for each of them one threshold, uniform between its
    smallest and its largest value in the node, and the best of these splits is made (Geurts,
    Ernst and Wehenkel, "Extremely randomized trees", Machine Learning 63, 2006).

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    criterion : {"squared_error", "absolute_error", "poisson"}, default="squared_error"
        What a split lowers: the squared distance to the mean, the distance to the median, or
        half the Poisson deviance from the mean (targets are not negative). "friedman_mse" is
        an old name of "squared_error".
    max_depth : int, default=None
        Greatest depth; ``None`` grows until leaves are pure or too small.
    min_samples_split : int or float, default=2
        Rows that a node needs to be split; a float is a fraction of all rows.
    min_samples_leaf : int or float, default=1
        Rows that each child keeps at least.
    min_weight_fraction_leaf : float, default=0.0
        Fraction of the total weight that each child keeps at least.
    max_features : int, float, {"sqrt", "log2"} or None, default=1.0
        Features drawn for each split, constant ones included; more are drawn while all of
        them are constant. A float is a fraction of all features.
    max_leaf_nodes : int, default=None
        Grow best-first up to this number of leaves.
    min_impurity_decrease : float, default=0.0
        Weighted decrease of impurity that a split needs.
    bootstrap : bool, default=False
        Draw rows with replacement for each tree; otherwise each tree sees all rows.
    oob_score : bool or callable, default=False
        With ``bootstrap=True``, score each row by the trees that did not see it: by R²
        or by ``oob_score(y_true, y_pred)``.
    n_jobs : int, default=None
        Threads; ``None`` uses every processor this process may use. Results do not depend
        on it.
    random_state : int, RandomState instance or None, default=None
        Key of all random numbers; tree i depends on it and on i alone.
    verbose : int, default=0
        Print how many trees are grown: about twenty lines for 1, one a tree for more.
    warm_start : bool, default=False
        Keep the fitted trees and grow only further ones.
    ccp_alpha : float, default=0.0
        Strength of minimal cost-complexity pruning of each tree.
    max_samples : int or float, default=None
        Rows drawn for each tree; ``None`` draws as many as there are, a float that share of
        the total weight.
    monotonic_cst : array-like of int of shape (n_features,), default=None
        1, -1 or 0 for each feature: the prediction must rise with it, fall, or is free. One
        output only.
    categorical_features : array-like or "from_dtype", default=None
        Columns (mask, indices or names) whose values are categories; a random subset of
        them goes left.

    Attributes
    ----------
    n_outputs_ : int
        Number of outputs.
    estimator_ : DecisionTreeRegressor
        An unfitted tree, as those of the forest were made, with ``splitter="random"``.
    estimators_ : list of DecisionTreeRegressor
        The trees.
    estimators_samples_ : list of ndarray
        The rows that each tree drew, repeated as often as they were drawn. Made anew at each
        access.
    feature_importances_ : ndarray of shape (n_features,)
        Mean normalised decrease of impurity by each feature.
    oob_score_ : float
        The out-of-bag score, where it was asked for.
    oob_prediction_ : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Out-of-bag predictions; zeros where every tree saw the row.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from ironlearn.ensemble import ExtraTreesRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> forest = ExtraTreesRegressor(n_estimators=20, random_state=0).fit(X, y)
    >>> forest.predict(X[:2]).shape, len(forest.estimators_)
    ((2,), 20)
    """

    _parameters = {k: v for k, v in ForestRegressor._parameters.items() if k != "max_bins"}
    _splitter = "random"
    #: Random thresholds need no bins.
    max_bins = None

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        criterion: str = "squared_error",
        max_depth: int | None = None,
        min_samples_split: float = 2,
        min_samples_leaf: float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: float | str | None = 1.0,
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        bootstrap: bool = False,
        oob_score: bool | Callable[[Any, Any], float] = False,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        warm_start: bool = False,
        ccp_alpha: float = 0.0,
        max_samples: float | None = None,
        monotonic_cst: ArrayLike | None = None,
        categorical_features: ArrayLike | str | None = None,
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
        self.ccp_alpha = ccp_alpha
        self.max_samples = max_samples
        self.monotonic_cst = monotonic_cst
        self.categorical_features = categorical_features
