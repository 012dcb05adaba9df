"""Bisecting k-means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from ironlearn import _core, _csr, _modelfile
from ironlearn._parameters import (
    BOOLEAN,
    CALLABLE,
    N_JOBS,
    RANDOM_STATE,
    VERBOSE,
    integer,
    options,
    real,
)
from ironlearn._random import Stream, seed_from
from ironlearn.cluster._base import CentroidEstimator, Weights


@dataclass
class _Node:
    """A cluster: a leaf, or a fork once it has children."""

    rows: NDArray[np.int64]
    centre: NDArray[Any]
    score: float
    inertia: float | None = None
    children: tuple[_Node, _Node] | None = None

    def leaves(self) -> list[_Node]:
        """Return the leaves below, from left to right."""
        return [node for node in self._all() if node.children is None]

    def forks(self) -> list[_Node]:
        """Return the forks below, each before its children."""
        return [node for node in self._all() if node.children is not None]

    def _all(self) -> list[_Node]:
        found, waiting = [], [self]
        while waiting:
            node = waiting.pop()
            found.append(node)
            if node.children is not None:
                waiting += reversed(node.children)
        return found


class BisectingKMeans(CentroidEstimator):
    r"""k-means that splits one cluster in two, again and again.

    Starts from one cluster of all rows; each step splits the worst one by k-means with two
    centres. Clusters form a tree, and ``predict`` goes down in it.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, at most the number of rows.
    init : {'k-means++', 'k-means||', 'random'} or callable, default='random'
        The start of each split: rows drawn by greedy k-means++, by k-means||, or at random; or
        a function that is called with ``X, 2, random_state=...`` and returns two centres.
    n_init : int, default=1
        Runs of each split, of which the one with the lowest inertia is kept.
    random_state : int, RandomState instance or None, default=None
        Seed of the starts.
    max_iter : int, default=300
        Most iterations of a run.
    verbose : bool or int, default=0
        Print the inertia of each iteration and the centres of each split.
    tol : float, default=1e-4
        A run ends when the squared shifts of its centres add up to no more than ``tol`` times
        the mean variance of the features of all rows.
    copy_x : bool, default=True
        Accepted for compatibility: X is not changed.
    algorithm : {'lloyd', 'elkan'}, default='lloyd'
        As in :class:`KMeans`; both give the same result.
    bisecting_strategy : {'biggest_inertia', 'largest_cluster'}, default='biggest_inertia'
        Which cluster is split next: the one with the largest sum of squared distances, or the
        one with the most rows.
    n_jobs : int, default=None
        Threads; ``None`` uses every processor this process may use. Results do not depend
        on it.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        The centres. Read-only.
    labels_ : ndarray of shape (n_samples,)
        The cluster of each training row.
    inertia_ : float
        Weighted sum of squared distances of the training rows to their centres.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    See Also
    --------
    KMeans : All clusters at once.

    Notes
    -----
    Steinbach, Karypis and Kumar, "A comparison of document clustering techniques", KDD
    Workshop on Text Mining 2000. ``transform`` and ``score`` look at the nearest centre of all,
    which may be another than the leaf that ``predict`` finds. CSR matrices are used as they
    are.

    Examples
    --------
    >>> import numpy as np
    >>> from ironlearn.cluster import BisectingKMeans
    >>> X = np.array([[1.0, 1], [2, 1], [3, 1], [50, 0], [50, 1], [50, 2], [50, 28], [50, 29]])
    >>> model = BisectingKMeans(n_clusters=3, random_state=0).fit(X)
    >>> sorted(model.cluster_centers_.tolist())
    [[2.0, 1.0], [50.0, 1.0], [50.0, 28.5]]
    """

    _tree: _core.BisectingTree

    _parameters = {
        "n_clusters": (integer(1),),
        "init": (options("k-means++", "k-means||", "random"), CALLABLE),
        "n_init": (integer(1),),
        "random_state": RANDOM_STATE,
        "max_iter": (integer(1),),
        "verbose": (VERBOSE,),
        "tol": (real(0),),
        "copy_x": (BOOLEAN,),
        "algorithm": (options("lloyd", "elkan"),),
        "bisecting_strategy": (options("biggest_inertia", "largest_cluster"),),
        "n_jobs": N_JOBS,
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "random",
        n_init: int = 1,
        random_state: int | np.random.RandomState | None = None,
        max_iter: int = 300,
        verbose: bool | int = 0,
        tol: float = 1e-4,
        copy_x: bool = True,
        algorithm: str = "lloyd",
        bisecting_strategy: str = "biggest_inertia",
        n_jobs: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.random_state = random_state
        self.max_iter = max_iter
        self.verbose = verbose
        self.tol = tol
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.bisecting_strategy = bisecting_strategy
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the clusters of rows X of shape (n_samples, n_features).

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Finite numbers; float32 and float64 are used as they are.
        y : ignored
            Present for pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.

        Returns
        -------
        self : BisectingKMeans
            The fitted estimator.

        Raises
        ------
        ValueError
            There are fewer rows than clusters, or the callable `init` returns centres that do
            not fit X.
        """
        self._validate_parameters()
        X = self._fit_input(X)
        self._check_enough_rows(X)
        weights = self._checked_weights(X, sample_weight)
        offset, variance = _core.kmeans_moments(_csr.rows(X), n_threads=self._n_threads())
        split = _Splitter(self, X, weights, offset, float(self.tol) * variance)
        root = _Node(np.arange(X.shape[0]), np.empty(0), 0.0)
        if self.n_clusters == 1:
            first = self._checked_centres(X[:1], X, 1) - offset
            centres, _ = split.run(X, weights, first)
            root.centre = centres[0]
        for step in range(int(self.n_clusters) - 1):
            # A leaf of one row cannot be split; there is a larger one while leaves are fewer
            # than rows.
            able = [leaf for leaf in root.leaves() if len(leaf.rows) > 1]
            split(max(able, key=lambda leaf: leaf.score), step)
        self._collect(root, split, X.shape)
        return self

    def _collect(self, root: _Node, split: _Splitter, shape: tuple[int, int]) -> None:
        """Set the attributes from the tree of nodes."""
        leaves = root.leaves()
        self.labels_ = np.empty(shape[0], dtype=np.int32)
        for c, leaf in enumerate(leaves):
            self.labels_[leaf.rows] = c
        self.inertia_ = sum(split.inertia(leaf) for leaf in leaves)
        forks = root.forks()
        fork_of = {id(node): i for i, node in enumerate(forks)}
        leaf_of = {id(node): -1 - c for c, node in enumerate(leaves)}
        children = np.empty((len(forks), 2), dtype=np.int32)
        normals = np.empty((len(forks), shape[1]))
        levels = np.empty(len(forks))
        for i, node in enumerate(forks):
            assert node.children is not None
            children[i] = [{**fork_of, **leaf_of}[id(child)] for child in node.children]
            left, right = (split.place(child) for child in node.children)
            # Rows on the nearer side of the plane between two centres go left.
            normals[i] = left - right
            levels[i] = normals[i] @ (left + right) / 2
        self._tree = _core.BisectingTree.from_arrays(children, normals, levels)
        centres = np.array([leaf.centre for leaf in leaves])
        self._set_model(_core.KMeansModel.from_arrays(centres, split.offset))

    def predict(self, X: Any) -> NDArray[np.int32]:
        """Return the leaf of each row of X (n_samples, n_features), going down the tree."""
        rows = self._rows(X)
        return self._tree.predict(rows, n_threads=self._n_threads())

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        children, normals, levels = self._tree.arrays()
        tensors = {
            **self._centre_tensors(),
            "labels": self.labels_,
            "children": children,
            "normals": normals,
            "levels": levels,
        }
        return {"inertia_": self.inertia_}, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        centres = tensors["centres"]
        model = _core.KMeansModel.from_arrays(centres, tensors["offset"])
        tree = _core.BisectingTree.from_arrays(
            tensors["children"], tensors["normals"], tensors["levels"]
        )
        if tensors["normals"].shape != (len(centres) - 1, self.n_features_in_):
            raise ValueError("centres, forks and n_features_in_ do not fit together")
        self.labels_ = self._checked_labels(centres, tensors["labels"], self.n_features_in_)
        self.inertia_ = float(attributes["inertia_"])
        self._tree = tree
        self._set_model(model)


class _Splitter:
    """Splits clusters of one data set in two."""

    def __init__(
        self,
        estimator: BisectingKMeans,
        X: Any,
        weights: Weights,
        offset: NDArray[Any],
        tol: float,
    ) -> None:
        self.estimator, self.X, self.weights = estimator, X, weights
        self.offset, self.tol = offset, tol
        drawn = isinstance(estimator.init, str)
        self.seed = seed_from(estimator.random_state) if drawn else 0
        self.generator = None if drawn else check_random_state(estimator.random_state)
        self.threads = estimator._n_threads()

    def some(self, rows: NDArray[np.int64]) -> tuple[Any, Weights]:
        """Return the rows and their weights; where none weighs anything, all weigh the same."""
        if len(rows) == self.X.shape[0]:
            return self.X, self.weights
        weights = None if self.weights is None else self.weights[rows]
        return self.X[rows], weights if weights is None or weights.any() else None

    def run(self, X: Any, weights: Weights, start: NDArray[Any]) -> tuple[NDArray[Any], Any]:
        """Return the centres and (labels, inertia) of Lloyd's iteration."""
        estimator = self.estimator
        centres, labels, inertia, _, history, _, _ = _core.kmeans_run(
            _csr.rows(X),
            self.offset,
            weights,
            start,
            max_iter=int(estimator.max_iter),
            tol=self.tol,
            algorithm=estimator.algorithm,
            history=bool(estimator.verbose),
            n_threads=self.threads,
        )
        for i, value in enumerate(history):
            print(f"Iteration {i}, inertia {value}.")
        return centres, (labels, inertia)

    def __call__(self, node: _Node, step: int) -> None:
        """Give `node` two children."""
        estimator = self.estimator
        X, weights = self.some(node.rows)
        best: tuple[NDArray[Any], NDArray[np.int32], float] | None = None
        for run in range(int(estimator.n_init)):
            start = estimator._start(
                X,
                weights,
                self.offset,
                n_clusters=2,
                seed=Stream(self.seed, (step << 32) + run).next_u64(),
                generator=self.generator,
            )
            centres, (labels, inertia) = self.run(X, weights, start)
            # Equal splits may differ in the last bits of their inertia: the first stays.
            if best is None or inertia < best[2] * (1 - 1e-6):
                best = centres, labels, inertia
        assert best is not None
        centres, labels, inertia = best
        if weights is None and self.weights is not None:
            inertia = 0.0
        if estimator.verbose:
            print(f"New centroids from bisection: {centres + self.offset}")
        left, right = (_Node(node.rows[labels == side], centres[side], 0.0) for side in (0, 1))
        if estimator.bisecting_strategy == "largest_cluster":
            left.score, right.score = float(len(left.rows)), float(len(right.rows))
        else:
            left.inertia = self._share(X, weights, centres, labels, inertia)
            right.inertia = max(inertia - left.inertia, 0.0)
            left.score, right.score = left.inertia, right.inertia
        node.children = left, right

    def _share(
        self,
        X: Any,
        weights: Weights,
        centres: NDArray[Any],
        labels: NDArray[np.int32],
        inertia: float,
    ) -> float:
        """Return what the rows of the first of two clusters add to the inertia."""
        first = (labels == 0).astype(np.float64)
        if weights is not None:
            first *= weights
        if not first.any():
            return 0.0
        model = _core.KMeansModel.from_arrays(centres, self.offset)
        _, share = model.assign(_csr.rows(X), first, n_threads=self.threads)
        return min(share, inertia)

    def inertia(self, node: _Node) -> float:
        """Return the weighted sum of squared distances of the node's rows to its centre."""
        if node.inertia is not None:
            return node.inertia
        X, weights = self.some(node.rows)
        if not len(node.rows) or (weights is None and self.weights is not None):
            return 0.0
        model = _core.KMeansModel.from_arrays(node.centre[None], self.offset)
        return model.assign(_csr.rows(X), weights, n_threads=self.threads)[1]

    def place(self, node: _Node) -> NDArray[np.float64]:
        """Return where the node's centre lies."""
        return node.centre.astype(np.float64) + self.offset
