"""`jobqueue status`: who does what, and how much there is to do."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Annotated, Any

import typer

from jobqueue.adapters import Adapter
from jobqueue.cli.options import AsJson, DatabaseUrl
from jobqueue.cli.output import Column, print_json, print_table, span
from jobqueue.cli.session import Session, opened
from jobqueue.maintenance.overview import is_lost
from jobqueue.records import JobRecord, QueueDepth, WorkerRecord
from jobqueue.runner.groups import RESTING

MOST_RUNNING = 1000
WATCH_SECONDS = 2.0
CLEAR_SCREEN = "\x1b[2J\x1b[H"

Watch = Annotated[
    bool, typer.Option("--watch", help="Show it anew every two seconds, until Ctrl-C.")
]


def status(database_url: DatabaseUrl = None, json_: AsJson = False, watch: Watch = False) -> None:
    """Show the workers, what they perform, and what waits.

    Workers of all machines are shown; memory only of those on this one. A worker is lost when its
    process is gone, or when it has been silent for longer than its lease: others free its jobs.
    One of this machine is resting when it takes no jobs, after Ctrl-Z or TSTP, until `fg` or CONT.
    AGE is how long the oldest due job has been due.

    \b
    Examples:
      jobs status
      jobs status --watch
      jobs status --json
    """
    with opened({"database_url": database_url}, app="unwanted") as session:
        while True:
            if watch:
                typer.echo(CLEAR_SCREEN, nl=False)
            _show(session, as_json=json_)
            if not watch:
                return
            time.sleep(WATCH_SECONDS)


def _show(session: Session, *, as_json: bool) -> None:
    workers, queues = session.adapter.workers(), session.adapter.queue_depths()
    now = session.adapter.now()
    running: dict[str, list[JobRecord]] = {}
    for job in session.adapter.running_jobs(MOST_RUNNING):
        running.setdefault(job.locked_by or "", []).append(job)
    lost = {worker.id for worker in workers if _is_lost(session.adapter, worker, now)}
    if as_json:
        print_json(
            {
                "workers": [_worker_json(w, running.get(w.id, []), w.id in lost) for w in workers],
                "queues": [_queue_json(queue) for queue in queues],
            }
        )
        return
    _print_workers(workers, running, lost, now)
    typer.echo("")
    _print_queues(queues)


def _worker_json(worker: WorkerRecord, jobs: list[JobRecord], lost: bool) -> Mapping[str, Any]:
    return {
        "id": worker.id,
        "name": worker.name,
        "host": worker.host,
        "pid": worker.pid,
        "queues": worker.queues,
        "concurrency": worker.concurrency,
        "started_at": worker.started_at,
        "heartbeat_at": worker.heartbeat_at,
        "memory_bytes": _memory_bytes(worker),
        "lost": lost,
        "resting": _is_resting(worker) and not lost,
        "jobs": [
            {"id": job.id, "handler": job.handler, "locked_at": job.locked_at} for job in jobs
        ],
    }


def _queue_json(depth: QueueDepth) -> Mapping[str, Any]:
    return {
        "queue": depth.queue,
        "due": depth.due,
        "later": depth.later,
        "running": depth.running,
        "oldest_age_seconds": depth.oldest_age.total_seconds(),
        "paused": depth.paused,
    }


def _print_workers(
    workers: list[WorkerRecord],
    running: Mapping[str, list[JobRecord]],
    lost: AbstractSet[str],
    now: datetime,
) -> None:
    if not workers:
        typer.echo("No workers.")
        return
    names = ("WORKER", "HOST", "PID", "QUEUES", "UP", "BEAT", "MEMORY", "JOBS")
    rows = [
        [
            worker.name,
            worker.host,
            str(worker.pid),
            "*" if worker.queues is None else ",".join(worker.queues),
            _since(worker.started_at, now),
            _since(worker.heartbeat_at, now),
            _megabytes(_memory_bytes(worker)),
            _doing(worker, running.get(worker.id, []), lost=worker.id in lost),
        ]
        for worker in workers
    ]
    print_table([Column(name) for name in names], rows)


def _print_queues(queues: list[QueueDepth]) -> None:
    if not queues:
        typer.echo("Nothing to do in any queue.")
        return
    names = ("QUEUE", "DUE", "LATER", "RUNNING", "AGE", "")
    rows = [
        [
            depth.queue,
            f"{depth.due:,}",
            f"{depth.later:,}",
            f"{depth.running:,}",
            span(depth.oldest_age.total_seconds()) if depth.due else "",
            "paused" if depth.paused else "",
        ]
        for depth in queues
    ]
    print_table([Column(name) for name in names], rows)


def _doing(worker: WorkerRecord, jobs: list[JobRecord], *, lost: bool) -> str:
    shown = ", ".join(f"{job.handler.rpartition('.')[2]} #{job.id}" for job in jobs[:3])
    if len(jobs) > 3:
        shown += f" and {len(jobs) - 3} more"
    if lost:
        return f"lost, holds {shown}" if jobs else "lost"
    if _is_resting(worker):
        return f"{RESTING}, finishes {shown}" if jobs else RESTING
    return shown or "idle"


def _is_lost(adapter: Adapter, worker: WorkerRecord, now: datetime) -> bool:
    """As `overview.is_lost`, and at once where this machine has no such process any more."""
    if adapter.is_living(worker) is None and _is_here(worker) and _memory_bytes(worker) is None:
        return True
    return is_lost(adapter, worker, now)


def _is_resting(worker: WorkerRecord) -> bool:
    """Whether it is seen to take no jobs, after Ctrl-Z or TSTP; only on its own machine it is."""
    import psutil

    if not _is_here(worker):
        return False
    try:
        process = psutil.Process(worker.pid)
        shown = " ".join(process.cmdline())
        return f": {RESTING}" in shown or process.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def _is_here(worker: WorkerRecord) -> bool:
    return worker.host == socket.gethostname()


def _memory_bytes(worker: WorkerRecord) -> int | None:
    """What its process has, if that is one of this machine and lives; a zombie has none."""
    import psutil

    if not _is_here(worker):
        return None
    try:
        return int(psutil.Process(worker.pid).memory_info().rss) or None
    except psutil.Error:
        return None


def _megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1024**2:.0f} MB"


def _since(moment: datetime, now: datetime) -> str:
    return span(max((now - moment).total_seconds(), 0.0))
