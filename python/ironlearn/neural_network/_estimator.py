"""The base of estimators that train a network: parameters, training, files, class codes."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ironlearn import _modelfile, _random
from ironlearn._feedforward import softmax
from ironlearn._parameters import (
    BOOLEAN,
    MAPPING,
    NONE,
    RANDOM_STATE,
    VERBOSE,
    Rule,
    Table,
    instance,
    integer,
    options,
    real,
)
from ironlearn.base import Classifier, Estimator, check_weights, encode_classes
from ironlearn.exceptions import InvalidParameterError, ModelFileError
from ironlearn.nn.callbacks import Callback
from ironlearn.nn.data import ArrayData, Batches, Transform, weights_by_class
from ironlearn.nn.history import History
from ironlearn.nn.layers.base import Layer
from ironlearn.nn.layers.sequential import initialize
from ironlearn.nn.losses import Loss
from ironlearn.nn.optimizers import OPTIMIZERS, Optimizer, get_optimizer
from ironlearn.nn.precision import PRECISIONS
from ironlearn.nn.schedules import SCHEDULES, Schedule
from ironlearn.nn.state import network_from, network_state
from ironlearn.nn.train import Trainer, predict

_DEVICES = re.compile(r"cpu|strict|auto|cuda(:[0-9]{1,3})?")
DEVICE = (
    Rule(
        lambda v: isinstance(v, str) and bool(_DEVICES.fullmatch(v)),
        "'cpu', 'cuda', 'cuda:<n>' or 'auto'",
    ),
)
CALLBACKS = (
    Rule(
        lambda v: (
            isinstance(v, Sequence)
            and not isinstance(v, str)
            and all(isinstance(one, Callback) or callable(one) for one in v)
        ),
        "a list of callbacks and functions",
    ),
    NONE,
)

#: Rows of the parameter table for what all estimators that train a network share. The defaults
#: stand in the constructors.
TRAINING: Table = {
    "epochs": (integer(1),),
    "batch_size": (integer(1),),
    "learning_rate": (real(0, closed="neither"),),
    "optimizer": (options(*OPTIMIZERS), instance(Optimizer, "an Optimizer")),
    "schedule": (options(*SCHEDULES), instance(Schedule, "a Schedule")),
    "weight_decay": (real(0),),
    "l1": (real(0),),
    "validation_fraction": (real(0, 1, closed="neither"),),
    "early_stopping": (BOOLEAN,),
    "patience": (integer(1),),
    "warm_start": (BOOLEAN,),
    "callbacks": CALLBACKS,
    "device": DEVICE,
    "precision": (options(*PRECISIONS),),
    "random_state": RANDOM_STATE,
    "verbose": (VERBOSE,),
}

#: Dropout rates, and the weights of classes.
DROPOUT = (real(0, 1, closed="left"),)
CLASS_WEIGHT = (options("balanced"), MAPPING, NONE)

#: Random streams of a fit beside the trainer's own.
_NETWORK, _SPLIT = 1, 2


class NeuralEstimator(Estimator):
    """Base of estimators whose model is a network of `ironlearn.nn`.

    A subclass has the parameters of `TRAINING` (and whatever else it takes), turns what its users
    pass into arrays, sets ``n_features_in_``, and calls `_start` for a network and `_train` to
    train it. `_outputs` then gives the network's outputs. Files, pickles, warm starts and what
    `partial_fit` needs are done here.

    Attributes
    ----------
    history_ : History
        Loss, metrics, learning rate and seconds of each epoch.
    n_epochs_ : int
        Epochs trained, those of earlier calls included after a warm start.
    """

    _model: Layer
    history_: History
    n_epochs_: int
    #: The optimizer's memory, for `partial_fit` and warm starts; not in files.
    _optimizer_state: dict[str, NDArray[Any]]
    #: Names of attributes that are JSON values and go to files as they are.
    _plain: ClassVar[tuple[str, ...]] = ()

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: Any
    schedule: Any
    weight_decay: float
    l1: float
    validation_fraction: float
    early_stopping: bool
    patience: int
    warm_start: bool
    callbacks: Any
    device: str
    precision: str
    random_state: Any
    verbose: Any

    # Training ---------------------------------------------------------------------------------

    def _seed(self) -> int:
        """Return the seed of a fit; a generator is drawn from."""
        return _random.seed_from(self.random_state)

    def _start(
        self,
        make: Callable[[], Layer],
        input_shape: tuple[int | None, ...],
        seed: int,
        *,
        again: bool,
    ) -> Layer:
        """Return the network to train: a new one or, to go on from, a copy of the fitted one.

        Parameters
        ----------
        make : callable
            Returns the network, not built.
        input_shape : tuple of int
            Shape of a sample.
        seed : int
            Seed of the fit.
        again : bool
            Go on from the fitted network if there is one.

        Raises
        ------
        ValueError
            The fitted network is another one than `make` returns, or takes other inputs.
        """
        network = initialize(make(), input_shape, _random.mix(seed ^ _NETWORK) >> 1)
        if not again or not hasattr(self, "_model"):
            return network
        fitted = self._model
        if network.spec() != fitted.spec() or network.input_shape != fitted.input_shape:
            raise ValueError(
                f"{type(self).__name__} cannot go on training: with these parameters and data the "
                "network would be another one than the fitted one. Use warm_start=False, or fit a "
                "new estimator."
            )
        return network.load_state(fitted.state())

    def _train(
        self,
        network: Layer,
        loss: Loss | str,
        data: Batches,
        *,
        seed: int,
        validation: Any = None,
        epochs: int | None = None,
        again: bool = False,
        metrics: Any = "auto",
        checkpoint: Any = None,
        resume: bool = False,
    ) -> None:
        """Train `network` and keep it, its history and the optimizer's memory.

        Parameters
        ----------
        network : Layer
            From `_start`.
        loss : Loss or str
            What to make small.
        data : Batches
            Training data.
        seed : int
            Seed of the fit.
        validation : Batches or tuple, default=None
            What early stopping watches and the history shows.
        epochs : int, default=None
            Epochs; the parameter `epochs` by default.
        again : bool, default=False
            Go on with the optimizer's memory, history and count of epochs.
        metrics : "auto", sequence or None, default="auto"
            What to measure beside the loss.
        checkpoint : path or Checkpoint, default=None
            Where to write the state of the training.
        resume : bool, default=False
            Go on from the checkpoint, if there is one.
        """
        before = self.n_epochs_ if again and hasattr(self, "n_epochs_") else 0
        optimizer = self._make_optimizer()
        trainer = Trainer(
            network,
            loss,
            optimizer,
            schedule=copy.deepcopy(self.schedule),
            metrics=metrics,
            device=self.device,
            precision=self.precision,
            # Epochs of a call that goes on are other ones than those before.
            random_state=_random.mix(seed + before) >> 1,
            verbose=int(self.verbose),
            callbacks=list(self.callbacks or ()),
        )
        if before and hasattr(self, "_optimizer_state"):
            optimizer.load_state(self._optimizer_state)
        history = trainer.fit(
            data,
            epochs=self.epochs if epochs is None else epochs,
            validation=validation,
            early_stopping=self.early_stopping and validation is not None,
            patience=self.patience,
            checkpoint=checkpoint,
            resume=resume,
        )
        if before:
            history = _joined(self.history_, history)
        self._model = network
        self.history_ = history
        self.n_epochs_ = history.epochs
        self._optimizer_state = optimizer.state()

    def _make_optimizer(self) -> Optimizer:
        if isinstance(self.optimizer, Optimizer):
            # One that was used before remembers the parameters of that time.
            return type(self.optimizer)(**self.optimizer.config())
        return get_optimizer(
            self.optimizer,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            l1=self.l1,
        )

    def _held_out(
        self, n_samples: int, seed: int, codes: NDArray[Any] | None = None
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows to train with and the rows that early stopping watches.

        Parameters
        ----------
        n_samples : int
            Number of rows.
        seed : int
            Seed of the fit.
        codes : ndarray, default=None
            Classes, to draw the same share of each.

        Raises
        ------
        ValueError
            There are too few rows to hold any back.
        """
        held = round(self.validation_fraction * n_samples)
        classes = 0 if codes is None else len(np.unique(codes))
        if held < max(1, classes) or n_samples - held < max(1, classes):
            raise ValueError(
                f"early_stopping with validation_fraction={self.validation_fraction} holds back "
                f"{held} of {n_samples} samples"
                + (f", too few for {classes} classes" if classes else "")
                + "; pass validation_data, or more samples, or early_stopping=False."
            )
        if codes is not None and np.bincount(codes).min() < 2:
            codes = None  # a class of one sample cannot be on both sides
        train, test = train_test_split(
            np.arange(n_samples),
            test_size=held,
            random_state=_random.mix(seed ^ _SPLIT) & 0xFFFFFFFF,
            stratify=codes,
        )
        return np.sort(train), np.sort(test)

    def _array_data(
        self,
        x: Any,
        y: Any,
        weights: Any = None,
        *,
        transform: Transform | None = None,
        batch_size: int | None = None,
    ) -> ArrayData:
        return ArrayData(
            x,
            y,
            weights,
            batch_size=min(batch_size or self.batch_size, len(y)),
            transform=transform,
        )

    # Prediction -------------------------------------------------------------------------------

    def _outputs(self, x: Any, *, batch_size: int = 256) -> NDArray[Any]:
        """Return the network's raw outputs for inputs `x`, in single precision."""
        self._require_fit()
        # A fitted network never changes: going on from it trains a copy.
        return predict(self._model, x, batch_size=batch_size, device=self.device, version=0)

    def _require_fit(self) -> None:
        """Raise `NotFittedError` before a fit; scikit-learn's check takes longer than an answer."""
        if "_model" not in self.__dict__:
            check_is_fitted(self)

    def plot_history(self, axes: Any = None) -> Any:
        """Draw loss and metrics over the epochs.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, default=None
            Where to draw; ``None`` makes a figure.

        Returns
        -------
        matplotlib.figure.Figure
            The figure.

        Raises
        ------
        ironlearn.exceptions.MissingExtraError
            matplotlib is not installed.
        """
        check_is_fitted(self)
        return self.history_.plot(axes)

    def summary(self) -> str:
        """Return a table of the fitted network's layers and their numbers of parameters."""
        from ironlearn.nn.layers.sequential import summary

        check_is_fitted(self)
        return summary(self._model)

    # Files ------------------------------------------------------------------------------------

    def _contents(self) -> _modelfile.Contents:
        # What was passed to watch or to steer training is no part of what was learned.
        kept = {name: getattr(self, name) for name in ("callbacks", "optimizer", "schedule")}
        try:
            self.callbacks = None
            for name in ("optimizer", "schedule"):
                if not isinstance(kept[name], str):
                    setattr(self, name, _name_of(kept[name]))
            return super()._contents()
        finally:
            for name, value in kept.items():
                setattr(self, name, value)

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        described, tensors = network_state(self._model)
        attributes = {
            "network": described,
            "history": self.history_.to_dict(),
            "n_epochs_": self.n_epochs_,
            **{name: getattr(self, name) for name in self._plain},
        }
        return attributes, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        self._model = network_from(attributes["network"], tensors)
        self.history_ = History.from_dict(attributes["history"])
        self.n_epochs_ = attributes["n_epochs_"]
        if type(self.n_epochs_) is not int or self.n_epochs_ < 0:
            raise ModelFileError(f"n_epochs_ is {self.n_epochs_!r}, no number of epochs.")
        for name in self._plain:
            setattr(self, name, attributes[name])

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        network = state.pop("_model", None)
        if isinstance(network, Layer):
            state["_packed_network"] = network_state(network)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        packed = state.pop("_packed_network", None)
        super().__setstate__(state)
        if packed is not None:
            self._model = network_from(*packed)


class NeuralClassifier(Classifier, NeuralEstimator):
    """Base of classifiers whose network has a logit for each class."""

    class_weight: Any

    def _codes(self, y: Any, *, again: bool, classes: Any = None) -> NDArray[np.int64]:
        """Return y as numbers of classes; set ``classes_`` where that is not fixed already.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Labels.
        again : bool
            Labels must be among those of the earlier fit.
        classes : array-like, default=None
            All labels that there are, where y need not have them all.

        Raises
        ------
        ValueError
            y holds no labels, fewer than two classes, or labels that are not known.
        """
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but y is None.")
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if again and hasattr(self, "classes_"):
            known = self.classes_
        elif classes is not None:
            known = np.unique(column_or_1d(classes))
        else:
            known, codes = encode_classes(y)
            self._check_classes(known)
            self.classes_ = known
            return codes.astype(np.int64)
        self._check_classes(known)
        self.classes_ = known
        return self._known_codes(y)

    def _check_classes(self, classes: NDArray[Any]) -> None:
        if len(classes) < 2:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes, but y contains only "
                f"one class: {classes.tolist()[0]!r}"
            )

    def _known_codes(self, y: Any) -> NDArray[np.int64]:
        """Return labels as numbers of fitted classes."""
        y = column_or_1d(y)
        places = np.searchsorted(self.classes_, y).clip(0, len(self.classes_) - 1)
        wrong = self.classes_[places] != y
        if np.any(wrong):
            label = y[wrong].tolist()[0]
            raise ValueError(
                f"y holds the label {label!r}, which is not among the classes "
                f"{_shown(self.classes_)}."
            )
        return places.astype(np.int64)

    def _class_weights(self, codes: NDArray[np.int64], sample_weight: Any) -> Any:
        """Return the weights of samples, those of their classes included, or ``None``."""
        weights = check_weights(sample_weight, len(codes))
        return weights_by_class(codes, self.class_weight, self.classes_, weights)

    def _probabilities(self, x: Any) -> NDArray[np.float64]:
        """Return the softmax of the outputs for network inputs `x`."""
        return softmax(self._outputs(x).astype(np.float64))


def _joined(before: History, after: History) -> History:
    joined = History.from_dict(before.to_dict())
    for i in range(after.epochs):
        joined.append({name: values[i] for name, values in after.items()})
    return joined


def _name_of(value: Any) -> str:
    """Return the short name of an optimizer or a schedule."""
    known: Mapping[str, type] = SCHEDULES if isinstance(value, Schedule) else OPTIMIZERS
    for name, kind in known.items():
        if type(value) is kind:
            return name
    raise InvalidParameterError(
        f"a {type(value).__name__} cannot be stored in a model file; known are {', '.join(known)}."
    )


def _shown(classes: NDArray[Any]) -> str:
    listed = ", ".join(repr(v) for v in classes[:10].tolist())
    return f"[{listed}{', ...' if len(classes) > 10 else ''}]"
