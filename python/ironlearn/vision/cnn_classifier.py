"""Classification of images with a small convolutional network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from ironlearn import _modelfile, _plots
from ironlearn._images import MOST_BYTES, as_floats, check_images
from ironlearn._parameters import BOOLEAN, MAPPING
from ironlearn.augmentation import ImageAugmentation
from ironlearn.exceptions import InvalidParameterError, ModelFileError
from ironlearn.neural_network._estimator import (
    CLASS_WEIGHT,
    DROPOUT,
    TRAINING,
    NeuralClassifier,
)
from ironlearn.nn.data import ArrayData
from ironlearn.vision._stack import small_cnn

#: What ``augment=True`` stands for: shifts of a fourteenth of the shorter side, small rotations.
_SHIFT, _ROTATION = 1 / 14, 10.0


class CNNClassifier(NeuralClassifier):
    """Classification of images: three convolutions, two poolings, two dense layers.

    Conv 32 - MaxPool - Conv 64 - MaxPool - Conv 64 - Dense 64 - Dense n_classes, with 3 x 3
    kernels, 2 x 2 pools and ReLU; minimises the cross-entropy. Images smaller than 18 pixels keep
    their size in the convolutions.

    Parameters
    ----------
    epochs : int, default=10
        Passes over the images.
    batch_size : int, default=32
        Images of a step.
    learning_rate : float, default=0.001
        The learning rate, or the largest one of a schedule.
    optimizer : {"adam", "adamw", "sgd", "rmsprop", "adagrad", "lion"} or Optimizer, default="adam"
        How weights follow gradients; an Optimizer has its own learning rate and penalties.
    schedule : {"constant", "cosine", "one_cycle", "step", "warmup", "plateau"} or Schedule, \
            default="constant"
        How the learning rate changes.
    weight_decay : float, default=0.0
        Share of the kernels, times the learning rate, that each step takes away.
    l1 : float, default=0.0
        Penalty on absolute kernel values.
    dropout : float, default=0.0
        Share of values dropped before each dense layer; half of it after each pooling.
    augment : bool or dict, default=False
        Change the training images at random each time they come: with True by shifts of up to a
        fourteenth of the shorter side and rotations up to 10 degrees; a dict has the settings of
        `ironlearn.augmentation.ImageAugmentation`, such as ``{"horizontal_flip": True}``.
    class_weight : dict or "balanced", default=None
        Weights of the classes.
    validation_fraction : float, default=0.1
        Share of the images that early stopping holds back where no validation data are given.
    early_stopping : bool, default=False
        End when the loss on held-back images has not improved for `patience` epochs, and keep the
        best weights.
    patience : int, default=5
        Epochs without improvement.
    warm_start : bool, default=False
        Go on from the fitted network in the next `fit`.
    callbacks : list, default=None
        See `ironlearn.nn.callbacks`; functions are called as ``function(trainer, record)`` after
        each epoch.
    device : {"cpu", "cuda", "cuda:<n>", "auto"}, default="cpu"
        Where to compute.
    precision : {"float32", "tf32", "float16", "bfloat16"}, default="float32"
        In which to train; see `ironlearn.nn.train.Trainer`. Predictions are computed in float32.
    random_state : int, RandomState instance or None, default=None
        Seed of the first weights, the order of images, dropout, augmentation and the split.
    verbose : bool or int, default=0
        1 shows a progress bar, 2 prints a line for each epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    image_shape_ : (int, int, int)
        Height, width and channels of the images.
    history_ : History
        Loss, accuracy, learning rate and seconds of each epoch, and ``val_`` ones of validation
        data.
    n_epochs_ : int
        Epochs trained, those of earlier calls included after a warm start.
    n_features_in_ : int
        Values of an image.

    Notes
    -----
    The network is that of LeCun et al., "Gradient-based learning applied to document recognition"
    (Proceedings of the IEEE 86, 1998), in today's form. `from_preset` has settings that take it
    further: ``"accurate"`` is for grey characters, where shifts and small rotations keep the class.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from ironlearn.vision import CNNClassifier
    >>> images, y = load_digits(return_X_y=True)
    >>> images = images.reshape(-1, 8, 8) / 16
    >>> model = CNNClassifier(epochs=3, random_state=0).fit(images[:1000], y[:1000])
    >>> model.score(images[1000:], y[1000:]) > 0.8
    True
    >>> model.predict_proba(images[:2]).shape
    (2, 10)
    """

    #: Settings by name, for `from_preset`.
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "accurate": {
            "epochs": 10,
            "batch_size": 64,
            "learning_rate": 3e-3,
            "schedule": "one_cycle",
            "dropout": 0.2,
            "augment": True,
        },
    }

    image_shape_: tuple[int, int, int]

    _parameters = {
        **TRAINING,
        "dropout": DROPOUT,
        "augment": (BOOLEAN, MAPPING),
        "class_weight": CLASS_WEIGHT,
    }

    def __init__(
        self,
        *,
        epochs: int = 10,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        optimizer: Any = "adam",
        schedule: Any = "constant",
        weight_decay: float = 0.0,
        l1: float = 0.0,
        dropout: float = 0.0,
        augment: bool | Mapping[str, Any] = False,
        class_weight: Mapping[Any, float] | str | None = None,
        validation_fraction: float = 0.1,
        early_stopping: bool = False,
        patience: int = 5,
        warm_start: bool = False,
        callbacks: Any = None,
        device: str = "cpu",
        precision: str = "float32",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = 0,
    ) -> None:
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.l1 = l1
        self.dropout = dropout
        self.augment = augment
        self.class_weight = class_weight
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.patience = patience
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def from_preset(cls, name: str, **parameters: Any) -> Self:
        """Return an estimator with the settings of a preset.

        Parameters
        ----------
        name : {"default", "accurate"}
            "accurate" has a one-cycle schedule, shifts and rotations, and dropout.
        **parameters
            Parameters beside or instead of the preset's.

        Returns
        -------
        CNNClassifier
            Not fitted.

        Raises
        ------
        InvalidParameterError
            There is no preset of that name.
        """
        if name not in cls.PRESETS:
            raise InvalidParameterError(
                f"a preset of {cls.__name__} must be one of {', '.join(cls.PRESETS)}, got {name!r}."
            )
        return cls(**{**cls.PRESETS[name], **parameters})

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        validation_data: Any = None,
        checkpoint: Any = None,
        resume: bool = False,
    ) -> Self:
        """Fit to images X with labels y.

        Parameters
        ----------
        X : array-like of shape (n, height, width) or (n, height, width, channels)
            Pixels: uint8, or floats in [0, 1]. A memory-mapped array stays on disk.
        y : array-like of shape (n,)
            Class labels of at least two classes.
        sample_weight : array-like of shape (n,), default=None
            Non-negative weights of the images.
        validation_data : (X, y) or (X, y, sample_weight), default=None
            Images to measure on after each epoch, and for early stopping.
        checkpoint : path, default=None
            Where to write the state of the training from time to time.
        resume : bool, default=False
            Go on from the checkpoint, if there is one.

        Returns
        -------
        self : CNNClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            X is no images, or pixels are NaN or out of range; y does not fit them or has only one
            class; or, with `warm_start`, images or classes are others than before.
        TypeError
            X holds neither uint8 nor floats.
        DivergedError
            The loss became NaN or infinite: the learning rate is too large.
        """
        self._validate_parameters()
        again = self.warm_start and hasattr(self, "_model")
        images, codes = self._training(X, y, again=again)
        weights = self._class_weights(codes, sample_weight)
        seed = self._seed()
        validation = self._validation(validation_data)
        if self.early_stopping and validation is None:
            kept, held = self._held_out(len(codes), seed, codes)
            share = None if weights is None else weights[held]
            validation = self._data(images[held], codes[held], share)
            weights = None if weights is None else weights[kept]
            images, codes = images[kept], codes[kept]
        data = self._data(images, codes, weights, augment=True)
        self._go(data, seed, again=again, validation=validation, files=(checkpoint, resume))
        return self

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, *, sample_weight: Any = None
    ) -> Self:
        """Train for one epoch over some images.

        Parameters
        ----------
        X : array-like of shape (n, height, width) or (n, height, width, channels)
            Pixels: uint8, or floats in [0, 1].
        y : array-like of shape (n,)
            Class labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that may ever come; needed in the first call.
        sample_weight : array-like of shape (n,), default=None
            Non-negative weights of the images.

        Returns
        -------
        self : CNNClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            As for `fit`; or `classes` is missing in the first call.
        """
        self._validate_parameters()
        again = hasattr(self, "_model")
        if not again and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        images, codes = self._training(X, y, again=again, classes=classes)
        weights = self._class_weights(codes, sample_weight)
        data = self._data(images, codes, weights, augment=True)
        self._go(data, self._seed(), again=again, epochs=1)
        return self

    def _go(
        self,
        data: ArrayData,
        seed: int,
        *,
        again: bool,
        validation: Any = None,
        epochs: int | None = None,
        files: tuple[Any, bool] = (None, False),
    ) -> None:
        shape = self.image_shape_
        network = self._start(
            lambda: small_cnn(shape, len(self.classes_), self.dropout), shape, seed, again=again
        )
        self._train(
            network,
            "cross_entropy",
            data,
            seed=seed,
            validation=validation,
            epochs=epochs,
            again=again,
            checkpoint=files[0],
            resume=files[1],
        )

    def _training(
        self, X: Any, y: Any, *, again: bool, classes: Any = None
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return images and numbers of classes; set ``image_shape_`` and ``classes_``."""
        images = check_images(type(self).__name__, X)
        if again:
            self._same_shape(images)
        codes = self._codes(y, again=again, classes=classes)
        if len(codes) != len(images):
            raise ValueError(f"X has {len(images)} images, but y {len(codes)} labels.")
        height, width, channels = images.shape[1:]
        self.image_shape_ = (height, width, channels)
        self.n_features_in_ = height * width * channels
        return images, codes

    def _same_shape(self, images: NDArray[Any]) -> None:
        if images.shape[1:] != self.image_shape_:
            raise ValueError(
                f"X has images of shape {images.shape[1:]}, but {type(self).__name__} was fitted "
                f"to {self.image_shape_} (height, width, channels)."
            )

    def _validation(self, given: Any) -> ArrayData | None:
        if given is None:
            return None
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            raise ValueError("validation_data must be (X, y) or (X, y, sample_weight).")
        images = check_images("validation_data", given[0])
        self._same_shape(images)
        codes = self._known_codes(given[1])
        if len(codes) != len(images):
            raise ValueError(f"validation_data has {len(images)} images, but {len(codes)} labels.")
        weights = self._class_weights(codes, given[2] if len(given) == 3 else None)
        return self._data(images, codes, weights)

    def _data(
        self,
        images: NDArray[Any],
        codes: NDArray[np.int64],
        weights: Any,
        *,
        augment: bool = False,
    ) -> ArrayData:
        """Return batches of images; what is large stays as it is until its batch comes."""
        change = self._augmentation(images.shape[1:]) if augment else None
        if images.size * 4 <= MOST_BYTES and not isinstance(images, np.memmap):
            # Networks take bytes as they are; each change of an image would convert them again.
            if change is not None or images.dtype != np.uint8:
                images = as_floats(images)
            return self._array_data(images, codes, weights, transform=change)

        def transform(batch: Any, rng: np.random.Generator) -> Any:
            floats = as_floats(batch)
            return floats if change is None else change(floats, rng)

        return self._array_data(images, codes, weights, transform=transform)

    def _augmentation(self, shape: tuple[int, ...]) -> ImageAugmentation | None:
        if self.augment is False:
            return None
        if isinstance(self.augment, Mapping):
            known = ImageAugmentation.__init__.__annotations__
            unknown = sorted(set(self.augment) - (set(known) - {"return"}))
            if unknown:
                raise InvalidParameterError(
                    f"augment of {type(self).__name__} has no setting {unknown[0]!r}; known are "
                    f"{', '.join(name for name in known if name != 'return')}."
                )
            return ImageAugmentation(**self.augment)
        shift = max(1, math.floor(min(shape[:2]) * _SHIFT))
        return ImageAugmentation(shift=shift, rotation=_ROTATION)

    # Prediction -------------------------------------------------------------------------------

    def _query(self, X: Any) -> NDArray[Any]:
        self._require_fit()
        images = check_images(type(self).__name__, X)
        self._same_shape(images)
        # Networks take bytes as they are.
        return images if images.dtype == np.uint8 else as_floats(images)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of each image.

        Parameters
        ----------
        X : array-like of shape (n, height, width) or (n, height, width, channels)
            Images of the fitted shape.

        Returns
        -------
        labels : ndarray of shape (n,)
            Their classes.
        """
        return self.classes_[self._outputs(self._query(X)).argmax(axis=1)]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class for each image.

        Parameters
        ----------
        X : array-like of shape (n, height, width) or (n, height, width, channels)
            Images of the fitted shape.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes)
            Columns in the order of ``classes_``.
        """
        return self._probabilities(self._query(X))

    # Pictures ---------------------------------------------------------------------------------

    def plot_samples(self, X: Any, y: Any = None, *, n: int = 16) -> Any:
        """Draw images with what is predicted for them.

        Parameters
        ----------
        X : array-like of shape (n, height, width) or (n, height, width, channels)
            Images.
        y : array-like of shape (n,), default=None
            Their labels; where the prediction is another one, both are shown in red.
        n : int, default=16
            How many images to draw, from the first on.

        Returns
        -------
        matplotlib.figure.Figure
            The figure.

        Raises
        ------
        ironlearn.exceptions.MissingExtraError
            matplotlib is not installed.
        """
        images = self._query(X)[:n]
        found = self.predict(images)
        truth = found if y is None else np.asarray(y)[:n]
        wrong = [bool(a != b) for a, b in zip(found, truth, strict=True)]
        titles = [
            f"{a}, is {b}" if bad else str(a) for a, b, bad in zip(found, truth, wrong, strict=True)
        ]
        shown = images if images.shape[3] == 3 else images[..., 0]
        return _plots.image_grid(shown, titles, wrong)

    def plot_confusion(self, X: Any, y: Any, *, ax: Any = None) -> Any:
        """Draw how many images of each class are taken for which.

        Parameters
        ----------
        X : array-like of shape (n, height, width) or (n, height, width, channels)
            Images.
        y : array-like of shape (n,)
            Their labels.
        ax : matplotlib Axes, default=None
            Where to draw; ``None`` makes a figure.

        Returns
        -------
        matplotlib Axes
            With the matrix.

        Raises
        ------
        ironlearn.exceptions.MissingExtraError
            matplotlib is not installed.
        """
        counts = confusion_matrix(y, self.predict(X), labels=self.classes_)
        return _plots.confusion(counts, [str(label) for label in self.classes_], ax=ax)

    # Files ------------------------------------------------------------------------------------

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        attributes, tensors = super()._model_state()
        self._pack_classes(attributes, tensors)
        return attributes, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        super()._restore_model(attributes, tensors)
        shape = self._model.input_shape
        if shape is None or len(shape) != 3 or None in shape:
            raise ModelFileError(f"the network takes inputs of shape {shape}, not images.")
        outputs = self._model.output_shape(shape)
        if len(outputs) != 1 or math.prod(shape) != self.n_features_in_:  # type: ignore[arg-type]
            raise ModelFileError(f"the network gives {outputs} for images of shape {shape}.")
        self.image_shape_ = (int(shape[0]), int(shape[1]), int(shape[2]))  # type: ignore[arg-type]
        self._unpack_classes(attributes, tensors, int(outputs[0]))  # type: ignore[arg-type]
