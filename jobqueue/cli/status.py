"""`jobqueue status`: it shows the workers, their jobs, and how much there is to do."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from jobqueue.adapters import Adapter
from jobqueue.cli.errors import say_note
from jobqueue.cli.options import AsJson, DatabaseUrl, Schema
from jobqueue.cli.output import Column, print_json, print_table
from jobqueue.cli.session import Session, opened
from jobqueue.durations import duration, from_now
from jobqueue.records import (
    UNTIL_RESUMED,
    ActionFilter,
    ActionState,
    PausedQueue,
    QueueDepth,
    WorkerEnd,
    WorkerState,
)
from jobqueue.runner.groups import RESTING
from jobqueue.views.actions import action_view
from jobqueue.views.outlooks import Outlook, all_outlooks, outlook_json, outlook_text
from jobqueue.views.pauses import all_pauses, pause_text
from jobqueue.views.workers import WorkerView, all_workers, ended_workers

MOST_JOBS_OF_A_WORKER = 3
MOST_NOTED = 10
WATCH_SECONDS = 2.0
SMALL_RATE = 9.95
STOPPING = "stopping"
CLEAR_SCREEN = "\x1b[2J\x1b[H"

Watch = Annotated[
    bool, typer.Option("--watch", help="Show it again every two seconds, until Ctrl-C.")
]

Ended = Annotated[
    bool, typer.Option("--ended", help="Show the workers that have ended, when and why.")
]


def status(
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
    watch: Watch = False,
    ended: Ended = False,
) -> None:
    """Show the workers, the jobs that they perform, and the queues.

    It shows the workers of all machines. Their memory, and whether they rest or stop, is that of
    now for those of this machine, and a minute old at most for others. A worker is lost when its
    process is gone, or when it has been silent for longer than its lease: others free its jobs. It
    is resting when it takes no jobs: after Ctrl-Z or TSTP, until `fg` or CONT. RELEASE is the
    application's: the setting app_version, or git's short hash. AGE is how long the oldest due job
    has been due, IN and OUT how many jobs came and ended a minute in the last quarter of an hour,
    and EMPTY when no job will be due if it goes on so. With --ended it shows the workers that have
    ended, when and why; they are kept for a day (keep_workers).

    \b
    Examples:
      jobs status
      jobs status --watch
      jobs status --json
      jobs status --ended
    """
    show = _show_ended if ended else _show
    with opened({"database_url": database_url, "schema": schema}, app="unwanted") as session:
        while True:
            if watch:
                typer.echo(CLEAR_SCREEN, nl=False)
            show(session, as_json=json_)
            if not watch:
                return
            time.sleep(WATCH_SECONDS)


def _show_ended(session: Session, *, as_json: bool) -> None:
    workers, now = ended_workers(session.adapter), session.adapter.now()
    if as_json:
        print_json({"ended": [asdict(worker) for worker in workers]})
        return
    if not workers:
        typer.echo("No worker has ended lately.")
        return
    names = ("WORKER", "HOST", "PID", "RELEASE", "WORKED", "ENDED", "WHY")
    print_table([Column(name) for name in names], [_ended_row(end, now) for end in workers])


def _ended_row(end: WorkerEnd, now: datetime) -> list[str]:
    return [
        end.name,
        end.host,
        str(end.pid),
        end.release or "",
        _duration(max(end.ended_at - end.started_at, timedelta(0))),
        from_now(end.ended_at, now),
        end.reason,
    ]


def _show(session: Session, *, as_json: bool) -> None:
    workers, queues = all_workers(session.adapter), session.adapter.queue_depths()
    outlooks = all_outlooks(session.adapter, queues)
    pauses = all_pauses(session.adapter)
    if as_json:
        print_json(
            {
                "workers": [_worker_json(worker) for worker in workers],
                "queues": [
                    _queue_json(queue, pauses.get(queue.queue), outlooks[queue.queue])
                    for queue in queues
                ],
            }
        )
        return
    _print_workers(workers)
    typer.echo("")
    now = session.adapter.now()
    _print_queues(queues, pauses, outlooks, now)
    _note_bulk_actions(session.adapter, now)


def _note_bulk_actions(adapter: Adapter, now: datetime) -> None:
    """Say which bulk actions go on with the next worker, whenever that starts."""
    running = adapter.actions(ActionFilter(states=(ActionState.RUNNING,)), MOST_NOTED)
    left = [str(one.id) for one in running if action_view(one, now).course != "running"]
    if left:
        actions = f"action {left[0]} waits" if len(left) == 1 else f"actions {', '.join(left)} wait"
        say_note(f"{actions} for a worker, which goes on with it; `jobqueue actions` shows more")


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
        "release": record.release,
        "state": worker.state,
        "jobs": [
            {"id": job.id, "handler": job.handler, "locked_at": job.locked_at}
            for job in worker.jobs
        ],
    }


def _queue_json(queue: QueueDepth, paused: PausedQueue | None, outlook: Outlook) -> dict[str, Any]:
    pause = UNTIL_RESUMED if paused is None else paused.pause
    return {
        "queue": queue.queue,
        "due": queue.due,
        "later": queue.later,
        "running": queue.running,
        "oldest_age_seconds": queue.oldest_age.total_seconds(),
        "paused": queue.paused,
        "paused_at": paused and paused.paused_at,
        "paused_until": pause.until,
        "paused_by": pause.by,
        "reason": pause.reason,
        **outlook_json(outlook),
    }


def _print_workers(workers: list[WorkerView]) -> None:
    if not workers:
        typer.echo("No workers.")
        return
    names = ("WORKER", "HOST", "PID", "RELEASE", "QUEUES", "UP", "BEAT", "MEMORY", "JOBS")
    print_table([Column(name) for name in names], [_worker_row(worker) for worker in workers])


def _worker_row(worker: WorkerView) -> list[str]:
    record = worker.record
    return [
        record.name,
        record.host,
        str(record.pid),
        record.release or "",
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
    if worker.state is WorkerState.STOPPING:
        return f"{STOPPING}, finishes {jobs}" if jobs else STOPPING
    return jobs or "idle"


def _listed_jobs(worker: WorkerView) -> str:
    shown = worker.jobs[:MOST_JOBS_OF_A_WORKER]
    listed = ", ".join(f"{job.handler.rpartition('.')[2]} #{job.id}" for job in shown)
    more = len(worker.jobs) - len(shown)
    return f"{listed} and {more} more" if more else listed


def _megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1024**2:.0f} MB"


def _print_queues(
    queues: list[QueueDepth],
    pauses: Mapping[str, PausedQueue],
    outlooks: Mapping[str, Outlook],
    now: datetime,
) -> None:
    if not queues:
        typer.echo("Nothing to do in any queue.")
        return
    names = ("QUEUE", "DUE", "LATER", "RUNNING", "AGE", "IN", "OUT", "EMPTY", "")
    rows = [
        _queue_row(queue, pauses.get(queue.queue), outlooks[queue.queue], now) for queue in queues
    ]
    print_table([Column(name) for name in names], rows)


def _queue_row(
    queue: QueueDepth, paused: PausedQueue | None, outlook: Outlook, now: datetime
) -> list[str]:
    pause = UNTIL_RESUMED if paused is None else paused.pause
    return [
        queue.queue,
        f"{queue.due:,}",
        f"{queue.later:,}",
        f"{queue.running:,}",
        _duration(queue.oldest_age) if queue.due else "",
        _rate(outlook.in_per_minute),
        _rate(outlook.out_per_minute),
        "" if queue.paused else outlook_text(outlook, now),
        pause_text(pause) if queue.paused else "",
    ]


def _rate(number: float | None) -> str:
    """Return a number a minute; with a digit after the point where it is small."""
    if number is None:
        return ""
    return f"{number:,.0f}" if number >= SMALL_RATE or not number else f"{number:.1f}"


def _duration(length: timedelta) -> str:
    return duration(length.total_seconds())
