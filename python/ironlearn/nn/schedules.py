"""Learning-rate schedules."""

from __future__ import annotations

import math

from ironlearn.exceptions import InvalidParameterError
from ironlearn.nn.settings import Described


class Schedule(Described):
    """Base of schedules: the rate of each step, from the optimizer's own rate."""

    def rate(self, base: float, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Return the learning rate of step number `step`, counted from 0.

        Parameters
        ----------
        base : float
            The optimizer's own rate.
        step : int
            Steps done before this one.
        steps_per_epoch, total_steps : int
            Steps of one epoch and of the whole training.
        """
        raise NotImplementedError

    def observe(self, value: float) -> None:
        """Take notice of an epoch's monitored value; smaller is better."""

    def state(self) -> dict[str, float]:
        """Return what the schedule has learned from `observe`."""
        return {}

    def load_state(self, state: dict[str, float]) -> None:
        """Set what `state` returned."""


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise InvalidParameterError(f"{name} must be a number > 0, got {value!r}.")
    return value


class Constant(Schedule):
    """The optimizer's rate throughout.

    Examples
    --------
    >>> Constant().rate(0.1, 5, 10, 100)
    0.1
    """

    def rate(self, base: float, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Return the learning rate of step number `step`."""
        return base


class StepDecay(Schedule):
    """The rate is multiplied by `factor` every `epochs` epochs.

    Parameters
    ----------
    epochs : int, default=10
    factor : float, default=0.1

    Examples
    --------
    >>> StepDecay(2, 0.5).rate(1.0, 25, 10, 100)
    0.5
    """

    def __init__(self, epochs: int = 10, factor: float = 0.1) -> None:
        self.epochs = int(_positive("epochs", epochs))
        self.factor = _positive("factor", factor)

    def rate(self, base: float, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Return the learning rate of step number `step`."""
        return float(base * self.factor ** (step // (self.epochs * max(1, steps_per_epoch))))


class Cosine(Schedule):
    """The rate falls along half a cosine, after an optional linear warm-up.

    Parameters
    ----------
    warmup : float, default=0.0
        Share of all steps in which the rate rises from 0.
    final : float, default=0.0
        Share of the rate that is left at the end.

    Notes
    -----
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts"
    (arXiv:1608.03983), one period.

    Examples
    --------
    >>> round(Cosine().rate(1.0, 50, 10, 100), 3)
    0.5
    """

    def __init__(self, warmup: float = 0.0, final: float = 0.0) -> None:
        if not 0 <= warmup < 1:
            raise InvalidParameterError(f"warmup must be in [0, 1), got {warmup!r}.")
        if not 0 <= final <= 1:
            raise InvalidParameterError(f"final must be in [0, 1], got {final!r}.")
        self.warmup = warmup
        self.final = final

    def rate(self, base: float, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Return the learning rate of step number `step`."""
        rising = self.warmup * total_steps
        if step < rising:
            return base * (step + 1) / (rising + 1)
        done = min(1.0, (step - rising) / max(1.0, total_steps - rising))
        return base * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done)))


class WarmUp(Schedule):
    """The rate rises linearly for some steps, then falls with the root of the step.

    Parameters
    ----------
    steps : int, default=4000
        Steps until the rate is the optimizer's own.

    Notes
    -----
    The shape of Vaswani et al., "Attention is all you need" (arXiv:1706.03762), section 5.3,
    scaled so that its peak is the optimizer's rate.

    Examples
    --------
    >>> WarmUp(100).rate(1.0, 399, 10, 1000)
    0.5
    """

    def __init__(self, steps: int = 4000) -> None:
        self.steps = int(_positive("steps", steps))

    def rate(self, base: float, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Return the learning rate of step number `step`."""
        now = step + 1
        return base * min(now / self.steps, math.sqrt(self.steps / now))


class OneCycle(Schedule):
    """The rate rises to the optimizer's, then falls far below it, both along half a cosine.

    Parameters
    ----------
    rising : float, default=0.3
        Share of all steps in which the rate rises.
    start, final : float, default=0.04, 1e-4
        Shares of the peak at the beginning and at the end.

    Notes
    -----
    Smith and Topin, "Super-convergence" (arXiv:1708.07120).

    Examples
    --------
    >>> OneCycle(rising=0.5).rate(1.0, 50, 10, 100)
    1.0
    """

    def __init__(self, rising: float = 0.3, start: float = 0.04, final: float = 1e-4) -> None:
        if not 0 <= rising <= 1:
            raise InvalidParameterError(f"rising must be in [0, 1], got {rising!r}.")
        self.rising = rising
        self.start = _positive("start", start)
        self.final = _positive("final", final)

    def rate(self, base: float, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Return the learning rate of step number `step`."""
        peak = self.rising * total_steps
        if step < peak:
            low, done = self.start, step / peak
            return base * (low + (1 - low) * 0.5 * (1 - math.cos(math.pi * done)))
        done = min(1.0, (step - peak) / max(1.0, total_steps - peak))
        return base * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done)))


class Plateau(Schedule):
    """The rate is multiplied by `factor` when the monitored value has stopped to fall.

    Parameters
    ----------
    patience : int, default=5
        Epochs without improvement before the rate falls.
    factor : float, default=0.1
    tolerance : float, default=1e-4
        Smaller relative improvements do not count.
    minimum : float, default=1e-6
        Share of the optimizer's rate below which the rate does not fall.

    Examples
    --------
    >>> schedule = Plateau(patience=1, factor=0.5)
    >>> for loss in (1.0, 1.0, 1.0): schedule.observe(loss)
    >>> schedule.rate(1.0, 0, 1, 1)
    0.25
    """

    def __init__(
        self,
        patience: int = 5,
        factor: float = 0.1,
        tolerance: float = 1e-4,
        minimum: float = 1e-6,
    ) -> None:
        self.patience = int(_positive("patience", patience))
        self.factor = _positive("factor", factor)
        self.tolerance = tolerance
        self.minimum = minimum
        self._scale = 1.0
        self._best = math.inf
        self._waited = 0

    def rate(self, base: float, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Return the learning rate of step number `step`."""
        return base * self._scale

    def observe(self, value: float) -> None:
        """Take notice of an epoch's monitored value; smaller is better."""
        if value < self._best - self.tolerance * abs(self._best if self._best < math.inf else 0.0):
            self._best, self._waited = value, 0
            return
        self._waited += 1
        if self._waited >= self.patience:
            self._scale = max(self.minimum, self._scale * self.factor)
            self._waited = 0

    def state(self) -> dict[str, float]:
        """Return what the schedule has learned from `observe`."""
        return {"scale": self._scale, "best": self._best, "waited": float(self._waited)}

    def load_state(self, state: dict[str, float]) -> None:
        """Set what `state` returned."""
        self._scale, self._best = float(state["scale"]), float(state["best"])
        self._waited = int(state["waited"])


#: Schedules by name.
SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "step": StepDecay,
    "cosine": Cosine,
    "warmup": WarmUp,
    "one_cycle": OneCycle,
    "plateau": Plateau,
}


def get_schedule(schedule: str | Schedule | None) -> Schedule:
    """Return the schedule that `schedule` names; a schedule comes back itself.

    Examples
    --------
    >>> get_schedule("cosine")
    Cosine(warmup=0.0, final=0.0)
    """
    if isinstance(schedule, Schedule):
        return schedule
    name = "constant" if schedule is None else schedule
    if name not in SCHEDULES:
        raise InvalidParameterError(
            f"schedule must be one of {', '.join(SCHEDULES)} or a Schedule, got {schedule!r}."
        )
    return SCHEDULES[name]()
