"""Recurrent layers over whole sequences."""

from __future__ import annotations

from typing import Any

from ironlearn.nn.backend.device import Array
from ironlearn.nn.backend.ops.activations import ActivationOps

_Cache = tuple[Any, ...]


class RecurrentOps(ActivationOps):
    """LSTM, GRU and simple recurrent layers, and their gradients through time.

    Sequences are (N, T, F). Where a mask (N, T) is False a sample keeps its state, and its output
    repeats it. With `reverse` time runs backwards; outputs stay beside their inputs. With
    ``keep=False`` the cache is empty: nothing will be asked back.
    """

    def lstm(
        self,
        x: Array,
        w: Array,
        u: Array,
        b: Array,
        h0: Array,
        c0: Array,
        *,
        mask: Array | None = None,
        reverse: bool = False,
        keep: bool = True,
    ) -> tuple[Array, Array, Array, _Cache]:
        """Return all states y (N, T, H), the last state, the last cell state, and a cache.

        Of x w + h u + b, w (F, 4 H) and u (H, 4 H), the four parts are gates i, f, candidate g
        and gate o; c' = sigmoid(f) c + sigmoid(i) tanh(g) and h' = sigmoid(o) tanh(c').
        """
        xp = self.xp
        n, steps, _ = x.shape
        units = u.shape[0]
        y = xp.zeros((n, steps, units), x.dtype)
        gates: Array = xp.zeros((n, steps, 4 * units), x.dtype) if keep else None
        cells: Array = xp.zeros((n, steps, units), x.dtype) if keep else None
        h, c = h0, c0
        for t in _order(steps, reverse):
            z = self.matmul(x[:, t], w) + self.matmul(h, u) + b
            i, f, g, o = _split(z, 4)
            i, f, o = (self.activation(v, "sigmoid") for v in (i, f, o))
            g = xp.tanh(g)
            c_new = f * c + i * g
            h_new = o * xp.tanh(c_new)
            h, c = _carry(xp, mask, t, h_new, h), _carry(xp, mask, t, c_new, c)
            y[:, t] = h
            if keep:
                gates[:, t] = xp.concatenate([i, f, g, o], axis=1)
                cells[:, t] = c
        return y, h, c, ((gates, cells) if keep else ())

    def lstm_backward(
        self,
        gy: Array | None,
        gh: Array | None,
        gc: Array | None,
        x: Array,
        w: Array,
        u: Array,
        b: Array,
        h0: Array,
        c0: Array,
        y: Array,
        cache: _Cache,
        *,
        mask: Array | None = None,
        reverse: bool = False,
        needs_x: bool = True,
    ) -> tuple[Array | None, Array, Array, Array, Array, Array]:
        """Return the gradients of x (``None`` unless `needs_x`), w, u, b, h0 and c0."""
        xp = self.xp
        gates, cells = cache
        before = _before(xp, cells, c0, reverse)
        gz = xp.zeros_like(gates)
        dh = xp.zeros_like(h0) if gh is None else gh
        dc = xp.zeros_like(c0) if gc is None else gc
        for t in _order(x.shape[1], not reverse):
            if gy is not None:
                dh = dh + gy[:, t]
            i, f, g, o = _split(gates[:, t], 4)
            squashed = xp.tanh(cells[:, t])
            d = dc + dh * o * (1 - squashed * squashed)
            parts = [
                d * g * i * (1 - i),
                d * before[:, t] * f * (1 - f),
                d * i * (1 - g * g),
                dh * squashed * o * (1 - o),
            ]
            dz = _taken(xp, mask, t, xp.concatenate(parts, axis=1))
            gz[:, t] = dz
            dh = self.matmul(dz, u.T) + _kept(xp, mask, t, dh)
            dc = _carry(xp, mask, t, d * f, dc)
        gu = _product(self, _before(xp, y, h0, reverse), gz)
        return (*self._recurrent_inputs(x, w, gz, needs_x), gu, gz.sum(axis=(0, 1)), dh, dc)

    def gru(
        self,
        x: Array,
        w: Array,
        u: Array,
        b: Array,
        bu: Array,
        h0: Array,
        *,
        mask: Array | None = None,
        reverse: bool = False,
        keep: bool = True,
    ) -> tuple[Array, Array, _Cache]:
        """Return all states y (N, T, H), the last state, and a cache.

        Of x w + b, w (F, 3 H), and h u + bu, u (H, 3 H), the parts are z, r and n. With gates
        z = sigmoid(xz + hz) and r = sigmoid(xr + hr), the candidate is n = tanh(xn + r hn), and
        h' = (1 - z) n + z h.
        """
        xp = self.xp
        n, steps, _ = x.shape
        units = u.shape[0]
        y = xp.zeros((n, steps, units), x.dtype)
        gates: Array = xp.zeros((n, steps, 4 * units), x.dtype) if keep else None
        h = h0
        for t in _order(steps, reverse):
            xz, xr, xn = _split(self.matmul(x[:, t], w) + b, 3)
            hz, hr, hn = _split(self.matmul(h, u) + bu, 3)
            z = self.activation(xz + hz, "sigmoid")
            r = self.activation(xr + hr, "sigmoid")
            candidate = xp.tanh(xn + r * hn)
            h = _carry(xp, mask, t, (1 - z) * candidate + z * h, h)
            y[:, t] = h
            if keep:
                gates[:, t] = xp.concatenate([z, r, candidate, hn], axis=1)
        return y, h, ((gates,) if keep else ())

    def gru_backward(
        self,
        gy: Array | None,
        gh: Array | None,
        x: Array,
        w: Array,
        u: Array,
        b: Array,
        bu: Array,
        h0: Array,
        y: Array,
        cache: _Cache,
        *,
        mask: Array | None = None,
        reverse: bool = False,
        needs_x: bool = True,
    ) -> tuple[Array | None, Array, Array, Array, Array, Array]:
        """Return the gradients of x (``None`` unless `needs_x`), w, u, b, bu and h0."""
        xp = self.xp
        (gates,) = cache
        units = u.shape[0]
        before = _before(xp, y, h0, reverse)
        gx_sums = xp.zeros_like(gates[:, :, : 3 * units])
        gh_sums = xp.zeros_like(gx_sums)
        dh = xp.zeros_like(h0) if gh is None else gh
        for t in _order(x.shape[1], not reverse):
            if gy is not None:
                dh = dh + gy[:, t]
            z, r, candidate, hn = _split(gates[:, t], 4)
            dn = dh * (1 - z) * (1 - candidate * candidate)
            dz = dh * (before[:, t] - candidate) * z * (1 - z)
            dr = dn * hn * r * (1 - r)
            of_x = _taken(xp, mask, t, xp.concatenate([dz, dr, dn], axis=1))
            of_h = _taken(xp, mask, t, xp.concatenate([dz, dr, dn * r], axis=1))
            gx_sums[:, t] = of_x
            gh_sums[:, t] = of_h
            dh = self.matmul(of_h, u.T) + _carry(xp, mask, t, dh * z, dh)
        gu = _product(self, before, gh_sums)
        gb, gbu = gx_sums.sum(axis=(0, 1)), gh_sums.sum(axis=(0, 1))
        return (*self._recurrent_inputs(x, w, gx_sums, needs_x), gu, gb, gbu, dh)

    def rnn(
        self,
        x: Array,
        w: Array,
        u: Array,
        b: Array,
        h0: Array,
        *,
        activation: str = "tanh",
        mask: Array | None = None,
        reverse: bool = False,
        keep: bool = True,
    ) -> tuple[Array, Array, _Cache]:
        """Return all states y (N, T, H) of h' = activation(x w + h u + b), the last, and a cache.

        `activation` is one whose derivative follows from the output.
        """
        xp = self.xp
        n, steps, _ = x.shape
        y = xp.zeros((n, steps, u.shape[0]), x.dtype)
        h = h0
        for t in _order(steps, reverse):
            z = self.matmul(x[:, t], w) + self.matmul(h, u) + b
            h = _carry(xp, mask, t, self.activation(z, activation), h)
            y[:, t] = h
        return y, h, ()

    def rnn_backward(
        self,
        gy: Array | None,
        gh: Array | None,
        x: Array,
        w: Array,
        u: Array,
        b: Array,
        h0: Array,
        y: Array,
        cache: _Cache,
        *,
        activation: str = "tanh",
        mask: Array | None = None,
        reverse: bool = False,
        needs_x: bool = True,
    ) -> tuple[Array | None, Array, Array, Array, Array]:
        """Return the gradients of x (``None`` unless `needs_x`), w, u, b and h0."""
        xp = self.xp
        gz = xp.zeros_like(y)
        dh = xp.zeros_like(h0) if gh is None else gh
        for t in _order(x.shape[1], not reverse):
            if gy is not None:
                dh = dh + gy[:, t]
            dz = _taken(xp, mask, t, self.activation_backward(dh, y[:, t], activation))
            gz[:, t] = dz
            dh = self.matmul(dz, u.T) + _kept(xp, mask, t, dh)
        gu = _product(self, _before(xp, y, h0, reverse), gz)
        return (*self._recurrent_inputs(x, w, gz, needs_x), gu, gz.sum(axis=(0, 1)), dh)

    def _recurrent_inputs(
        self, x: Array, w: Array, gz: Array, needs_x: bool
    ) -> tuple[Array | None, Array]:
        """Return the gradients of x and w, given those of x w."""
        return self.matmul(gz, w.T) if needs_x else None, _product(self, x, gz)


def _order(steps: int, reverse: bool) -> range:
    return range(steps - 1, -1, -1) if reverse else range(steps)


def _split(z: Array, parts: int) -> list[Array]:
    width = z.shape[1] // parts
    return [z[:, k * width : (k + 1) * width] for k in range(parts)]


def _carry(xp: Any, mask: Array | None, t: int, new: Array, old: Array) -> Array:
    """Return `new` for the samples that take step t, `old` for the others."""
    return new if mask is None else xp.where(mask[:, t, None], new, old)


def _taken(xp: Any, mask: Array | None, t: int, value: Array) -> Array:
    """Return `value` for the samples that take step t, 0 for the others."""
    return value if mask is None else xp.where(mask[:, t, None], value, xp.zeros_like(value))


def _kept(xp: Any, mask: Array | None, t: int, value: Array) -> Any:
    """Return 0 for the samples that take step t, `value` for the others."""
    return 0 if mask is None else xp.where(mask[:, t, None], xp.zeros_like(value), value)


def _before(xp: Any, after: Array, first: Array, reverse: bool) -> Array:
    """Return the states (N, T, H) before each step, given those after it."""
    if reverse:
        return xp.concatenate([after[:, 1:], first[:, None]], axis=1)[:, : after.shape[1]]
    return xp.concatenate([first[:, None], after], axis=1)[:, : after.shape[1]]


def _product(ops: Any, a: Array, g: Array) -> Array:
    """Return the sum over samples and steps of a' g."""
    rows = a.shape[0] * a.shape[1]
    return ops.matmul(a.reshape(rows, a.shape[2]).T, g.reshape(rows, g.shape[2]))
