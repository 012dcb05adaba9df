"""Every layer and every loss computes on the GPU what it computes on the CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ironlearn.nn import functional as F
from ironlearn.nn import layers as L
from ironlearn.nn.autograd import RowGradient, Tensor, backward, no_grad
from ironlearn.nn.backend import get_device
from ironlearn.nn.functional.graph import normalized_adjacency
from ironlearn.nn.layers import INFERENCE, Mode
from ironlearn.nn.layers.base import Layer
from ironlearn.nn.layers.registry import TYPES
from ironlearn.nn.layers.sequential import initialize
from ironlearn.nn.losses import _losses
from ironlearn.nn.pretrained.bert import BertEncoder
from ironlearn.nn.pretrained.sentences import SentenceEncoder
from nn.test_nn_autograd import CASES as FUNCTIONS
from nn.test_nn_layers import CASES as CHAINED
from nn.test_nn_losses import CASES as LOSSES
from standin.cupy import counts

_MASK = np.array([[True, True, True, True, False], [True, False, True, True, True], [False] * 5])
_CONTEXT_MASK = np.array([[True, True, False, True]] * 3)
_TRAINING = Mode(training=True, seed=1, step=4)


def _plainly(layer: Any, device: Any, given: Any, mode: Mode) -> Any:
    return layer(given["x"], mode)


def _masked(layer: Any, device: Any, given: Any, mode: Mode) -> Any:
    return layer(given["x"], mode, mask=device.send(_MASK))


def _beside(layer: Any, device: Any, given: Any, mode: Mode) -> Any:
    return layer(
        given["x"],
        mode,
        mask=device.send(_MASK),
        context=given["context"],
        context_mask=device.send(_CONTEXT_MASK),
    )


def _merged(layer: Any, device: Any, given: Any, mode: Mode) -> Any:
    return layer([given["x"], given["context"]], mode)


def _on_graph(layer: Any, device: Any, given: Any, mode: Mode) -> Any:
    return layer(given["x"], normalized_adjacency([[0, 1], [1, 2]], 3).to_device(device), mode)


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer and how it is called."""

    make: Callable[[], Any]
    shape: tuple[int, ...]
    call: Callable[[Any, Any, Any, Mode], Any] = _plainly
    context: tuple[int, ...] | None = None
    ids: bool = False


def _sequence(make: Callable[[], Any], call: Any = _masked) -> Case:
    return Case(make, (5, 6), call, (4, 6) if call is _beside else None)


#: The layers that take a mask, a second input or numbers of words.
OTHERS: dict[str, Case] = {
    "AdditiveAttention": _sequence(lambda: L.AdditiveAttention(3), _beside),
    "AttentionPooling": _sequence(lambda: L.AttentionPooling(3)),
    "Bidirectional": _sequence(lambda: L.Bidirectional(L.LSTM(4, return_sequences=True))),
    "Bidirectional sum": _sequence(lambda: L.Bidirectional(L.GRU(4), "sum")),
    "DotAttention": _sequence(lambda: L.DotAttention(scaled=True), _beside),
    "Embedding": Case(lambda: L.Embedding(9, 4, mask_zero=True), (5,), ids=True),
    "GRU": _sequence(lambda: L.GRU(4, return_sequences=True, recurrent_dropout=0.2)),
    "GlobalAvgPool1D masked": _sequence(lambda: L.GlobalAvgPool1D()),
    "GlobalMaxPool1D masked": _sequence(lambda: L.GlobalMaxPool1D()),
    "GraphConvolution": Case(lambda: L.GraphConvolution(2, "tanh"), (4,), _on_graph),
    "LSTM": _sequence(lambda: L.LSTM(4, go_backwards=True, dropout=0.2)),
    "LSTM states": _sequence(lambda: L.LSTM(4, return_state=True, return_sequences=True)),
    **{
        f"Merge {mode}": Case(lambda mode=mode: L.Merge(mode), (5, 6), _merged, (5, 6))
        for mode in ("add", "sub", "mul", "div", "max", "concat")
    },
    "MultiHeadAttention context": _sequence(
        lambda: L.MultiHeadAttention(2, 3, context_width=6), _beside
    ),
    "SimpleRNN": _sequence(lambda: L.SimpleRNN(4, "relu", return_sequences=True)),
    "SpectralNorm": Case(lambda: L.SpectralNorm(L.Dense(3)), (4,)),
    "TransformerDecoderBlock": _sequence(lambda: L.TransformerDecoderBlock(2, 8), _beside),
    "TransformerEncoderBlock masked": _sequence(
        lambda: L.TransformerEncoderBlock(2, 8, norm_first=True, causal=True)
    ),
}
CASES = {name: Case(make, shape) for name, (make, shape) in CHAINED.items()} | OTHERS


def test_every_layer_has_a_case() -> None:
    missing = set(TYPES) - {name.partition(" ")[0] for name in CASES}
    assert not missing, "layers without a proof on the GPU"


def _built(case: Case) -> tuple[Layer, dict[str, np.ndarray[Any, Any]]]:
    shape: Any = (case.shape, case.context) if case.call is _merged else case.shape
    layer = initialize(case.make(), shape, 3)
    rng = np.random.default_rng(5)
    if case.ids:
        return layer, {"x": rng.integers(9, size=(3, *case.shape))}
    arrays = {"x": rng.standard_normal((3, *case.shape)).astype(np.float32)}
    if case.context is not None:
        arrays["context"] = rng.standard_normal((3, *case.context)).astype(np.float32)
    return layer, arrays


def _run(case: Case, device: Any, mode: Mode) -> tuple[dict[str, Any], tuple[int, int]]:
    """Return all that a run forward and back leaves, and how often it waited for the device."""
    layer, arrays = _built(case)
    layer.to_device(device)
    given = {
        name: Tensor(device.send(value), requires_grad=value.dtype.kind == "f")
        for name, value in arrays.items()
    }
    counts.reset()
    answer = case.call(layer, device, given, mode)
    outputs = answer if isinstance(answer, tuple) else (answer,)
    total = Tensor(device.send(np.zeros((), np.float32)))
    for output in outputs:
        form = np.linspace(-1, 1, output.data.size, dtype=np.float32).reshape(output.shape)
        total = F.add(total, F.sum(F.mul(output, Tensor(device.send(form)))))
    if total._node is not None:
        backward(total)
    waited = counts.waits, counts.to_host
    found = {f"output {n}": output.data for n, output in enumerate(outputs)}
    found |= {f"gradient of {name}": tensor.grad for name, tensor in given.items()}
    for name, parameter in layer.named_parameters().items():
        grad = parameter.grad
        found[f"gradient of {name}"] = grad.dense() if isinstance(grad, RowGradient) else grad
    found |= {name: buffer.data for name, buffer in layer.named_buffers().items()}
    for name, value in found.items():
        assert value is None or device.owns(value), name
    return {k: None if v is None else device.receive(v) for k, v in found.items()}, waited


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_layer(gpu: Any, name: str, training: bool) -> None:
    mode = _TRAINING if training else INFERENCE
    answer, waited = _run(CASES[name], gpu, mode)
    assert waited == (0, 0), "the layer waited for the device"
    expected, _ = _run(CASES[name], get_device("cpu"), mode)
    assert answer.keys() == expected.keys()
    for part, value in expected.items():
        if value is None:
            assert answer[part] is None, part
            continue
        assert answer[part].dtype == value.dtype, part
        np.testing.assert_allclose(answer[part], value, rtol=1e-4, atol=2e-5, err_msg=part)


@pytest.mark.parametrize("name", CHAINED)
def test_empty_batches(gpu: Any, name: str) -> None:
    make, shape = CHAINED[name]
    layer = initialize(make(), shape, 3).to_device(gpu)
    x = Tensor(gpu.send(np.zeros((0, *shape), np.float32)), requires_grad=True)
    y = layer(x)
    assert gpu.receive(y.data).shape == (0, *layer.output_shape(shape))


def test_every_loss_has_a_case() -> None:
    assert {loss.name for loss, _, _ in LOSSES.values()} == set(_losses())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_loss(gpu: Any, name: str, weighted: bool) -> None:
    loss, outputs, targets = LOSSES[name]
    weights = np.linspace(0.5, 2, len(outputs), dtype=np.float32) if weighted else None
    answers = []
    for device in (gpu, get_device("cpu")):

        def send(value: Any, device: Any = device) -> Any:
            if isinstance(value, tuple):
                return tuple(map(send, value))
            value = value.astype(np.float32) if value.dtype.kind == "f" else value
            return device.send(np.ascontiguousarray(value))

        x = Tensor(send(outputs), requires_grad=True)
        sent = send(targets), None if weights is None else send(weights)
        counts.reset()
        value = loss(x, *sent)
        backward(value)
        assert (counts.waits, counts.to_host) == (0, 0), "the loss waited for the device"
        answers.append((device.receive(value.data), device.receive(x.grad)))
        assert device is not gpu or gpu.owns(x.grad)
    (ours, grad), (expected, expected_grad) = answers
    assert ours.dtype == grad.dtype == np.float32
    np.testing.assert_allclose(ours, expected, rtol=2e-5)
    np.testing.assert_allclose(grad, expected_grad, rtol=1e-4, atol=1e-6)


#: Functions of floats alone: the others have targets or indices, which tests above bring along.
_FUNCTIONS = [name for name in FUNCTIONS if "cross" not in name and name != "getitem rows"]


@pytest.mark.parametrize("name", _FUNCTIONS)
def test_function(gpu: Any, name: str) -> None:
    function, inputs = FUNCTIONS[name]
    answers = []
    for device in (gpu, get_device("cpu")):
        given = [Tensor(device.send(x.astype(np.float32)), requires_grad=True) for x in inputs]
        counts.reset()
        y = function(*given)
        backward(y, device.xp.ones(y.shape, np.float32))
        assert (counts.waits, counts.to_host) == (0, 0), "the function waited for the device"
        answers.append([device.receive(a) for a in (y.data, *(x.grad for x in given))])
    for ours, theirs in zip(*answers, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_rows_by_index(gpu: Any) -> None:
    x = Tensor(gpu.send(np.arange(12.0, dtype=np.float32).reshape(4, 3)), requires_grad=True)
    y = F.getitem(x, gpu.send(np.array([0, 2, 0])))
    backward(y, gpu.send(np.ones((3, 3), np.float32)))
    np.testing.assert_array_equal(gpu.receive(y.data)[:, 0], [0, 6, 0])
    np.testing.assert_array_equal(gpu.receive(x.grad)[:, 0], [2, 0, 1, 0])


@pytest.mark.parametrize("norm_first", [False, True])
def test_decoding_step_by_step(gpu: Any, norm_first: bool) -> None:
    """What a decoder remembers of its steps stays on the device."""
    rng = np.random.default_rng(2)
    x, context = rng.standard_normal((2, 3, 4, 8)).astype(np.float32)
    mask = np.array([[True] * 4, [True, True, False, False], [True] * 4])
    block = initialize(L.TransformerDecoderBlock(2, 16, norm_first=norm_first), (None, 8), 1)
    expected = block(Tensor(x), context=Tensor(context), context_mask=mask).data
    block.to_device(gpu)
    sent, sent_mask = Tensor(gpu.send(context)), gpu.send(mask)
    parts = [Tensor(gpu.send(np.ascontiguousarray(x[:, t : t + 1]))) for t in range(4)]
    counts.reset()
    with no_grad():
        cache = block.start(sent, sent_mask)
        steps = [block.step(part, cache).data for part in parts]
    assert (counts.waits, counts.to_host) == (0, 0), "a step waited for the device"
    answer = np.concatenate([gpu.receive(step) for step in steps], axis=1)
    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=2e-5)


def test_word_pieces(gpu: Any) -> None:
    """An encoder of the pretrained kind, with padding, and the mean over its steps."""
    network = initialize(BertEncoder(50, 8, 2, 2, 16, 12), (None,), 4)

    class Tokenizer:
        def encode_batch(self, texts: list[str]) -> list[Any]:
            return [SimpleNamespace(ids=[ord(c) % 50 for c in text]) for text in texts]

    texts = ["one text", "another", "", "and a third"]
    expected = SentenceEncoder(network, Tokenizer()).encode(texts, batch_size=3)
    answer = SentenceEncoder(network, Tokenizer(), device=gpu).encode(texts, batch_size=3)
    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=2e-5)
