"""Regression with a multilayer perceptron."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, column_or_1d

from ironlearn import _modelfile
from ironlearn._parameters import options
from ironlearn.base import whole_or_nothing
from ironlearn.exceptions import ModelFileError
from ironlearn.neural_network._mlp import MLP, PARAMETERS, Poisson, _Fit
from ironlearn.neural_network.mlp_classifier import _in_steps
from ironlearn.nn.losses import Loss


class MLPRegressor(RegressorMixin, MLP):
    r"""Regression with a multilayer perceptron.

    Minimises half the mean squared error, or the Poisson deviance, plus
    :math:`\frac{\alpha}{2 n} \|W\|^2` over the weights of fully connected layers, by steps over
    batches of :math:`n` rows or, with ``solver="lbfgs"``, over all rows at once.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, default="squared_error"
        What is minimised; "poisson" is for counts and other targets that are not negative, and
        predicts the exponential of the last layer.
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
        Hold back `validation_fraction` of the rows and end when R² on them no longer
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
    coefs_, intercepts_ : list of ndarray
        Weights (inputs, outputs) and biases (outputs,) of each layer. Read-only.
    loss_, best_loss_ : float
        The loss of the last pass, and the smallest one (``None`` with `early_stopping`).
    loss_curve_ : list of float
        The loss of each pass, penalty included.
    validation_scores_, best_validation_score_ : list of float, float
        R² on the rows held back, after each pass, and its best; ``None`` without `early_stopping`.
    n_iter_ : int
        Passes of the last call.
    t_ : int
        Rows seen.
    n_layers_, n_outputs_ : int
        Layers, input and output included; number of targets.
    out_activation_ : {"identity", "exp"}
        Activation of the last layer.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string column names.

    See Also
    --------
    MLPClassifier : The same for classes; its notes hold here too.

    Notes
    -----
    Scale features and targets: steps that suit a target of deviance 1 take very long towards one of
    thousands.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from ironlearn.neural_network import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X, y = scale(X), scale(y)
    >>> model = MLPRegressor(
    ...     hidden_layer_sizes=(20,), solver="lbfgs", alpha=20.0, tol=1e-2, random_state=0
    ... )
    >>> model.fit(X, y).score(X, y) > 0.5
    True
    """

    _parameters = {"loss": (options("squared_error", "poisson"),), **PARAMETERS}

    def __init__(
        self,
        loss: str = "squared_error",
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
        self.loss = loss
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
        """Fit to rows X with targets y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Finite numbers, best of about the same scale.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Finite numbers; not negative with ``loss="poisson"``.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.

        Returns
        -------
        self : MLPRegressor
            The fitted estimator.

        Raises
        ------
        ValueError
            X or y cannot be used, or, with `warm_start`, are of another width than before.
        """
        self._validate_parameters()
        again = self.warm_start and hasattr(self, "_model")
        X = self._rows(X, reset=not again)
        warning = self._fit(X, self._targets(y), sample_weight, again=again, one=False)
        if warning:
            warnings.warn(warning, ConvergenceWarning, stacklevel=3)
        return self

    @available_if(_in_steps)  # type: ignore[untyped-decorator]
    @whole_or_nothing
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one pass over some rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Finite numbers.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Finite numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.

        Returns
        -------
        self : MLPRegressor
            The fitted estimator.

        Raises
        ------
        ValueError
            X or y cannot be used, or are of another width than before.
        """
        self._validate_parameters()
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        again = hasattr(self, "_model")
        X = self._rows(X, reset=not again)
        self._fit(X, self._targets(y), sample_weight, again=again, one=True)
        return self

    def _targets(self, y: Any) -> NDArray[Any]:
        """Return targets in a column for each output."""
        if y is None:
            raise ValueError(
                "This MLPRegressor estimator requires y to be passed, but the target y is None."
            )
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", allow_nd=False)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if self.loss == "poisson" and y.min(initial=0.0) < 0:
            raise ValueError(
                f'loss="poisson" needs targets that are not negative, but y has {y.min()}.'
            )
        return y.reshape(len(y), -1)

    def _output(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _loss(self) -> tuple[Loss | str, float]:
        if self.loss == "poisson":
            return Poisson(), 1.0
        return "mse", 2.0 / self.n_outputs_

    def _shown_loss(self, loss: float) -> float:
        return loss / self.n_outputs_ if self.loss == "squared_error" else loss

    def _score_of(self, scores: NDArray[Any], part: _Fit) -> float:
        values = np.exp(scores) if self.loss == "poisson" else scores
        if not np.isfinite(values).all():
            return -np.inf
        return float(r2_score(part.y, values, sample_weight=part.weights))

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the target of each row of X (n_samples, n_features).

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        targets : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The predictions.
        """
        answers = self._answers(X)
        return answers[:, 0] if answers.shape[1] == 1 else answers

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        super()._restore_model(attributes, tensors)
        if self._model.output not in ("identity", "exp"):
            raise ModelFileError("the model file holds no regressor.")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
