"""What the multilayer perceptrons for classes and for quantities share."""

from __future__ import annotations

import itertools
import math
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from ironlearn import _modelfile, _threads
from ironlearn._feedforward import FeedForward
from ironlearn._frames import validate_data
from ironlearn._parameters import (
    BOOLEAN,
    N_JOBS,
    RANDOM_STATE,
    VERBOSE,
    Rule,
    Table,
    integer,
    options,
    real,
)
from ironlearn.base import Estimator, check_weights
from ironlearn.exceptions import DivergedError, ModelFileError
from ironlearn.neural_network._lbfgs import Problem, minimise, poisson_constant
from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor
from ironlearn.nn.backend.device import Array
from ironlearn.nn.callbacks import Callback
from ironlearn.nn.data import ArrayData, Batch, Batches
from ironlearn.nn.layers import Dense, Sequential
from ironlearn.nn.losses import Loss
from ironlearn.nn.optimizers import SGD, Adam, Optimizer
from ironlearn.nn.schedules import Schedule
from ironlearn.nn.train import Trainer, predict

_ACTIVATIONS = {"identity": None, "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}


def _sizes(value: Any) -> list[int]:
    """Return the widths of the hidden layers."""
    found = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    if not all(integer(1).test(size) for size in found):
        raise ValueError(value)
    return [int(size) for size in found]


def _are_sizes(value: Any) -> bool:
    try:
        _sizes(value)
    except (TypeError, ValueError):
        return False
    return True


#: The parameters of both estimators.
PARAMETERS: Table = {
    "hidden_layer_sizes": (Rule(_are_sizes, "an int of at least 1 or a sequence of such"),),
    "activation": (options(*_ACTIVATIONS),),
    "solver": (options("adam", "sgd", "lbfgs"),),
    "alpha": (real(0),),
    "batch_size": (options("auto"), integer(1)),
    "learning_rate": (options("constant", "invscaling", "adaptive"),),
    "learning_rate_init": (real(0, closed="neither"),),
    "power_t": (real(0),),
    "max_iter": (integer(1),),
    "shuffle": (BOOLEAN,),
    "random_state": RANDOM_STATE,
    "tol": (real(0),),
    "verbose": (VERBOSE,),
    "warm_start": (BOOLEAN,),
    "momentum": (real(0, 1, closed="left"),),
    "nesterovs_momentum": (BOOLEAN,),
    "early_stopping": (BOOLEAN,),
    "validation_fraction": (real(0, 1, closed="left"),),
    "beta_1": (real(0, 1, closed="left"),),
    "beta_2": (real(0, 1, closed="left"),),
    "epsilon": (real(0, closed="neither"),),
    "n_iter_no_change": (integer(1), Rule(lambda v: v == math.inf, "infinity")),
    "max_fun": (integer(1),),
    "n_jobs": N_JOBS,
}


class Poisson(Loss):
    """Half the Poisson deviance of exp(output) from the target, summed over outputs."""

    name = "poisson"

    def per_sample(self, outputs: Tensor, targets: Array) -> Tensor:
        """Return each sample's loss."""
        if targets.ndim == 1:
            targets = targets[:, None]
        y = Tensor(targets.astype(outputs.dtype))
        constant = Tensor(poisson_constant(np.asarray(targets)).astype(outputs.dtype))
        losses = F.add(F.sub(F.exp(outputs), F.mul(outputs, y)), constant)
        return F.sum(losses, axis=1)


class _Rates(Schedule):
    """The learning rates of scikit-learn's "sgd" solver.

    ``"invscaling"`` divides by a power of the number of samples seen; ``"adaptive"`` divides by 5
    what `slow` says.
    """

    def __init__(self, kind: str, n_samples: int, power: float, scale: float = 1.0) -> None:
        self.kind, self.n_samples, self.power, self.scale = kind, n_samples, power, scale

    def rate(self, base: float, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Return the learning rate of step number `step`."""
        return base * self.factor(step // max(1, steps_per_epoch))

    def factor(self, epoch: int) -> float:
        """Return what the rate of an epoch is multiplied by."""
        if self.kind == "invscaling":
            return float((epoch * self.n_samples + 1) ** -self.power)
        return self.scale


class SparseRows(Batches):
    """Batches of rows of a CSR matrix, made dense one batch at a time."""

    n_samples: int
    batch_size: int
    n_batches: int

    def __init__(self, x: Any, y: Any, weights: Any, *, batch_size: int, shuffle: bool) -> None:
        self.x, self.y, self.weights, self.shuffle = x, y, weights, shuffle
        self.n_samples, self.batch_size = x.shape[0], batch_size
        self.n_batches = -(-self.n_samples // batch_size)

    def batches(self, epoch: int, rng: np.random.Generator, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of `epoch` from number `start` on."""
        order = rng.permutation(self.n_samples) if self.shuffle else np.arange(self.n_samples)
        for i in range(start, self.n_batches):
            rows = order[i * self.batch_size : (i + 1) * self.batch_size]
            weights = None if self.weights is None else self.weights[rows]
            yield self.x[rows].toarray(), self.y[rows], weights


class _Fit(NamedTuple):
    """What a fit trains on: targets are a column for each output."""

    X: Any
    y: NDArray[Any]
    weights: NDArray[np.float64] | None


class MLP(Estimator):
    """Base of both perceptrons; a subclass knows targets, output activation and score."""

    hidden_layer_sizes: Any
    activation: str
    solver: str
    alpha: float
    batch_size: Any
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: Any
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: Any
    max_fun: int
    n_jobs: int | None

    _model: FeedForward
    n_iter_: int
    n_outputs_: int
    t_: int
    loss_: float
    best_loss_: float | None
    best_validation_score_: float | None
    validation_scores_: list[float] | None
    loss_curve_: list[float]
    #: The optimizer's memory and the epochs without improvement, for `partial_fit`; not in files.
    _memory: dict[str, NDArray[Any]]
    _waited: int
    _scalars: ClassVar[tuple[str, ...]] = ("n_iter_", "t_", "loss_", "best_loss_")

    # What a fitted model shows --------------------------------------------------------------

    @property
    def coefs_(self) -> list[NDArray[Any]]:
        """Weights of each layer, shape (inputs, outputs). Read-only."""
        return list(self._fitted("coefs_").weights)

    @property
    def intercepts_(self) -> list[NDArray[Any]]:
        """Biases of each layer. Read-only."""
        return list(self._fitted("intercepts_").biases)

    @property
    def n_layers_(self) -> int:
        """Number of layers, input and output included."""
        return len(self._fitted("n_layers_").weights) + 1

    @property
    def out_activation_(self) -> str:
        """Activation of the last layer."""
        return self._fitted("out_activation_").output

    def _fitted(self, name: str) -> FeedForward:
        if "_model" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no {name} before it is fitted.")
        return self._model

    # Input ----------------------------------------------------------------------------------

    def _rows(self, X: Any, *, reset: bool) -> Any:
        X = validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            order="C",
        )
        return X

    def _answers(self, X: Any) -> NDArray[np.float64]:
        """Return the outputs of the fitted network."""
        if not sparse.issparse(X):
            X = self._predict_input(X)
        else:
            check_is_fitted(self)
            X = self._rows(X, reset=False)
        return self._model(X)

    def _fit_input(self, X: Any, *, reset: bool = True) -> Any:
        return self._rows(X, reset=reset)

    # Training -------------------------------------------------------------------------------

    @abstractmethod
    def _output(self) -> str:
        """Return the activation of the last layer."""

    @abstractmethod
    def _loss(self) -> tuple[Loss | str, float]:
        """Return the loss, and how many times its gradient is that of the sum over outputs."""

    def _shown_loss(self, loss: float) -> float:
        """Return the loss that is told of a sum over outputs."""
        return loss

    @abstractmethod
    def _score_of(self, scores: NDArray[Any], part: _Fit) -> float:
        """Return the score of the last layer's sums; what early stopping watches."""

    def _strata(self, part: _Fit) -> NDArray[Any] | None:
        """Return what a split should keep the shares of."""
        return None

    def _fit(self, X: Any, y: NDArray[Any], sample_weight: Any, *, again: bool, one: bool) -> str:
        """Train and keep the model; return a warning for the caller to give, or nothing.

        Parameters
        ----------
        X : array or CSR matrix
            Rows.
        y : ndarray of shape (n_samples, n_outputs)
            Targets.
        sample_weight : array-like or None
            Weights.
        again : bool
            Go on from the fitted weights.
        one : bool
            Train for one epoch, with the optimizer's memory of the last.
        """
        check_consistent_length(X, y)
        weights = check_weights(sample_weight, X.shape[0])
        random = check_random_state(self.random_state)
        self.n_outputs_ = y.shape[1]
        start = self._start_weights(X.shape[1], random, again=again)
        data = _Fit(X, y, weights)
        with _threads.limited(self.n_jobs):
            if self.solver == "lbfgs":
                return self._fit_lbfgs(data, start)
            return self._fit_steps(data, start, random, again=again, one=one)

    def _start_weights(
        self, n_features: int, random: np.random.RandomState, *, again: bool
    ) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        widths = [n_features, *_sizes(self.hidden_layer_sizes), self.n_outputs_]
        if again:
            fitted = [self._model.n_inputs, *(w.shape[1] for w in self._model.weights)]
            if fitted != widths:
                raise ValueError(
                    f"{type(self).__name__} cannot go on training: the fitted layers are "
                    f"{fitted} wide, but now {widths} are asked for."
                )
            return list(self._model.weights), list(self._model.biases)
        weights, biases = [], []
        for inputs, outputs in itertools.pairwise(widths):
            # Glorot and Bengio's bound; a logistic unit takes its inputs less steeply.
            bound = math.sqrt((2.0 if self.activation == "logistic" else 6.0) / (inputs + outputs))
            weights.append(random.uniform(-bound, bound, (inputs, outputs)))
            biases.append(random.uniform(-bound, bound, outputs))
        return weights, biases

    def _fit_lbfgs(self, data: _Fit, start: tuple[list[NDArray[Any]], list[NDArray[Any]]]) -> str:
        X = data.X.astype(np.float64, copy=False)
        y = data.y.astype(np.float64)
        problem = Problem(X, y, data.weights, self.activation, self._output(), self.alpha)
        found = minimise(
            problem,
            *start,
            max_iter=self.max_iter,
            max_fun=self.max_fun,
            tol=self.tol,
            verbose=int(self.verbose),
        )
        self._model = found.model
        self.n_iter_, self.loss_ = found.n_iter, found.loss
        self.t_ = 0
        self.loss_curve_ = []
        self.best_loss_ = found.loss
        self.validation_scores_ = self.best_validation_score_ = None
        self._memory, self._waited = {}, 0
        if found.converged:
            return ""
        return (
            f"lbfgs ended after {found.n_iter} iterations without reaching tol={self.tol}: "
            f"{found.message}. Raise max_iter or scale the data."
        )

    def _fit_steps(
        self,
        data: _Fit,
        start: tuple[list[NDArray[Any]], list[NDArray[Any]]],
        random: np.random.RandomState,
        *,
        again: bool,
        one: bool,
    ) -> str:
        seed = int(random.randint(1 << 31))
        train, held = data, None
        if self.early_stopping:
            train, held = self._split(data, random)
        n = train.X.shape[0]
        batch = min(200 if self.batch_size == "auto" else int(self.batch_size), n)
        if self.batch_size != "auto" and self.batch_size > n:
            warnings.warn(
                f"batch_size={self.batch_size} is larger than the {n} samples; all of them make "
                "one batch.",
                UserWarning,
                stacklevel=5,
            )
        network = self._network(train.X.shape[1], start)
        loss, factor = self._loss()
        optimizer = self._optimizer(batch, factor)
        rates = _Rates(self.learning_rate, n, self.power_t)
        watch = _Watch(self, held, batch, factor, rates)
        if again:
            watch.go_on(self)
        trainer = Trainer(
            network,
            loss,
            optimizer,
            schedule=rates if self.solver == "sgd" else "constant",
            metrics=None,
            random_state=seed + (self.t_ if again else 0),
            verbose=0,
            callbacks=(watch,),
        )
        if again and one and self._memory:
            optimizer.load_state(self._memory)
        codes = self._output() == "softmax"
        batches = _batches(train, batch, self.shuffle, codes=codes)
        try:
            trainer.fit(batches, epochs=1 if one else self.max_iter)
        except DivergedError as error:
            raise ValueError(
                f"Solver produced non-finite parameter weights ({error}). The input data may "
                "contain large values and need to be preprocessed."
            ) from error
        if watch.epochs == 0:
            raise KeyboardInterrupt
        self._keep(network if watch.best is None else watch.best, network)
        self._memory, self._waited = optimizer.state(), watch.waited
        self.n_iter_ = watch.epochs
        self.t_ = (self.t_ if again else 0) + watch.epochs * n
        self.loss_curve_ = watch.losses
        self.loss_ = watch.losses[-1]
        self.best_loss_ = None if held is not None else watch.best_loss
        self.validation_scores_ = None if held is None else watch.scores
        self.best_validation_score_ = None if held is None else watch.best_score
        if one or watch.converged or trainer.interrupted_:
            return ""
        return (
            f"Stochastic optimizer: {self.max_iter} iterations (max_iter) were not enough: the "
            f"loss still improves by more than tol={self.tol}."
        )

    def _split(self, data: _Fit, random: np.random.RandomState) -> tuple[_Fit, _Fit]:
        n = data.X.shape[0]
        strata = self._strata(data)
        if strata is not None and np.unique(strata, return_counts=True)[1].min() < 2:
            strata = None  # a class of one row cannot be on both sides
        try:
            rows = train_test_split(
                np.arange(n),
                test_size=self.validation_fraction,
                random_state=random,
                stratify=strata,
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping cannot hold back validation_fraction={self.validation_fraction} "
                f"of {n} samples: {error}"
            ) from error
        if len(rows[1]) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        first, second = (
            _Fit(data.X[r], data.y[r], None if data.weights is None else data.weights[r])
            for r in rows
        )
        return first, second

    def _network(
        self, width: int, start: tuple[list[NDArray[Any]], list[NDArray[Any]]]
    ) -> Sequential:
        *hidden, last = (w.shape[1] for w in start[0])
        name = _ACTIVATIONS[self.activation]
        network = Sequential([*(Dense(size, name) for size in hidden), Dense(last)])
        network.initialize((width,), 0)
        state = {}
        for number, (w, b) in enumerate(zip(*start, strict=True)):
            state[f"layers.{number}.kernel"], state[f"layers.{number}.bias"] = w, b
        return network.load_state(state)

    def _optimizer(self, batch: int, factor: float) -> Optimizer:
        # The loss's gradient is `factor` times scikit-learn's: the numbers that are compared with
        # gradients are scaled alike, and steps are the same.
        penalty = factor * self.alpha / batch
        if self.solver == "adam":
            return Adam(
                self.learning_rate_init,
                self.beta_1,
                self.beta_2,
                self.epsilon * factor,
                l2=penalty,
            )
        return SGD(
            self.learning_rate_init / factor,
            self.momentum,
            self.nesterovs_momentum,
            l2=penalty,
        )

    def _keep(self, network: Sequential | dict[str, NDArray[Any]], shape: Sequential) -> None:
        state = network if isinstance(network, dict) else network.state()
        layers = range(len(shape.layers))
        weights = [state[f"layers.{i}.kernel"] for i in layers]
        biases = [state[f"layers.{i}.bias"] for i in layers]
        if not all(np.isfinite(part).all() for part in (*weights, *biases)):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )
        self._model = FeedForward(weights, biases, self.activation, self._output())

    # Files ----------------------------------------------------------------------------------

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        model = self._model
        attributes = {
            "layers": len(model.weights),
            "hidden": model.hidden,
            "output": model.output,
            "n_iter_": self.n_iter_,
            "t_": self.t_,
            "loss_": self.loss_,
            "best_loss_": self.best_loss_,
            "best_validation_score_": self.best_validation_score_,
        }
        tensors = model.tensors()
        tensors["loss_curve"] = np.array(self.loss_curve_, dtype=np.float64)
        if self.validation_scores_ is not None:
            tensors["validation_scores"] = np.array(self.validation_scores_, dtype=np.float64)
        return attributes, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        self._model = FeedForward.from_tensors(
            tensors, attributes["layers"], attributes["hidden"], attributes["output"]
        )
        if self._model.n_inputs != self.n_features_in_:
            raise ModelFileError(
                f"the model file has {self.n_features_in_} features, but weights for "
                f"{self._model.n_inputs}."
            )
        self.n_outputs_ = self._model.n_outputs
        self.n_iter_, self.t_ = int(attributes["n_iter_"]), int(attributes["t_"])
        self.loss_ = float(attributes["loss_"])
        best, score = attributes["best_loss_"], attributes["best_validation_score_"]
        self.best_loss_ = None if best is None else float(best)
        self.best_validation_score_ = None if score is None else float(score)
        self.loss_curve_ = [float(v) for v in tensors["loss_curve"]]
        scores = tensors.get("validation_scores")
        self.validation_scores_ = None if scores is None else [float(v) for v in scores]
        self._memory, self._waited = {}, 0

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class _Watch(Callback):
    """Follows the loss or the score on held-out rows, and ends the training as scikit-learn does.

    Parameters
    ----------
    owner : MLP
        Whose training.
    held : _Fit or None
        Rows to score on, where it stops early.
    batch : int
        Rows of a batch.
    factor : float
        How many times scikit-learn's the loss is.
    rates : _Rates
        What to slow down where the learning rate is adaptive.
    """

    def __init__(
        self, owner: MLP, held: _Fit | None, batch: int, factor: float, rates: _Rates
    ) -> None:
        self._owner, self._held, self._factor, self._rates = owner, held, factor, rates
        self._penalty = 0.5 * owner.alpha / batch
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.best_loss, self.best_score = math.inf, -math.inf
        self.best: dict[str, NDArray[Any]] | None = None
        self.waited = self.epochs = 0
        self.converged = False

    def go_on(self, owner: MLP) -> None:
        """Take over what an earlier training had found."""
        self.losses = list(owner.loss_curve_)
        self.scores = list(owner.validation_scores_ or ())
        self.waited = owner._waited
        if owner.best_loss_ is not None:
            self.best_loss = owner.best_loss_
        if owner.best_validation_score_ is not None and self._held is not None:
            self.best_score = owner.best_validation_score_

    def on_epoch_end(self, trainer: Trainer, record: dict[str, float]) -> None:
        """Compare with the best so far."""
        owner = self._owner
        self.epochs += 1
        kernels = [p.data for p in trainer.network.parameters() if p.decay]
        squares = sum(float(np.dot(w.ravel(), w.ravel())) for w in kernels)
        loss = owner._shown_loss(record["loss"] / self._factor) + self._penalty * squares
        self.losses.append(loss)
        told = f"Iteration {self.epochs}, loss = {loss:.8f}"
        if self._held is None:
            worse = loss > self.best_loss - owner.tol
            self.best_loss = min(self.best_loss, loss)
        else:
            outputs = predict(trainer.network, _single(self._held.X))
            score = owner._score_of(outputs, self._held)
            told += f", validation score = {score:.6f}"
            self.scores.append(score)
            worse = score < self.best_score + owner.tol
            if self.best is None or score > self.best_score:
                self.best_score = max(score, self.best_score)
                self.best = trainer.network.state()
        self.waited = self.waited + 1 if worse else 0
        if owner.verbose:
            print(told)
        before = self._rates.factor(self.epochs - 1)
        if self.waited > owner.n_iter_no_change:
            slow = owner.solver == "sgd" and owner.learning_rate == "adaptive"
            if slow and owner.learning_rate_init * self._rates.scale > 1e-6:
                self._rates.scale /= 5
                self.waited = 0
            else:
                self.converged = trainer.stop = True
        # Momentum is a sum of steps, not of gradients: those taken keep the length they had.
        slower = before / self._rates.factor(self.epochs)
        if slower != 1.0:
            for velocity in trainer.optimizer.slots.get("velocity", ()):
                velocity *= np.float32(slower)


def _single(X: Any) -> NDArray[Any]:
    """Return rows as the network takes them."""
    dense = X.toarray() if sparse.issparse(X) else X
    return dense.astype(np.float32, copy=False)


def _batches(part: _Fit, batch: int, shuffle: bool, *, codes: bool) -> Batches:
    """Return batches in single precision; with `codes`, targets are numbers of classes."""
    with np.errstate(over="ignore"):
        y = part.y.argmax(axis=1) if codes else part.y.astype(np.float32)
        X = part.X.astype(np.float32, copy=False)
        stored = X.data if sparse.issparse(X) else X
    for name, values in (("X", stored), ("y", y)):
        if not np.isfinite(values).all():
            raise ValueError(
                f"{name} contains values too large for single precision, in which networks train."
            )
    if sparse.issparse(X):
        return SparseRows(X, y, part.weights, batch_size=batch, shuffle=shuffle)
    return ArrayData(X, y, part.weights, batch_size=batch, shuffle=shuffle)
