"""Checkpoints: everything that a training run needs to go on as if it had never stopped."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ironlearn import _modelfile
from ironlearn._modelfile import Contents
from ironlearn.exceptions import ModelFileError
from ironlearn.nn.state import difference, fingerprint, load_optimizer

#: The type of a checkpoint among model files.
CHECKPOINT = "TrainingCheckpoint"


def previous(path: str | os.PathLike[str]) -> Path:
    """Return where the checkpoint before the one at `path` is.

    Examples
    --------
    >>> previous("run/state").name
    'state.previous'
    """
    target = Path(path)
    return target.with_name(f"{target.name}.previous")


def write_checkpoint(path: str | os.PathLike[str], contents: Contents) -> None:
    """Write a checkpoint; the one that was there becomes the previous one.

    At every moment one of the two is whole: the new file is complete under a name of its own
    before the old one is renamed.
    """
    target = Path(path)
    complete = target.with_name(f"{target.name}.new")
    _modelfile.write(complete, contents)
    if target.exists():
        os.replace(target, previous(target))
    os.replace(complete, target)
    _modelfile.sync_folder(target.parent)


def read_checkpoint(path: str | os.PathLike[str]) -> Contents | None:
    """Return the newest whole checkpoint at `path`, or ``None`` where there is none.

    Where the newest is damaged, a warning says so and the previous one is read.

    Raises
    ------
    ModelFileError
        There are files, but none is a whole checkpoint.
    """
    target = Path(path)
    problem: ModelFileError | None = None
    # A run that was killed between two renames leaves its newest under the third name.
    for candidate in (target.with_name(f"{target.name}.new"), target, previous(target)):
        try:
            contents = _modelfile.read(candidate)
        except FileNotFoundError:
            continue
        except ModelFileError as error:
            if candidate.suffix != ".new":
                problem = problem or error
            continue
        if contents.type != CHECKPOINT:
            problem = problem or ModelFileError(
                f"{candidate} holds a {contents.type!r}, not a checkpoint."
            )
            continue
        if problem is not None:
            warnings.warn(
                f"{problem} The training goes on from {candidate}.", UserWarning, stacklevel=2
            )
        return contents
    if problem is not None:
        raise problem
    return None


def settings(trainer: Any) -> dict[str, Any]:
    """Return what must be the same in a run and in the one that goes on from its checkpoint."""
    form = {
        "network": {
            "spec": trainer.network.spec(),
            "input_shape": trainer.network.input_shape,
        },
        "optimizer": _described(trainer.optimizer),
        "loss": _described(trainer.loss),
        "schedule": _described(trainer.schedule),
        "accumulate": trainer.accumulate,
        "seed": trainer.seed,
        "data": trainer.data.signature(),
        "precision": trainer.precision.name,
    }
    # As a file would hold it: tuples are lists there.
    plain: dict[str, Any] = json.loads(json.dumps(form))
    return plain


def _described(part: Any) -> dict[str, Any]:
    return {"type": type(part).__name__, "config": part.config()}


def capture(trainer: Any) -> Contents:
    """Return the state of `trainer`'s run, between two steps."""
    tensors = {f"network.{path}": array for path, array in trainer.network.state().items()}
    for key, array in trainer.optimizer.state().items():
        tensors[f"optimizer.{key}"] = array
    callbacks: dict[str, Any] = {}
    for key, callback in trainer.named_callbacks():
        values, arrays = callback.state()
        if values or arrays:
            callbacks[key] = values
            tensors |= {f"callback.{key}.{name}": array for name, array in arrays.items()}
    attributes = {
        "settings": settings(trainer),
        "fingerprint": fingerprint(trainer.network),
        "executor": trainer.executor_,
        "schedule": trainer.schedule.state(),
        "progress": trainer.progress(),
        "history": trainer.history_.to_dict(),
        "callbacks": callbacks,
    }
    if trainer.precision.scale is not None:
        attributes["loss_scale"] = trainer.precision.scale.state()
    return Contents(CHECKPOINT, {}, attributes, tensors)


def restore(trainer: Any, contents: Contents, path: str | os.PathLike[str]) -> None:
    """Put `trainer` into the state that `contents`, read from `path`, hold: all of it or nothing.

    Raises
    ------
    ModelFileError
        The checkpoint is of another network, optimizer, loss, schedule, seed or of other data, or
        does not hold what it says.
    """
    name = os.fspath(path)
    before = capture(trainer)
    try:
        _check_same(trainer, contents.attributes, name)
        _restore(trainer, contents)
    except BaseException as error:
        _restore(trainer, before)
        if isinstance(error, _modelfile.UNFIT) and not isinstance(error, ModelFileError):
            raise ModelFileError(f"{name} holds no valid checkpoint: {error}") from error
        raise


def _check_same(trainer: Any, attributes: Mapping[str, Any], name: str) -> None:
    # Checkpoints of the time when there was one precision do not name it.
    stored, own = {"precision": "float32", **attributes["settings"]}, settings(trainer)
    if attributes["fingerprint"] != fingerprint(trainer.network):
        where = difference(stored["network"]["spec"], own["network"]["spec"])
        where = where or difference(
            stored["network"]["input_shape"], own["network"]["input_shape"], "its input's shape"
        )
        raise ModelFileError(f"{name} is a checkpoint of another network: {where}.")
    where = difference({**stored, "network": None}, {**own, "network": None}, "run")
    if where:
        raise ModelFileError(
            f"{name} is a checkpoint of another run: {where}. Train with the same settings, or "
            "begin anew with resume=False."
        )


def _restore(trainer: Any, contents: Contents) -> None:
    attributes, tensors = contents.attributes, contents.tensors
    state = {key[8:]: value for key, value in tensors.items() if key.startswith("network.")}
    for key, value in state.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ModelFileError(f"network.{key} holds values that are not finite.")
    trainer.network.load_state(state)
    load_optimizer(trainer.optimizer, tensors)
    if not isinstance(attributes["schedule"], Mapping):
        raise ModelFileError("the checkpoint holds no valid state of the schedule.")
    trainer.schedule.load_state(attributes["schedule"])
    if trainer.precision.scale is not None:
        trainer.precision.scale.load_state(attributes["loss_scale"])
    trainer.set_progress(attributes["progress"], attributes["history"])
    stored = attributes["callbacks"]
    for key, callback in trainer.named_callbacks():
        if key in stored:
            prefix = f"callback.{key}."
            arrays = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            callback.load_state(trainer, stored[key], arrays)
