"""Runs that are killed, damaged or stopped go on to the same bits."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ironlearn import _modelfile
from ironlearn.exceptions import InvalidParameterError, ModelFileError
from ironlearn.nn.callbacks import Callback, Checkpoint
from ironlearn.nn.checkpoint import previous, read_checkpoint
from ironlearn.nn.data import ArrayData
from ironlearn.nn.layers import Dense, Sequential
from ironlearn.nn.train import Trainer
from nn import resume_run

SCRIPT = Path(resume_run.__file__)
EXECUTORS = ["eager", "plan"]


def equal(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert set(a) == set(b)
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name], err_msg=name)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Return a function that returns what the run ends with if nothing stops it."""
    known: dict[str, dict[str, Any]] = {}

    def of(executor: str) -> dict[str, Any]:
        if executor not in known:
            folder = tmp_path_factory.mktemp(executor)
            known[executor] = resume_run.result(resume_run.train(folder, executor))
        return known[executor]

    return of


class Stop(Callback):
    """Ends the run at a step, as if the time were up."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_steps(self, trainer: Any) -> None:
        trainer.stop = trainer.step >= self.step


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("step", [1, 20, 21, 30, 63])
def test_stopped_runs_go_on_to_the_same_bits(
    executor: str, step: int, tmp_path: Path, uninterrupted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 330 samples make 21 batches: step 21 is an epoch's last, before its validation.
    stopped: list[Trainer] = []
    build = Trainer.__init__

    def with_stop(self: Any, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        self.callbacks.append(Stop(step))
        stopped.append(self)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "__init__", with_stop)
        resume_run.train(tmp_path, executor)
    assert step <= stopped[0].step < 6 * 21
    trainer = resume_run.train(tmp_path, executor)
    assert trainer.resumed
    equal(resume_run.result(trainer), uninterrupted(executor))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_finished_run_goes_on_with_more_epochs(
    executor: str, tmp_path: Path, uninterrupted: Any
) -> None:
    resume_run.train(tmp_path, executor, epochs=4)
    equal(resume_run.result(resume_run.train(tmp_path, executor)), uninterrupted(executor))
    # All is done: nothing is trained, and the result is there again.
    again = resume_run.train(tmp_path, executor)
    equal(resume_run.result(again), uninterrupted(executor))


def start(folder: Path, executor: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), executor],
        env={**os.environ, "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"},
    )


def killed_run(folder: Path, executor: str, kills: int, rng: random.Random) -> list[int]:
    """Kill a run `kills` times at random moments while it trains; let it finish.

    Returns the steps that the checkpoints had reached at each kill.
    """
    state = folder / "state"
    reached: list[int] = []
    while len(reached) < kills:
        process = start(folder, executor)
        known = state.stat().st_mtime_ns if state.exists() else 0
        # Starting takes most of a process's life; the moments in question are those of training.
        while process.poll() is None and (not state.exists() or state.stat().st_mtime_ns == known):
            time.sleep(0.001)
        time.sleep(rng.random() * 0.15)
        process.kill()
        if process.wait() == 0:
            # Too late: it had finished. Once more from the beginning.
            for path in folder.iterdir():
                path.unlink()
            reached.clear()
            continue
        assert process.returncode == -signal.SIGKILL
        contents = read_checkpoint(state)
        assert contents is not None
        step = contents.attributes["progress"]["step"]
        # Nothing that was saved before is lost.
        assert step >= (reached[-1] if reached else 1)
        reached.append(step)
    assert start(folder, executor).wait() == 0
    return reached


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("executor", EXECUTORS)
def test_killed_runs_go_on_to_the_same_bits(
    executor: str, tmp_path: Path, uninterrupted: Any
) -> None:
    killed_run(tmp_path, executor, 2, random.Random(executor))
    with np.load(tmp_path / "final.npz") as final:
        equal(dict(final), uninterrupted(executor))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("executor", EXECUTORS)
def test_fifty_killed_runs_go_on_to_the_same_bits(
    executor: str, tmp_path: Path, uninterrupted: Any
) -> None:
    rng = random.Random(50)
    for number in range(50):
        folder = tmp_path / str(number)
        folder.mkdir()
        print(number, killed_run(folder, executor, rng.randint(1, 2), rng))
        with np.load(folder / "final.npz") as final:
            equal(dict(final), uninterrupted(executor))


# Files ----------------------------------------------------------------------------------------


def small(path: Path, units: int = 3, **settings: Any) -> tuple[Trainer, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 2)).astype(np.float32)
    data = ArrayData(x, (x[:, 0] > 0).astype(np.int64), batch_size=settings.pop("batch_size", 10))
    net = Sequential([Dense(units, "tanh"), Dense(2)]).initialize((2,))
    trainer = Trainer(net, "cross_entropy", settings.pop("optimizer", "adam"), **settings)
    return trainer, lambda **more: trainer.fit(
        data, **{"epochs": 3, "checkpoint": path, "resume": True, **more}
    )


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "state"
    _, fit = small(path)
    fit(checkpoint=Checkpoint(path, every_epochs=1))
    steps = [_modelfile.read(p).attributes["progress"]["step"] for p in (path, previous(path))]
    assert steps == [12, 12]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state", "state.previous"]


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "state"
    _, fit = small(path)
    fit(checkpoint=Checkpoint(path, every_steps=5))
    path.write_bytes(path.read_bytes()[:cut])
    trainer, fit = small(path)
    with pytest.warns(UserWarning, match=r"goes on from .*state\.previous"):
        fit(epochs=4)
    assert trainer.history_.epochs == 4
    for file in (path, previous(path)):
        file.write_bytes(b"")
    _, fit = small(path)
    with pytest.raises(ModelFileError, match="not an ironlearn model file"):
        fit()


def test_a_run_killed_between_two_renames_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "state"
    _, fit = small(path)
    fit(epochs=1)
    os.replace(path, tmp_path / "state.new")
    trainer, fit = small(path)
    fit(epochs=2)
    assert trainer.resumed
    assert trainer.step == 8


def test_checkpoints_of_other_runs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    small(path)[1]()
    for settings, message in (
        ({"units": 4}, r"another network: network\.layers\.0\.units is 3 there, but 4 here"),
        ({"optimizer": "sgd"}, r"another run: run\.optimizer\.type is 'Adam' there, but 'SGD'"),
        ({"schedule": "cosine"}, r"run\.schedule\.type is 'Constant' there"),
        ({"random_state": 5}, r"run\.seed is 0 there, but 5 here"),
        ({"accumulate": 2}, r"run\.accumulate is 1 there, but 2 here"),
        ({"batch_size": 8}, r"run\.data\.batch_size is 10 there, but 8 here"),
    ):
        trainer, fit = small(path, **settings)
        before = trainer.network.state()
        with pytest.raises(ModelFileError, match=message):
            fit()
        assert all(np.array_equal(v, before[k]) for k, v in trainer.network.state().items())
        assert trainer.step == 0


def test_a_model_file_is_no_checkpoint(tmp_path: Path) -> None:
    from ironlearn.nn.state import save_network

    path = tmp_path / "state"
    trainer, fit = small(path)
    save_network(trainer.network, path)
    with pytest.raises(ModelFileError, match="holds a 'Network', not a checkpoint"):
        fit()


def test_hostile_checkpoints_leave_the_run_alone(tmp_path: Path) -> None:
    path = tmp_path / "state"
    small(path)[1](early_stopping=True, monitor="loss")
    good = _modelfile.read(path)

    def changed(change: Callable[[Any], None]) -> None:
        import copy

        contents = copy.deepcopy(good)
        change(contents)
        previous(path).unlink(missing_ok=True)
        _modelfile.write(path, contents)
        trainer, fit = small(path)
        before = trainer.network.state()
        with pytest.raises(ModelFileError):
            fit(early_stopping=True, monitor="loss")
        assert all(np.array_equal(v, before[k]) for k, v in trainer.network.state().items())

    changed(lambda c: c.tensors.pop("network.layers.0.bias"))
    changed(lambda c: c.tensors.pop("optimizer.steps"))
    changed(lambda c: c.tensors.update({"network.layers.0.bias": np.zeros(4, np.float32)}))
    changed(lambda c: c.tensors.update({"network.layers.0.bias": np.full(3, np.nan, np.float32)}))
    changed(lambda c: c.tensors.update({"optimizer.steps": np.array([-1])}))
    changed(lambda c: c.attributes.pop("progress"))
    changed(lambda c: c.attributes["progress"].update(step=-4))
    changed(lambda c: c.attributes["progress"].update(epoch="x"))
    changed(lambda c: c.attributes["progress"].update(position=10**9))
    changed(lambda c: c.attributes["progress"].update(sums={}))
    changed(lambda c: c.attributes.update(history={"loss": [1.0], "accuracy": []}))
    changed(lambda c: c.attributes["callbacks"].update({"EarlyStopping.0": {}}))
    changed(lambda c: c.attributes.update(settings=[]))
    changed(lambda c: c.attributes.update(schedule=3))
    for name in [n for n in good.tensors if n.startswith("callback.")][:1]:
        changed(lambda c, name=name: c.tensors.update({name: np.zeros(9, np.float32)}))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    _, fit = small(tmp_path / "no" / "state")
    with pytest.raises(FileNotFoundError, match="the folder .* of the checkpoint does not exist"):
        fit(resume=False)
    with pytest.raises(InvalidParameterError, match="every_steps must be an int >= 1"):
        Checkpoint(tmp_path / "state", every_steps=0)


def test_a_full_disk_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    trainer, fit = small(path)
    calls = []
    write = _modelfile.write

    def full(target: Any, contents: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        write(target, contents)

    monkeypatch.setattr(_modelfile, "write", full)
    with pytest.warns(UserWarning, match="could not be written .*the training goes on"):
        fit(checkpoint=Checkpoint(path, every_steps=4))
    assert trainer.history_.epochs == 3
    assert read_checkpoint(path) is not None


def test_a_drawn_seed_is_taken_from_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "state"
    first, fit = small(path, random_state=None)
    fit(epochs=1)
    second, fit = small(path, random_state=None)
    assert second.seed != first.seed
    fit(epochs=2)
    assert second.seed == first.seed
