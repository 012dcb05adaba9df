"""Classification with a multilayer perceptron."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from ironlearn import _modelfile
from ironlearn.base import Classifier, encode_classes, whole_or_nothing
from ironlearn.exceptions import ModelFileError
from ironlearn.neural_network._mlp import MLP, PARAMETERS, _Fit
from ironlearn.nn.losses import Loss


def _in_steps(model: Any) -> bool:
    if model.solver != "lbfgs":
        return True
    raise AttributeError("partial_fit is only available for stochastic optimizers, not for lbfgs")


class MLPClassifier(Classifier, MLP):
    r"""Classification with a multilayer perceptron.

    Minimises the mean cross-entropy of the labels plus :math:`\frac{\alpha}{2 n} \|W\|^2` over the
    weights of fully connected layers, by steps over batches of :math:`n` rows or, with
    ``solver="lbfgs"``, over all rows at once.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Width of each hidden layer.
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        Activation of the hidden layers.
    solver : {"adam", "sgd", "lbfgs"}, default="adam"
        Adam; gradient descent with momentum; or L-BFGS on all rows in double precision, which
        suits few rows.
    alpha : float, default=0.0001
        Strength of the penalty on squared weights.
    batch_size : int or "auto", default="auto"
        Rows of a step; "auto" is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        For "sgd": the rate as it is; divided by ``t ** power_t`` after t rows; or divided by 5 each
        time that the loss stops to improve.
    learning_rate_init : float, default=0.001
        The learning rate.
    power_t : float, default=0.5
        Exponent of "invscaling".
    max_iter : int, default=200
        Most passes over the rows; of L-BFGS, most iterations.
    shuffle : bool, default=True
        Draw a new order of rows for each pass.
    random_state : int, RandomState instance or None, default=None
        Seed of the first weights, of the order of rows, and of the rows held back.
    tol : float, default=1e-4
        Improvements of loss or score below this do not count; of L-BFGS, the largest slope at the
        end.
    verbose : bool or int, default=False
        Print the loss of each pass.
    warm_start : bool, default=False
        Begin `fit` with the weights of the last one.
    momentum : float in [0, 1), default=0.9
        Momentum of "sgd".
    nesterovs_momentum : bool, default=True
        Look ahead along the momentum.
    early_stopping : bool, default=False
        Hold back `validation_fraction` of the rows and end when the accuracy on them no longer
        improves; the best weights are kept.
    validation_fraction : float, default=0.1
        Share of the rows that early stopping holds back.
    beta_1 : float in [0, 1), default=0.9
        Share of Adam's running mean that stays in a step.
    beta_2 : float in [0, 1), default=0.999
        The same of its running mean square.
    epsilon : float, default=1e-8
        Added to the root in Adam's steps.
    n_iter_no_change : int, default=10
        End after so many passes without improvement.
    max_fun : int, default=15000
        Most evaluations of L-BFGS.
    n_jobs : int, default=None
        Threads; ``None`` uses every processor this process may use. Results do not depend on it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels; of several labels a row, their columns.
    coefs_, intercepts_ : list of ndarray
        Weights (inputs, outputs) and biases (outputs,) of each layer. Read-only.
    loss_, best_loss_ : float
        The loss of the last pass, and the smallest one (``None`` with `early_stopping`).
    loss_curve_ : list of float
        The loss of each pass, penalty included.
    validation_scores_, best_validation_score_ : list of float, float
        Accuracy on the rows held back, after each pass, and its best; ``None`` without
        `early_stopping`.
    n_iter_ : int
        Passes of the last call.
    t_ : int
        Rows seen.
    n_layers_, n_outputs_ : int
        Layers, input and output included; width of the last.
    out_activation_ : {"softmax", "logistic"}
        Activation of the last layer.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    See Also
    --------
    MLPRegressor : The same for quantities.

    Notes
    -----
    Networks are trained in single precision (but for L-BFGS) whatever X is, and answer in double
    precision. For the same seed the first weights are those of scikit-learn; the order of rows is
    not. Scale the features: a pipeline with `StandardScaler` is the usual way. CSR matrices are
    made dense one batch at a time. First weights: Glorot and Bengio, "Understanding the difficulty
    of training deep feedforward neural networks", AISTATS 2010; Adam: Kingma and Ba,
    arXiv:1412.6980.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from ironlearn.neural_network import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(solver="lbfgs", alpha=0.1, tol=1e-2, random_state=0)
    >>> model = model.fit(scale(X), y)
    >>> model.score(scale(X), y) > 0.95
    True
    >>> model.predict_proba(scale(X)[:2]).shape
    (2, 3)
    """

    _several: bool

    _parameters = PARAMETERS

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        n_jobs: int | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to rows X with labels y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Finite numbers, best of about the same scale.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels of at least two classes; or, where a row may have several labels, a column
            of 0 and 1 for each.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.

        Returns
        -------
        self : MLPClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            X or y cannot be used, or, with `warm_start`, are of another kind than before.
        """
        self._validate_parameters()
        again = self.warm_start and hasattr(self, "_model")
        X = self._rows(X, reset=not again)
        targets = self._targets(y, again=again)
        warning = self._fit(X, targets, sample_weight, again=again, one=False)
        if warning:
            warnings.warn(warning, ConvergenceWarning, stacklevel=3)
        return self

    @available_if(_in_steps)  # type: ignore[untyped-decorator]
    @whole_or_nothing
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one pass over some rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Finite numbers.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels, or a column of 0 and 1 for each label.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.
        classes : array-like of shape (n_classes,), default=None
            All labels that may ever come; needed in the first call.

        Returns
        -------
        self : MLPClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            X or y cannot be used, `classes` is missing, or a label is not among them.
        """
        self._validate_parameters()
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        again = hasattr(self, "_model")
        X = self._rows(X, reset=not again)
        if not again and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if again and classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                f"{self.classes_!r}"
            )
        targets = self._targets(y, again=again, classes=classes)
        self._fit(X, targets, sample_weight, again=again, one=True)
        return self

    def _targets(self, y: Any, *, again: bool, classes: Any = None) -> NDArray[Any]:
        """Return targets in a column for each output; set ``classes_``."""
        if y is None:
            raise ValueError(
                "This MLPClassifier estimator requires y to be passed, but the target y is None."
            )
        kind = type_of_target(y, input_name="y")
        several = kind == "multilabel-indicator"
        if again and several != self._several:
            raise ValueError(f"y is {kind}, but the fitted network is for another kind of target.")
        if several:
            columns = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
            if again and columns.shape[1] != len(self.classes_):
                raise ValueError(
                    f"y has {columns.shape[1]} labels, but the fitted network {len(self.classes_)}."
                )
            self._several = True
            self.classes_ = np.arange(columns.shape[1])
            return columns.astype(np.float64)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        labels, numbers = encode_classes(y)
        codes = numbers.astype(np.intp)
        if again or classes is not None:
            known = self.classes_ if again else np.unique(column_or_1d(classes))
            unknown = np.setdiff1d(labels, known)
            if len(unknown):
                raise ValueError(
                    f"`y` has classes not in `self.classes_`: {unknown[:5].tolist()}; known are "
                    f"{known[:20].tolist()}."
                )
            codes = np.searchsorted(known, labels)[codes]
            labels = known
        if len(labels) < 2:
            raise ValueError(
                "MLPClassifier needs samples of at least 2 classes in the data, but y contains "
                f"only one class: {labels.tolist()[0]!r}"
            )
        self._several = False
        self.classes_ = labels
        if len(labels) == 2:
            return codes.astype(np.float64)[:, None]
        return np.eye(len(labels))[codes]

    def _output(self) -> str:
        return "logistic" if self._several or len(self.classes_) == 2 else "softmax"

    def _loss(self) -> tuple[Loss | str, float]:
        if self._output() == "softmax":
            return "cross_entropy", 1.0
        return "binary_cross_entropy", 1.0 / self.n_outputs_

    def _labels(self, scores: NDArray[Any]) -> NDArray[Any]:
        """Return classes of the last layer's sums, or of their activations shifted to 0."""
        if self._several:
            return (scores > 0).astype(np.int64)
        codes = scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(np.intp)
        return self.classes_[codes]

    def _score_of(self, scores: NDArray[Any], part: _Fit) -> float:
        truth = self._labels(part.y - 0.5)
        return float(accuracy_score(truth, self._labels(scores), sample_weight=part.weights))

    def _strata(self, part: _Fit) -> NDArray[Any] | None:
        if self._several:
            return None
        return part.y.argmax(axis=1) if part.y.shape[1] > 1 else part.y[:, 0]

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of each row of X (n_samples, n_features); 0 or 1 for several labels."""
        answers = self._answers(X)
        return self._labels(answers - 0.5 if self._model.output == "logistic" else answers)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class for each row of X.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        answers = self._answers(X)
        if answers.shape[1] == 1 and not self._several:
            return np.hstack([1 - answers, answers])
        return answers

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the logarithms of `predict_proba` for rows X (n_samples, n_features)."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        attributes, tensors = super()._model_state()
        attributes["several"] = self._several
        self._pack_classes(attributes, tensors)
        return attributes, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        super()._restore_model(attributes, tensors)
        self._several = attributes["several"]
        if type(self._several) is not bool or self._model.output not in ("logistic", "softmax"):
            raise ModelFileError("the model file holds no classifier.")
        outputs = self._model.n_outputs
        self._unpack_classes(attributes, tensors, 2 if outputs == 1 else outputs)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
