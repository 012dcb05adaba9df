"""Mini-batch k-means."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import assert_all_finite

from ironlearn import _core, _csr, _modelfile, _random
from ironlearn._parameters import (
    ARRAY_LIKE,
    BOOLEAN,
    CALLABLE,
    N_JOBS,
    NONE,
    RANDOM_STATE,
    VERBOSE,
    integer,
    options,
    real,
)
from ironlearn.cluster._base import CentroidEstimator, Weights

#: Starts of ``n_init='auto'`` that are compared where their quality varies.
_MANY_STARTS = 3
#: Random streams beside those of the steps, which are numbered from zero.
_INIT, _VALIDATION, _BATCHES = 1 << 32, 2 << 32, 3 << 32


class _State(NamedTuple):
    """What steps go on from."""

    centres: NDArray[Any]
    counts: NDArray[np.float64]
    since: int


class MiniBatchKMeans(CentroidEstimator):
    r"""k-means on small random batches: far sooner done, a little less exact.

    Each step assigns a batch to its nearest centres and moves each centre to the mean of all
    rows that it was ever given, so that centres move less and less.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, at most the number of rows.
    init : {'k-means++', 'k-means||', 'random'}, callable or array-like of shape \
            (n_clusters, n_features), default='k-means++'
        The start, found on `init_size` rows: drawn by greedy k-means++, by k-means||, or at
        random; given centres; or a function that is called with ``X, n_clusters,
        random_state=...`` and returns centres.
    max_iter : int, default=100
        Most steps, in passes over X.
    batch_size : int, default=1024
        Rows in a batch.
    verbose : bool or int, default=0
        Print the inertia of each step.
    compute_labels : bool, default=True
        Compute ``labels_`` and the exact ``inertia_`` at the end.
    random_state : int, RandomState instance or None, default=None
        Seed of the start, the batches and the reassignments.
    tol : float, default=0.0
        End when the squared shifts of the centres in a step add up to no more than `tol`
        times the mean variance of the features; zero: never.
    max_no_improvement : int or None, default=10
        End after so many steps in which the smoothed inertia did not fall; ``None``: never.
    init_size : int or None, default=None
        Rows on which the start is found; ``None`` means ``3 * batch_size``, or
        ``3 * n_clusters`` where that is not enough.
    n_init : 'auto' or int, default='auto'
        Starts, of which the best on `init_size` other rows is taken; ``'auto'`` means 3 for
        ``'random'`` and a callable, otherwise 1.
    reassignment_ratio : float, default=0.01
        Centres with less than this share of the heaviest centre's weight are moved to rows of
        the batch, now and then.
    n_jobs : int, default=None
        Threads; ``None`` uses every processor this process may use. Results do not depend
        on it.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        The centres. Read-only.
    labels_ : ndarray of shape (n_samples,)
        The cluster of each training row (of the last batch after ``partial_fit``), if
        `compute_labels`.
    inertia_ : float
        Weighted sum of squared distances of those rows to their centres; without
        `compute_labels`, an estimate from the batches.
    n_iter_ : int
        Passes over X, begun ones included.
    n_steps_ : int
        Batches seen.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    See Also
    --------
    KMeans : Lloyd's iteration on all rows.

    Notes
    -----
    Sculley, "Web-scale k-means clustering", WWW 2010; stopping and reassignment follow
    scikit-learn. All steps of ``fit`` run in one native call. Rows are drawn with replacement,
    by weight where there are weights. CSR matrices are used as they are.

    Examples
    --------
    >>> import numpy as np
    >>> from ironlearn.cluster import MiniBatchKMeans
    >>> X = np.array([[1.0, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> model = MiniBatchKMeans(n_clusters=2, random_state=0).fit(X)
    >>> len(set(model.predict([[0, 0], [12, 3]])))
    2
    """

    n_iter_: int
    n_steps_: int
    _counts: NDArray[np.float64]
    _since: int
    _seed: int

    _parameters = {
        "n_clusters": (integer(1),),
        "init": (options("k-means++", "k-means||", "random"), CALLABLE, ARRAY_LIKE),
        "max_iter": (integer(1),),
        "batch_size": (integer(1),),
        "verbose": (VERBOSE,),
        "compute_labels": (BOOLEAN,),
        "random_state": RANDOM_STATE,
        "tol": (real(0),),
        "max_no_improvement": (integer(0), NONE),
        "init_size": (integer(1), NONE),
        "n_init": (options("auto"), integer(1)),
        "reassignment_ratio": (real(0),),
        "n_jobs": N_JOBS,
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: bool | int = 0,
        compute_labels: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: int | str = "auto",
        reassignment_ratio: float = 0.01,
        n_jobs: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio
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
        self : MiniBatchKMeans
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
        seed = _random.seed_from(self.random_state)
        rows = _csr.rows(X)
        offset, variance = _core.kmeans_moments(rows, n_threads=self._n_threads())
        n_samples = int(X.shape[0])
        batch = min(int(self.batch_size), n_samples)
        n_steps = int(self.max_iter) * n_samples // batch
        # Kept under the name that scikit-learn gives it.
        runs = self._n_init = self._runs(_MANY_STARTS)
        centres = self._best_start(X, weights, offset, seed, batch, runs)
        state, steps, end, smoothed, history = _core.mini_batch_run(
            rows,
            offset,
            weights,
            centres,
            np.zeros(len(centres)),
            since=0,
            batch_size=batch,
            n_steps=n_steps,
            tol=float(self.tol) * variance,
            max_no_improvement=self._patience(),
            reassignment_ratio=float(self.reassignment_ratio),
            seed=_random.Stream(seed, _BATCHES).next_u64(),
            history=bool(self.verbose),
            n_threads=self._n_threads(),
        )
        self._tell(history, batch, n_steps, end)
        total = n_samples if weights is None else float(weights.sum())
        self._set_state(_State(*state), offset, seed)
        self.n_steps_ = steps
        self.n_iter_ = math.ceil(steps * batch / n_samples)
        self._label(rows, weights, estimate=smoothed * total)
        return self

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Do one step on X as a batch; the first call finds the start on it.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Finite numbers.
        y : ignored
            Present for pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.

        Returns
        -------
        self : MiniBatchKMeans
            The updated estimator.
        """
        self._validate_parameters()
        first = not hasattr(self, "_model")
        X = self._fit_input(X, reset=first)
        weights = self._checked_weights(X, sample_weight)
        if first:
            self._check_enough_rows(X)
            seed, self.n_steps_ = _random.seed_from(self.random_state), 0
            offset, _ = _core.kmeans_moments(_csr.rows(X), n_threads=self._n_threads())
            batch = min(int(self.batch_size), int(X.shape[0]))
            self._runs(1)
            centres = self._best_start(X, weights, offset, seed, batch, runs=1)
            state = _State(centres, np.zeros(len(centres)), 0)
        else:
            seed = self._seed
            X = X.astype(self.cluster_centers_.dtype, copy=False)
            centres, offset = self._model.arrays()
            if _csr.is_sparse(X) and offset.any():
                # Sparse rows cannot be shifted.
                centres, offset = self.cluster_centers_, np.zeros_like(offset)
            state = _State(centres, self._counts, self._since)
        rows = _csr.rows(X)
        found, (inertia, _, reassigned) = _core.mini_batch_step(
            rows,
            offset,
            weights,
            state.centres,
            state.counts,
            since=state.since,
            reassignment_ratio=float(self.reassignment_ratio),
            seed=_random.Stream(seed, _BATCHES).next_u64(),
            step=self.n_steps_,
            n_threads=self._n_threads(),
        )
        if not math.isfinite(inertia):
            # A row that is not finite has no finite distance: the state was left as it was.
            assert_all_finite(X, input_name="X")
        if self.verbose and reassigned:
            print(f"[MiniBatchKMeans] Reassigning {reassigned} cluster centers.")
        self._set_state(_State(*found), offset, seed)
        self.n_steps_ += 1
        if self.compute_labels:
            self._label(rows, weights, estimate=inertia)
        return self

    def _patience(self) -> int | None:
        most = self.max_no_improvement
        return None if most is None else int(most)

    def _init_rows(self, n_samples: int, batch: int) -> int:
        """Return on how many rows the start is found."""
        size = 3 * batch if self.init_size is None else int(self.init_size)
        if size < self.n_clusters:
            if self.init_size is not None:
                warnings.warn(
                    f"init_size={size} should be larger than n_clusters={self.n_clusters}. "
                    "Setting it to min(3*n_clusters, n_samples)",
                    RuntimeWarning,
                    stacklevel=5,
                )
            size = 3 * int(self.n_clusters)
        return min(size, n_samples)

    def _some(self, X: Any, weights: Weights, size: int, seed: int, task: int) -> tuple[Any, Any]:
        """Return about `size` random rows, no fewer than there are clusters, and weights."""
        n_samples = X.shape[0]
        if size >= n_samples:
            return X, weights
        chosen = np.empty(0, dtype=np.int64)
        while len(chosen) < self.n_clusters:
            drawn = _random.below(_random.words(seed, task, size), n_samples)
            chosen = np.union1d(chosen, drawn.astype(np.int64))
            task += 1
        some = None if weights is None else weights[chosen]
        if some is not None and not some.any():
            some = None
        return X[chosen], some

    def _best_start(
        self, X: Any, weights: Weights, offset: NDArray[Any], seed: int, batch: int, runs: int
    ) -> NDArray[Any]:
        """Return the best of `runs` starts, each found on rows of its own."""
        size = self._init_size = self._init_rows(X.shape[0], batch)
        generator = check_random_state(self.random_state) if callable(self.init) else None
        compare = runs > 1 or bool(self.verbose)
        if compare:
            held, held_weights = self._some(X, weights, size, seed, _VALIDATION)
        best, lowest = np.empty(0), math.inf
        for i in range(runs):
            some, some_weights = self._some(X, weights, size, seed, _INIT + (i << 16))
            centres = self._start(
                some,
                some_weights,
                offset,
                n_clusters=int(self.n_clusters),
                seed=_random.Stream(seed, i).next_u64(),
                generator=generator,
            )
            inertia = 0.0
            if compare:
                model = _core.KMeansModel.from_arrays(centres, offset)
                _, inertia = model.assign(
                    _csr.rows(held), held_weights, n_threads=self._n_threads()
                )
            if self.verbose:
                print(f"Init {i + 1}/{runs} with method {self.init}")
                print(f"Inertia for init {i + 1}/{runs}: {inertia}")
            if i == 0 or inertia < lowest:
                best, lowest = centres, inertia
        return best

    def _tell(
        self, history: list[tuple[float, float, int]], batch: int, n_steps: int, end: str
    ) -> None:
        for i, (inertia, smoothed, reassigned) in enumerate(history, start=1):
            if reassigned:
                print(f"[MiniBatchKMeans] Reassigning {reassigned} cluster centers.")
            more = f", ewa inertia: {smoothed}" if i > 1 else ""
            print(f"Minibatch step {i}/{n_steps}: mean batch inertia: {inertia / batch}{more}")
        if history and end != "steps":
            reason = "small centers change" if end == "still" else "lack of improvement in inertia"
            print(f"Converged ({reason}) at step {len(history)}/{n_steps}")

    def _set_state(self, state: _State, offset: NDArray[Any], seed: int) -> None:
        self._set_model(_core.KMeansModel.from_arrays(state.centres, offset))
        self._counts, self._since, self._seed = state.counts, state.since, seed

    def _label(self, rows: _csr.Rows, weights: Weights, *, estimate: float) -> None:
        if self.compute_labels:
            self.labels_, self.inertia_ = self._model.assign(
                rows, weights, n_threads=self._n_threads()
            )
        else:
            self.__dict__.pop("labels_", None)
            self.inertia_ = estimate

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        tensors = {**self._centre_tensors(), "counts": self._counts}
        attributes: dict[str, Any] = {
            "n_steps_": self.n_steps_,
            "since": self._since,
            "seed": self._seed,
        }
        for name in ("inertia_", "n_iter_"):
            if hasattr(self, name):
                attributes[name] = getattr(self, name)
        if hasattr(self, "labels_"):
            tensors["labels"] = self.labels_
        return attributes, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        centres, counts = tensors["centres"], tensors["counts"]
        model = _core.KMeansModel.from_arrays(centres, tensors["offset"])
        numbers = [attributes[name] for name in ("n_steps_", "since", "seed")]
        if (
            counts.dtype != np.float64
            or counts.shape != (len(centres),)
            or not (np.isfinite(counts) & (counts >= 0)).all()
            or any(type(n) is not int or not 0 <= n < 1 << 64 for n in numbers)
            or centres.shape[1] != self.n_features_in_
        ):
            raise ValueError("centres, counts, steps and n_features_in_ do not fit together")
        if "labels" in tensors:
            self.labels_ = self._checked_labels(centres, tensors["labels"], self.n_features_in_)
        if "inertia_" in attributes:
            self.inertia_ = float(attributes["inertia_"])
        if "n_iter_" in attributes:
            self.n_iter_ = int(attributes["n_iter_"])
        self._counts = counts
        self.n_steps_, self._since, self._seed = numbers
        self._set_model(model)
