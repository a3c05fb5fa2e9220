"""Workers as they are shown: what they perform, and whether they are lost or resting."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jobqueue.adapters.base import Adapter
from jobqueue.errors import ConfigurationError
from jobqueue.records import (
    JobRecord,
    Stack,
    WorkerEnd,
    WorkerRecord,
    WorkerStacks,
    WorkerState,
)
from jobqueue.runner.groups import RESTING

MOST_NAMED = 10
"""How many workers an error names, at most."""
MOST_ENDED = 1000
"""How many workers that have ended are shown, at most."""
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
        state: whether it takes jobs, rests or stops; on other machines as it was a minute ago, and
            None for a worker of a former release.
        memory_bytes: the memory of its process; on other machines as it was a minute ago, and None
            if that is not known.
    """

    record: WorkerRecord
    jobs: tuple[JobRecord, ...]
    up: timedelta
    silent: timedelta
    lost: bool
    state: WorkerState | None
    memory_bytes: int | None

    @property
    def resting(self) -> bool:
        """Whether it takes no jobs for now, after Ctrl-Z or TSTP."""
        return self.state is WorkerState.RESTING and not self.lost


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


def ended_workers(adapter: Adapter) -> list[WorkerEnd]:
    """Return the workers of all machines that have ended, the latest first."""
    return adapter.ended_workers(MOST_ENDED)


def worker_named(adapter: Adapter, name: str) -> WorkerRecord:
    """Return the worker that a name means: its id, the beginning of it, or its name if that is one.

    Raises:
        ConfigurationError: there is none, or more than one.
    """
    workers = adapter.workers()
    ways = (
        [worker for worker in workers if worker.id == name],
        [worker for worker in workers if worker.name == name],
        [worker for worker in workers if name and worker.id.startswith(name)],
    )
    found = next(filter(None, ways), [])
    if len(found) == 1:
        return found[0]
    listed = ", ".join(worker.id for worker in (found or workers)[:MOST_NAMED]) or "none"
    if found:
        raise ConfigurationError(f"{name!r} means {len(found)} workers, give more of it: {listed}")
    raise ConfigurationError(f"no worker is called {name!r}; there are: {listed}")


def stacks_json(answer: WorkerStacks) -> dict[str, Any]:
    """Return a question for stacks and its answer, as the command line and the API have it."""
    return {
        "worker_id": answer.worker_id,
        "asked_at": answer.asked_at.isoformat(),
        "asked_by": answer.asked_by,
        "answered_at": answer.answered_at and answer.answered_at.isoformat(),
        "stacks": [_stack_json(stack) for stack in answer.stacks],
    }


def _stack_json(stack: Stack) -> dict[str, Any]:
    job = None if stack.job_id is None else {"id": stack.job_id, "name": stack.job_name}
    return {"name": stack.name, "job": job, "frames": list(stack.frames)}


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
    state, memory_bytes = _noted(worker)
    if process is not None:
        memory_bytes = process.memory_bytes
        state = WorkerState.RESTING if process.is_resting else state
    up, silent = _since(worker.started_at, now), _since(worker.heartbeat_at, now)
    return WorkerView(worker, tuple(jobs), up, silent, lost, state, memory_bytes)


def _noted(worker: WorkerRecord) -> tuple[WorkerState | None, int | None]:
    return (None, None) if worker.note is None else (worker.note.state, worker.note.memory_bytes)


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
