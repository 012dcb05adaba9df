"""Classification of images: learning, files, input that cannot be used."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

import ironlearn
from ironlearn import serving
from ironlearn.exceptions import InvalidParameterError, ModelFileError
from ironlearn.nn.layers import Conv2D, Dense, Dropout, MaxPool2D
from ironlearn.nn.optimizers import SGD
from ironlearn.nn.schedules import Cosine
from ironlearn.vision import CNNClassifier
from ironlearn.vision._stack import small_cnn


def digits(n: int = 1797) -> tuple[np.ndarray, np.ndarray]:
    data = load_digits()
    return (data.images[:n] / 16).astype(np.float32), data.target[:n]


def stripes(n: int = 60, channels: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Images of 6 x 5 pixels with a horizontal or a vertical stripe: two classes of strings."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (n, 6, 5) if channels is None else (n, 6, 5, channels), np.uint8)
    y = np.where(np.arange(n) % 2 == 0, "lying", "upright")
    for i, image in enumerate(images):
        place = rng.integers(1, 4)
        if i % 2 == 0:
            image[place] = 250
        else:
            image[:, place] = 250
    return images, y


def quick(**more: Any) -> CNNClassifier:
    return CNNClassifier(**{"epochs": 1, "random_state": 0, **more})


@pytest.fixture(scope="module")
def fitted() -> CNNClassifier:
    X, y = stripes()
    model = quick(epochs=4, learning_rate=0.01)
    return model.fit(X, y, validation_data=(X[:20], y[:20]))


def test_digits_are_learned() -> None:
    X, y = digits()
    model = CNNClassifier(epochs=3, learning_rate=3e-3, schedule="one_cycle", random_state=0)
    model.fit(X[:1200], y[:1200])
    # The most frequent digit is right in about a tenth of the cases.
    assert model.score(X[1200:], y[1200:]) > 0.85
    assert model.history_["loss"][-1] < 0.5 * model.history_["loss"][0]


def test_the_network_is_the_documented_one() -> None:
    network = small_cnn((28, 28, 1), 10).initialize((28, 28, 1))
    shape: Any = (28, 28, 1)
    seen = []
    for layer in network.layers:
        shape = layer.output_shape(shape)
        seen.append((type(layer).__name__, shape))
    assert seen == [
        ("Conv2D", (26, 26, 32)),
        ("MaxPool2D", (13, 13, 32)),
        ("Conv2D", (11, 11, 64)),
        ("MaxPool2D", (5, 5, 64)),
        ("Conv2D", (3, 3, 64)),
        ("Flatten", (576,)),
        ("Dense", (64,)),
        ("Dense", (10,)),
    ]
    kinds = [
        (layer.kernel_size, layer.activation, layer.padding)
        for layer in network.layers
        if isinstance(layer, Conv2D)
    ]
    assert kinds == [((3, 3), "relu", "valid")] * 3
    assert [layer.activation for layer in network.layers if isinstance(layer, Dense)] == [
        "relu",
        None,
    ]
    defaults = CNNClassifier()
    assert (defaults.epochs, defaults.batch_size, defaults.learning_rate) == (10, 32, 1e-3)
    assert defaults.optimizer == "adam"
    assert not any(isinstance(layer, Dropout) for layer in network.layers)
    dropping = small_cnn((28, 28, 1), 10, 0.4).layers
    assert [layer.rate for layer in dropping if isinstance(layer, Dropout)] == [0.2, 0.2, 0.4, 0.4]


@pytest.mark.parametrize(
    ("shape", "pools"),
    [
        ((1, 1, 1), []),
        ((1, 9, 1), [(1, 2), (1, 2)]),
        ((3, 3, 2), [(2, 2)]),
        ((8, 8, 1), [(2, 2), (2, 2)]),
        ((17, 40, 3), [(2, 2), (2, 2)]),
        ((18, 18, 1), [(2, 2), (2, 2)]),
        ((224, 224, 3), [(2, 2), (2, 2)]),
    ],
)
def test_the_network_adapts_to_the_image(shape: Any, pools: list[Any]) -> None:
    network = small_cnn(shape, 3)
    if shape[0] < 100:
        network.initialize(shape)
    now: Any = shape
    for layer in network.layers:
        if isinstance(layer, Conv2D):
            assert layer.padding == ("valid" if min(shape[:2]) >= 18 else "same")
    assert [layer.pool_size for layer in network.layers if isinstance(layer, MaxPool2D)] == pools
    for layer in network.layers:
        layer._build(now, np.random.default_rng(0)) if shape[0] < 100 else None
        now = layer.output_shape(now)
        assert all(size > 0 for size in now)
    assert now == (3,)


def test_a_fit_shows_what_happened(fitted: CNNClassifier) -> None:
    X, y = stripes()
    assert list(fitted.classes_) == ["lying", "upright"]
    assert fitted.image_shape_ == (6, 5, 1)
    assert fitted.n_features_in_ == 30
    assert fitted.n_epochs_ == 4 == fitted.history_.epochs
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"} <= set(fitted.history_)
    assert fitted.score(X, y) > 0.9
    proba = fitted.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    assert (fitted.classes_[proba.argmax(axis=1)] == fitted.predict(X)).all()
    assert "Conv2D" in fitted.summary()
    assert "parameters: " in fitted.summary()


def test_bytes_and_floats_and_channels_give_the_same(fitted: CNNClassifier) -> None:
    X, _ = stripes()
    wanted = fitted.predict_proba(X)
    for same in (
        X[..., None],
        (X / 255).astype(np.float32),
        X / 255,
        np.asfortranarray(X),
        np.repeat(X, 2, axis=0)[::2],
    ):
        np.testing.assert_allclose(fitted.predict_proba(same), wanted, atol=1e-5)
    np.testing.assert_allclose(fitted.predict_proba((X / 255).tolist()), wanted, atol=1e-5)
    one = np.concatenate([fitted.predict_proba(X[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(one, wanted[:5], atol=1e-5)


def test_colours_and_weights_and_early_stopping() -> None:
    X, y = stripes(channels=3)
    weights = np.where(y == "lying", 0.0, 1.0)
    model = quick(epochs=3, learning_rate=0.01).fit(X, y, sample_weight=weights)
    assert set(model.predict(X)) == {"upright"}
    given = quick(epochs=3, learning_rate=0.01, class_weight={"lying": 0.0}).fit(X, y)
    np.testing.assert_allclose(given.predict_proba(X), model.predict_proba(X), atol=1e-6)
    stopped = quick(
        epochs=30, early_stopping=True, patience=2, learning_rate=0.02, validation_fraction=0.2
    ).fit(X, y)
    assert stopped.n_epochs_ < 30
    losses = stopped.history_["val_loss"]
    assert stopped.history_.best_epoch == int(np.argmin(losses))


def test_the_same_seed_gives_the_same_network(fitted: CNNClassifier) -> None:
    X, y = stripes()
    changes = {"shift": 1, "rotation": 5.0, "horizontal_flip": True}
    for given in ({}, {"dropout": 0.3, "augment": changes, "schedule": "cosine"}):
        first, second = (quick(**given).fit(X, y).predict_proba(X) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        other = (
            quick(
                **given,
            )
            .set_params(random_state=1)
            .fit(X, y)
            .predict_proba(X)
        )
        assert not np.array_equal(first, other)
    assert clone(fitted).get_params() == fitted.get_params()


def test_large_images_are_turned_batch_by_batch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    X, y = stripes()
    whole = quick(augment=True).fit(X, y).predict_proba(X)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.testing.assert_array_equal(quick(augment=True).fit(mapped, y).predict_proba(X), whole)
    monkeypatch.setattr("ironlearn.vision.cnn_classifier.MOST_BYTES", 0)
    np.testing.assert_array_equal(quick(augment=True).fit(X, y).predict_proba(X), whole)


def test_files_pickles_and_serving(fitted: CNNClassifier, tmp_path: Path) -> None:
    X, y = stripes()
    wanted = fitted.predict_proba(X)
    path = tmp_path / "m"
    fitted.save(path)
    loaded = ironlearn.load(path)
    assert isinstance(loaded, CNNClassifier)
    np.testing.assert_array_equal(loaded.predict_proba(X), wanted)
    assert loaded.history_.to_dict() == fitted.history_.to_dict()
    assert loaded.image_shape_ == fitted.image_shape_
    assert loaded.get_params() == fitted.get_params()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), wanted)
    assert again.partial_fit(X, y).n_epochs_ == 5
    served = serving.load(path)
    np.testing.assert_array_equal(served.predict(X), fitted.predict(X))  # type: ignore[attr-defined]
    np.testing.assert_array_equal(served.predict_proba(X), wanted)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"images of shape \(5, 5, 1\), but the model takes"):
        served.predict(X[:, 1:])  # type: ignore[attr-defined]
    np.save(tmp_path / "X.npy", X)
    program = (
        "import sys; sys.modules['sklearn'] = None; sys.modules['scipy'] = None\n"
        "import numpy as np; from ironlearn import serving\n"
        f"m = serving.load({str(path)!r}); X = np.load({str(tmp_path / 'X.npy')!r})\n"
        "print(m.predict(X)[0])"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == fitted.predict(X[:1])[0]


def test_settings_that_are_objects_go_to_files_by_name(tmp_path: Path) -> None:
    X, y = stripes(20)
    model = quick(
        optimizer=SGD(0.05, momentum=0.9), schedule=Cosine(0.1), callbacks=[lambda t, r: None]
    ).fit(X, y)
    model.save(tmp_path / "m")
    loaded = ironlearn.load(tmp_path / "m")
    assert isinstance(loaded, CNNClassifier)
    assert (loaded.optimizer, loaded.schedule, loaded.callbacks) == ("sgd", "cosine", None)
    assert isinstance(model.optimizer, SGD)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_a_forged_file_is_refused(fitted: CNNClassifier, tmp_path: Path) -> None:
    contents = fitted._contents()
    for change in (
        {"n_features_in_": 31},
        {"n_epochs_": -1},
        {"history": {"loss": [1.0], "accuracy": []}},
        {"network": {**contents.attributes["network"], "input_shape": [6, 6, 1]}},
        {"network": None},
    ):
        forged = fitted._contents()
        forged.attributes.update(change)
        ironlearn._modelfile.write(tmp_path / "m", forged)
        with pytest.raises(ModelFileError):
            ironlearn.load(tmp_path / "m")
    forged = fitted._contents()
    forged.tensors["classes_.offsets"] = forged.tensors["classes_.offsets"][:2]
    ironlearn._modelfile.write(tmp_path / "m", forged)
    for load in (ironlearn.load, serving.load):
        with pytest.raises(ModelFileError):
            load(tmp_path / "m")


def test_partial_fit_and_warm_start() -> None:
    X, y = stripes()
    model = quick(learning_rate=0.01)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, y)
    for _ in range(5):
        model.partial_fit(X, y, classes=["lying", "upright", "slanted"])
    assert model.score(X, y) > 0.8
    assert list(model.classes_) == ["lying", "slanted", "upright"]
    assert model.n_epochs_ == 5
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match=r"label 'round'.*not among the classes \['lying'"):
        model.partial_fit(X[:2], ["lying", "round"])
    with pytest.raises(ValueError, match=r"shape \(5, 5, 1\).*was fitted to \(6, 5, 1\)"):
        model.partial_fit(X[:, 1:], y)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    warm = quick(warm_start=True).fit(X, y)
    first = warm.history_["loss"][0]
    warm.fit(X, y)
    assert warm.n_epochs_ == warm.history_.epochs == 2
    assert warm.history_["loss"][1] < first
    with pytest.raises(ValueError, match="network would be another one"):
        warm.set_params(dropout=0.5).fit(X, y)


def test_a_training_can_be_resumed(tmp_path: Path) -> None:
    X, y = stripes()
    whole = quick(epochs=3).fit(X, y)
    path = tmp_path / "run"

    def stop(trainer: Any, record: dict[str, float]) -> bool:
        return bool(trainer.epoch == 0)

    quick(epochs=3, callbacks=[stop]).fit(X, y, checkpoint=path)
    resumed = quick(epochs=3).fit(X, y, checkpoint=path, resume=True)
    assert resumed.n_epochs_ == 3
    np.testing.assert_array_equal(resumed.predict_proba(X), whole.predict_proba(X))


def test_presets() -> None:
    model = CNNClassifier.from_preset("accurate", epochs=2)
    assert (model.epochs, model.schedule, model.augment) == (2, "one_cycle", True)
    assert CNNClassifier.from_preset("default").get_params() == CNNClassifier().get_params()
    with pytest.raises(InvalidParameterError, match="one of default, accurate, got 'fast'"):
        CNNClassifier.from_preset("fast")


X0 = np.zeros((4, 6, 5), np.uint8)
Y0 = np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("X", "y", "error", "words"),
    [
        (X0[:0], Y0[:0], ValueError, "X has 0 samples"),
        (X0[:, :0], Y0, ValueError, "have no pixels"),
        (np.zeros((4, 64)), Y0, ValueError, r"got shape \(4, 64\); X.reshape\(-1, 8, 8\)"),
        (np.zeros((4, 63)), Y0, ValueError, r"got shape \(4, 63\)\."),
        (np.zeros(4), Y0, ValueError, "a single image needs a first axis"),
        (np.full((4, 6, 5), np.nan), Y0, ValueError, "X contains NaN pixels"),
        (np.full((4, 6, 5), np.inf), Y0, ValueError, r"must be in \[0, 1\]"),
        (np.full((4, 6, 5), 16.0), Y0, ValueError, "from 16 to 16; divide by the largest"),
        (np.full((4, 6, 5), -0.5), Y0, ValueError, "from -0.5 to -0.5"),
        (X0.astype(np.int64), Y0, TypeError, "uint8 or as floats in .*, got dtype int64"),
        (X0.astype(str), Y0, TypeError, "got dtype <U"),
        (X0, Y0[:3], ValueError, "X has 4 images, but y 3 labels"),
        (X0, None, ValueError, "requires y to be passed"),
        (X0, Y0 * 0, ValueError, "only one class: 0"),
        (X0, Y0 + 0.5, ValueError, "Unknown label type"),
        (X0, np.stack([Y0, Y0], 1), ValueError, r"\(4, 2\)|2 columns"),
    ],
)
def test_bad_input_to_fit(X: Any, y: Any, error: type[Exception], words: str) -> None:
    model = quick()
    with pytest.raises(error, match=words):
        model.fit(X, y)
    assert not hasattr(model, "classes_")


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_training_in_16_bits(precision: str, tmp_path: Path) -> None:
    X, y = stripes(120)
    model = quick(precision=precision, epochs=6).fit(X, y)
    assert model.score(X, y) > 0.9
    assert ("skipped_steps" in model.history_) == (precision == "float16")
    model.save(tmp_path / "model")
    again = ironlearn.load(tmp_path / "model")
    assert again.precision == precision
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"epochs": 0}, "'epochs'"),
        ({"learning_rate": 0.0}, "'learning_rate'"),
        ({"optimizer": "newton"}, "'optimizer'.*'adam'"),
        ({"schedule": "falling"}, "'schedule'.*'one_cycle'"),
        ({"dropout": 1.0}, r"'dropout'.*\[0.0, 1.0\)|'dropout'.*\[0, 1\)"),
        ({"augment": 2}, "'augment'.*a bool or a dict"),
        ({"augment": {"shear": 1}}, "no setting 'shear'; known are shift"),
        ({"augment": {"shift": -1}}, "'shift' parameter of ImageAugmentation"),
        ({"device": "gpu"}, "'device'.*'cuda:<n>'"),
        ({"precision": "half"}, "'precision'.*'bfloat16'"),
        ({"precision": "tf32"}, "'tf32' needs a GPU"),
        ({"callbacks": [1]}, "'callbacks'.*callbacks and functions"),
        ({"class_weight": {"round": 1.0}}, "class 'round', which y has not"),
    ],
)
def test_bad_parameters(parameters: dict[str, Any], words: str) -> None:
    X, y = stripes(20)
    with pytest.raises(InvalidParameterError, match=words):
        quick(**parameters).fit(X, y)


def test_bad_validation_data(fitted: CNNClassifier) -> None:
    X, y = stripes(20)
    for given, words in (
        (X, "validation_data must be"),
        ((X[:, 1:], y), "images of shape"),
        ((X, y[:-1]), "20 images, but 19 labels"),
        ((X, np.full(20, "round")), "label .*'round'"),
    ):
        with pytest.raises(ValueError, match=words):
            quick().fit(X, y, validation_data=given)
    with pytest.raises(ValueError, match="holds back 0 of 4 samples.*pass validation_data"):
        quick(early_stopping=True).fit(X[:4], y[:4])
    with pytest.raises(ValueError, match=r"images of shape \(5, 5, 1\)"):
        fitted.predict(X[:, 1:])
    with pytest.raises(ValueError, match="X contains NaN"):
        fitted.predict(np.full((1, 6, 5), np.nan))


def test_pictures(fitted: CNNClassifier, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    X, y = stripes(9)
    labels = y.copy()
    labels[0] = "upright"
    figure = fitted.plot_samples(X, labels, n=9)
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 9
    assert titles[0] == "lying, is upright"
    assert figure.axes[0].title.get_color() == "tab:red"
    figure.savefig(tmp_path / "grid.png")
    axes = fitted.plot_confusion(X, y)
    counts = {text.get_text() for text in axes.texts}
    assert counts <= {str(n) for n in range(10)}
    assert [t.get_text() for t in axes.get_xticklabels()] == ["lying", "upright"]
    assert len(fitted.plot_history().axes) == 2
    colour = quick().fit(*stripes(8, 3))
    assert len(colour.plot_samples(stripes(8, 3)[0]).axes) == 8
