"""Networks and optimizers as data: what model files and checkpoints hold of them.

A network is its closed description (`Layer.spec`), the shape it was built for, and its arrays. When
it is read, the description is checked first, then its parameters are counted against the arrays in
the file, and only then is memory taken.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ironlearn import _modelfile
from ironlearn._modelfile import Contents, Tensors
from ironlearn.exceptions import ModelFileError
from ironlearn.nn.initializers import blank
from ironlearn.nn.layers.base import Layer
from ironlearn.nn.layers.registry import TYPES, layer_from_spec
from ironlearn.nn.layers.sequential import initialize

#: The type of a model file that holds a network alone.
NETWORK = "Network"
_MAX_LAYERS = 10_000
_MAX_AXES = 16


def network_state(network: Layer, name: str = "network") -> tuple[dict[str, Any], Tensors]:
    """Return a built network as JSON values and as arrays.

    Parameters
    ----------
    network : Layer
        A built network of layers that `ironlearn.nn.layers.registry` lists.
    name : str, default="network"
        Goes before the arrays' names.

    Raises
    ------
    ValueError
        The network is not built, or has a layer of a type that files do not know.

    Examples
    --------
    >>> from ironlearn.nn.layers import Dense, Sequential
    >>> values, arrays = network_state(Sequential([Dense(3)]).initialize((2,)))
    >>> values["input_shape"], sorted(arrays)
    ([2], ['network.layers.0.bias', 'network.layers.0.kernel'])
    """
    if not network.built or network.input_shape is None:
        raise ValueError(f"{type(network).__name__} is not built: it has nothing to save.")
    for layer in network.layers_of():
        if type(layer).__name__ not in TYPES:
            raise ValueError(
                f"a {type(layer).__name__} cannot be saved: files know the layers "
                f"{', '.join(sorted(TYPES))}."
            )
    parameters = network.named_parameters()
    values = {
        "spec": network.spec(),
        "input_shape": _listed(network.input_shape),
        "dtype": next((str(p.data.dtype) for p in parameters.values()), "float32"),
        "frozen": [path for path, p in parameters.items() if not p.trainable],
    }
    return values, {f"{name}.{path}": array for path, array in network.state().items()}


def network_from(values: Any, tensors: Mapping[str, Any], name: str = "network") -> Layer:
    """Return the network that `network_state` described.

    Parameters
    ----------
    values : dict
        Its first answer, perhaps from a file of unknown origin.
    tensors : dict of str to ndarray
        Its second answer; other arrays may stand beside.
    name : str, default="network"
        As given to `network_state`.

    Raises
    ------
    ModelFileError
        The description names an unknown layer or unfit settings, or the arrays are not those of
        the described network, or hold values that are no finite numbers.
    """
    try:
        return _network_from(values, tensors, name)
    except ModelFileError:
        raise
    except _modelfile.UNFIT as error:
        raise ModelFileError(f"the file holds no valid network: {error}") from error


def _network_from(values: Any, tensors: Mapping[str, Any], name: str) -> Layer:
    if not isinstance(values, Mapping):
        raise ModelFileError("the file describes no network.")
    spec, dtype = values["spec"], values["dtype"]
    if dtype not in ("float32", "float64"):
        raise ModelFileError(f"a network computes in float32 or float64, not {dtype!r}.")
    if _count_layers(spec) > _MAX_LAYERS:
        raise ModelFileError(f"the network has more than {_MAX_LAYERS} layers.")
    shape = _shape(values["input_shape"])
    prefix = f"{name}."
    state = {key[len(prefix) :]: t for key, t in tensors.items() if key.startswith(prefix)}
    for key, tensor in state.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise ModelFileError(f"{key} holds values that are not finite.")
        if tensor.dtype.kind not in "fiub":
            raise ModelFileError(f"{key} has the dtype {tensor.dtype}.")
    network: Layer = layer_from_spec(spec)
    with blank(sum(tensor.size for tensor in state.values())):
        initialize(network, shape)
    network.astype(np.dtype(dtype))
    network.load_state(state)
    frozen = values["frozen"]
    parameters = network.named_parameters()
    for path in frozen:
        parameters[path].trainable = False
    return network


def save_network(network: Layer, path: str | os.PathLike[str]) -> None:
    """Write a built network to a model file, atomically.

    Examples
    --------
    >>> import tempfile
    >>> from ironlearn.nn.layers import Dense, Sequential
    >>> network = Sequential([Dense(3)]).initialize((2,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_network(network, f"{folder}/network")
    ...     again = load_network(f"{folder}/network")
    >>> again
    Sequential(layers=[Dense(units=3, activation=None, use_bias=True, \
kernel_initializer='glorot_uniform')])
    """
    values, tensors = network_state(network)
    _modelfile.write(path, Contents(NETWORK, {}, {"network": values}, tensors))


def load_network(path: str | os.PathLike[str]) -> Layer:
    """Return the network in the model file at `path`.

    Raises
    ------
    ModelFileError
        The file is not a model file of a network, was changed, or does not hold what it says.
    """
    contents = _modelfile.read(path)
    if contents.type != NETWORK:
        raise ModelFileError(f"{os.fspath(path)} holds a {contents.type!r}, not a network alone.")
    network = network_from(contents.attributes.get("network"), contents.tensors)
    unknown = [key for key in contents.tensors if not key.startswith("network.")]
    if unknown:
        raise ModelFileError(f"{os.fspath(path)} holds an unknown array {unknown[0]!r}.")
    return network


def optimizer_state(optimizer: Any, name: str = "optimizer") -> tuple[dict[str, Any], Tensors]:
    """Return an optimizer's settings as JSON values and its slots as arrays.

    Examples
    --------
    >>> from ironlearn.nn.optimizers import SGD
    >>> optimizer_state(SGD(0.5))[0]["config"]["learning_rate"]
    0.5
    """
    values = {"type": type(optimizer).__name__, "config": optimizer.config()}
    return values, {f"{name}.{key}": array for key, array in optimizer.state().items()}


def optimizer_from(
    values: Any, tensors: Mapping[str, Any], network: Layer, name: str = "optimizer"
) -> Any:
    """Return the optimizer that `optimizer_state` described, bound to the parameters of `network`.

    Raises
    ------
    ModelFileError
        There is no optimizer of that type, or settings or arrays do not fit it.
    """
    from ironlearn.nn.optimizers import OPTIMIZERS

    kinds = {kind.__name__: kind for kind in OPTIMIZERS.values()}
    try:
        if values["type"] not in kinds:
            raise ModelFileError(
                f"unknown optimizer {values['type']!r}; known are {', '.join(sorted(kinds))}."
            )
        optimizer = kinds[values["type"]](**values["config"]).bind(network.parameters())
        load_optimizer(optimizer, tensors, name)
    except ModelFileError:
        raise
    except _modelfile.UNFIT as error:
        raise ModelFileError(f"the file holds no valid optimizer: {error}") from error
    return optimizer


def load_optimizer(optimizer: Any, tensors: Mapping[str, Any], name: str = "optimizer") -> None:
    """Set a bound optimizer's slots from the arrays that `optimizer_state` returned."""
    prefix = f"{name}."
    state = {key[len(prefix) :]: t for key, t in tensors.items() if key.startswith(prefix)}
    for key, tensor in state.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise ModelFileError(f"{prefix}{key} holds values that are not finite.")
    steps = state.get("steps")
    if steps is None or steps.shape != (1,) or steps.dtype.kind != "i" or steps[0] < 0:
        raise ModelFileError("the optimizer's number of steps is missing or negative.")
    try:
        optimizer.load_state(state)
    except ValueError as error:
        raise ModelFileError(str(error)) from error


def fingerprint(network: Layer) -> str:
    """Return a digest of a network's form: its description and the shape it was built for.

    Examples
    --------
    >>> from ironlearn.nn.layers import Dense, Sequential
    >>> one, other = (Sequential([Dense(3)]).initialize((n,)) for n in (2, 4))
    >>> fingerprint(one) == fingerprint(other)
    False
    """
    form = [network.spec(), network.input_shape]
    return hashlib.sha256(json.dumps(form, sort_keys=True).encode()).hexdigest()


def difference(stored: Any, own: Any, where: str = "network") -> str | None:
    """Return where two descriptions differ first, in words; ``None`` where they are equal.

    Examples
    --------
    >>> difference({"units": 3}, {"units": 4})
    'network.units is 3 there, but 4 here'
    """
    if isinstance(stored, Mapping) and isinstance(own, Mapping):
        keys = set(stored) | set(own)
        # The type of a layer says more than its first other setting.
        for key in sorted(keys, key=lambda k: (k != "type", str(k))):
            inner = f"{where}.{key}" if key != "config" else where
            found = difference(stored.get(key), own.get(key), inner)
            if found:
                return found
        return None
    if isinstance(stored, list) and isinstance(own, list):
        for i, (a, b) in enumerate(zip(stored, own, strict=False)):
            found = difference(a, b, f"{where}.{i}")
            if found:
                return found
        if len(stored) != len(own):
            return f"{where} has {len(stored)} items there, but {len(own)} here"
        return None
    return None if stored == own else f"{where} is {stored!r} there, but {own!r} here"


def _listed(shape: Any) -> Any:
    return [_listed(item) for item in shape] if isinstance(shape, tuple | list) else shape


def _shape(value: Any, depth: int = 0) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) > _MAX_AXES or depth > 1:
        raise ModelFileError(f"{value!r} is no shape of an input.")
    found: list[Any] = []
    for item in value:
        if isinstance(item, list):
            found.append(_shape(item, depth + 1))
        elif item is None or (type(item) is int and 0 <= item < 1 << 31):
            found.append(item)
        else:
            raise ModelFileError(f"{value!r} is no shape of an input.")
    return tuple(found)


def _count_layers(spec: Any) -> int:
    """Return how many layers `spec` describes, without making one; its depth does not matter."""
    total, waiting = 0, [spec]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            total += "type" in item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        if total > _MAX_LAYERS:
            break
    return total
