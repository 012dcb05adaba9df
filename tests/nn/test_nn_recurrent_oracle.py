"""PyTorch as judge of the recurrent layers. Run on purpose: ``pytest -m oracle tests/nn``."""

from __future__ import annotations

import numpy as np
import pytest

from ironlearn.nn.autograd import Tensor, backward
from ironlearn.nn.layers import GRU, LSTM, SimpleRNN

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch")

# PyTorch's gates of the GRU are r, z, n.
ORDER = {LSTM: [0, 1, 2, 3], GRU: [1, 0, 2], SimpleRNN: [0]}


@pytest.mark.parametrize("make", ORDER)
@pytest.mark.parametrize("n", [3, 20])
def test_recurrent_layers(make, n):
    layer = make(10, return_sequences=True)
    layer._build((7, 4), np.random.default_rng(0))
    other = {LSTM: torch.nn.LSTM, GRU: torch.nn.GRU, SimpleRNN: torch.nn.RNN}[make](
        4, 10, batch_first=True
    )

    def columns(array):
        blocks = np.split(array, len(ORDER[make]), axis=-1)
        return np.concatenate([blocks[k] for k in ORDER[make]], axis=-1).T

    rng = np.random.default_rng(1)
    for parameter in layer.parameters():
        parameter.data[...] = rng.standard_normal(parameter.shape) * 0.4
    second = layer.recurrent_bias.data if make is GRU else np.zeros_like(layer.bias.data)
    with torch.no_grad():
        other.weight_ih_l0.copy_(torch.from_numpy(columns(layer.kernel.data).copy()))
        other.weight_hh_l0.copy_(torch.from_numpy(columns(layer.recurrent_kernel.data).copy()))
        other.bias_ih_l0.copy_(torch.from_numpy(columns(layer.bias.data).copy()))
        other.bias_hh_l0.copy_(torch.from_numpy(columns(second).copy()))
    x = rng.standard_normal((n, 7, 4)).astype(np.float32)
    form = rng.standard_normal((n, 7, 10)).astype(np.float32)
    ours = Tensor(x.copy(), requires_grad=True)
    y = layer(ours)
    backward(y, form)
    theirs = torch.from_numpy(x.copy()).requires_grad_()
    z = other(theirs)[0]
    z.backward(torch.from_numpy(form))
    tolerance = {"rtol": 1e-4, "atol": 2e-5}
    np.testing.assert_allclose(y.data, z.detach().numpy(), **tolerance)
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), **tolerance)
    for mine, yours in (
        (layer.kernel, other.weight_ih_l0),
        (layer.recurrent_kernel, other.weight_hh_l0),
        (layer.bias, other.bias_ih_l0),
    ):
        np.testing.assert_allclose(columns(mine.grad), yours.grad.numpy(), **tolerance)
