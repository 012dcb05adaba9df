"""One step of an optimizer over all parameters, in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.basic import BasicOps

#: The arrays that each rule keeps beside a parameter.
SLOTS: Mapping[str, tuple[str, ...]] = {
    "sgd": (),
    "momentum": ("velocity",),
    "nesterov": ("velocity",),
    "rmsprop": ("square",),
    "adam": ("m", "v"),
    "adamw": ("m", "v"),
    "adagrad": ("square",),
    "lion": ("m",),
}


class OptimizerOps(BasicOps):
    """Update rules."""

    def optimizer_step(
        self,
        kind: str,
        params: Sequence[Array],
        grads: Sequence[Array],
        slots: Sequence[Sequence[Array]],
        hyper: Mapping[str, float],
        decay: Sequence[bool],
    ) -> None:
        """Change `params` and `slots` by one step of the rule `kind`.

        With the gradient g, scaled by `scale`, and where `decay` says so g + l2 w + l1 sign(w):

        - ``sgd``: w -= lr g
        - ``momentum``: v = momentum v + g; w -= lr v
        - ``nesterov``: v = momentum v + g; w -= lr (g + momentum v)  (Sutskever et al., ICML 2013)
        - ``rmsprop``: s = rho s + (1 - rho) g^2; w -= lr g / (sqrt(s) + eps)
        - ``adam``: m, v are means of g and g^2 with the bias of their start taken out;
          w -= lr m / (sqrt(v) + eps)  (Kingma and Ba, arXiv:1412.6980)
        - ``adamw``: as ``adam``; ``weight_decay`` is its own term in every rule
        - ``adagrad``: s += g^2; w -= lr g / (sqrt(s) + eps)
        - ``lion``: w -= lr sign(beta1 m + (1 - beta1) g); m = beta2 m + (1 - beta2) g
          (Chen et al., arXiv:2302.06675)

        Before that, where `decay` says so, w -= lr weight_decay w (Loshchilov and Hutter,
        arXiv:1711.05101).

        Parameters
        ----------
        kind : str
        params, grads : sequences of arrays
            A gradient for each parameter.
        slots : sequence of sequences of arrays
            For each name of `SLOTS`, an array for each parameter.
        hyper : mapping of str to float
            ``lr``; ``step``, counted from 1; ``scale`` of the gradients; ``l1``, ``l2``,
            ``weight_decay``; ``momentum``, ``rho``, ``beta1``, ``beta2``, ``eps`` as needed.
        decay : sequence of bool
            For each parameter, whether ``l1``, ``l2`` and ``weight_decay`` apply.
        """
        for i, (w, g) in enumerate(zip(params, grads, strict=True)):
            state = [slot[i] for slot in slots]
            self._one_step(kind, w, g, state, hyper, decay[i])

    def _one_step(
        self,
        kind: str,
        w: Array,
        g: Array,
        state: Sequence[Array],
        hyper: Mapping[str, float],
        decays: bool,
    ) -> None:
        xp = self.xp
        lr, scale = hyper["lr"], hyper.get("scale", 1.0)
        if scale != 1.0:
            g = g * scale
        if decays:
            if hyper.get("l2", 0.0):
                g = g + hyper["l2"] * w
            if hyper.get("l1", 0.0):
                g = g + hyper["l1"] * xp.sign(w)
            if hyper.get("weight_decay", 0.0):
                w -= (lr * hyper["weight_decay"]) * w
        if kind == "sgd":
            w -= lr * g
        elif kind in ("momentum", "nesterov"):
            (v,) = state
            v *= hyper["momentum"]
            v += g
            w -= lr * (v if kind == "momentum" else g + hyper["momentum"] * v)
        elif kind == "rmsprop":
            (s,) = state
            s *= hyper["rho"]
            s += (1 - hyper["rho"]) * (g * g)
            w -= lr * g / (xp.sqrt(s) + hyper["eps"])
        elif kind in ("adam", "adamw"):
            m, v = state
            beta1, beta2, step = hyper["beta1"], hyper["beta2"], hyper["step"]
            m *= beta1
            m += (1 - beta1) * g
            v *= beta2
            v += (1 - beta2) * (g * g)
            root = xp.sqrt(v / (1 - beta2**step))
            w -= (lr / (1 - beta1**step)) * m / (root + hyper["eps"])
        elif kind == "adagrad":
            (s,) = state
            s += g * g
            w -= lr * g / (xp.sqrt(s) + hyper["eps"])
        elif kind == "lion":
            (m,) = state
            beta1, beta2 = hyper["beta1"], hyper["beta2"]
            w -= lr * xp.sign(beta1 * m + (1 - beta1) * g)
            m *= beta2
            m += (1 - beta2) * g
        else:
            raise ValueError(f"kind must be one of {tuple(SLOTS)}, got {kind!r}.")
