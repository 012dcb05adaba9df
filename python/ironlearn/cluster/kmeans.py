"""k-means clustering."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from ironlearn import _core, _csr, _modelfile
from ironlearn._parameters import (
    ARRAY_LIKE,
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

#: Runs from random or user-made starts, whose quality varies more than k-means++'s.
_MANY_RUNS = 10


class _Run(NamedTuple):
    centres: NDArray[Any]
    labels: NDArray[np.int32]
    inertia: float
    n_iter: int


class KMeans(CentroidEstimator):
    r"""Clusters around centres that minimise the sum of squared distances.

    The inertia :math:`\sum_i w_i \min_c \lVert x_i - \mu_c \rVert^2` falls in every step of
    Lloyd's iteration: each row goes to its nearest centre, each centre to the mean of its rows.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, at most the number of rows.
    init : {'k-means++', 'k-means||', 'random'}, callable or array-like of shape \
            (n_clusters, n_features), default='k-means++'
        The start: rows drawn by greedy k-means++, by k-means|| (few passes over the data,
        for many clusters), or at random; given centres; or a function that is called with
        ``X, n_clusters, random_state=...`` and returns centres.
    n_init : 'auto' or int, default='auto'
        Runs from different starts, of which the one with the lowest inertia is kept;
        ``'auto'`` means 10 for ``'random'`` and a callable, otherwise 1.
    max_iter : int, default=300
        Most iterations of one run.
    tol : float, default=1e-4
        A run ends when the squared shifts of its centres add up to no more than ``tol`` times
        the mean variance of the features.
    verbose : bool or int, default=0
        Print the inertia of each iteration.
    random_state : int, RandomState instance or None, default=None
        Seed of the start.
    copy_x : bool, default=True
        Accepted for compatibility: X is neither copied nor changed.
    algorithm : {'lloyd', 'elkan'}, default='lloyd'
        ``'lloyd'`` compares all rows with all centres while many rows move, then keeps bounds
        that prove most comparisons needless; ``'elkan'`` keeps bounds from the start. Both
        give the same result.
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
    n_iter_ : int
        Iterations of the run that was kept.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    Notes
    -----
    Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 1982.
    Bounds follow the triangle inequality as in Elkan (ICML 2003) and Ding et al., "Yinyang
    k-means" (ICML 2015). Starts: Arthur and Vassilvitskii (SODA 2007), Bahmani et al.
    (VLDB 2012). A cluster that loses all rows gets the row farthest from its own centre.

    CSR matrices are used as they are, in fitting and in prediction: only stored elements are
    visited. Dense rows are shifted by the column means where they are read, which sparse ones
    cannot be, so the last bits may differ between the two.

    Examples
    --------
    >>> import numpy as np
    >>> from ironlearn.cluster import KMeans
    >>> X = np.array([[1.0, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> model = KMeans(n_clusters=2, random_state=0).fit(X)
    >>> sorted(model.cluster_centers_.tolist())
    [[1.0, 2.0], [10.0, 2.0]]
    >>> len(set(model.predict([[0, 0], [12, 3]])))
    2
    """

    n_iter_: int

    _parameters = {
        "n_clusters": (integer(1),),
        "init": (options("k-means++", "k-means||", "random"), CALLABLE, ARRAY_LIKE),
        "n_init": (options("auto"), integer(1)),
        "max_iter": (integer(1),),
        "tol": (real(0),),
        "verbose": (VERBOSE,),
        "random_state": RANDOM_STATE,
        "copy_x": (BOOLEAN,),
        "algorithm": (options("lloyd", "elkan"),),
        "n_jobs": N_JOBS,
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: int | str = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: bool | int = 0,
        random_state: int | np.random.RandomState | None = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
        n_jobs: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
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
        self : KMeans
            The fitted estimator.

        Raises
        ------
        ValueError
            There are fewer rows than clusters, or the centres given do not fit X.
        """
        self._validate_parameters()
        X = self._fit_input(X)
        self._check_enough_rows(X)
        weights = self._checked_weights(X, sample_weight)
        if self.algorithm == "elkan" and self.n_clusters == 1:
            warnings.warn(
                "algorithm='elkan' doesn't make sense for a single cluster. Using 'lloyd' instead.",
                RuntimeWarning,
                stacklevel=3,
            )
        # Kept under the name that scikit-learn gives it.
        runs = self._n_init = self._runs(_MANY_RUNS)
        rows = _csr.rows(X)
        offset, variance = _core.kmeans_moments(rows, n_threads=self._n_threads())
        seed = seed_from(self.random_state) if isinstance(self.init, str) else 0
        generator = check_random_state(self.random_state) if callable(self.init) else None
        best: _Run | None = None
        for i in range(runs):
            centres = self._start(
                X,
                weights,
                offset,
                n_clusters=int(self.n_clusters),
                seed=Stream(seed, i).next_u64(),
                generator=generator,
            )
            run = self._run(rows, offset, weights, centres, float(self.tol) * variance)
            # Equal clusterings may differ in the last bits of their inertia: the first stays.
            if best is None or (
                run.inertia < best.inertia
                and not _same_clustering(run.labels, best.labels, self.n_clusters)
            ):
                best = run
        assert best is not None
        self.labels_, self.inertia_, self.n_iter_ = best.labels, best.inertia, best.n_iter
        distinct = int(np.count_nonzero(np.bincount(self.labels_)))
        if distinct < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({distinct}) found smaller than n_clusters "
                f"({self.n_clusters}). Possibly due to duplicate points in X.",
                ConvergenceWarning,
                stacklevel=3,
            )
        self._set_model(_core.KMeansModel.from_arrays(best.centres, offset))
        return self

    def _run(
        self,
        rows: _csr.Rows,
        offset: NDArray[Any],
        weights: Weights,
        centres: NDArray[Any],
        tol: float,
    ) -> _Run:
        if self.verbose:
            print("Initialization complete")
        centres, labels, inertia, n_iter, history, settled, shift = _core.kmeans_run(
            rows,
            offset,
            weights,
            centres,
            max_iter=int(self.max_iter),
            tol=tol,
            algorithm=self.algorithm,
            history=bool(self.verbose),
            n_threads=self._n_threads(),
        )
        for i, value in enumerate(history):
            print(f"Iteration {i}, inertia {value}.")
        if self.verbose and settled:
            print(f"Converged at iteration {n_iter - 1}: strict convergence.")
        elif self.verbose and shift <= tol:
            print(
                f"Converged at iteration {n_iter - 1}: center shift {shift} within tolerance {tol}."
            )
        return _Run(centres, labels, inertia, n_iter)

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        tensors = {**self._centre_tensors(), "labels": self.labels_}
        return {"inertia_": self.inertia_, "n_iter_": self.n_iter_}, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        model = _core.KMeansModel.from_arrays(tensors["centres"], tensors["offset"])
        self.labels_ = self._checked_labels(
            tensors["centres"], tensors["labels"], self.n_features_in_
        )
        self.inertia_ = float(attributes["inertia_"])
        self.n_iter_ = int(attributes["n_iter_"])
        self._set_model(model)


def _same_clustering(a: NDArray[np.int32], b: NDArray[np.int32], n_clusters: int) -> bool:
    """Tell whether `b` is `a` with the clusters renamed."""
    name = np.zeros(n_clusters, dtype=b.dtype)
    name[a] = b
    return bool((name[a] == b).all())
