"""The queues, and the page of each."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from jobqueue.config import is_queue_name
from jobqueue.records import UNTIL_RESUMED, JobFilter, JobState, QueueDepth
from jobqueue.views.jobs import job_view
from jobqueue.views.outlooks import all_outlooks, outlook_text
from jobqueue.views.overview import outlook_texts, queue_lines
from jobqueue.views.pauses import all_pauses
from jobqueue.views.queues import unattended_queues
from jobqueue.views.stats import sum_of
from jobqueue.views.workers import all_workers, living_among
from jobqueue.web import models
from jobqueue.web import queues as api_queues
from jobqueue.web.dashboard.asked import asked_of
from jobqueue.web.dashboard.charts import line_chart
from jobqueue.web.dashboard.rows import DashboardPage, FormAction, Shown
from jobqueue.web.dashboard.windows import WINDOWS
from jobqueue.web.operations import ApiCall
from jobqueue.web.problems import Problem

FEW = 10
MOST_COUNTED = 10_000
PERIODS = {"3h": 180, "24h": 1440, "7d": 10080}
ROWS = 50


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
    depths = {depth.queue: depth for depth in adapter.queue_depths(MOST_COUNTED)}
    depth = depths.get(name) or QueueDepth(name, 0, 0, 0, timedelta(0), paused=False)
    samples = adapter.samples(timedelta(minutes=minutes), name, -(-minutes // 360))
    paused = all_pauses(adapter).get(name)
    outlook = all_outlooks(adapter, [depth])[name]
    running = [(w, job) for w in all_workers(adapter) for job in w.jobs if job.queue == name]
    living = living_among(adapter, adapter.workers(), now)
    takers = [w for w in living if w.queues is None or name in w.queues]
    return {
        "now": now,
        "depth": depth,
        "paused": paused,
        "pause": UNTIL_RESUMED if paused is None else paused.pause,
        "outlook": outlook,
        "outlook_text": outlook_text(outlook, now),
        "period": period,
        "periods": tuple(PERIODS),
        "chart": line_chart([(s.minute, s.depth_of(name).due) for s in samples]),
        "waits": {
            text: sum_of(adapter.class_stats(age, queues=(name,)), name)
            for text, age in WINDOWS.items()
        },
        "running": running[:ROWS],
        "classes": Counter(job.handler for _, job in running).most_common(FEW),
        "takers": takers,
        "slots": sum(worker.concurrency for worker in takers),
        "next_jobs": [
            job_view(job)
            for job in adapter.page_jobs(
                JobFilter(states=(JobState.READY,), queues=(name,), due=True), FEW
            ).jobs
        ],
    }


PAGES = (
    DashboardPage("/queues", "Queues", "queues.html", queues_page),
    DashboardPage("/queues/{name}", "Queues", "queue.html", queue_page),
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
        "/queues/{name}/resume", api_queues.resume, "The queue {name} is resumed.", "/queues/{name}"
    ),
)
