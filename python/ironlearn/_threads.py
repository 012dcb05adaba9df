"""How many threads a call uses."""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path


def _cgroup_cpus() -> float:
    """Return the processor quota of this process's control group, or infinity."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
        if quota != "max":
            return int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text()
        period = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text()
        if int(quota) > 0:
            return int(quota) / int(period)
    except (OSError, ValueError):
        pass
    return float("inf")


@lru_cache(maxsize=1)
def _quota() -> float:
    return _cgroup_cpus()


def available_cpus() -> int:
    """Return how many processors this process may use (affinity and control group)."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cpus = os.cpu_count() or 1
    return max(1, int(min(cpus, _quota())))


def _from_environment() -> int | None:
    for name in ("IRONLEARN_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "").split(",")[0].strip()
        if value:
            try:
                count = int(value)
            except ValueError:
                continue
            if count > 0:
                return count
    return None


def _in_joblib_worker() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.current_process().name.startswith("LokyProcess")


#: What ``None`` means inside of `limited`.
_limit: contextvars.ContextVar[int | None] = contextvars.ContextVar("limit", default=None)


@contextlib.contextmanager
def limited(n_jobs: int | None) -> Iterator[None]:
    """Let ``resolve(None)`` give what `n_jobs` stands for: operations have no such argument."""
    token = _limit.set(None if n_jobs is None else resolve(n_jobs))
    try:
        yield
    finally:
        _limit.reset(token)


def resolve(n_jobs: int | None) -> int:
    """Return the number of threads that `n_jobs` stands for.

    ``None`` means all processors this process may use, lowered by ``IRONLEARN_NUM_THREADS``
    or ``OMP_NUM_THREADS``; a negative number counts back from all processors, as in joblib. In a
    worker process of joblib's, whose environment tells its share of the processors, it counts
    back from that share: a search with ``n_jobs=-1`` over forests with ``n_jobs=-1`` needs no
    thread for each pair.
    """
    if n_jobs is None:
        limit = _limit.get()
        if limit is not None:
            return limit
        cpus = available_cpus()
        wanted = _from_environment()
        return cpus if wanted is None else max(1, min(cpus, wanted))
    if n_jobs < 0:
        cpus = available_cpus()
        if _in_joblib_worker():
            cpus = min(cpus, _from_environment() or cpus)
        return max(1, cpus + 1 + n_jobs)
    return n_jobs
