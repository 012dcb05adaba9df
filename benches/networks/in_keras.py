"""The networks in Keras on TensorFlow, trained by ``fit``: compiled, float32."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers as L

from networks.cases import CASES as WORK
from networks.cases import VGG16, data

Call = Callable[[], float]


def _train(name: str, net: Any, loss: Any) -> Call:
    x, y = data(name)[0], data(name)[-1]
    net.compile(keras.optimizers.Adam(1e-3), loss)
    batch = WORK[name].batch
    inputs = list(data(name)[:-1]) if len(data(name)) > 2 else x
    rows = tf.data.Dataset.from_tensor_slices((tuple(inputs) if isinstance(inputs, list) else x, y))
    batches = rows.batch(batch).cache().prefetch(2)

    def call() -> float:
        return float(net.fit(batches, epochs=1, verbose=0).history["loss"][-1])

    return call


def _stack() -> list[Any]:
    return [
        L.Conv2D(32, 3, activation="relu"),
        L.MaxPooling2D(2),
        L.Conv2D(64, 3, activation="relu"),
        L.MaxPooling2D(2),
        L.Conv2D(64, 3, activation="relu"),
        L.Flatten(),
        L.Dense(64, activation="relu"),
        L.Dense(10),
    ]


def _codes() -> Any:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def digits_cnn() -> Call:
    """Return the digits network."""
    return _train("digits_cnn", keras.Sequential([keras.Input((28, 28, 1)), *_stack()]), _codes())


def cnn_224() -> Call:
    """Return the digits network on large images."""
    return _train("cnn_224", keras.Sequential([keras.Input((224, 224, 3)), *_stack()]), _codes())


def lstm_50x2() -> Call:
    """Return the forecaster's network."""
    net = keras.Sequential(
        [keras.Input((50, 1)), L.LSTM(50, return_sequences=True), L.LSTM(50), L.Dense(1)]
    )
    return _train("lstm_50x2", net, "mse")


def text_lstm() -> Call:
    """Return the text classifier's network."""
    net = keras.Sequential(
        [
            keras.Input((100,), dtype="int64"),
            L.Embedding(10_000, 64),
            L.LSTM(50),
            L.Dense(64, activation="relu"),
            L.Dense(1),
        ]
    )
    return _train("text_lstm", net, keras.losses.BinaryCrossentropy(from_logits=True))


def dense_stack() -> Call:
    """Return two dense layers."""
    net = keras.Sequential([keras.Input((784,)), L.Dense(512, activation="relu"), L.Dense(10)])
    return _train("dense_stack", net, _codes())


def denoising_cnn() -> Call:
    """Return the denoiser."""
    net = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            L.Conv2D(32, 3, padding="same", activation="relu"),
            L.Conv2D(32, 3, padding="same", activation="relu"),
            L.Conv2D(1, 3, padding="same"),
        ]
    )
    return _train("denoising_cnn", net, "mse")


def srcnn() -> Call:
    """Return the network of super-resolution."""
    net = keras.Sequential(
        [
            keras.Input((48, 48, 1)),
            L.Conv2D(64, 9, padding="same", activation="relu"),
            L.Conv2D(64, 5, padding="same", activation="relu"),
            L.Conv2D(1, 5, padding="same"),
        ]
    )
    return _train("srcnn", net, "mse")


def seq2seq() -> Call:
    """Return the translator's network."""
    source, given = keras.Input((20,), dtype="int64"), keras.Input((20,), dtype="int64")
    encoded, h, c = L.LSTM(512, return_sequences=True, return_state=True)(
        L.Embedding(10_000, 256)(source)
    )
    decoded = L.LSTM(512, return_sequences=True)(
        L.Embedding(5_000, 256)(given), initial_state=[h, c]
    )
    context = L.Attention()([decoded, encoded])
    out = L.Dense(5_000)(L.Concatenate()([decoded, context]))
    return _train("seq2seq", keras.Model([source, given], out), _codes())


def transformer() -> Call:
    """Return the encoder of a transformer."""
    x = inputs = keras.Input((64, 512))
    for _ in range(4):
        x = L.LayerNormalization()(x + L.MultiHeadAttention(8, 64)(x, x))
        x = L.LayerNormalization()(x + L.Dense(512)(L.Dense(2048, activation="relu")(x)))
    return _train("transformer", keras.Model(inputs, x), "mse")


def vgg16_forward() -> Call:
    """Return the convolutions of VGG16."""
    layers: list[Any] = [keras.Input((224, 224, 3))]
    for count, filters in VGG16:
        for _ in range(count):
            layers.append(L.Conv2D(filters, 3, padding="same", activation="relu"))
        layers.append(L.MaxPooling2D(2))
    net = keras.Sequential(layers)
    run = tf.function(lambda x: net(x, training=False))
    x = tf.constant(data("vgg16_forward")[0])
    return lambda: float(np.mean(run(x).numpy()))


def one_image() -> Call:
    """Return predictions of single images, by a compiled call."""
    net = keras.Sequential([keras.Input((28, 28, 1)), *_stack()])
    run = tf.function(lambda x: net(x, training=False))
    x, _ = data("one_image")

    def call() -> float:
        value = 0.0
        for i in range(len(x)):
            value = float(run(x[i : i + 1]).numpy()[0, 0])
        return value

    return call


CASES: dict[str, Callable[[], Call]] = {name: globals()[name] for name in WORK if name in globals()}
