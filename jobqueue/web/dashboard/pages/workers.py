"""The workers, and the page of each."""

from __future__ import annotations

from jobqueue.records import WorkerRecord
from jobqueue.views.stats import by_class
from jobqueue.views.workers import all_workers, ended_workers
from jobqueue.web import workers as api_workers
from jobqueue.web.dashboard.rows import DashboardPage, FormAction, Shown
from jobqueue.web.dashboard.windows import DAY
from jobqueue.web.operations import ApiCall
from jobqueue.web.problems import Problem

ROWS = 50


def workers_page(call: ApiCall) -> Shown:
    """Return the workers, what they perform, and those that have ended."""
    workers = all_workers(call.adapter)
    running = tuple({job.handler for worker in workers for job in worker.jobs})
    stats = call.adapter.class_stats(DAY, handlers=running) if running else ()
    return {
        "now": call.adapter.now(),
        "workers": workers,
        "usual": {name: stat.run_quantile(0.95) for name, stat in by_class(stats).items()},
        "ended": ended_workers(call.adapter)[:ROWS],
    }


def worker_page(call: ApiCall) -> Shown:
    """Return a worker, and where it is in its code."""
    worker_id: str = call.path["id"]
    found = [view for view in all_workers(call.adapter) if view.record.id == worker_id]
    if not found:
        raise Problem(404, f"no worker has the id {worker_id[:100]!r} now; it may have ended")
    stacks = call.adapter.stacks_of(worker_id)
    return {"now": call.adapter.now(), "worker": found[0], "stacks": stacks}


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
