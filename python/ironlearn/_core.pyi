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

def kmeans_moments(x: NDArray[Any] | _Csr, *, n_threads: int) -> tuple[NDArray[Any], float]:
    """What is subtracted from X (column means; zeros for CSR), and the mean column variance."""

def kmeans_init(
    x: NDArray[Any] | _Csr,
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
    x: NDArray[Any] | _Csr,
    offset: NDArray[Any],
    sample_weight: NDArray[np.float64] | None,
    centres: NDArray[Any],
    *,
    max_iter: int,
    tol: float,
    algorithm: str,
    history: bool,
    n_threads: int,
) -> tuple[NDArray[Any], NDArray[np.int32], float, int, NDArray[np.float64], bool, float]:
    """Centres less the offset, labels, inertia, iterations, and inertia by iteration.

    Then whether the last iteration changed no label, and the squared shifts in it.
    """

_State = tuple[NDArray[Any], NDArray[np.float64], int]

def mini_batch_run(
    x: NDArray[Any] | _Csr,
    offset: NDArray[Any],
    sample_weight: NDArray[np.float64] | None,
    centres: NDArray[Any],
    counts: NDArray[np.float64],
    *,
    since: int,
    batch_size: int,
    n_steps: int,
    tol: float,
    max_no_improvement: int | None,
    reassignment_ratio: float,
    seed: int,
    history: bool,
    n_threads: int,
) -> tuple[_State, int, str, float, list[tuple[float, float, int]]]:
    """The state, steps done, why they ended, the smoothed inertia, and what each step found."""

def mini_batch_step(
    x: NDArray[Any] | _Csr,
    offset: NDArray[Any],
    sample_weight: NDArray[np.float64] | None,
    centres: NDArray[Any],
    counts: NDArray[np.float64],
    *,
    since: int,
    reassignment_ratio: float,
    seed: int,
    step: int,
    n_threads: int,
) -> tuple[_State, tuple[float, float, int]]:
    """The state, and the batch's inertia, in all and by row, and centres reassigned."""

class KMeansModel:
    """Fitted centres, and an offset that is subtracted from every row."""

    @staticmethod
    def from_arrays(centres: NDArray[Any], offset: NDArray[Any]) -> KMeansModel: ...
    def arrays(self) -> tuple[NDArray[Any], NDArray[Any]]: ...
    def predict(self, x: NDArray[Any] | _Csr, *, n_threads: int) -> NDArray[np.int32]: ...
    def transform(self, x: NDArray[Any] | _Csr, *, n_threads: int) -> NDArray[Any]: ...
    def assign(
        self,
        x: NDArray[Any] | _Csr,
        sample_weight: NDArray[np.float64] | None,
        *,
        n_threads: int,
    ) -> tuple[NDArray[np.int32], float]: ...

class BisectingTree:
    """Forks, each with a plane between two centres; a child below zero is the leaf -1 - child."""

    @staticmethod
    def from_arrays(
        children: NDArray[np.int32], normals: NDArray[np.float64], levels: NDArray[np.float64]
    ) -> BisectingTree: ...
    def arrays(
        self,
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]: ...
    def predict(self, x: NDArray[Any] | _Csr, *, n_threads: int) -> NDArray[np.int32]: ...

def tree_fit(
    x: NDArray[np.float32],
    y: NDArray[np.uint32] | NDArray[np.float64],
    sample_weight: NDArray[np.float64] | None,
    *,
    n_classes: int | list[int] | None,
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
    """Grow one tree.

    `y` is of shape (n,) or (n, outputs). Class codes (uint32) go with `n_classes`, the number of
    classes of the output or a list of them; numbers (float64) go with ``None``.
    """

def forest_fit(
    x: NDArray[np.float32],
    y: NDArray[np.uint32] | NDArray[np.float64],
    sample_weight: NDArray[np.float64] | None,
    *,
    n_classes: int | list[int] | None,
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
) -> tuple[ForestModel, tuple[NDArray[np.float64], NDArray[np.int64]] | None]:
    """Grow a forest; the second answer holds the out-of-bag votes where they are asked for.

    `y` and `n_classes` are those of `tree_fit`. Out-of-bag votes are sums of class shares, or of
    numbers, shape (n, outputs * most classes), and for each row how many trees gave them.
    """

class ForestModel:
    """A fitted tree or forest."""

    @property
    def n_trees(self) -> int:
        """Number of trees."""

    @property
    def n_classes(self) -> int:
        """The most classes of any output; 1 where numbers are predicted."""

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""

    @property
    def class_counts(self) -> list[int] | None:
        """Number of classes of each output; ``None`` where numbers are predicted."""

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
        n_classes: int | list[int] | None,
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
        """Check the arrays and copy them; `n_classes` is ``None`` where numbers are predicted."""

    @staticmethod
    def concat(models: list[ForestModel]) -> ForestModel:
        """The trees of all models, in their order."""

    def tree(self, index: int) -> ForestModel:
        """One tree as a model of its own."""

    def predict_proba(
        self, x: NDArray[np.float32], *, voting: str, n_threads: int
    ) -> NDArray[np.float64]:
        """Class probabilities of each row, shape (n, outputs * most classes)."""

    def predict_values(self, x: NDArray[np.float32], *, n_threads: int) -> NDArray[np.float64]:
        """The mean over the trees of the numbers in each row's leaf, shape (n, outputs)."""

    def predict_codes(
        self, x: NDArray[np.float32], *, voting: str, n_threads: int
    ) -> NDArray[np.int64]:
        """The most probable class of each row, the first of equal ones.

        Shape (n,), or (n, outputs) where there are several.
        """

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
    NDArray[np.float64],
    NDArray[np.float64],
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
    shrinking: bool,
    folds: int | None,
    n_threads: int,
) -> _KernelFit:
    """Support vectors, their numbers by class, coefficients, constants, steps and objectives.

    One problem for each pair of classes, in LIBSVM's layout; then whether all converged, and
    slopes and constants of the probabilities of the pairs, if `folds` gives a seed for their
    cross-validation. Rows of cost 0 do not take part.
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
    shrinking: bool,
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
    def predict_proba(
        self, x: _Rows, prob_a: NDArray[np.float64], prob_b: NDArray[np.float64], *, n_threads: int
    ) -> NDArray[np.float64]: ...

class RecurrentTape:
    """What the forward pass of a recurrent layer keeps for its backward pass."""

def nn_recurrent(
    kind: str,
    x: NDArray[np.float32],
    w: NDArray[np.float32],
    u: NDArray[np.float32],
    b: NDArray[np.float32],
    bu: NDArray[np.float32] | None,
    h0: NDArray[np.float32],
    c0: NDArray[np.float32] | None,
    *,
    mask: NDArray[np.uint8] | None,
    reverse: bool,
    keep: bool,
    n_threads: int,
) -> tuple[
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.float32] | None,
    RecurrentTape | None,
]:
    """All states of the cell `kind`, the last state, the last cell state, and the tape if `keep`.

    `kind` is "lstm", "gru", "tanh" or "relu"; only an LSTM has cell states.
    """

def nn_recurrent_backward(
    kind: str,
    gy: NDArray[np.float32] | None,
    gh: NDArray[np.float32] | None,
    gc: NDArray[np.float32] | None,
    x: NDArray[np.float32],
    w: NDArray[np.float32],
    u: NDArray[np.float32],
    b: NDArray[np.float32],
    bu: NDArray[np.float32] | None,
    h0: NDArray[np.float32],
    c0: NDArray[np.float32] | None,
    tape: RecurrentTape,
    *,
    mask: NDArray[np.uint8] | None,
    reverse: bool,
    needs_x: bool,
    n_threads: int,
) -> tuple[
    NDArray[np.float32] | None,
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.float32] | None,
    NDArray[np.float32],
    NDArray[np.float32] | None,
]:
    """Gradients of x (if `needs_x`), w, u, b, bu (GRU), h0 and c0 (LSTM)."""

def nn_optimizer_step(
    kind: str,
    params: list[NDArray[np.float32]],
    grads: list[NDArray[np.float32]],
    slots: list[list[NDArray[np.float32]]],
    hyper_: dict[str, float],
    decay: list[bool],
    *,
    n_threads: int,
) -> None:
    """Changes `params` and `slots` by one step of the rule `kind`, in place."""

class Plan:
    """A network with its loss and its optimizer, lowered to one call for many mini-batches."""

    def __init__(
        self,
        input_shape: list[int],
        steps: list[tuple[str, dict[str, Any]]],
        *,
        loss: str,
        loss_number: float,
        output: str,
        optimizer: str,
    ) -> None: ...
    def parameters(self) -> list[tuple[str, list[int]]]:
        """Names and shapes of the trained arrays."""

    def buffers(self) -> list[tuple[str, list[int]]]:
        """Names and shapes of the other arrays."""

    @property
    def output_shape(self) -> list[int]:
        """The shape of one sample's output."""

    @property
    def completed(self) -> int:
        """Steps that the last call of `train` did, also when it was interrupted."""

    def train(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        order: NDArray[np.int64],
        offsets: NDArray[np.int64],
        *,
        weights: NDArray[np.float32] | None,
        params: list[NDArray[np.float32]],
        slots: list[list[NDArray[np.float32]]],
        buffers: list[NDArray[np.float32]],
        decay: list[bool],
        rates: NDArray[np.float64],
        first_step: int,
        seed: int,
        first_draw: int,
        hyper_: dict[str, float],
        n_threads: int,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float | None]:
        """One step for each batch; arrays change in place.

        Returns losses, shares of hits, and the loss, if it is not finite, before whose step the
        training ended.
        """

    def predict(
        self,
        x: NDArray[Any],
        *,
        params: list[NDArray[np.float32]],
        buffers: list[NDArray[np.float32]],
        version: int | None,
        n_threads: int,
    ) -> NDArray[np.float32]:
        """Outputs for each row. Packed parameters are kept for calls with the same `version`."""

_F32 = NDArray[np.float32]
_Pair = tuple[int, int]
_Padding = tuple[tuple[int, int], tuple[int, int]]

def conv2d(
    x: _F32,
    w: _F32,
    b: _F32 | None,
    y: _F32,
    *,
    stride: _Pair,
    padding: _Padding,
    dilation: _Pair,
    groups: int,
    activation: str,
    n_threads: int,
) -> None:
    """Writes ``activation(x * w + b)`` to ``y``."""

def nn_inverted_residuals(
    x: _F32,
    weights: list[_F32 | None],
    geometry: list[tuple[_Pair, _Padding]],
    y: _F32,
    *,
    activation: str,
    n_threads: int,
) -> None:
    """Writes to `y` what inverted residuals, one after the other, make of `x`.

    `weights` holds 6 arrays for each block: kernel and bias of the widening (or none of them), of
    the depthwise convolution and of the narrowing; `geometry` stride and padding of each depthwise
    convolution.
    """

def conv2d_grad_input(
    gy: _F32,
    w: _F32,
    gx: _F32,
    *,
    stride: _Pair,
    padding: _Padding,
    dilation: _Pair,
    groups: int,
    n_threads: int,
) -> None:
    """Writes the gradient of `conv2d`'s input to ``gx``."""

def conv2d_grad_weight(
    x: _F32,
    gy: _F32,
    gw: _F32,
    *,
    stride: _Pair,
    padding: _Padding,
    dilation: _Pair,
    groups: int,
    n_threads: int,
) -> None:
    """Writes the gradient of `conv2d`'s kernel to ``gw``."""

def activation_backward_sums(
    gy: _F32, y: _F32, gz: _F32, gb: _F32, *, activation: str, n_threads: int
) -> None:
    """Writes ``gy`` times the slope at ``y`` to ``gz``, and its sums by channel to ``gb``."""

def conv2d_max_pool(
    x: _F32,
    w: _F32,
    b: _F32 | None,
    y: _F32,
    argmax: NDArray[np.int32],
    *,
    padding: _Padding,
    activation: str,
    n_threads: int,
) -> None:
    """Writes the maxima of 2 x 2 pixels of `conv2d` to ``y``, their places to ``argmax``."""

def conv2d_max_pool_backward(
    gy: _F32,
    y: _F32,
    argmax: NDArray[np.int32],
    x: _F32,
    w: _F32,
    gx: _F32 | None,
    gw: _F32,
    gb: _F32,
    *,
    padding: _Padding,
    activation: str,
    n_threads: int,
) -> None:
    """Writes the gradients of `conv2d_max_pool`'s inputs to ``gx``, ``gw`` and ``gb``."""

def max_pool2d(
    x: _F32,
    y: _F32,
    argmax: NDArray[np.int32],
    *,
    size: _Pair,
    stride: _Pair,
    padding: _Padding,
    n_threads: int,
) -> None:
    """Writes each window's maximum to ``y`` and its place to ``argmax``."""

def max_pool2d_backward(gy: _F32, argmax: NDArray[np.int32], gx: _F32, *, n_threads: int) -> None:
    """Writes the gradient of `max_pool2d`'s input to ``gx``."""

def avg_pool2d(
    x: _F32, y: _F32, *, size: _Pair, stride: _Pair, padding: _Padding, n_threads: int
) -> None:
    """Writes each window's mean to ``y``."""

def avg_pool2d_backward(
    gy: _F32, gx: _F32, *, size: _Pair, stride: _Pair, padding: _Padding, n_threads: int
) -> None:
    """Writes the gradient of `avg_pool2d`'s input to ``gx``."""

def nn_activation(
    x: NDArray[np.float32], name: str, y: NDArray[np.float32], n_threads: int
) -> None:
    """Writes the activation of `x` to `y`."""

def nn_activation_backward(
    gy: NDArray[np.float32],
    source: NDArray[np.float32],
    name: str,
    out: NDArray[np.float32],
    n_threads: int,
) -> None:
    """Writes `gy` times the derivative of an activation to `out`.

    `source` is its output, or its input where the derivative does not follow from the output.
    """

def nn_affine(
    x: NDArray[np.float32],
    w: NDArray[np.float32],
    b: NDArray[np.float32] | None,
    activation: str,
    y: NDArray[np.float32],
    n_threads: int,
) -> None:
    """Writes ``activation(x w + b)`` to `y`."""

def nn_encoder_blocks(
    x: NDArray[np.float32],
    weights: list[NDArray[np.float32]],
    heads: int,
    activation: str,
    norm_first: bool,
    causal: bool,
    eps: float,
    mask: NDArray[np.bool_] | None,
    n_threads: int,
) -> None:
    """Replaces `x` (samples, steps, width) by what encoder blocks make of it.

    `weights` holds 12 arrays for each block: kernel and bias of the attention and of its output,
    gain and offset of its normalization, kernel and bias of both dense layers, gain and offset of
    their normalization.
    """

def nn_bias_activation(
    z: NDArray[np.float32], bias: NDArray[np.float32], name: str, n_threads: int
) -> None:
    """Replaces each row z of `z` by the activation of z + `bias`."""

def nn_bias_activation_backward(
    gy: NDArray[np.float32],
    source: NDArray[np.float32],
    name: str,
    width: int,
    gz: NDArray[np.float32],
    n_threads: int,
) -> NDArray[np.float32]:
    """Writes the gradient of what an activation was taken of to `gz`.

    Returns its sums over rows of `width` numbers, the bias's gradient.
    """

def nn_dropout(
    seed: int,
    task: int,
    rate: float,
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    n_threads: int,
) -> None:
    """Writes `x` with random zeros, the rest multiplied by 1 / (1 - rate).

    Element n is kept where number n of the stream (seed, task) is at least `rate`.
    """

def nn_softmax(x: NDArray[np.float32], log: bool, y: NDArray[np.float32], n_threads: int) -> None:
    """Writes the softmax (or, if `log`, its logarithm) over the last axis of `x` to `y`."""

def nn_softmax_backward(
    gy: NDArray[np.float32],
    y: NDArray[np.float32],
    log: bool,
    gx: NDArray[np.float32],
    n_threads: int,
) -> None:
    """Writes the gradient of the input of `nn_softmax` to `gx`, given its output."""

def nn_softmax_cross_entropy(
    logits: NDArray[np.float32],
    targets: NDArray[np.int64],
    label_smoothing: float,
    losses: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    n_threads: int,
) -> None:
    """Writes each row's cross-entropy and probabilities."""

def nn_softmax_cross_entropy_backward(
    probabilities: NDArray[np.float32],
    targets: NDArray[np.int64],
    glosses: NDArray[np.float32],
    label_smoothing: float,
    out: NDArray[np.float32],
    n_threads: int,
) -> None:
    """Writes the gradient of the logits, given that of each row's loss."""

def nn_sigmoid_cross_entropy(
    logits: NDArray[np.float32],
    targets: NDArray[np.float32],
    out: NDArray[np.float32],
    n_threads: int,
) -> None:
    """Writes the binary cross-entropy of each logit and target."""

def nn_sigmoid_cross_entropy_backward(
    logits: NDArray[np.float32],
    targets: NDArray[np.float32],
    g: NDArray[np.float32],
    out: NDArray[np.float32],
    n_threads: int,
) -> None:
    """Writes the gradient of the logits of `nn_sigmoid_cross_entropy`."""

def nn_layer_norm(
    x: NDArray[np.float32],
    residual: NDArray[np.float32] | None,
    gamma: NDArray[np.float32],
    beta: NDArray[np.float32],
    eps: float,
    total: NDArray[np.float32] | None,
    y: NDArray[np.float32],
    mean: NDArray[np.float32],
    rstd: NDArray[np.float32],
    n_threads: int,
) -> None:
    """Writes `layer_norm` of `x`, or of `x + residual`, which is then written to `total`."""

def nn_layer_norm_backward(
    gy: NDArray[np.float32],
    extra: NDArray[np.float32] | None,
    x: NDArray[np.float32],
    gamma: NDArray[np.float32],
    mean: NDArray[np.float32],
    rstd: NDArray[np.float32],
    gx: NDArray[np.float32],
    n_threads: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Writes the gradient of the input, plus `extra`; returns those of gain and offset."""

def nn_batch_norm(
    x: NDArray[np.float32],
    gamma: NDArray[np.float32],
    beta: NDArray[np.float32],
    eps: float,
    activation: str,
    y: NDArray[np.float32],
    n_threads: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Writes `batch_norm` of `x` and returns mean and biased variance."""

def nn_batch_norm_backward(
    gy: NDArray[np.float32],
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    gamma: NDArray[np.float32],
    mean: NDArray[np.float32],
    var: NDArray[np.float32],
    eps: float,
    activation: str,
    gx: NDArray[np.float32],
    n_threads: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Writes the gradient of the input of `nn_batch_norm`; returns those of gain and offset."""

def nn_batch_norm_inference(
    x: NDArray[np.float32],
    gamma: NDArray[np.float32],
    beta: NDArray[np.float32],
    mean: NDArray[np.float32],
    var: NDArray[np.float32],
    eps: float,
    activation: str,
    y: NDArray[np.float32],
    n_threads: int,
) -> None:
    """Writes `batch_norm` of `x` with the given mean and variance."""

def nn_group_norm(
    x: NDArray[np.float32],
    gamma: NDArray[np.float32],
    beta: NDArray[np.float32],
    groups: int,
    eps: float,
    y: NDArray[np.float32],
    mean: NDArray[np.float32],
    rstd: NDArray[np.float32],
    n_threads: int,
) -> None:
    """Writes `group_norm` of `x`."""

def nn_group_norm_backward(
    gy: NDArray[np.float32],
    x: NDArray[np.float32],
    gamma: NDArray[np.float32],
    mean: NDArray[np.float32],
    rstd: NDArray[np.float32],
    groups: int,
    gx: NDArray[np.float32],
    n_threads: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Writes the gradient of the input of `nn_group_norm`; returns those of gain and offset."""

def nn_embedding(
    ids: NDArray[np.int64], table: NDArray[np.float32], out: NDArray[np.float32], n_threads: int
) -> None:
    """Writes row `ids[i]` of `table` to row `i` of `out`."""

def nn_embedding_backward(
    g: NDArray[np.float32], ids: NDArray[np.int64], out: NDArray[np.float32], n_threads: int
) -> None:
    """Writes to row `r` of `out` the sum of the rows `i` of `g` with `ids[i] == r`."""

def nn_attention(
    q: NDArray[np.float32],
    k: NDArray[np.float32],
    v: NDArray[np.float32],
    mask: NDArray[np.bool_] | None,
    causal: bool,
    scale: float,
    out: NDArray[np.float32],
    lse: NDArray[np.float32],
    n_threads: int,
) -> None:
    """Writes attention to `out` (samples, queries, heads, depth).

    The logarithms of the softmaxes' sums go to `lse` (samples, heads, queries).
    """

def nn_attention_backward(
    gout: NDArray[np.float32],
    q: NDArray[np.float32],
    k: NDArray[np.float32],
    v: NDArray[np.float32],
    out: NDArray[np.float32],
    lse: NDArray[np.float32],
    mask: NDArray[np.bool_] | None,
    causal: bool,
    scale: float,
    gq: NDArray[np.float32],
    gk: NDArray[np.float32],
    gv: NDArray[np.float32],
    n_threads: int,
) -> None:
    """Writes the gradients of q, k and v, each (samples, steps, heads, width).

    `out` and `lse` are those of `nn_attention`.
    """

def nn_attention_packed(
    qkv: NDArray[np.float32],
    heads: int,
    mask: NDArray[np.bool_] | None,
    causal: bool,
    scale: float,
    out: NDArray[np.float32],
    lse: NDArray[np.float32],
    n_threads: int,
) -> None:
    """`nn_attention` of one array that holds queries, keys and values."""

def nn_attention_packed_backward(
    gout: NDArray[np.float32],
    qkv: NDArray[np.float32],
    heads: int,
    out: NDArray[np.float32],
    lse: NDArray[np.float32],
    mask: NDArray[np.bool_] | None,
    causal: bool,
    scale: float,
    gqkv: NDArray[np.float32],
    n_threads: int,
) -> None:
    """Writes the gradient of `nn_attention_packed`'s array."""
