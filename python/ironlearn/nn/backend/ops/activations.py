"""Elementwise activations and their derivatives."""

from __future__ import annotations

import math

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.basic import BasicOps

#: Activations whose derivative follows from the output: these can be fused into other operations.
FUSED = ("linear", "relu", "sigmoid", "tanh", "leaky_relu", "elu", "relu6")
#: Activations whose derivative needs the input.
UNFUSED = ("gelu", "gelu_tanh", "silu", "softplus")

LEAK = 0.01
_GELU = math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715
_DENSITY = 1.0 / math.sqrt(2.0 * math.pi)

# Cody, "Rational Chebyshev approximations for the error function", Mathematics of Computation 23
# (1969): numerators and denominators, lowest power first, for erf(x) / x below 0.5, for erfc(x)
# exp(x^2) up to 4, and for (1 / sqrt(pi) + x^-2 ...) x erfc(x) exp(x^2) / x beyond.
_ERF = (
    (
        3209.377589138469472562,
        377.4852376853020208137,
        113.8641541510501556495,
        3.161123743870565596947,
        0.1857777061846031526730,
    ),
    (
        2844.236833439170622273,
        1282.616526077372275645,
        244.0246379344441733056,
        23.60129095234412093499,
        1.0,
    ),
)
_ERFC = (
    (
        1230.33935479799725272,
        2051.07837782607146532,
        1712.04761263407058314,
        881.952221241769090411,
        298.635138197400131132,
        66.1191906371416294775,
        8.88314979438837594118,
        0.564188496988670089180,
        2.15311535474403846343e-8,
    ),
    (
        1230.33935480374942043,
        3439.36767414372163696,
        4362.61909014324715820,
        3290.79923573345962678,
        1621.38957456669018874,
        537.181101862009857509,
        117.693950891312499305,
        15.7449261107098347253,
        1.0,
    ),
)
_ERFC_FAR = (
    (
        -6.58749161529837803157e-4,
        -0.0160837851487422766278,
        -0.125781726111229246204,
        -0.360344899949804439429,
        -0.305326634961232344035,
        -0.0163153871373020978498,
    ),
    (
        2.33520497626869185443e-3,
        0.0605183413124413191178,
        0.527905102951428412248,
        1.87295284992346725209,
        2.56852019228982242072,
        1.0,
    ),
)


class ActivationOps(BasicOps):
    """Activations by name.

    ``gelu`` is x times the normal distribution function (Hendrycks and Gimpel, "Gaussian error
    linear units", arXiv:1606.08415), ``gelu_tanh`` its approximation there; ``relu6`` is the
    rectifier held at 6 (Krizhevsky, "Convolutional deep belief networks on CIFAR-10", 2010);
    ``elu`` is of Clevert et al. (arXiv:1511.07289) with alpha 1; ``silu`` is x times sigmoid(x);
    ``leaky_relu`` has the slope 0.01.
    """

    def sigmoid(self, x: Array) -> Array:
        """Return 1 / (1 + exp(-x)), without overflow."""
        xp = self.xp
        e = xp.exp(-xp.abs(x))
        return xp.where(x >= 0, 1, e) / (1 + e)

    def erfc(self, x: Array) -> Array:
        """Return 2 / sqrt(pi) times the integral of exp(-t^2) from x to infinity."""
        xp = self.xp

        def ratio(z: Array, table: tuple[tuple[float, ...], tuple[float, ...]]) -> Array:
            parts = []
            for coefficients in table:
                value = xp.full_like(z, coefficients[-1])
                for c in coefficients[-2::-1]:
                    value = value * z + c
                parts.append(value)
            return parts[0] / parts[1]

        a = xp.abs(x)
        n = xp.clip(x, -0.5, 0.5)
        near = 1 - n * ratio(n * n, _ERF)
        # Held where each is used, so that nothing overflows elsewhere.
        b = xp.clip(a, 0.46875, 4.0)
        middle = xp.exp(-b * b) * ratio(b, _ERFC)
        c = xp.clip(a, 4.0, 30.0)
        inverse = 1 / (c * c)
        far = xp.exp(-c * c) / c * (1 / math.sqrt(math.pi) + inverse * ratio(inverse, _ERFC_FAR))
        tail = xp.where(a <= 4.0, middle, far)
        return xp.where(a <= 0.46875, near, xp.where(x > 0, tail, 2 - tail))

    def normal_cdf(self, x: Array) -> Array:
        """Return the distribution function of the standard normal distribution."""
        return 0.5 * self.erfc(x * -math.sqrt(0.5))

    def activation(self, x: Array, name: str) -> Array:
        """Return the activation `name` of `x`, elementwise."""
        xp = self.xp
        if name == "linear":
            return x
        if name == "relu":
            return xp.maximum(x, 0)
        if name == "sigmoid":
            return self.sigmoid(x)
        if name == "tanh":
            return xp.tanh(x)
        if name == "leaky_relu":
            return xp.where(x > 0, x, x * x.dtype.type(LEAK))
        if name == "elu":
            return xp.where(x > 0, x, xp.expm1(xp.minimum(x, 0)))
        if name == "gelu":
            return x * self.normal_cdf(x)
        if name == "relu6":
            return xp.minimum(xp.maximum(x, 0), 6)
        if name == "gelu_tanh":
            return 0.5 * x * (1 + xp.tanh(_GELU * (x + _CUBIC * x * x * x)))
        if name == "silu":
            return x * self.sigmoid(x)
        if name == "softplus":
            return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))
        raise ValueError(f"activation must be one of {FUSED + UNFUSED}, got {name!r}.")

    def activation_backward(self, gy: Array, y: Array, name: str) -> Array:
        """Return the input's gradient of a fusible activation from its output `y`."""
        xp = self.xp
        if name == "linear":
            return gy
        if name == "relu":
            return gy * (y > 0)
        if name == "sigmoid":
            return gy * (y * (1 - y))
        if name == "tanh":
            return gy * (1 - y * y)
        if name == "leaky_relu":
            return xp.where(y > 0, gy, gy * gy.dtype.type(LEAK))
        if name == "elu":
            return xp.where(y > 0, gy, gy * (y + 1))
        if name == "relu6":
            return gy * ((y > 0) & (y < 6))
        raise ValueError(f"activation must be one of {FUSED}, got {name!r}.")

    def activation_input_backward(self, gy: Array, x: Array, name: str) -> Array:
        """Return the input's gradient of an activation that needs its input `x`."""
        xp = self.xp
        if name == "gelu":
            density = xp.exp(-0.5 * x * x) * _DENSITY
            return gy * (self.normal_cdf(x) + x * density)
        if name == "gelu_tanh":
            inner = xp.tanh(_GELU * (x + _CUBIC * x * x * x))
            slope = _GELU * (1 + 3 * _CUBIC * x * x)
            return gy * (0.5 * (1 + inner) + 0.5 * x * (1 - inner * inner) * slope)
        if name == "silu":
            s = self.sigmoid(x)
            return gy * (s * (1 + x * (1 - s)))
        if name == "softplus":
            return gy * self.sigmoid(x)
        raise ValueError(f"activation must be one of {UNFUSED}, got {name!r}.")
