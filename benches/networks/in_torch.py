"""The networks in PyTorch, as its tutorials write them: default Adam, float32, eager.

Half precision is that of ``torch.autocast``, with a gradient scaler for float16.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from networks.cases import CASES as WORK
from networks.cases import PLACE, VGG16, data

Call = Callable[[], float]


def _images(x: Any) -> torch.Tensor:
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()


def _stack(size: int, channels: int) -> nn.Module:
    side = ((size - 2) // 2 - 2) // 2 - 2
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * side * side, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def _loop(name: str, net: nn.Module, loss: Callable[..., torch.Tensor], *arrays: Any) -> Call:
    net.to(PLACE.device)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    batch = WORK[name].batch
    half = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(PLACE.precision)
    torch.backends.cuda.matmul.allow_tf32 = PLACE.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = PLACE.precision == "tf32"
    scaler = torch.amp.GradScaler(PLACE.device, enabled=half is torch.float16)

    def call() -> float:
        for i in range(WORK[name].steps):
            part = [a[i * batch : (i + 1) * batch].to(PLACE.device) for a in arrays]
            optimizer.zero_grad()
            with torch.autocast(PLACE.device, half, enabled=half is not None):
                one = loss(net, *part)
            scaler.scale(one).backward()
            scaler.step(optimizer)
            scaler.update()
        return one.item()

    return call


def _labels(net: nn.Module, x: Any, y: Any) -> torch.Tensor:
    return F.cross_entropy(net(x), y)


def _squares(net: nn.Module, x: Any, y: Any) -> torch.Tensor:
    return F.mse_loss(net(x), y)


def digits_cnn() -> Call:
    """Return the digits network."""
    x, y = data("digits_cnn")
    return _loop("digits_cnn", _stack(28, 1), _labels, _images(x), torch.from_numpy(y))


def cnn_224() -> Call:
    """Return the digits network on large images."""
    x, y = data("cnn_224")
    return _loop("cnn_224", _stack(224, 3), _labels, _images(x), torch.from_numpy(y))


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, 50, 2, batch_first=True)
        self.out = nn.Linear(50, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.lstm(x)[0][:, -1])


def lstm_50x2() -> Call:
    """Return the forecaster's network."""
    return _loop("lstm_50x2", _Recurrent(), _squares, *map(torch.from_numpy, data("lstm_50x2")))


class _Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10_000, 64)
        self.lstm = nn.LSTM(64, 50, batch_first=True)
        self.hidden = nn.Linear(50, 64)
        self.out = nn.Linear(64, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last = self.lstm(self.words(x))[0][:, -1]
        return self.out(F.relu(self.hidden(last)))


def text_lstm() -> Call:
    """Return the text classifier's network."""
    x, y = map(torch.from_numpy, data("text_lstm"))

    def loss(net: nn.Module, a: Any, b: Any) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(net(a)[:, 0], b)

    return _loop("text_lstm", _Text(), loss, x, y.float())


def dense_stack() -> Call:
    """Return two dense layers."""
    net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))
    return _loop("dense_stack", net, _labels, *map(torch.from_numpy, data("dense_stack")))


def denoising_cnn() -> Call:
    """Return the denoiser."""
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 1, 3, padding=1),
    )
    return _loop("denoising_cnn", net, _squares, *map(_images, data("denoising_cnn")))


def srcnn() -> Call:
    """Return the network of super-resolution."""
    net = nn.Sequential(
        nn.Conv2d(1, 64, 9, padding=4),
        nn.ReLU(),
        nn.Conv2d(64, 64, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(64, 1, 5, padding=2),
    )
    return _loop("srcnn", net, _squares, *map(_images, data("srcnn")))


def _dense(*widths: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return layers[:-1]


def gan_mlp() -> Call:
    """Return the pair of dense networks, one step of each."""
    made = nn.Sequential(*_dense(100, 128, 256, 512, 1024, 784), nn.Tanh()).to(PLACE.device)
    judge = nn.Sequential(*_dense(784, 512, 256, 128, 1)).to(PLACE.device)
    makes = torch.optim.Adam(made.parameters(), 1e-4)
    judges = torch.optim.Adam(judge.parameters(), 1e-4)
    real, noise = map(torch.from_numpy, data("gan_mlp"))
    batch = WORK["gan_mlp"].batch
    ones = torch.ones(batch, 1, device=PLACE.device)
    zeros = torch.zeros(batch, 1, device=PLACE.device)
    loss = F.binary_cross_entropy_with_logits

    def call() -> float:
        for i in range(WORK["gan_mlp"].steps):
            rows = slice(i * batch, (i + 1) * batch)
            fake = made(noise[rows].to(PLACE.device))
            judges.zero_grad()
            right = loss(judge(real[rows].to(PLACE.device)), ones)
            (right + loss(judge(fake.detach()), zeros)).backward()
            judges.step()
            makes.zero_grad()
            fooled = loss(judge(fake), ones)
            fooled.backward()
            makes.step()
        return fooled.item()

    return call


class _VAE(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 49, 40),
        )
        self.decoder = nn.Sequential(
            nn.Linear(20, 64 * 49),
            nn.ReLU(),
            nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 32, 3, 2, 1, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 3, 2, 1, 1),
        )


def conv_vae() -> Call:
    """Return the variational autoencoder."""
    x, _ = data("conv_vae")

    def loss(net: Any, batch: Any) -> torch.Tensor:
        mean, logvar = net.encoder(batch).chunk(2, 1)
        out = net.decoder(mean + torch.exp(0.5 * logvar) * torch.randn_like(mean))
        fit = F.binary_cross_entropy_with_logits(out, batch, reduction="sum")
        prior = 0.5 * (logvar.exp() + mean**2 - 1 - logvar).sum()
        return (fit + prior) / len(batch)

    return _loop("conv_vae", _VAE(), loss, _images(x))


class _Capsules(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 256, 9)
        self.primary = nn.Conv2d(256, 256, 9, 2)
        self.kernel = nn.Parameter(0.05 * torch.randn(1152, 8, 160))

    @staticmethod
    def squash(x: torch.Tensor) -> torch.Tensor:
        square = (x * x).sum(-1, keepdim=True)
        return x * (square + 1e-7).sqrt() / (1 + square)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = len(x)
        y = self.primary(F.relu(self.conv(x)))
        u = self.squash(y.reshape(n, 32, 8, 36).permute(0, 3, 1, 2).reshape(n, 1152, 8))
        votes = torch.bmm(u.transpose(0, 1), self.kernel)
        votes = votes.reshape(1152, n, 10, 16).permute(1, 2, 0, 3)
        agreement = torch.zeros(n, 10, 1152, 1, device=x.device)
        for round_ in range(3):
            share = agreement.softmax(1)
            out = self.squash(share.transpose(2, 3) @ votes)
            if round_ < 2:
                agreement = agreement + votes @ out.transpose(2, 3)
        return (out.squeeze(2) ** 2).sum(-1).add(1e-7).sqrt()


def capsule() -> Call:
    """Return the capsule network."""
    x, y = data("capsule")

    def loss(net: Any, a: Any, b: Any) -> torch.Tensor:
        lengths = net(a)
        present = F.one_hot(b, 10)
        short, long = F.relu(0.9 - lengths) ** 2, F.relu(lengths - 0.1) ** 2
        return (present * short + 0.5 * (1 - present) * long).sum(1).mean()

    return _loop("capsule", _Capsules(), loss, _images(x), torch.from_numpy(y))


class _Seq2Seq(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.source = nn.Embedding(10_000, 256)
        self.target = nn.Embedding(5_000, 256)
        self.encoder = nn.LSTM(256, 512, batch_first=True)
        self.decoder = nn.LSTM(256, 512, batch_first=True)
        self.out = nn.Linear(1024, 5_000)

    def forward(self, source: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        encoded, state = self.encoder(self.source(source))
        decoded, _ = self.decoder(self.target(given), state)
        share = (decoded @ encoded.transpose(1, 2)).softmax(-1)
        return self.out(torch.cat([decoded, share @ encoded], -1))


def seq2seq() -> Call:
    """Return the translator's network."""

    def loss(net: Any, source: Any, given: Any, wanted: Any) -> torch.Tensor:
        return F.cross_entropy(net(source, given).reshape(-1, 5_000), wanted.reshape(-1))

    return _loop("seq2seq", _Seq2Seq(), loss, *map(torch.from_numpy, data("seq2seq")))


def transformer() -> Call:
    """Return the encoder of a transformer."""
    block = nn.TransformerEncoderLayer(512, 8, 2048, dropout=0.0, batch_first=True)
    net = nn.TransformerEncoder(block, 4, enable_nested_tensor=False)
    return _loop("transformer", net, _squares, *map(torch.from_numpy, data("transformer")))


def vgg16_forward() -> Call:
    """Return the convolutions of VGG16."""
    layers: list[nn.Module] = []
    before = 3
    for count, filters in VGG16:
        for _ in range(count):
            layers += [nn.Conv2d(before, filters, 3, padding=1), nn.ReLU()]
            before = filters
        layers.append(nn.MaxPool2d(2))
    net = nn.Sequential(*layers).eval().to(PLACE.device)
    x = _images(data("vgg16_forward")[0])

    def call() -> float:
        with torch.inference_mode():
            return net(x.to(PLACE.device)).mean().item()

    return call


def one_image() -> Call:
    """Return predictions of single images."""
    net = _stack(28, 1).eval().to(PLACE.device)
    x = _images(data("one_image")[0])

    def call() -> float:
        value = 0.0
        with torch.inference_mode():
            for i in range(len(x)):
                value = net(x[i : i + 1].to(PLACE.device))[0, 0].item()
        return value

    return call


CASES: dict[str, Callable[[], Call]] = {name: globals()[name] for name in WORK if name in globals()}
