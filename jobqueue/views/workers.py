"""Workers as they are shown: what they perform, and whether they are lost or resting."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobqueue.adapters.base import Adapter
from jobqueue.records import JobRecord, WorkerRecord
from jobqueue.runner.groups import RESTING

MOST_RUNNING = 1000
"""How many running jobs are read, at most, to show what each worker performs."""


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as it is shown.

    Args:
        record: its row.
        jobs: the jobs that it performs.
        up: how long ago it started.
        silent: how long ago its last heartbeat was.
        lost: whether its process is gone, or it has been silent for longer than its lease.
        resting: whether it takes no jobs, after Ctrl-Z or TSTP; known only on its own machine.
        memory_bytes: the memory of its process; None if that is not known here.
    """

    record: WorkerRecord
    jobs: tuple[JobRecord, ...]
    up: timedelta
    silent: timedelta
    lost: bool
    resting: bool
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Process:
    """A worker's process as its own machine sees it."""

    is_gone: bool
    is_resting: bool = False
    memory_bytes: int | None = None


def all_workers(adapter: Adapter) -> list[WorkerView]:
    """Return the workers of all machines, and the jobs that each performs."""
    jobs: dict[str | None, list[JobRecord]] = {}
    for job in adapter.running_jobs(MOST_RUNNING):
        jobs.setdefault(job.locked_by, []).append(job)
    workers, now = adapter.workers(), adapter.now()
    return [_view(adapter, worker, jobs.get(worker.id, ()), now) for worker in workers]


def living_among(
    adapter: Adapter, workers: Iterable[WorkerRecord], now: datetime
) -> list[WorkerRecord]:
    """Return the workers that are not lost.

    Args:
        adapter: where they are registered.
        workers: their rows.
        now: the time by the adapter's clock, which wrote their heartbeats too.
    """
    return [w for w in workers if not _is_lost(adapter, w, _process_of(w), now)]


def _view(
    adapter: Adapter, worker: WorkerRecord, jobs: Iterable[JobRecord], now: datetime
) -> WorkerView:
    process = _process_of(worker)
    lost = _is_lost(adapter, worker, process, now)
    resting = process is not None and process.is_resting and not lost
    memory_bytes = None if process is None else process.memory_bytes
    up, silent = _since(worker.started_at, now), _since(worker.heartbeat_at, now)
    return WorkerView(worker, tuple(jobs), up, silent, lost, resting, memory_bytes)


def _since(moment: datetime, now: datetime) -> timedelta:
    return max(now - moment, timedelta(0))


def _is_lost(
    adapter: Adapter, worker: WorkerRecord, process: _Process | None, now: datetime
) -> bool:
    is_living = adapter.is_living(worker)
    if is_living is not None:
        return not is_living
    is_gone = process is not None and process.is_gone
    # One in the future was sent while the clock was ahead. A worker that lives sends another.
    return is_gone or abs(now - worker.heartbeat_at) > worker.lease


def _process_of(worker: WorkerRecord) -> _Process | None:
    """Return a worker's process; None for a worker of another machine."""
    import psutil

    if worker.host != socket.gethostname():
        return None
    try:
        process = psutil.Process(worker.pid)
        status, title = process.status(), " ".join(process.cmdline())
        memory_bytes = int(process.memory_info().rss) or None
    except psutil.AccessDenied:
        return _Process(is_gone=False)
    except psutil.Error:  # there is none; a zombie has no memory and no command line
        return _Process(is_gone=True)
    is_resting = status == psutil.STATUS_STOPPED or f": {RESTING}" in title
    return _Process(memory_bytes is None, is_resting, memory_bytes)
