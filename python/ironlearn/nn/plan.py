"""Plans: networks lowered to one native call for many training steps.

A chain of known layers with a known loss and optimizer runs its mini-batches in native code, split
over samples in fixed chunks, with every buffer allocated once. Parameters stay in the layers' own
arrays, so a network may change between plan and tape at any step; both agree to rounding.

Examples
--------
>>> import numpy as np
>>> from ironlearn.nn.layers import Dense, Sequential
>>> from ironlearn.nn.losses import CrossEntropy
>>> from ironlearn.nn.optimizers import Adam
>>> net = Sequential([Dense(8, "relu"), Dense(3)]).initialize((4,))
>>> optimizer = Adam().bind(net.parameters())
>>> plan, reason = lower(net, CrossEntropy(), optimizer)
>>> rng = np.random.default_rng(0)
>>> x = rng.standard_normal((60, 4)).astype(np.float32)
>>> y = (x[:, 0] > 0).astype(np.int64)
>>> batches = [rng.permutation(60) for _ in range(50)]
>>> steps = plan.train(x, y, batches, rates=[0.01] * 50)
>>> bool(steps.losses[-1] < steps.losses[0])
True
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn import _core, _threads
from ironlearn.exceptions import InvalidParameterError
from ironlearn.nn.backend.ops.optimizer import SLOTS
from ironlearn.nn.functional.activations import split_activation
from ironlearn.nn.layers.base import Buffer, Layer, Parameter
from ironlearn.nn.layers.sequential import Sequential
from ironlearn.nn.losses import Loss
from ironlearn.nn.optimizers import Optimizer

#: A step as the native code takes it.
Step = tuple[str, dict[str, Any]]
#: Shape of one sample.
Sample = tuple[int, ...]


class _No(Exception):
    """There is no lowering, for this reason."""


@dataclass
class _Chain:
    """What has been lowered so far."""

    steps: list[Step]
    parameters: list[Parameter]
    buffers: list[Buffer]
    shape: Sample
    #: Steps of a sequence may be masked out from here on.
    masked: bool = False

    def add(self, kind: str, /, **options: Any) -> None:
        self.steps.append((kind, options))

    def activate(self, name: str | None) -> None:
        if name is not None and name != "linear":
            self.add("activation", name=name)

    def reshape(self, shape: Sample) -> None:
        self.add("reshape", shape=list(shape))
        self.shape = shape


def _known(layer: Layer, input_shape: tuple[int | None, ...]) -> Sample:
    shape = layer.output_shape(input_shape)
    if any(n is None for n in shape):
        raise _No(f"{layer._title()} leaves a length open")
    return tuple(n for n in shape if n is not None)


# Layers, by the name of their class ---------------------------------------------------------------


def _dense(chain: _Chain, layer: Any) -> None:
    fused, rest = split_activation(layer.activation)
    chain.add("dense", units=layer.units, activation=fused, use_bias=bool(layer.use_bias))
    chain.parameters += [layer.kernel, layer.bias] if layer.use_bias else [layer.kernel]
    chain.shape = _known(layer, chain.shape)
    chain.activate(rest)


#: Weights of a convolution that a core can keep beside the images it works on. Larger ones are
#: faster in the tape's kernels, which share them between cores.
_LARGEST_KERNEL = 1 << 16


def _conv2d(chain: _Chain, layer: Any) -> None:
    if layer.groups != 1:
        raise _No(f"{layer._title()} has groups")
    if math.prod(layer.kernel.shape) > _LARGEST_KERNEL:
        raise _No(f"the kernel of {layer._title()} does not fit the cache of a core")
    height, width, _ = chain.shape
    fused, rest = split_activation(layer.activation)
    chain.add(
        "conv2d",
        filters=layer.filters,
        kernel=list(layer.kernel_size),
        stride=list(layer.strides),
        dilation=list(layer.dilation_rate),
        padding=[n for pair in layer.geometry((height, width)) for n in pair],
        use_bias=bool(layer.use_bias),
        activation=fused,
    )
    chain.parameters += [layer.kernel, layer.bias] if layer.use_bias else [layer.kernel]
    chain.shape = _known(layer, chain.shape)
    chain.activate(rest)


def _pool2d(kind: str) -> Callable[[_Chain, Any], None]:
    def rule(chain: _Chain, layer: Any) -> None:
        height, width, _ = chain.shape
        padding = [n for pair in layer.geometry((height, width)) for n in pair]
        size, stride = list(layer.pool_size), list(layer.strides)
        if not (kind == "max_pool2d" and _join_pool(chain, size, stride, padding)):
            chain.add(kind, size=size, stride=stride, padding=padding)
        chain.shape = _known(layer, chain.shape)

    return rule


def _join_pool(chain: _Chain, size: list[int], stride: list[int], padding: list[int]) -> bool:
    """Make the convolution before a pooling into one that pools, where there is such a kernel."""
    if not chain.steps or chain.steps[-1][0] != "conv2d":
        return False
    options = chain.steps[-1][1]
    plain = options["stride"] == [1, 1] and options["dilation"] == [1, 1]
    fits = size == stride == [2, 2] and not any(padding) and min(chain.shape[:2]) >= 2
    if not (plain and fits):
        return False
    chain.steps[-1] = ("conv2d_max_pool", {**options, "pool": size})
    return True


def _in_one_row(part: str, rule: Callable[[_Chain, Any], None]) -> Callable[[_Chain, Any], None]:
    """Lower a layer on sequences as its `part`, which takes images of height 1."""

    def in_row(chain: _Chain, layer: Any) -> None:
        chain.reshape((1, *chain.shape))
        rule(chain, getattr(layer, part))
        chain.reshape(chain.shape[1:])
        chain.masked = False

    return in_row


def _global(kind: str) -> Callable[[_Chain, Any], None]:
    def rule(chain: _Chain, layer: Any) -> None:
        if chain.masked:
            raise _No(f"{layer._title()} has a mask")
        chain.add(kind)
        chain.shape = _known(layer, chain.shape)

    return rule


def _flatten(chain: _Chain, layer: Any) -> None:
    chain.add("flatten")
    chain.shape = _known(layer, chain.shape)
    chain.masked = False


def _reshape(chain: _Chain, layer: Any) -> None:
    chain.reshape(_known(layer, chain.shape))
    chain.masked = False


def _dropout(chain: _Chain, layer: Any) -> None:
    if layer.rate > 0:
        # The key of `task_of`.
        chain.add("dropout", rate=layer.rate, layer=layer.number * 8)


def _batch_norm(chain: _Chain, layer: Any) -> None:
    fused, rest = split_activation(layer.activation)
    chain.add("batch_norm", epsilon=layer.eps, momentum=layer.momentum, activation=fused)
    chain.parameters += [layer.gamma, layer.beta]
    chain.buffers += [layer.running_mean, layer.running_var]
    chain.activate(rest)


def _embedding(chain: _Chain, layer: Any) -> None:
    if chain.steps:
        raise _No(f"{layer._title()} is not the first layer")
    chain.add(
        "embedding",
        rows=layer.input_dim,
        width=layer.output_dim,
        mask_zero=bool(layer.mask_zero),
    )
    chain.parameters.append(layer.embeddings)
    chain.shape = _known(layer, chain.shape)
    chain.masked = bool(layer.mask_zero)


#: Weights of a recurrent layer from which threads had better share each step than the samples.
_MANY_WEIGHTS = 1 << 18


def _recurrent(kind: str) -> Callable[[_Chain, Any], None]:
    def rule(chain: _Chain, layer: Any) -> None:
        options: dict[str, Any] = {}
        if layer.dropout > 0 or layer.recurrent_dropout > 0:
            raise _No(f"{layer._title()} drops features or states")
        if layer.return_state:
            raise _No(f"{layer._title()} returns its state")
        if layer.kernel.data.size + layer.recurrent_kernel.data.size >= _MANY_WEIGHTS:
            raise _No(f"{layer._title()} is so large that threads share its steps")
        if kind == "rnn":
            if layer.activation not in ("tanh", "relu"):
                raise _No(f"{layer._title()} has the activation {layer.activation}")
            options["activation"] = layer.activation
        chain.add(
            kind,
            units=layer.units,
            return_sequences=bool(layer.return_sequences),
            reverse=bool(layer.go_backwards),
            masked=chain.masked,
            **options,
        )
        chain.parameters += [layer.kernel, layer.recurrent_kernel, layer.bias]
        if kind == "gru":
            chain.parameters.append(layer.recurrent_bias)
        chain.shape = _known(layer, chain.shape)
        chain.masked = chain.masked and layer.return_sequences

    return rule


def _activation(chain: _Chain, layer: Any) -> None:
    chain.activate(layer.activation)


def _sequential(chain: _Chain, layer: Any) -> None:
    if chain.masked:
        raise _No(f"{layer._title()} is a chain in a chain, behind a mask")
    for part in layer.layers:
        _lower_layer(chain, part)
    chain.masked = False


#: How each type of layer is lowered.
RULES: Mapping[str, Callable[[_Chain, Any], None]] = {
    "Activation": _activation,
    "AvgPool1D": _in_one_row("_pool", _pool2d("avg_pool2d")),
    "AvgPool2D": _pool2d("avg_pool2d"),
    "BatchNorm": _batch_norm,
    "Conv1D": _in_one_row("_conv", _conv2d),
    "Conv2D": _conv2d,
    "Dense": _dense,
    "Dropout": _dropout,
    "Embedding": _embedding,
    "Flatten": _flatten,
    "GRU": _recurrent("gru"),
    "GlobalAvgPool1D": _global("global_avg_pool"),
    "GlobalAvgPool2D": _global("global_avg_pool"),
    "GlobalMaxPool1D": _global("global_max_pool"),
    "GlobalMaxPool2D": _global("global_max_pool"),
    "LSTM": _recurrent("lstm"),
    "MaxPool1D": _in_one_row("_pool", _pool2d("max_pool2d")),
    "MaxPool2D": _pool2d("max_pool2d"),
    "Reshape": _reshape,
    "Sequential": _sequential,
    "SimpleRNN": _recurrent("rnn"),
}


def _lower_layer(chain: _Chain, layer: Layer) -> None:
    kind = type(layer)
    rule = RULES.get(kind.__name__)
    # A subclass of one's own may compute something else.
    if rule is None or not kind.__module__.startswith("ironlearn.nn.layers."):
        raise _No(f"{layer._title()} has no lowering")
    rule(chain, layer)


# Losses and optimizers ----------------------------------------------------------------------------


def _loss(loss: Loss, shape: Sample) -> tuple[str, float]:
    if not type(loss).__module__.startswith("ironlearn.nn."):
        raise _No(f"the loss {type(loss).__name__} has no lowering")
    name = loss.name
    if name == "cross_entropy":
        if len(shape) != 1:
            raise _No("cross-entropy over sequences has no lowering")
        return name, float(loss.label_smoothing)  # type: ignore[attr-defined]
    if name == "binary_cross_entropy":
        return name, float(loss.label_smoothing)  # type: ignore[attr-defined]
    if name == "huber":
        return name, float(loss.delta)  # type: ignore[attr-defined]
    if name in ("mse", "mae"):
        return name, 0.0
    raise _No(f"the loss {type(loss).__name__} has no lowering")


def _optimizer(optimizer: Optimizer, parameters: list[Parameter]) -> list[int]:
    """Return the place of each of `parameters` among the optimizer's."""
    if not type(optimizer).__module__.startswith("ironlearn.nn.") or optimizer.kind not in SLOTS:
        raise _No(f"the optimizer {type(optimizer).__name__} has no lowering")
    for name in ("clip_norm", "clip_value", "max_norm"):
        if getattr(optimizer, name) is not None:
            raise _No(f"{name} of the optimizer has no lowering")
    places = {id(p): i for i, p in enumerate(optimizer.parameters)}
    if len(places) != len(parameters) or any(id(p) not in places for p in parameters):
        raise _No("not every parameter is trained")
    return [places[id(p)] for p in parameters]


@dataclass(frozen=True)
class Steps:
    """What came out of training steps.

    Attributes
    ----------
    losses : ndarray of float64, one for each step that was done
        The batch's loss before the step's update.
    hits : ndarray of float64
        The accuracy on the batch; 0 for losses of regression.
    diverged : float or None
        A loss that is not finite: the step after the last one was not done because of it.
    """

    losses: NDArray[np.float64]
    hits: NDArray[np.float64]
    diverged: float | None


class LoweredNetwork:
    """A network with its loss and its optimizer, lowered; see `lower`.

    Attributes
    ----------
    completed : int
        Steps that the last call of `train` did, also when it was interrupted.
    """

    def __init__(
        self,
        network: Sequential,
        loss: Loss | None,
        optimizer: Optimizer | None,
        output: str = "linear",
    ) -> None:
        if not isinstance(network, Sequential):
            raise _No(f"a {type(network).__name__} is no chain of layers")
        shape = network.input_shape
        if shape is None:
            raise ValueError("the network is not built; call initialize with the input's shape.")
        if any(n is None for n in shape):
            raise _No("a length of the input is open")
        chain = _Chain([], [], [], tuple(n for n in shape if n is not None))
        input_shape = chain.shape
        _lower_layer(chain, network)
        if len({id(p) for p in chain.parameters}) != len(chain.parameters):
            raise _No("layers share a parameter")
        self._parameters = chain.parameters
        self._buffers = chain.buffers
        self._takes_ids = bool(chain.steps) and chain.steps[0][0] == "embedding"
        self._optimizer = optimizer
        self._places = [] if optimizer is None else _optimizer(optimizer, chain.parameters)
        held = [p.data for p in chain.parameters] + [b.data for b in chain.buffers]
        for array in held:
            if not isinstance(array, np.ndarray) or array.dtype != np.float32:
                raise _No("parameters are not float32 on the CPU")
        name, number = ("mse", 0.0) if loss is None else _loss(loss, chain.shape)
        self._classes = name == "cross_entropy"
        self._output_shape = chain.shape
        self._plan = _core.Plan(
            list(input_shape),
            chain.steps,
            loss=name,
            loss_number=number,
            output=output,
            optimizer="sgd" if optimizer is None else optimizer.kind,
        )
        self.completed = 0

    def _arrays(self, owners: Sequence[Parameter | Buffer]) -> list[NDArray[np.float32]]:
        for owner in owners:
            if not owner.data.flags.c_contiguous or not owner.data.flags.writeable:
                owner.data = np.array(owner.data, dtype=np.float32, order="C")
        return [owner.data for owner in owners]

    def _samples(self, x: Any) -> NDArray[Any]:
        if self._takes_ids:
            array = np.asarray(x)
            if array.dtype.kind not in "iu":
                raise TypeError(f"the network takes integers, got an array of dtype {array.dtype}.")
            if array.dtype != np.int32 and array.size:
                info = np.iinfo(np.int32)
                low, high = int(array.min()), int(array.max())
                if low < info.min or high > info.max:
                    bad = low if low < info.min else high
                    raise ValueError(f"the number {bad} has no row in the embedding.")
            return np.ascontiguousarray(array, dtype=np.int32)
        return np.ascontiguousarray(x, dtype=np.float32)

    def _targets(self, y: Any, n: int) -> NDArray[Any]:
        y = np.asarray(y)
        if self._classes:
            if y.dtype.kind not in "iu":
                raise TypeError(f"cross-entropy takes class numbers, got dtype {y.dtype}.")
            expected: Sample = (n,)
            y = np.ascontiguousarray(y, dtype=np.int64)
        else:
            expected = (n, *self._output_shape)
            if y.ndim == 1 and self._output_shape == (1,):
                y = y[:, None]
            y = np.ascontiguousarray(y, dtype=np.float32)
        if y.shape != expected:
            raise ValueError(f"targets must have the shape {expected}, got {y.shape}.")
        return y

    def train(
        self,
        x: Any,
        y: Any,
        batches: Sequence[NDArray[np.integer]],
        *,
        rates: Sequence[float],
        weights: Any = None,
        seed: int = 0,
        first_draw: int = 0,
        n_jobs: int | None = None,
    ) -> Steps:
        """Take one optimizer step for each of `batches`.

        Parameters
        ----------
        x : array of shape (n_samples, ...)
            All samples; float32 in row order (int32 for numbers) is used as it is.
        y : array
            Their targets, as the loss takes them.
        batches : sequence of arrays of int
            The numbers of each batch's samples.
        rates : sequence of float
            The learning rate of each step.
        weights : array of shape (n_samples,), optional
            How much each sample's loss counts.
        seed, first_draw : int
            Key of dropout: the seed, and the number of the first step.
        n_jobs : int, optional
            Threads; the result does not depend on them.

        Returns
        -------
        Steps
            Losses and hits of the steps.

        Raises
        ------
        ValueError
            Shapes, numbers of samples or of classes do not fit; nothing has changed.
        KeyboardInterrupt
            Ctrl-C: `completed` steps are done, and the optimizer has counted them.
        """
        optimizer = self._optimizer
        if optimizer is None:
            raise ValueError("the network was lowered without an optimizer.")
        x = self._samples(x)
        y = self._targets(y, len(x))
        sizes = [len(rows) for rows in batches]
        offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
        order = np.concatenate(batches) if sizes else np.empty(0)
        slots = [[self._slot(name, i) for i in self._places] for name in SLOTS[optimizer.kind]]
        self.completed = 0
        try:
            losses, hits, diverged = self._plan.train(
                x,
                y,
                np.ascontiguousarray(order, dtype=np.int64),
                offsets,
                weights=None
                if weights is None
                else np.ascontiguousarray(weights, dtype=np.float32),
                params=self._arrays(self._parameters),
                slots=slots,
                buffers=self._arrays(self._buffers),
                decay=[p.decay for p in self._parameters],
                rates=np.asarray(rates, dtype=np.float64),
                first_step=optimizer.steps + 1,
                seed=seed & 0xFFFFFFFFFFFFFFFF,
                first_draw=first_draw,
                hyper_=optimizer.hyper(),
                n_threads=_threads.resolve(n_jobs),
            )
        finally:
            self.completed = int(self._plan.completed)
            optimizer.steps += self.completed
        return Steps(losses, hits, diverged)

    def _slot(self, name: str, i: int) -> NDArray[np.float32]:
        assert self._optimizer is not None
        arrays = self._optimizer.slots[name]
        if not arrays[i].flags.c_contiguous or not arrays[i].flags.writeable:
            arrays[i] = np.array(arrays[i], dtype=np.float32, order="C")
        array: NDArray[np.float32] = arrays[i]
        return array

    def predict(
        self, x: Any, *, version: int | None = None, n_jobs: int | None = None
    ) -> NDArray[np.float32]:
        """Return the network's outputs for `x`.

        Parameters
        ----------
        x : array of shape (n_samples, ...)
            Samples.
        version : int, optional
            Names a state of the parameters: calls with equal versions promise that nothing has
            changed between them, and what was made of the parameters is used again. One row then
            takes microseconds.
        n_jobs : int, optional
            Threads.
        """
        return self._plan.predict(
            self._samples(x),
            params=[p.data for p in self._parameters],
            buffers=[b.data for b in self._buffers],
            version=version,
            n_threads=_threads.resolve(n_jobs),
        )


def lower(network: Layer, loss: Loss, optimizer: Optimizer) -> tuple[LoweredNetwork | None, str]:
    """Lower a built chain of layers with its loss and its bound optimizer.

    Returns
    -------
    LoweredNetwork or None
        ``None`` where something has no lowering.
    str
        What that is; empty if there is a plan.

    Examples
    --------
    >>> from ironlearn.nn.layers import Dense, Sequential
    >>> from ironlearn.nn.losses import MeanSquaredError
    >>> from ironlearn.nn.optimizers import SGD
    >>> net = Sequential([Dense(2)]).initialize((3,))
    >>> lower(net, MeanSquaredError(), SGD(clip_norm=1.0).bind(net.parameters()))
    (None, 'clip_norm of the optimizer has no lowering')
    """
    try:
        return LoweredNetwork(network, loss, optimizer), ""  # type: ignore[arg-type]
    except _No as reason:
        return None, str(reason)


def lower_for_prediction(
    network: Layer, output: str = "linear"
) -> tuple[LoweredNetwork | None, str]:
    """Lower a built chain of layers to predict only.

    Parameters
    ----------
    network : Layer
        A built `Sequential`.
    output : {"linear", "softmax", "sigmoid"}, default="linear"
        What is done to the outputs of the last layer.

    Returns
    -------
    LoweredNetwork or None
        ``None`` where something has no lowering.
    str
        What that is; empty if there is a plan.

    Examples
    --------
    >>> from ironlearn.nn.layers import Dense, Sequential
    >>> net = Sequential([Dense(2)]).initialize((3,))
    >>> plan, _ = lower_for_prediction(net, "softmax")
    >>> plan.predict(np.zeros((1, 3), np.float32))
    array([[0.5, 0.5]], dtype=float32)
    """
    if output not in ("linear", "softmax", "sigmoid"):
        raise InvalidParameterError(
            f"output must be 'linear', 'softmax' or 'sigmoid', got {output!r}."
        )
    try:
        return LoweredNetwork(network, None, None, output), ""  # type: ignore[arg-type]
    except _No as reason:
        return None, str(reason)
