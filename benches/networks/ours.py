"""The networks in ironlearn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ironlearn.nn import functional as F
from ironlearn.nn.autograd import Tensor, backward
from ironlearn.nn.backend import get_device
from ironlearn.nn.data import ArrayData
from ironlearn.nn.layers import (
    LSTM,
    CapsuleLength,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DotAttention,
    Embedding,
    Flatten,
    Layer,
    MaxPool2D,
    Mode,
    PrimaryCapsules,
    Reshape,
    RoutingCapsules,
    Sequential,
    TransformerEncoderBlock,
)
from ironlearn.nn.layers.sequential import initialize
from ironlearn.nn.losses import BinaryCrossEntropy, CrossEntropy
from ironlearn.nn.optimizers import Adam
from ironlearn.nn.pair_losses import CapsuleMargin
from ironlearn.nn.train import Trainer, predict
from networks.cases import CASES as WORK
from networks.cases import PLACE, VGG16, data

Call = Callable[[], float]


def _stack() -> list[Layer]:
    return [
        Conv2D(32, 3, activation="relu"),
        MaxPool2D(2),
        Conv2D(64, 3, activation="relu"),
        MaxPool2D(2),
        Conv2D(64, 3, activation="relu"),
        Flatten(),
        Dense(64, "relu"),
        Dense(10),
    ]


def _sequential(name: str, layers: list[Layer], loss: Any) -> Call:
    """Return a call that trains one pass over the case's data by the training loop."""
    x, y = data(name)
    shape = x.shape[1:]
    net = Sequential(layers).initialize(shape, 0)
    trainer = Trainer(
        net, loss, Adam(1e-3), metrics=None, device=PLACE.device, precision=PLACE.precision
    )
    batches = ArrayData(x, y, batch_size=WORK[name].batch, shuffle=False)
    return lambda: float(trainer.fit(batches, epochs=1)["loss"][-1])


def _send(array: Any) -> Any:
    return get_device(PLACE.device).send(array)


def _loop(name: str, network: Any, step: Callable[..., Tensor], *arrays: Any) -> Call:
    """Return a call that trains operation by operation."""
    network.to_device(PLACE.device)
    optimizer = Adam(1e-3).bind(network.parameters())
    batch = WORK[name].batch
    done = [0]

    def call() -> float:
        for i in range(WORK[name].steps):
            part = [_send(a[i * batch : (i + 1) * batch]) for a in arrays]
            loss = step(*part, mode=Mode(True, 0, done[0]))
            backward(loss)
            optimizer.step()
            done[0] += 1
        return float(loss.numpy())

    return call


def digits_cnn() -> Call:
    """Return the digits network."""
    return _sequential("digits_cnn", _stack(), "cross_entropy")


def cnn_224() -> Call:
    """Return the digits network on large images."""
    return _sequential("cnn_224", _stack(), "cross_entropy")


def lstm_50x2() -> Call:
    """Return the forecaster's network."""
    return _sequential("lstm_50x2", [LSTM(50, return_sequences=True), LSTM(50), Dense(1)], "mse")


def text_lstm() -> Call:
    """Return the text classifier's network."""
    layers = [Embedding(10_000, 64), LSTM(50), Dense(64, "relu"), Dense(1)]
    return _sequential("text_lstm", layers, BinaryCrossEntropy())


def dense_stack() -> Call:
    """Return two dense layers."""
    return _sequential("dense_stack", [Dense(512, "relu"), Dense(10)], "cross_entropy")


def denoising_cnn() -> Call:
    """Return the denoiser."""
    layers: list[Layer] = [Conv2D(32, 3, padding="same", activation="relu") for _ in range(2)]
    return _sequential("denoising_cnn", [*layers, Conv2D(1, 3, padding="same")], "mse")


def srcnn() -> Call:
    """Return the network of super-resolution."""
    layers: list[Layer] = [
        Conv2D(64, 9, padding="same", activation="relu"),
        Conv2D(64, 5, padding="same", activation="relu"),
        Conv2D(1, 5, padding="same"),
    ]
    return _sequential("srcnn", layers, "mse")


def gan_mlp() -> Call:
    """Return the pair of dense networks, one step of each."""
    widths = (128, 256, 512, 1024)
    made = Sequential([*[Dense(n, "relu") for n in widths], Dense(784, "tanh")])
    made.initialize((100,), 0)
    judge = Sequential([*[Dense(n, "relu") for n in (512, 256, 128)], Dense(1)])
    judge.initialize((784,), 1)
    made.to_device(PLACE.device)
    judge.to_device(PLACE.device)
    makes, judges = Adam(1e-4).bind(made.parameters()), Adam(1e-4).bind(judge.parameters())
    real, noise = data("gan_mlp")
    batch = WORK["gan_mlp"].batch
    loss = BinaryCrossEntropy()
    ones, zeros = _send(np.ones(batch, np.float32)), _send(np.zeros(batch, np.float32))

    def call() -> float:
        for i in range(WORK["gan_mlp"].steps):
            rows = slice(i * batch, (i + 1) * batch)
            fake = made(Tensor(_send(noise[rows])))
            right = loss(judge(Tensor(_send(real[rows]))), ones)
            wrong = loss(judge(fake.detach()), zeros)
            backward(F.add(right, wrong))
            judges.step()
            fooled = loss(judge(fake), ones)
            backward(fooled)
            makes.step()
            judges.zero_grad()
        return float(fooled.numpy())

    return call


class _VAE(Layer):
    def __init__(self) -> None:
        self.encoder = Sequential(
            [
                Conv2D(32, 3, 2, "same", "relu"),
                Conv2D(64, 3, 2, "same", "relu"),
                Flatten(),
                Dense(40),
            ]
        )
        self.decoder = Sequential(
            [
                Dense(7 * 7 * 64, "relu"),
                Reshape((7, 7, 64)),
                Conv2DTranspose(32, 3, 2, "same", "relu"),
                Conv2DTranspose(1, 3, 2, "same"),
            ]
        )

    def build(self, input_shape: Any, rng: Any) -> None:
        self.encoder._build(input_shape, rng)
        self.decoder._build((20,), rng)


def conv_vae() -> Call:
    """Return the variational autoencoder."""
    net = initialize(_VAE(), (28, 28, 1), 0)
    x, _ = data("conv_vae")

    def step(batch: Any, mode: Mode) -> Tensor:
        codes = net.encoder(Tensor(batch), mode)
        mean = F.getitem(codes, (slice(None), slice(0, 20)))
        logvar = F.getitem(codes, (slice(None), slice(20, 40)))
        noise = np.random.default_rng(mode.step).standard_normal(mean.shape).astype(np.float32)
        z = F.add(mean, F.mul(F.exp(F.mul(logvar, 0.5)), Tensor(_send(noise))))
        out = net.decoder(z, mode)
        fit = F.mul(F.sum(F.sigmoid_cross_entropy(out, batch)), 1 / len(batch))
        prior = F.sub(F.sub(F.add(F.exp(logvar), F.square(mean)), 1.0), logvar)
        return F.add(fit, F.mul(F.sum(prior), 0.5 / len(batch)))

    return _loop("conv_vae", net, step, x)


def capsule() -> Call:
    """Return the capsule network."""
    net = Sequential(
        [
            Conv2D(256, 9, activation="relu"),
            PrimaryCapsules(32, 8, 9, 2),
            RoutingCapsules(10, 16, 3),
            CapsuleLength(),
        ]
    ).initialize((28, 28, 1), 0)
    margin = CapsuleMargin()
    x, y = data("capsule")
    return _loop("capsule", net, lambda a, b, mode: margin(net(Tensor(a), mode), b), x, y)


class _Seq2Seq(Layer):
    def __init__(self) -> None:
        self.source = Embedding(10_000, 256)
        self.target = Embedding(5_000, 256)
        self.encoder = LSTM(512, return_sequences=True, return_state=True)
        self.decoder = LSTM(512, return_sequences=True)
        self.attention = DotAttention()
        self.output = Dense(5_000)

    def build(self, input_shape: Any, rng: Any) -> None:
        self.source._build((20,), rng)
        self.target._build((20,), rng)
        self.encoder._build((20, 256), rng)
        self.decoder._build((20, 256), rng)
        self.attention._build((20, 512), rng)
        self.output._build((20, 1024), rng)


def seq2seq() -> Call:
    """Return the translator's network."""
    net = initialize(_Seq2Seq(), (20,), 0)
    loss = CrossEntropy()

    def step(source: Any, given: Any, wanted: Any, mode: Mode) -> Tensor:
        encoded, *state = net.encoder(net.source(Tensor(source), mode), mode)
        decoded = net.decoder(net.target(Tensor(given), mode), mode, initial_state=state)
        context = net.attention(decoded, encoded)
        return loss(net.output(F.concatenate([decoded, context]), mode), wanted)

    return _loop("seq2seq", net, step, *data("seq2seq"))


def transformer() -> Call:
    """Return the encoder of a transformer."""
    blocks = [TransformerEncoderBlock(8, 2048, dropout=0.0) for _ in range(4)]
    return _sequential("transformer", blocks, "mse")


def vgg16_forward() -> Call:
    """Return the convolutions of VGG16."""
    layers: list[Layer] = []
    for count, filters in VGG16:
        layers += [Conv2D(filters, 3, padding="same", activation="relu") for _ in range(count)]
        layers.append(MaxPool2D(2))
    net = Sequential(layers).initialize((224, 224, 3), 0)
    x, _ = data("vgg16_forward")
    return lambda: float(predict(net, x, batch_size=8, device=PLACE.device).mean())


def one_image() -> Call:
    """Return predictions of single images."""
    net = Sequential(_stack()).initialize((28, 28, 1), 0)
    x, _ = data("one_image")

    def call() -> float:
        value = 0.0
        for i in range(len(x)):
            value = float(predict(net, x[i : i + 1], version=0, device=PLACE.device)[0, 0])
        return value

    return call


CASES: dict[str, Callable[[], Call]] = {name: globals()[name] for name in WORK if name in globals()}
