"""Networks with other libraries' weights beside the originals, on real sentences and pictures.

``python benches/pretrained_agreement.py --json pretrained-agreement.json`` compares

- MiniLM's vectors of every sentence of the STS benchmark's test set with those of transformers'
  ``BertModel`` on PyTorch, which reads the same file of weights;
- EfficientNet-lite0's logits and five best classes for every picture of the test set of
  ``clothing`` and scikit-learn's two sample pictures with those of the network in the package
  efficientnet-lite-pytorch.

Both originals are also exported to ONNX by PyTorch and run by onnxruntime, as a third opinion. All
get the same word pieces and the same pixels. Needs PyTorch, transformers and onnxruntime.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import io
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_sample_images

from ironlearn import _threads
from ironlearn.bench.stamp import stamp
from ironlearn.nn.autograd import Tensor, no_grad
from ironlearn.nn.pretrained import read_weights
from ironlearn.nn.pretrained.efficientnet_lite import EfficientNetLite0, preprocess
from ironlearn.nn.pretrained.sentences import SentenceEncoder
from pretrained_packages import EFFICIENTNET, MINILM, add_option, folder_of
from sts_b import pairs


class _Mean(torch.nn.Module):
    """A BERT and the mean of its vectors."""

    def __init__(self, bert: Any) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, ids: Any) -> Any:
        return self.bert(ids, torch.ones_like(ids)).last_hidden_state.mean(dim=1)


def exported(network: Any, example: Any, free: dict[int, str], threads: int) -> Any:
    """Return a function of an array that lets onnxruntime compute what `network` does."""
    out = io.BytesIO()
    with warnings.catch_warnings():
        # This exporter needs no further package; PyTorch would rather see the other used.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            out,
            input_names=["x"],
            dynamic_axes={"x": free},
            opset_version=17,
            dynamo=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(out.getvalue(), options, ["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def sentences(folder: Path, data: Path, threads: int) -> dict[str, Any]:
    """Return how far the vectors of sentences are apart."""
    encoder = SentenceEncoder.from_folder(folder)
    config = transformers.BertConfig(**json.loads((folder / "config.json").read_text()))
    theirs = transformers.BertModel(config, add_pooling_layer=False).eval()
    missing, _ = theirs.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    assert not [name for name in missing if "position_ids" not in name], missing
    first, second, _ = pairs(data, "test")
    texts = sorted({*first, *second})
    ours = encoder.encode(texts)
    pieces = [encoding.ids for encoding in encoder.tokenizer.encode_batch(texts)]
    expected = {"torch": np.zeros_like(ours), "onnxruntime": np.zeros_like(ours)}
    example = torch.ones(2, 7, dtype=torch.int64)
    third = exported(_Mean(theirs).eval(), example, {0: "n", 1: "t"}, threads)
    by_length: dict[int, list[int]] = {}
    for i, ids in enumerate(pieces):
        by_length.setdefault(len(ids), []).append(i)
    with torch.no_grad():
        # Texts of one length together: no padding, so nothing that a mask would have to undo.
        for rows in by_length.values():
            ids = torch.tensor([pieces[i] for i in rows])
            means = {
                "torch": theirs(ids).last_hidden_state.mean(dim=1).numpy(),
                "onnxruntime": third(ids.numpy()),
            }
            for name, mean in means.items():
                expected[name][rows] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return {
        "sentences": len(texts),
        "width": ours.shape[1],
        "largest_difference": {k: float(np.abs(ours - v).max()) for k, v in expected.items()},
    }


def pictures(file: Path, data: Path, threads: int) -> dict[str, Any]:
    """Return how far the logits of pictures are apart, and whether the best classes are equal."""
    original = importlib.import_module("efficientnet_lite_pytorch")
    theirs = original.EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(torch.load(file, weights_only=True))
    theirs.eval()
    net = EfficientNetLite0().load_torch(read_weights(file))
    files = sorted(data.glob("*/*.jpg"))
    images = [*load_sample_images().images, *(Image.open(path) for path in files)]
    third = exported(theirs, torch.zeros(1, 3, 224, 224), {0: "n"}, threads)
    largest, equal = ({"torch": 0, "onnxruntime": 0} for _ in range(2))
    scale = 0.0
    for image in images:
        x = preprocess(image)[None]
        first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        with no_grad(), torch.no_grad():
            ours = net(Tensor(x)).data[0]
            answers = {
                "torch": theirs(torch.from_numpy(first)).numpy()[0],
                "onnxruntime": third(first)[0],
            }
        for name, expected in answers.items():
            largest[name] = max(largest[name], float(np.abs(ours - expected).max()))
            equal[name] += int((ours.argsort()[-5:] == expected.argsort()[-5:]).all())
        scale = max(scale, float(np.abs(ours).max()))
    return {
        "pictures": len(images),
        "largest_difference": largest,
        "largest_logit": scale,
        "equal_five_best_in_order": equal,
    }


def main(arguments: list[str]) -> int:
    """Compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result to this file")
    add_option(parser)
    chosen = parser.parse_args(arguments)
    data = os.environ.get("IRONLEARN_DATA")
    if not data:
        parser.error("IRONLEARN_DATA must name the folder of text_similarity/ and clothing/.")
    threads = _threads.resolve(None)
    torch.set_num_threads(threads)
    minilm = folder_of(MINILM, chosen.packages) / "model"
    (weights,) = (folder_of(EFFICIENTNET, chosen.packages) / "models").glob("*.pth")
    names = ("torch", "transformers", "onnxruntime")
    versions = {name: importlib.metadata.version(name) for name in names}
    results = {
        "stamp": {**stamp(threads, []), "libraries": versions},
        "minilm": sentences(minilm, Path(data) / "text_similarity" / "stsb", threads),
        "efficientnet_lite0": pictures(weights, Path(data) / "clothing" / "test", threads),
    }
    for name in ("minilm", "efficientnet_lite0"):
        print(name, results[name], flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
