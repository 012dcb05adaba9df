"""Stubs of the native module."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_Csr = tuple[NDArray[Any], NDArray[Any], NDArray[Any], int]
_Moments = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

def build_info() -> dict[str, Any]:
    """How this binary was built and which vector instructions it uses."""

def _gate_probe(what: str, seconds: float, n_threads: int) -> int: ...
def gaussian_nb_moments(
    x: NDArray[Any] | _Csr,
    y: NDArray[np.uint32],
    sample_weight: NDArray[np.float64] | None,
    *,
    n_classes: int,
    n_threads: int,
) -> tuple[_Moments, float]:
    """Class counts, means and sums of squared deviations, and the largest feature variance."""

def gaussian_nb_merge(a: _Moments, b: _Moments) -> _Moments:
    """The moments of two disjoint sets of rows together."""

class GaussianModel:
    """A fitted Gaussian naive Bayes classifier."""

    @staticmethod
    def from_arrays(
        theta: NDArray[np.float64], var: NDArray[np.float64], log_prior: NDArray[np.float64]
    ) -> GaussianModel: ...
    def arrays(self) -> _Moments: ...
    def joint_log_likelihood(
        self, x: NDArray[Any] | _Csr, *, n_threads: int
    ) -> NDArray[np.float64]: ...
    def predict_codes(self, x: NDArray[Any] | _Csr, *, n_threads: int) -> NDArray[np.int64]: ...

def discrete_nb_counts(
    x: NDArray[Any] | _Csr,
    y: NDArray[np.uint32],
    sample_weight: NDArray[np.float64] | None,
    *,
    n_classes: int,
    threshold: float | None,
    non_negative: bool,
    n_threads: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of weights, and of weighted features, by class.

    With `threshold`, what is summed is whether a feature is above it; else the feature
    itself, which must not be negative if `non_negative`.
    """

class DiscreteModel:
    """A fitted discrete naive Bayes classifier."""

    @staticmethod
    def from_arrays(
        present: NDArray[np.float64],
        absent: NDArray[np.float64] | None,
        log_prior: NDArray[np.float64],
        threshold: float | None,
    ) -> DiscreteModel: ...
    def arrays(
        self,
    ) -> tuple[
        NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64], float | None
    ]: ...
    def joint_log_likelihood(
        self, x: NDArray[Any] | _Csr, *, n_threads: int
    ) -> NDArray[np.float64]: ...
    def predict_codes(self, x: NDArray[Any] | _Csr, *, n_threads: int) -> NDArray[np.int64]: ...

_Counts = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]

def categorical_nb_counts(
    x: NDArray[Any],
    y: NDArray[np.uint32],
    sample_weight: NDArray[np.float64] | None,
    *,
    n_classes: int,
    min_categories: NDArray[np.int64] | None,
    n_threads: int,
) -> _Counts:
    """Class counts, numbers of categories, and counts of categories by feature and class.

    The last array holds a matrix of (n_classes, n_categories) for each feature in turn.
    """

def categorical_nb_merge(a: _Counts, b: _Counts) -> _Counts:
    """The counts of two disjoint sets of rows together."""

class CategoricalModel:
    """A fitted categorical naive Bayes classifier."""

    @staticmethod
    def from_arrays(
        counts: _Counts, log_prior: NDArray[np.float64], alpha: float
    ) -> CategoricalModel: ...
    def arrays(self) -> tuple[_Counts, NDArray[np.float64], float]: ...
    def log_prob(self) -> NDArray[np.float64]: ...
    def joint_log_likelihood(self, x: NDArray[Any], *, n_threads: int) -> NDArray[np.float64]: ...
    def predict_codes(self, x: NDArray[Any], *, n_threads: int) -> NDArray[np.int64]: ...

def kmeans_moments(x: NDArray[Any], *, n_threads: int) -> tuple[NDArray[Any], float]:
    """Column means of X in its own dtype, and the mean of the columns' variances."""

def kmeans_init(
    x: NDArray[Any],
    offset: NDArray[Any],
    sample_weight: NDArray[np.float64] | None,
    *,
    n_clusters: int,
    method: str,
    seed: int,
    n_threads: int,
) -> NDArray[Any]:
    """Starting centres, less the offset."""

def kmeans_run(
    x: NDArray[Any],
    offset: NDArray[Any],
    sample_weight: NDArray[np.float64] | None,
    centres: NDArray[Any],
    *,
    max_iter: int,
    tol: float,
    algorithm: str,
    history: bool,
    n_threads: int,
) -> tuple[NDArray[Any], NDArray[np.int32], float, int, NDArray[np.float64]]:
    """Centres less the offset, labels, inertia, iterations, and inertia by iteration."""

class KMeansModel:
    """Fitted centres, and an offset that is subtracted from every row."""

    @staticmethod
    def from_arrays(centres: NDArray[Any], offset: NDArray[Any]) -> KMeansModel: ...
    def arrays(self) -> tuple[NDArray[Any], NDArray[Any]]: ...
    def predict(self, x: NDArray[Any], *, n_threads: int) -> NDArray[np.int32]: ...
    def transform(self, x: NDArray[Any], *, n_threads: int) -> NDArray[Any]: ...
    def inertia(
        self, x: NDArray[Any], sample_weight: NDArray[np.float64] | None, *, n_threads: int
    ) -> float: ...

def tree_fit(
    x: NDArray[np.float32],
    y: NDArray[np.uint32],
    sample_weight: NDArray[np.float64] | None,
    *,
    n_classes: int,
    criterion: str,
    splitter: str,
    max_depth: int,
    min_samples_split: int,
    min_samples_leaf: int,
    min_weight_leaf: float,
    max_features: int,
    max_leaf_nodes: int,
    min_impurity_decrease: float,
    max_bins: int,
    categorical: NDArray[np.bool_] | None,
    monotonic: NDArray[np.int8] | None,
    seed: int,
    n_threads: int,
) -> ForestModel:
    """Grow one tree."""

def forest_fit(
    x: NDArray[np.float32],
    y: NDArray[np.uint32],
    sample_weight: NDArray[np.float64] | None,
    *,
    n_classes: int,
    criterion: str,
    splitter: str,
    max_depth: int,
    min_samples_split: int,
    min_samples_leaf: int,
    min_weight_leaf: float,
    max_features: int,
    max_leaf_nodes: int,
    min_impurity_decrease: float,
    max_bins: int,
    categorical: NDArray[np.bool_] | None,
    monotonic: NDArray[np.int8] | None,
    seed: int,
    n_trees: int,
    first_tree: int,
    bootstrap: bool,
    n_draws: int,
    balanced_subsample: bool,
    oob: bool,
    n_threads: int,
) -> tuple[ForestModel, NDArray[np.float64] | None]:
    """Grow a forest; the second answer holds the out-of-bag votes where they are asked for."""

class ForestModel:
    """A fitted tree or forest."""

    @property
    def n_trees(self) -> int:
        """Number of trees."""

    @property
    def n_classes(self) -> int:
        """Number of classes."""

    @property
    def n_features(self) -> int:
        """Number of features."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Read-only copies of the arrays by name, all trees concatenated."""

    @staticmethod
    def from_arrays(
        n_classes: int,
        n_features: int,
        *,
        offsets: NDArray[np.int64],
        left: NDArray[np.int32],
        right: NDArray[np.int32],
        feature: NDArray[np.int32],
        threshold: NDArray[np.float64],
        missing_left: NDArray[np.bool_],
        impurity: NDArray[np.float64],
        n_node_samples: NDArray[np.int64],
        weighted_n_node_samples: NDArray[np.float64],
        value: NDArray[np.float64],
        category_offsets: NDArray[np.int64],
        category_bits: NDArray[np.uint64],
    ) -> ForestModel:
        """Check the arrays and copy them."""

    @staticmethod
    def concat(models: list[ForestModel]) -> ForestModel:
        """The trees of all models, in their order."""

    def tree(self, index: int) -> ForestModel:
        """One tree as a model of its own."""

    def predict_proba(
        self, x: NDArray[np.float32], *, voting: str, n_threads: int
    ) -> NDArray[np.float64]:
        """Class probabilities of each row."""

    def predict_codes(
        self, x: NDArray[np.float32], *, voting: str, n_threads: int
    ) -> NDArray[np.int64]:
        """The most probable class of each row, the first of equal ones."""

    def apply(self, x: NDArray[np.float32], *, n_threads: int) -> NDArray[np.int64]:
        """The leaf of each row in each tree, numbered within the tree."""

def csr_is_whole(indices: NDArray[Any], indptr: NDArray[Any], n_features: int) -> bool | None:
    """Whether no element of a CSR matrix is stored in parts; ``None`` if it is broken."""

_Rows = NDArray[Any] | tuple[NDArray[Any], NDArray[Any], NDArray[Any], int]

_LinearFit = tuple[
    NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], bool, NDArray[np.float64]
]

def linear_svm_fit(
    x: _Rows,
    y: NDArray[np.uint32],
    sample_cost: NDArray[np.float64],
    class_weight: NDArray[np.float64],
    *,
    objective: str,
    bias: float | None,
    tol: float,
    max_iter: int,
    seed: int,
    n_threads: int,
    start: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> _LinearFit:
    """Weights, steps and objective of each problem, whether all converged, dual variables.

    With `bias`, the last weight of each row is the constant feature's. Where the solver has no
    dual variables, their array is empty. `start` holds weights and dual variables of an earlier
    fit; either may be empty.
    """

def linear_svr_fit(
    x: _Rows,
    y: NDArray[np.float64],
    sample_cost: NDArray[np.float64],
    *,
    objective: str,
    epsilon: float,
    bias: float | None,
    tol: float,
    max_iter: int,
    seed: int,
    n_threads: int,
    start: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> _LinearFit:
    """As `linear_svm_fit`, of one weight vector for targets."""

class LinearModel:
    """A fitted linear classifier or regressor."""

    @staticmethod
    def from_arrays(coef: NDArray[np.float64], intercept: NDArray[np.float64]) -> LinearModel: ...
    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def decision_function(self, x: _Rows, *, n_threads: int) -> NDArray[np.float64]: ...
    def predict_codes(self, x: _Rows, *, n_threads: int) -> NDArray[np.int64]: ...

_KernelFit = tuple[
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.float64],
    bool,
]

def kernel_svc_fit(
    x: _Rows,
    y: NDArray[np.uint32],
    cost: NDArray[np.float64],
    *,
    n_classes: int,
    kernel: str,
    gamma: float,
    coef0: float,
    degree: int,
    tol: float,
    max_iter: int,
    cache_size: float,
    n_threads: int,
) -> _KernelFit:
    """Support vectors, their numbers by class, coefficients, constants, steps and objectives.

    One problem for each pair of classes, in LIBSVM's layout; the last answer says whether all
    converged. Rows of cost 0 do not take part.
    """

def kernel_svr_fit(
    x: _Rows,
    y: NDArray[np.float64],
    cost: NDArray[np.float64],
    *,
    epsilon: float,
    kernel: str,
    gamma: float,
    coef0: float,
    degree: int,
    tol: float,
    max_iter: int,
    cache_size: float,
    n_threads: int,
) -> _KernelFit:
    """As `kernel_svc_fit`, for a regression that tolerates deviations of `epsilon`."""

class KernelModel:
    """A fitted kernel machine, classifier or regression."""

    @staticmethod
    def from_arrays(
        vectors: _Rows | None,
        support: NDArray[np.int64],
        n_support: NDArray[np.int64],
        dual_coef: NDArray[np.float64],
        intercept: NDArray[np.float64],
        kernel: str,
        gamma: float,
        coef0: float,
        degree: int,
        width: int,
    ) -> KernelModel: ...
    def parts(self) -> tuple[Any, ...]: ...
    def decision_function(
        self, x: _Rows, *, one_versus_rest: bool, n_threads: int
    ) -> NDArray[np.float64]: ...
    def predict_codes(self, x: _Rows, *, break_ties: bool, n_threads: int) -> NDArray[np.int64]: ...
