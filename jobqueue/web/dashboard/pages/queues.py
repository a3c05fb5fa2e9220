"""The queues, and the page of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from jobqueue.config import is_queue_name
from jobqueue.records import UNTIL_RESUMED, JobFilter, JobRecord, JobState
from jobqueue.views.jobs import job_view
from jobqueue.views.lateness import circumstances_of, lateness_of_queue
from jobqueue.views.outlooks import outlook_text
from jobqueue.views.overview import outlook_texts, queue_lines
from jobqueue.views.queues import unattended_queues
from jobqueue.views.reasons import takes
from jobqueue.views.stats import stats_by_hour, sum_of
from jobqueue.views.workers import WorkerView, living_among
from jobqueue.web import models
from jobqueue.web import queues as api_queues
from jobqueue.web.dashboard.asked import asked_of
from jobqueue.web.dashboard.charts import duration_chart, line_chart
from jobqueue.web.dashboard.moments import moment_of
from jobqueue.web.dashboard.rows import DashboardPage, FormAction, LinkFor, Shown
from jobqueue.web.dashboard.windows import WINDOWS
from jobqueue.web.operations import ApiCall
from jobqueue.web.problems import Problem

FEW = 10
MOST_COUNTED = 10_000
PERIODS = {"3h": 180, "24h": 1440, "7d": 10080}
ROWS = 50
WIDE = (600.0, 80.0)


def queues_page(call: ApiCall) -> Shown:
    """Return all queues, the one with the oldest due job first."""
    now, lines = call.adapter.now(), queue_lines(call.adapter, MOST_COUNTED)
    lines.sort(key=lambda line: (-line.depth.oldest_age, line.depth.queue))
    living = living_among(call.adapter, call.adapter.workers(), now)
    alone = {q.name for q in unattended_queues([line.depth for line in lines], living, ())}
    texts = outlook_texts(lines, now)
    return {"now": now, "queues": lines, "alone": alone, "outlook_texts": texts}


def queue_page(call: ApiCall) -> Shown:
    """Return how a queue is and how it was."""
    name: str = call.path["name"]
    if not is_queue_name(name):
        raise Problem(404, f"no queue can have the name {name[:100]!r}")
    adapter, now = call.adapter, call.adapter.now()
    period = asked_of(call, "period") if asked_of(call, "period") in PERIODS else "3h"
    minutes = PERIODS[period]
    moment = moment_of(call)
    found = circumstances_of(adapter, name)
    every = -(-minutes // 360)
    samples = adapter.samples(timedelta(minutes=minutes), name, every, moment.ago)
    takers = [worker for worker in found.workers if not worker.lost and takes(worker, name)]
    running = _running(found.workers, takers, name)
    hours = stats_by_hour(adapter, name, now, queues=(name,), before=moment.ago)
    waited = {hour: stat.wait_quantile(0.95) for hour, stat in hours.items()}
    return {
        "now": now,
        "moment": moment,
        "depth": found.depth,
        "paused": found.pause,
        "pause": UNTIL_RESUMED if found.pause is None else found.pause.pause,
        "outlook": found.outlook,
        "outlook_text": outlook_text(found.outlook, now),
        "period": period,
        "periods": tuple(PERIODS),
        "chart": line_chart([(s.minute, s.depth_of(name).due) for s in samples]),
        "waits": {
            text: sum_of(adapter.class_stats(age + moment.ago, moment.ago, queues=(name,)), name)
            for text, age in WINDOWS.items()
        },
        "running": running[:ROWS],
        "classes": Counter(job.handler for _, job in running).most_common(FEW),
        "takers": takers,
        "busy": sum(len(worker.jobs) for worker in takers),
        "slots": sum(worker.record.concurrency for worker in takers),
        "usual": found.usual,
        "priorities": [lane for lane in found.lanes if lane.queue == name],
        "waited": waited,
        "hours": duration_chart(waited, *WIDE),
        "why": lateness_of_queue(found),
        "next_jobs": [
            job_view(job)
            for job in adapter.page_jobs(
                JobFilter(states=(JobState.READY,), queues=(name,), due=True), FEW
            ).jobs
        ],
    }


def _running(
    workers: Sequence[WorkerView], takers: Sequence[WorkerView], queue: str
) -> list[tuple[WorkerView, JobRecord]]:
    """The jobs on the slots of workers that take from a queue, and those of the queue elsewhere."""
    found = [(w, job) for w in workers for job in w.jobs if w in takers or job.queue == queue]
    return sorted(found, key=lambda one: (one[1].locked_at is None, one[1].locked_at, one[1].id))


PAGES = (
    DashboardPage("/queues", "Queues", "queues.html", queues_page),
    DashboardPage("/queues/{name}", "Queues", "queue.html", queue_page, tomorrow=LinkFor.MOMENT),
)
FORM_ACTIONS = (
    FormAction(
        "/queues/{name}/pause",
        api_queues.pause,
        "The queue {name} is paused.",
        "/queues/{name}",
        models.PauseBody,
    ),
    FormAction(
        "/queues/{name}/resume",
        api_queues.resume,
        "The queue {name} is resumed.",
        "/queues/{name}",
        models.ReasonBody,
    ),
)
