"""`jobqueue status`: it shows the workers, their jobs, and how much there is to do."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from jobqueue.cli.options import AsJson, DatabaseUrl, Schema
from jobqueue.cli.output import Column, print_json, print_table
from jobqueue.cli.session import Session, opened
from jobqueue.durations import duration
from jobqueue.records import QueueDepth
from jobqueue.runner.groups import RESTING
from jobqueue.views.outlooks import Outlook, all_outlooks, outlook_json, outlook_text
from jobqueue.views.workers import WorkerView, all_workers

MOST_JOBS_OF_A_WORKER = 3
WATCH_SECONDS = 2.0
SMALL_RATE = 9.95
CLEAR_SCREEN = "\x1b[2J\x1b[H"

Watch = Annotated[
    bool, typer.Option("--watch", help="Show it again every two seconds, until Ctrl-C.")
]


def status(
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
    watch: Watch = False,
) -> None:
    """Show the workers, the jobs that they perform, and the queues.

    It shows the workers of all machines, and the memory of those on this one. A worker is lost when
    its process is gone, or when it has been silent for longer than its lease: others free its jobs.
    A worker of this machine is resting when it takes no jobs: after Ctrl-Z or TSTP, until `fg` or
    CONT. AGE is how long the oldest due job has been due, IN and OUT how many jobs came and ended a
    minute in the last quarter of an hour, and EMPTY when no job will be due if it goes on so.

    \b
    Examples:
      jobs status
      jobs status --watch
      jobs status --json
    """
    with opened({"database_url": database_url, "schema": schema}, app="unwanted") as session:
        while True:
            if watch:
                typer.echo(CLEAR_SCREEN, nl=False)
            _show(session, as_json=json_)
            if not watch:
                return
            time.sleep(WATCH_SECONDS)


def _show(session: Session, *, as_json: bool) -> None:
    workers, queues = all_workers(session.adapter), session.adapter.queue_depths()
    outlooks = all_outlooks(session.adapter, queues)
    if as_json:
        print_json(
            {
                "workers": [_worker_json(worker) for worker in workers],
                "queues": [_queue_json(queue, outlooks[queue.queue]) for queue in queues],
            }
        )
        return
    _print_workers(workers)
    typer.echo("")
    _print_queues(queues, outlooks, session.adapter.now())


def _worker_json(worker: WorkerView) -> dict[str, Any]:
    record = worker.record
    return {
        "id": record.id,
        "name": record.name,
        "host": record.host,
        "pid": record.pid,
        "queues": record.queues,
        "concurrency": record.concurrency,
        "started_at": record.started_at,
        "heartbeat_at": record.heartbeat_at,
        "memory_bytes": worker.memory_bytes,
        "lost": worker.lost,
        "resting": worker.resting,
        "jobs": [
            {"id": job.id, "handler": job.handler, "locked_at": job.locked_at}
            for job in worker.jobs
        ],
    }


def _queue_json(queue: QueueDepth, outlook: Outlook) -> dict[str, Any]:
    return {
        "queue": queue.queue,
        "due": queue.due,
        "later": queue.later,
        "running": queue.running,
        "oldest_age_seconds": queue.oldest_age.total_seconds(),
        "paused": queue.paused,
        **outlook_json(outlook),
    }


def _print_workers(workers: list[WorkerView]) -> None:
    if not workers:
        typer.echo("No workers.")
        return
    names = ("WORKER", "HOST", "PID", "QUEUES", "UP", "BEAT", "MEMORY", "JOBS")
    print_table([Column(name) for name in names], [_worker_row(worker) for worker in workers])


def _worker_row(worker: WorkerView) -> list[str]:
    record = worker.record
    return [
        record.name,
        record.host,
        str(record.pid),
        "*" if record.queues is None else ",".join(record.queues),
        _duration(worker.up),
        _duration(worker.silent),
        _megabytes(worker.memory_bytes),
        _doing(worker),
    ]


def _doing(worker: WorkerView) -> str:
    jobs = _listed_jobs(worker)
    if worker.lost:
        return f"lost, holds {jobs}" if jobs else "lost"
    if worker.resting:
        return f"{RESTING}, finishes {jobs}" if jobs else RESTING
    return jobs or "idle"


def _listed_jobs(worker: WorkerView) -> str:
    shown = worker.jobs[:MOST_JOBS_OF_A_WORKER]
    listed = ", ".join(f"{job.handler.rpartition('.')[2]} #{job.id}" for job in shown)
    more = len(worker.jobs) - len(shown)
    return f"{listed} and {more} more" if more else listed


def _megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1024**2:.0f} MB"


def _print_queues(queues: list[QueueDepth], outlooks: Mapping[str, Outlook], now: datetime) -> None:
    if not queues:
        typer.echo("Nothing to do in any queue.")
        return
    names = ("QUEUE", "DUE", "LATER", "RUNNING", "AGE", "IN", "OUT", "EMPTY", "")
    rows = [_queue_row(queue, outlooks[queue.queue], now) for queue in queues]
    print_table([Column(name) for name in names], rows)


def _queue_row(queue: QueueDepth, outlook: Outlook, now: datetime) -> list[str]:
    return [
        queue.queue,
        f"{queue.due:,}",
        f"{queue.later:,}",
        f"{queue.running:,}",
        _duration(queue.oldest_age) if queue.due else "",
        _rate(outlook.in_per_minute),
        _rate(outlook.out_per_minute),
        "" if queue.paused else outlook_text(outlook, now),
        "paused" if queue.paused else "",
    ]


def _rate(number: float | None) -> str:
    """Return a number a minute; with a digit after the point where it is small."""
    if number is None:
        return ""
    return f"{number:,.0f}" if number >= SMALL_RATE or not number else f"{number:.1f}"


def _duration(length: timedelta) -> str:
    return duration(length.total_seconds())
