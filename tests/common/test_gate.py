"""The native gate: threads, Ctrl-C, errors, panics."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from ironlearn import _core, _threads


def test_answer_and_pool_size() -> None:
    assert _core._gate_probe("wait", 0.0, 3) == 3


def test_errors_and_panics_become_exceptions() -> None:
    with pytest.raises(ValueError, match="probe must be wait, got error"):
        _core._gate_probe("error", 0.0, 1)
    with pytest.raises(RuntimeError, match="internal error in ironlearn.*probe"):
        _core._gate_probe("panic", 0.0, 2)
    # The pool that saw the panic still works.
    assert _core._gate_probe("wait", 0.0, 2) == 2


def test_ctrl_c_is_answered_within_a_fifth_of_a_second() -> None:
    program = (
        "import threading, os, signal, time\n"
        "from ironlearn import _core\n"
        "sent = []\n"
        "def press():\n"
        "    sent.append(time.perf_counter()); os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Timer(0.3, press).start()\n"
        "try:\n"
        "    _core._gate_probe('wait', 30.0, 2)\n"
        "except KeyboardInterrupt:\n"
        "    print(time.perf_counter() - sent[0])\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert float(out.stdout) < 0.2


def test_another_handler_s_exception_is_passed_on() -> None:
    class Stop(Exception):
        pass

    def handler(*_: object) -> None:
        raise Stop

    old = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Stop):
            _core._gate_probe("wait", 30.0, 1)
    finally:
        signal.signal(signal.SIGALRM, old)


def test_two_calls_in_two_threads_overlap() -> None:
    start = time.perf_counter()
    threads = [threading.Thread(target=_core._gate_probe, args=("wait", 0.5, n)) for n in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # One after another they would take 1.5 s.
    assert time.perf_counter() - start < 1.3


def test_thread_count_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IRONLEARN_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cpus = _threads.available_cpus()
    assert _threads.resolve(None) == cpus
    assert _threads.resolve(-1) == cpus
    assert _threads.resolve(3) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert _threads.resolve(None) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "nonsense")
    assert _threads.resolve(None) == cpus
    monkeypatch.setenv("IRONLEARN_NUM_THREADS", "1")
    assert _threads.resolve(None) == 1


@pytest.mark.parametrize("tier", ["scalar", "avx2", "avx512"])
def test_the_environment_lowers_the_instruction_set(tier: str) -> None:
    tiers = ["scalar", "avx2", "avx512"]
    tier = tiers[min(tiers.index(tier), tiers.index(_core.build_info()["simd_detected"]))]
    out = subprocess.run(
        [sys.executable, "-c", "from ironlearn import _core; print(_core.build_info()['simd'])"],
        env={**os.environ, "IRONLEARN_SIMD": tier},
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == tier


def test_an_unknown_instruction_set_is_reported() -> None:
    out = subprocess.run(
        [sys.executable, "-c", "import ironlearn"],
        env={**os.environ, "IRONLEARN_SIMD": "mmx"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "IRONLEARN_SIMD='mmx' is not available" in out.stderr
