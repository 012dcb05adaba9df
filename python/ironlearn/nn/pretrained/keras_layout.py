"""Where Keras's files keep the weights of a network's layers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ironlearn.nn.pretrained.layout import Weights

Array = NDArray[Any]

#: Variables of a layer in the order in which Keras 3 numbers them.
_ROLES = {
    "conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "depthwise_conv2d": ("depthwise_kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
_NUMBERED = re.compile(r"(layers|_layer_checkpoint_dependencies)/([^/]+)/vars/\d+")


class KerasWeights:
    """Arrays of a Keras file, taken layer by layer in the network's order.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        As `read_weights` returns them.

    Notes
    -----
    Keras 3 (``.keras``, ``.weights.h5``) names layers by kind and place, whatever the network calls
    them: ``layers/conv2d_3/vars/0``. The ``.h5`` files before, in which Keras publishes its
    networks, have the network's own names: ``block2_conv1/block2_conv1_W_1:0``. Both are known.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._weights = Weights(arrays)
        self._counts: dict[str, int] = {}
        numbered = next(filter(None, map(_NUMBERED.fullmatch, arrays)), None)
        self._folder = numbered[1] if numbered else None
        self._named: dict[tuple[str, str], str] = {}
        if numbered is None:
            for name in arrays:
                layer = name.removeprefix("model_weights/").partition("/")[0]
                self._named[layer, _role(name)] = name

    def layer(self, kind: str, *names: str) -> KerasLayer:
        """Return the next layer of `kind`, which Keras's network calls by one of `names`."""
        number = self._counts.get(kind, 0)
        self._counts[kind] = number + 1
        place = kind if number == 0 else f"{kind}_{number}"
        found = {}
        for i, role in enumerate(_ROLES[kind]):
            if self._folder is not None:
                found[role] = f"{self._folder}/{place}/vars/{i}"
                continue
            # Keras 3 calls every kernel so, the versions before did not.
            roles = (role, "kernel") if role == "depthwise_kernel" else (role,)
            keys = [(name, one) for name in names for one in roles]
            known = [self._named[key] for key in keys if key in self._named]
            found[role] = known[0] if known else f"{names[0]}/{role}"
        return KerasLayer(self._weights, found)

    def finish(self, *kinds: str) -> None:
        """Refuse weights of layers that nobody took.

        Parameters
        ----------
        *kinds : str
            Kinds, and names in the older form, of layers that may be left.

        Raises
        ------
        ModelFileError
            There are others; the first is named with its shape.
        """
        if self._folder is None:
            self._weights.finish(*kinds, *(f"model_weights/{kind}" for kind in kinds), "optimizer")
        else:
            self._weights.within(self._folder, "/").finish(*kinds)


class KerasLayer:
    """The variables of one layer.

    Parameters
    ----------
    weights : Weights
        All arrays of the file.
    names : mapping of str to str
        The array of each variable.
    """

    def __init__(self, weights: Weights, names: Mapping[str, str]) -> None:
        self._weights = weights
        self._names = names

    def take(self, role: str, shape: tuple[int, ...]) -> Array:
        """Return a variable as float32; see `Weights.take`."""
        return self._weights.take(self._names[role], shape)


def _role(name: str) -> str:
    """Return what a variable of the older form is: the last part of its name."""
    last = name.rpartition("/")[2].partition(":")[0]
    for old, role in (("_W_1", "kernel"), ("_b_1", "bias")):
        if last.endswith(old):
            return role
    return last
