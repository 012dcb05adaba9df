"""Forecasts of series by an LSTM, averaged with a linear map of the same window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ironlearn import _modelfile
from ironlearn._parameters import BOOLEAN, NONE, Rule, Table, integer, options
from ironlearn.exceptions import InvalidParameterError
from ironlearn.neural_network._estimator import DROPOUT, TRAINING, NeuralEstimator
from ironlearn.nn.history import History
from ironlearn.nn.layers import LSTM, Dense, Dropout, Layer, Sequential
from ironlearn.series._backtest import Backtest, roll
from ironlearn.series._frames import Series, read
from ironlearn.series._model import Forecaster, check_positive, network_outputs
from ironlearn.series._pipeline import (
    SKIPS,
    Pipeline,
    Settings,
    Windows,
    held_out,
    linear_errors,
)
from ironlearn.series._windows import count

_Array = NDArray[np.float64]

_LAGS = Rule(
    lambda v: (
        isinstance(v, Sequence)
        and not isinstance(v, str)
        and all(integer(1).test(lag) for lag in v)
    ),
    "a sequence of ints >= 1",
)
_COLUMNS = Rule(
    lambda v: (
        isinstance(v, Sequence)
        and not isinstance(v, str)
        and all(isinstance(one, str) or integer(0).test(one) for one in v)
    ),
    "a sequence of columns' names or numbers",
)


class LSTMForecaster(NeuralEstimator):
    """Forecaster of one or several series: all steps of the horizon at once, from a window.

    The network is LSTM 50 (sequences) - LSTM 50 - Dense horizon, trained by the mean squared error.
    Its forecast is averaged with that of a linear map of the same window (ridge regression), with
    the share that forecasts held-out windows best: such maps alone beat many deep forecasters (Zeng
    et al., "Are transformers effective for time series forecasting?", AAAI 2023), and what the two
    get wrong is not the same. ``linear=False`` is the network alone.

    Parameters
    ----------
    window : int, default=24
        Steps that a forecast reads: the lags. Take one or two seasons where there are seasons.
    horizon : int, default=12
        Steps to forecast.
    units : int, default=50
        Width of the LSTM layers.
    n_layers : int, default=2
        Number of LSTM layers.
    skip : {"none", "last", "seasonal"}, default="none"
        What the network corrects: nothing, the last value, or the season before. With ``"last"`` it
        reads the window relative to the last value, too, which suits series whose level wanders.
    linear : bool, default=True
        Average with a linear map of the window, for each series its own.
    shared : bool, default=False
        With several series, use one network for each series alone, with the same weights for all,
        instead of one that reads and forecasts all of them together.
    segment : int, default=1
        Steps that the network reads at once: a window of 96 steps in segments of 24 is a sequence
        of 4. Long windows are learned faster and better so (Lin et al., "SegRNN: segment recurrent
        neural network for long-term time series forecasting", arXiv:2308.11200).
        Must divide `window`, and `horizon` too where inputs are known ahead.
    seasonal_period : int, default=None
        Steps of a season: for ``skip="seasonal"``, for MASE, and for the seasonal-naive forecasts
        of `backtest`. ``None`` is 1.
    log : bool or "auto", default="auto"
        Work on logarithms, for series whose swings grow with their level. ``"auto"`` does where all
        values are positive and a linear map errs less that way.
    difference : int or sequence of int, default=()
        Lags to take differences over before all else: ``1`` for changes from step to step, ``(1,
        12)`` for those of changes over a year of months. Forecasts are summed up again.
    scaling : {"standard", "minmax", "robust", "none"}, default="standard"
        Scale of each series, learned from training steps only.
    known_future : "all", sequence of str or int, or None, default=None
        Columns of X that are known ahead, such as the calendar or plans; `predict` needs them for
        the steps to forecast.
    dropout : float, default=0.0
        Probability that an input of the last layer is dropped in training.
    refit : bool, default=True
        After the held-out windows have settled the number of epochs, the network's share and the
        intervals, learn anew from all windows for as many epochs. Takes up to twice the time, and
        reads the most recent steps too.
    epochs : int, default=100
        Most passes over the windows.
    batch_size : int, default=32
        Windows in a batch.
    learning_rate : float, default=1e-3
        Of the optimizer.
    optimizer : str or Optimizer, default="adam"
        See `ironlearn.nn.optimizers`.
    schedule : str or Schedule, default="constant"
        Learning rate over the steps; see `ironlearn.nn.schedules`.
    weight_decay, l1 : float, default=0.0
        Penalties on the network's weights.
    early_stopping : bool, default=True
        End when the error on held-out windows no longer falls, and keep the best weights.
    validation_fraction : float, default=0.2
        Share of the windows held out, from the end; windows whose targets overlap with them are
        left out of training.
    patience : int, default=10
        Epochs without improvement to wait for.
    callbacks : list of Callback, default=None
        See `ironlearn.nn.callbacks`.
    device : str, default="cpu"
        Where to compute.
    precision : {"float32", "tf32", "float16", "bfloat16"}, default="float32"
        In which to train; see `ironlearn.nn.train.Trainer`. Predictions are computed in float32.
    warm_start : bool, default=False
        A further `fit` begins with the network of the one before.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, order and dropout: equal ones give equal results.
    verbose : bool or int, default=0
        1 shows progress, 2 prints a line for each epoch.

    Attributes
    ----------
    history_ : History
        Loss on training and held-out windows of each epoch, of the training before `refit`.
    n_epochs_ : int
        Epochs trained.
    log_ : bool
        Logarithms were taken.
    blend_ : ndarray of shape (n_series,)
        Share of the network in the average with the linear map.
    n_features_in_ : int
        Number of series.

    Notes
    -----
    Intervals are those of split conformal prediction on the held-out windows. They hold on average
    over series whose errors keep their size; neighbouring windows are not independent.

    Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9 (1997).

    Examples
    --------
    >>> import numpy as np
    >>> y = np.sin(np.arange(200) * 2 * np.pi / 12)
    >>> model = LSTMForecaster(window=12, horizon=3, epochs=2, random_state=0).fit(y)
    >>> bool(np.abs(model.predict() - np.sin(np.arange(200, 203) * 2 * np.pi / 12)).max() < 0.01)
    True
    """

    _parameters: ClassVar[Table] = {
        **TRAINING,
        "window": (integer(1),),
        "horizon": (integer(1),),
        "units": (integer(1),),
        "n_layers": (integer(1, 16),),
        "skip": (options(*SKIPS),),
        "linear": (BOOLEAN,),
        "shared": (BOOLEAN,),
        "segment": (integer(1),),
        "seasonal_period": (integer(1), NONE),
        "log": (BOOLEAN, options("auto")),
        "difference": (integer(1), _LAGS),
        "scaling": (options("standard", "minmax", "robust", "none"),),
        "known_future": (options("all"), _COLUMNS, NONE),
        "dropout": DROPOUT,
        "refit": (BOOLEAN,),
    }

    _forecaster: Forecaster

    def __init__(
        self,
        *,
        window: int = 24,
        horizon: int = 12,
        units: int = 50,
        n_layers: int = 2,
        skip: str = "none",
        linear: bool = True,
        shared: bool = False,
        segment: int = 1,
        seasonal_period: int | None = None,
        log: bool | str = "auto",
        difference: int | Sequence[int] = (),
        scaling: str = "standard",
        known_future: Any = None,
        dropout: float = 0.0,
        refit: bool = True,
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        optimizer: Any = "adam",
        schedule: Any = "constant",
        weight_decay: float = 0.0,
        l1: float = 0.0,
        early_stopping: bool = True,
        validation_fraction: float = 0.2,
        patience: int = 10,
        callbacks: Any = None,
        device: str = "cpu",
        precision: str = "float32",
        warm_start: bool = False,
        random_state: Any = None,
        verbose: Any = 0,
    ) -> None:
        self.window = window
        self.horizon = horizon
        self.units = units
        self.n_layers = n_layers
        self.skip = skip
        self.linear = linear
        self.shared = shared
        self.segment = segment
        self.seasonal_period = seasonal_period
        self.log = log
        self.difference = difference
        self.scaling = scaling
        self.known_future = known_future
        self.dropout = dropout
        self.refit = refit
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.l1 = l1
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.callbacks = callbacks
        self.device = device
        self.precision = precision
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    # Learning ---------------------------------------------------------------------------------

    def fit(self, y: Any, X: Any = None) -> Self:
        """Learn from a series.

        Parameters
        ----------
        y : array-like of shape (n_steps,) or (n_steps, n_series)
            The series, oldest step first: an array, or a pandas Series or data frame, whose index
            must increase.
        X : array-like of shape (n_steps,) or (n_steps, n_inputs), default=None
            Exogenous inputs of the same steps.

        Returns
        -------
        Self
            The fitted forecaster.

        Raises
        ------
        TypeError
            A column holds no numbers.
        ValueError
            The series is too short, has gaps, or an index that goes back; or X does not fit it.
        """
        self._validate_parameters()
        series = read(y, "y")
        inputs = None if X is None else read(X, "X")
        if inputs is not None and len(inputs.values) != len(series.values):
            raise ValueError(f"X has {len(inputs.values)} steps, but y {len(series.values)}.")
        exogenous = np.zeros((len(series.values), 0)) if inputs is None else inputs.values
        settings = self._settings(inputs)
        seed = self._seed()
        end = self._split(len(series.values), settings)
        settings = self._with_log(settings, series.values, exogenous)
        check_positive(series.values, settings.log, "y")

        levels = np.log(series.values) if settings.log else series.values
        pipeline, windows, goal = Pipeline.learn(settings, levels[:end], exogenous[:end])
        held, held_goal, before, after = held_out(pipeline, levels, exogenous, end)
        network = self._learn(pipeline, windows, goal, seed, validation=(held, held_goal))
        history, epochs = self.history_, self.n_epochs_
        outputs = network_outputs(network, pipeline, held, self.device)
        pipeline = pipeline.blended(held, outputs, held_goal)
        errors = after - pipeline.forecast(held, outputs, before)
        if self.refit:
            blend, best = pipeline.blend, history.best_epoch
            pipeline, windows, goal = Pipeline.learn(settings, levels, exogenous)
            pipeline = replace(pipeline, blend=blend)
            if blend.any():
                epochs = epochs if best is None else best + 1
                network = self._learn(pipeline, windows, goal, seed, epochs=epochs)
        self.history_, self.n_epochs_ = history, epochs
        self._model = network
        self.n_features_in_ = series.values.shape[1]
        self._forecaster = Forecaster(
            pipeline, network, errors, _tail(series, settings), _tail(inputs, settings)
        )
        return self

    def _settings(self, inputs: Series | None) -> Settings:
        difference = self.difference
        lags = (difference,) if isinstance(difference, int | np.integer) else difference
        if self.skip == "seasonal" and self.seasonal_period is None:
            raise InvalidParameterError("skip='seasonal' needs seasonal_period.")
        known = self._known(inputs)
        for name in ("window", "horizon") if known else ("window",):
            if getattr(self, name) % self.segment:
                raise InvalidParameterError(
                    f"segment must divide {name}: {getattr(self, name)} is no multiple of "
                    f"{self.segment}."
                )
        return Settings(
            window=int(self.window),
            horizon=int(self.horizon),
            log=self.log is True,
            lags=tuple(int(lag) for lag in lags),
            scaling=None if self.scaling == "none" else self.scaling,
            skip=self.skip,
            linear=bool(self.linear),
            shared=bool(self.shared),
            segment=int(self.segment),
            period=int(self.seasonal_period or 1),
            known=known,
        )

    def _known(self, inputs: Series | None) -> tuple[int, ...]:
        if self.known_future is None or (
            not isinstance(self.known_future, str) and not len(self.known_future)
        ):
            return ()
        if inputs is None:
            raise ValueError("known_future names inputs, but no X was given.")
        width = inputs.values.shape[1]
        if isinstance(self.known_future, str):
            return tuple(range(width))
        found = []
        for column in self.known_future:
            if isinstance(column, str):
                if inputs.names is None or column not in inputs.names:
                    raise ValueError(
                        f"known_future names the column {column!r}, which X has not: "
                        f"{inputs.names or 'its columns have no names'}."
                    )
                found.append(inputs.names.index(column))
            elif column < width:
                found.append(int(column))
            else:
                raise ValueError(f"known_future names column {column}, but X has {width}.")
        return tuple(sorted(set(found)))

    def _split(self, steps: int, settings: Settings) -> int:
        """Return how many steps the training windows cover."""
        lost = sum(settings.lags)
        horizon = settings.horizon

        def parts(total: int) -> int:
            n = count(total - lost, settings.window, horizon)
            return n - max(1, round(self.validation_fraction * n)) - (horizon - 1)

        train = parts(steps)
        if train < 2:
            need = steps
            while parts(need) < 2:
                need += 1
            raise ValueError(
                f"y has {steps} steps; window={settings.window}, horizon={horizon}"
                + (f", difference={settings.lags}" if lost else "")
                + f" and validation_fraction={self.validation_fraction} need at least {need}: some "
                "windows to learn from and later ones to hold out. Take a shorter window or "
                "horizon."
            )
        return lost + train - 1 + settings.window + horizon

    def _with_log(self, settings: Settings, y: _Array, exogenous: _Array) -> Settings:
        """Decide whether to take logarithms, where that is left open.

        Errors on both scales are compared as for a Box-Cox transformation (Box and Cox, JRSS B 26
        (1964)): those of logarithms times the geometric mean of the series. They are of linear maps
        on windows that the maps were not learned from.
        """
        if self.log != "auto" or not (y > 0).all():
            return settings
        size = {}
        for log in (False, True):
            gaps = linear_errors(settings, np.log(y) if log else y, exogenous)
            if log:
                gaps *= np.exp(np.log(y).mean(axis=0))
            size[log] = float(np.mean(np.log(np.mean(gaps**2, axis=(0, 1)) + 1e-300)))
        # A tie goes to the series as it is.
        return replace(settings, log=size[True] < size[False] - 0.02)

    def _learn(
        self,
        pipeline: Pipeline,
        windows: Windows,
        goal: _Array,
        seed: int,
        *,
        validation: tuple[Windows, _Array] | None = None,
        epochs: int | None = None,
    ) -> Layer:
        """Return a network trained to give `goal` for `windows`."""
        x, y = pipeline.network_inputs(windows), pipeline.targets(windows, goal)
        network = self._start(
            lambda: self._network(y.shape[1]), x.shape[1:], seed, again=bool(self.warm_start)
        )
        watched = None
        if validation is not None:
            held, held_goal = validation
            watched = pipeline.network_inputs(held), pipeline.targets(held, held_goal)
        data = self._array_data(x, y)
        self._train(network, "mse", data, seed=seed, validation=watched, epochs=epochs)
        return network

    def _network(self, n_outputs: int) -> Layer:
        layers: list[Layer] = [
            LSTM(int(self.units), return_sequences=i + 1 < self.n_layers)
            for i in range(int(self.n_layers))
        ]
        if self.dropout:
            layers.append(Dropout(float(self.dropout)))
        return Sequential([*layers, Dense(n_outputs)])

    # Forecasts --------------------------------------------------------------------------------

    def predict(
        self, horizon: int | None = None, *, y: Any = None, X: Any = None, X_future: Any = None
    ) -> Any:
        """Return forecasts of the steps after the series.

        Parameters
        ----------
        horizon : int, default=None
            Steps to forecast; as many as the model was fitted for by default. Beyond those the
            forecast is continued from itself, and errors grow.
        y : array-like of shape (n_steps,) or (n_steps, n_series), default=None
            The series to continue instead of the training series; its end is read.
        X : array-like of shape (n_steps, n_inputs), default=None
            The exogenous inputs of the steps of `y`.
        X_future : array-like of shape (horizon, n_known), default=None
            The exogenous inputs that are known ahead (`known_future`), for the steps to forecast.

        Returns
        -------
        ndarray, Series or DataFrame of shape (horizon,) or (horizon, n_series)
            In the form of the series. pandas' index goes on; after loading from a file, that of the
            training series is gone, and arrays are returned.
        """
        check_is_fitted(self)
        return self._forecaster.predict(horizon, y, X, X_future, self.device)

    def predict_interval(
        self,
        alpha: float = 0.1,
        horizon: int | None = None,
        *,
        y: Any = None,
        X: Any = None,
        X_future: Any = None,
    ) -> tuple[Any, Any]:
        """Return bounds that each step lies within with probability 1 - alpha.

        Parameters
        ----------
        alpha : float in (0, 1), default=0.1
            Share of steps that may lie outside.
        horizon : int, default=None
            Steps to forecast, at most as many as the model was fitted for.
        y, X, X_future
            As for `predict`.

        Returns
        -------
        lower, upper : ndarray, Series or DataFrame
            In the form of `predict`'s answer.

        Notes
        -----
        Half the width is a quantile of the absolute errors on the held-out windows, for each step
        and series; with logarithms, a factor.
        """
        check_is_fitted(self)
        return self._forecaster.predict_interval(alpha, horizon, y, X, X_future, self.device)

    def backtest(
        self,
        y: Any,
        X: Any = None,
        *,
        initial: int | float = 0.7,
        step: int | None = None,
        n_splits: int | None = None,
        refit: bool = False,
    ) -> Backtest:
        """Forecast from many origins of a series, beside seasonal-naive and ridge forecasts.

        This estimator is left as it is; copies are fitted.

        Parameters
        ----------
        y, X
            As for `fit`.
        initial : int or float, default=0.7
            Steps, or share of the steps, before the first origin.
        step : int, default=None
            Steps from one origin to the next; the horizon by default.
        n_splits : int, default=None
            Number of origins: the last ones. ``None`` takes all.
        refit : bool, default=False
            Fit anew at each origin on all steps before it; else once, on those before the first.

        Returns
        -------
        Backtest
            Forecasts, and MAE, RMSE, MASE and sMAPE of each forecaster.

        Raises
        ------
        ValueError
            The series is too short for one origin.
        """
        self._validate_parameters()
        return roll(self, y, X, initial=initial, step=step, n_splits=n_splits, refit=refit)

    def plot(
        self,
        horizon: int | None = None,
        *,
        alpha: float = 0.1,
        X_future: Any = None,
        axes: Any = None,
    ) -> Any:
        """Draw the end of the series, the forecast and its interval.

        Parameters
        ----------
        horizon : int, default=None
            As for `predict_interval`.
        alpha : float, default=0.1
            Share of steps that may lie outside of the interval.
        X_future : array-like, default=None
            As for `predict`.
        axes : matplotlib Axes or sequence of them, default=None
            Where to draw, one for each series; ``None`` makes a figure.

        Returns
        -------
        matplotlib.figure.Figure
            The figure.

        Raises
        ------
        ironlearn.exceptions.MissingExtraError
            matplotlib is not installed.
        """
        from ironlearn.series._plot import plot_forecast

        check_is_fitted(self)
        return plot_forecast(self, horizon, alpha, X_future, axes)

    @property
    def log_(self) -> bool:
        """Logarithms were taken."""
        check_is_fitted(self)
        return self._forecaster.pipeline.settings.log

    @property
    def blend_(self) -> _Array:
        """Share of the network in the average with the linear map, for each series."""
        check_is_fitted(self)
        return self._forecaster.pipeline.blend.copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "_forecaster"):
            self._model = self._forecaster.network

    # Files ------------------------------------------------------------------------------------

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        described, tensors = self._forecaster.pack()
        described["history"] = self.history_.to_dict()
        described["n_epochs_"] = self.n_epochs_
        return described, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        self._forecaster = Forecaster.unpack(attributes, tensors)
        self._model = self._forecaster.network
        self.history_ = History.from_dict(attributes["history"])
        self.n_epochs_ = int(attributes["n_epochs_"])


def _tail(series: Series | None, settings: Settings) -> Any:
    """Return the end of a series that a forecast reads."""
    if series is None:
        return None
    steps = settings.context
    return replace(series, values=series.values[-steps:].copy())
