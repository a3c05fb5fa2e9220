"""The workers, and the page of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from jobqueue.records import WorkerRecord
from jobqueue.views.stats import usual_times
from jobqueue.views.troubles import is_stuck
from jobqueue.views.workers import WorkerView, all_workers, ended_workers
from jobqueue.web import workers as api_workers
from jobqueue.web.dashboard.rows import DashboardPage, FormAction, Shown
from jobqueue.web.dashboard.windows import DAY
from jobqueue.web.operations import ApiCall
from jobqueue.web.problems import Problem

ROWS = 50


def workers_page(call: ApiCall) -> Shown:
    """Return the workers, what they perform, and those that have ended."""
    workers, now = all_workers(call.adapter), call.adapter.now()
    return {
        "now": now,
        "workers": workers,
        **_performed(call, workers, now),
        "ended": ended_workers(call.adapter)[:ROWS],
    }


def worker_page(call: ApiCall) -> Shown:
    """Return a worker, and where it is in its code; or when it ended, and why."""
    worker_id: str = call.path["id"]
    found = [view for view in all_workers(call.adapter) if view.record.id == worker_id]
    ended = [end for end in ended_workers(call.adapter) if end.id == worker_id]
    if not found and not ended:
        raise Problem(404, f"no worker has the id {worker_id[:100]!r} now, nor had it yesterday")
    now = call.adapter.now()
    return {
        "now": now,
        "worker": found[0] if found else None,
        "end": None if found else ended[0],
        **_performed(call, found, now),
        "stacks": call.adapter.stacks_of(worker_id),
    }


def _performed(call: ApiCall, workers: Sequence[WorkerView], now: datetime) -> Shown:
    """Return how long the jobs that run take usually, and which of them are possibly stuck."""
    jobs = [job for worker in workers for job in worker.jobs]
    running = tuple({job.handler for job in jobs})
    usual = usual_times(call.adapter.class_stats(DAY, handlers=running)) if running else {}
    stuck = {
        job.id
        for job in jobs
        if job.locked_at is not None and is_stuck(now - job.locked_at, usual.get(job.handler))
    }
    return {"usual": usual, "stuck": stuck}


def takes(worker: WorkerRecord) -> str:
    """Return the queues of a worker as a text."""
    return "all queues" if worker.queues is None else ", ".join(worker.queues)


PAGES = (
    DashboardPage("/workers", "Workers", "workers.html", workers_page),
    DashboardPage("/workers/{id}", "Workers", "worker.html", worker_page),
)
FORM_ACTIONS = (
    FormAction(
        "/workers/{id}/stacks",
        api_workers.ask_for_stacks,
        "The worker is asked. It answers within a few seconds.",
        "/workers/{id}",
    ),
)
