"""What the k-means estimators share."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils.validation import check_array

from ironlearn import _core, _csr, _gpu, _modelfile
from ironlearn._frames import validate_data
from ironlearn.base import Estimator, check_weights
from ironlearn.cluster._gpu import distances, nearest, squared_distances_to

Weights = NDArray[np.float64] | None


class CentroidEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, Estimator):
    """Base of estimators that keep centres: input, prediction, distances and score."""

    n_clusters: int
    init: Any
    n_init: int | str

    cluster_centers_: NDArray[Any]
    labels_: NDArray[np.int32]
    inertia_: float
    _n_features_out: int

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the clusters of rows X."""
        raise NotImplementedError

    def _fit_input(self, X: Any, *, reset: bool = True) -> Any:
        if (
            reset
            and type(X) is np.ndarray
            and X.ndim == 2
            and X.dtype in self._ready_dtypes()
            and X.flags.c_contiguous
            and X.flags.aligned
            and X.size
        ):
            # Ready as it is: a closer look would take longer than clustering a small table.
            self.__dict__.pop("feature_names_in_", None)
            self.n_features_in_ = X.shape[1]
            return X
        # Native code checks finiteness as it reads, and the structure of CSR matrices.
        return validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=list(self._dtypes),
            order="C",
            ensure_all_finite=False,
        )

    def _checked_weights(self, X: Any, sample_weight: Any) -> Weights:
        weights = check_weights(sample_weight, X.shape[0])
        return None if weights is not None and (weights == 1).all() else weights

    def _rows(self, X: Any) -> _csr.Rows:
        """Return X as the fitted model takes it."""
        if (
            getattr(X, "format", None) != "csr"
            or X.dtype not in self._ready_dtypes()
            or X.ndim != 2
            or X.shape[1] != getattr(self, "n_features_in_", -1)
            or X.shape[0] == 0
            or hasattr(self, "feature_names_in_")
        ):
            X = self._predict_input(X)
        return _csr.rows(X.astype(self.cluster_centers_.dtype, copy=False))

    def _on_gpu(self, X: Any, xp: Any) -> tuple[Any, Any]:
        """Return the fitted model and rows that live on a GPU, checked."""
        X = _gpu.checked(self, X, xp)
        return self._model, X

    def _checked_centres(self, centres: Any, X: Any, n_clusters: int) -> NDArray[Any]:
        if _csr.is_sparse(centres):
            centres = centres.toarray()
        centres = check_array(centres, dtype=X.dtype, order="C", input_name="init")
        for given, expected, what in (
            (len(centres), n_clusters, "number of clusters"),
            (centres.shape[1], X.shape[1], "number of features of the data"),
        ):
            if given != expected:
                raise ValueError(
                    f"The shape of the initial centers {centres.shape} does not match the "
                    f"{what} {expected}."
                )
        return centres

    def _check_enough_rows(self, X: Any) -> None:
        if X.shape[0] < self.n_clusters:
            raise ValueError(f"n_samples={X.shape[0]} should be >= n_clusters={self.n_clusters}.")

    def _runs(self, many: int) -> int:
        """Return how many starts to make; ``'auto'`` is `many` where their quality varies."""
        varies = callable(self.init) or (isinstance(self.init, str) and self.init == "random")
        if isinstance(self.init, str) or callable(self.init):
            return (many if varies else 1) if self.n_init == "auto" else int(self.n_init)
        if self.n_init not in ("auto", 1):
            warnings.warn(
                "Explicit initial center position passed: performing only one init in "
                f"{type(self).__name__} instead of n_init={self.n_init}.",
                RuntimeWarning,
                stacklevel=4,
            )
        return 1

    def _start(
        self,
        X: Any,
        weights: Weights,
        offset: NDArray[Any],
        *,
        n_clusters: int,
        seed: int,
        generator: np.random.RandomState | None,
    ) -> NDArray[Any]:
        """Return starting centres, less the offset; a function of `init` draws from `generator`."""
        if isinstance(self.init, str):
            return _core.kmeans_init(
                _csr.rows(X),
                offset,
                weights,
                n_clusters=n_clusters,
                method=self.init,
                seed=seed,
                n_threads=self._n_threads(),
            )
        centres = self.init
        if callable(centres):
            centres = centres(X, n_clusters, random_state=generator)
        return self._checked_centres(centres, X, n_clusters) - offset

    def _set_model(self, model: _core.KMeansModel) -> None:
        self._model = model
        centres, offset = model.arrays()
        self.cluster_centers_ = centres + offset
        self.cluster_centers_.setflags(write=False)
        self._n_features_out = len(centres)

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> NDArray[np.int32]:
        """Fit to X and return the cluster of each row, shape (n_samples,)."""
        return self.fit(X, sample_weight=sample_weight).labels_

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> NDArray[Any]:
        """Fit to X and return the distances of rows to centres, (n_samples, n_clusters)."""
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def predict(self, X: Any) -> NDArray[np.int32]:
        """Return the nearest centre of each row of X (n_samples, n_features).

        Of a CuPy array the answer is one, computed on its GPU in the array's precision.
        """
        xp = _gpu.module_of(X)
        if xp is not None:
            return nearest(xp, *self._on_gpu(X, xp))
        rows = self._rows(X)
        return self._model.predict(rows, n_threads=self._n_threads())

    def transform(self, X: Any) -> NDArray[Any]:
        """Return the distance of each row to each centre, shape (n_samples, n_clusters).

        Of a CuPy array the answer is one, computed on its GPU in the array's precision.
        """
        xp = _gpu.module_of(X)
        if xp is not None:
            return distances(xp, *self._on_gpu(X, xp))
        rows = self._rows(X)
        return self._model.transform(rows, n_threads=self._n_threads())

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return minus the inertia of rows X of shape (n_samples, n_features).

        X may be a CuPy array; `sample_weight` is in main memory all the same.
        """
        xp = _gpu.module_of(X)
        if xp is not None:
            model, X = self._on_gpu(X, xp)
            squares = squared_distances_to(xp, model, X, nearest(xp, model, X))
            weights = check_weights(sample_weight, X.shape[0])
            if weights is not None:
                squares = squares * xp.asarray(weights)
            return -float(squares.sum(dtype=np.float64))
        rows = self._rows(X)
        count = len(rows) if isinstance(rows, np.ndarray) else len(rows[2]) - 1
        weights = check_weights(sample_weight, count)
        _, inertia = self._model.assign(rows, weights, n_threads=self._n_threads())
        return -inertia

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _checked_labels(
        self, centres: NDArray[Any], labels: NDArray[Any], width: int
    ) -> NDArray[np.int32]:
        """Return the labels of a model file, or raise if they do not fit the centres."""
        if (
            centres.shape[1] != width
            or labels.dtype != np.int32
            or labels.ndim != 1
            or not labels.size
            or labels.min() < 0
            or labels.max() >= len(centres)
        ):
            raise ValueError("centres, labels and n_features_in_ do not fit together")
        return labels

    def _centre_tensors(self) -> _modelfile.Tensors:
        centres, offset = self._model.arrays()
        return {"centres": centres, "offset": offset}
