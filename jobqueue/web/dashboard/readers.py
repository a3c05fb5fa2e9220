"""The readers of the pages: one function for each, which reads what it shows by the views."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from jobqueue.config import is_queue_name
from jobqueue.errors import InvalidQuery
from jobqueue.job import JOB_OPTIONS, registry
from jobqueue.records import (
    LARGEST_ID,
    UNTIL_RESUMED,
    ErrorFilter,
    ErrorState,
    JobFilter,
    JobState,
    QueueDepth,
    Stat,
    WorkerRecord,
)
from jobqueue.views.errors import (
    error_group_view,
    found_error_group,
    jobs_of_group,
    position_in,
    text_of,
)
from jobqueue.views.job_query import words_of
from jobqueue.views.jobs import hides_unknown, job_view
from jobqueue.views.outlooks import all_outlooks, outlook_text
from jobqueue.views.overview import QueueLine, overview_of, queue_lines
from jobqueue.views.pauses import all_pauses
from jobqueue.views.queues import unattended_queues
from jobqueue.views.schedules import all_schedules
from jobqueue.views.timelines import timeline_of
from jobqueue.views.tracebacks import error_text_of
from jobqueue.views.workers import all_workers, ended_workers, living_among
from jobqueue.web.dashboard.charts import bar_chart, by_minute, line_chart
from jobqueue.web.jobs import found as found_job
from jobqueue.web.models import JobsQuery
from jobqueue.web.operations import ApiCall
from jobqueue.web.pages import filter_of
from jobqueue.web.problems import Problem

MOST_COUNTED = 10_000
ROWS = 50
ERROR_ROWS = 50
FILLING_SECONDS = 0.1
FEW = 10
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
SPARK = (120.0, 24.0)
WIDE = (600.0, 80.0)
WINDOWS = {"hour": HOUR, "24 hours": DAY, "7 days": WEEK}
PERIODS = {"3h": 180, "24h": 1440, "7d": 10080}
LONGEST_NAME = 255

Shown = Mapping[str, Any]


# --- now -----------------------------------------------------------------------------------------


def now_page(call: ApiCall) -> Shown:
    """Return what is wrong, and the rest at one glance."""
    overview = overview_of(call.adapter, MOST_COUNTED)
    ended = {minute: stat.attempts for minute, stat in overview.minutes.items()}
    return {
        "now": overview.now,
        "overview": overview,
        "outlook_texts": _outlook_texts(overview.queues, overview.now),
        "ended": bar_chart(by_minute(ended, overview.now, 60), *WIDE),
        "sparks": {e.record.key: bar_chart(e.hours, *SPARK) for e in overview.errors},
    }


# --- jobs ----------------------------------------------------------------------------------------


def jobs_page(call: ApiCall) -> Shown:
    """Return a window of the jobs that match a query, the newest first."""
    asked, before = _asked(call, "q"), _before(call)
    shown: dict[str, Any] = {"now": call.adapter.now(), "q": asked, "before": before}
    shown |= {"jobs": (), "next": None, "wrong": None}
    try:
        where = _filter_of(call, asked)
    except InvalidQuery as error:
        return shown | {"wrong": error}
    jobs, following = _window(call, replace(where, before_id=before))
    return shown | {"jobs": [job_view(record) for record in jobs], "next": following}


def _filter_of(call: ApiCall, asked: str) -> JobFilter:
    if not asked:
        return JobFilter()
    list(words_of(asked))  # which says of a query that is too long how long it may be
    return filter_of(JobsQuery.model_validate({"q": asked}), call.adapter)


def _window(call: ApiCall, where: JobFilter) -> tuple[list[Any], int | None]:
    """Return some jobs, and where to go on; short pages are joined while there is time."""
    found: list[Any] = []
    deadline = time.monotonic() + FILLING_SECONDS
    while True:
        page = call.adapter.page_jobs(where, ROWS - len(found))
        found += page.jobs
        where = replace(where, before_id=page.next_before_id)
        is_over = page.next_before_id is None or page.is_full or time.monotonic() > deadline
        if is_over or len(found) == ROWS:
            return found, page.next_before_id


def job_page(call: ApiCall) -> Shown:
    """Return everything about a job."""
    record = found_job(call)
    now = call.adapter.now()
    last_error = None if record.last_error is None else error_text_of(record.last_error)
    return {
        "now": now,
        "job": job_view(record),
        "hides_unknown": hides_unknown(record),
        "timeline": timeline_of(record, call.adapter.attempts(record.id), now),
        "last_error": last_error,
        "can": {
            "retry": record.state in {JobState.READY, JobState.FAILED, JobState.CANCELLED},
            "cancel": record.state in {JobState.READY, JobState.RUNNING},
            "delete": record.state is not JobState.RUNNING,
        },
    }


# --- errors --------------------------------------------------------------------------------------


def errors_page(call: ApiCall) -> Shown:
    """Return a page of groups of errors, those that were seen last first."""
    state = _asked(call, "state") or ErrorState.OPEN.value
    if state not in {"all", *ErrorState}:
        raise Problem(422, f"there is no state {state!r}; there are open, muted, resolved and all")
    place = _asked(call, "before")
    before = position_in(place) if place else None
    if place and before is None:
        raise Problem(422, "this is no place in the list; begin at its start")
    states = tuple(ErrorState) if state == "all" else (ErrorState(state),)
    page = call.adapter.error_groups(ErrorFilter(states=states, before=before), ERROR_ROWS)
    now = call.adapter.now()
    views = [error_group_view(record, now) for record in page.groups]
    return {
        "now": now,
        "state": state,
        "states": ("open", "muted", "resolved", "all"),
        "errors": views,
        "sparks": {view.record.key: bar_chart(view.hours, *SPARK) for view in views},
        "next": None if page.next_before is None else text_of(page.next_before),
    }


def error_page(call: ApiCall) -> Shown:
    """Return everything about a group of errors, with its last jobs."""
    record = found_error_group(call.adapter, call.path["key"])
    now = call.adapter.now()
    view = error_group_view(record, now)
    jobs = call.adapter.page_jobs(jobs_of_group(record.key), FEW).jobs
    return {
        "now": now,
        "error": view,
        "sample": error_text_of(record.sample),
        "hours": bar_chart(view.hours, *WIDE),
        "days": bar_chart(view.days, *WIDE),
        "jobs": [job_view(job) for job in jobs],
    }


# --- queues --------------------------------------------------------------------------------------


def queues_page(call: ApiCall) -> Shown:
    """Return all queues, the one with the oldest due job first."""
    now, lines = call.adapter.now(), queue_lines(call.adapter, MOST_COUNTED)
    lines.sort(key=lambda line: (-line.depth.oldest_age, line.depth.queue))
    living = living_among(call.adapter, call.adapter.workers(), now)
    alone = {q.name for q in unattended_queues([line.depth for line in lines], living, ())}
    texts = _outlook_texts(lines, now)
    return {"now": now, "queues": lines, "alone": alone, "outlook_texts": texts}


def queue_page(call: ApiCall) -> Shown:
    """Return how a queue is and how it was."""
    name: str = call.path["name"]
    if not is_queue_name(name):
        raise Problem(404, f"no queue can have the name {name[:100]!r}")
    adapter, now = call.adapter, call.adapter.now()
    period = _asked(call, "period") if _asked(call, "period") in PERIODS else "3h"
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
            text: _sum(adapter.class_stats(age, queues=(name,)), name)
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


def _outlook_texts(lines: Any, now: Any) -> dict[str, str]:
    found: list[QueueLine] = list(lines)
    return {line.depth.queue: outlook_text(line.outlook, now) for line in found}


# --- classes -------------------------------------------------------------------------------------


def classes_page(call: ApiCall) -> Shown:
    """Return the attempts of all classes in a window."""
    window = _asked(call, "window") if _asked(call, "window") in WINDOWS else "24 hours"
    stats = call.adapter.class_stats(WINDOWS[window])
    by_class: dict[str, Stat] = {}
    for stat in stats:
        known = by_class.get(stat.handler)
        by_class[stat.handler] = stat if known is None else known.plus(stat)
    ordered = sorted(by_class.values(), key=lambda stat: (-stat.attempts, stat.handler))
    return {
        "now": call.adapter.now(),
        "window": window,
        "windows": tuple(WINDOWS),
        "classes": ordered,
    }


def class_page(call: ApiCall) -> Shown:
    """Return whether a class got slower, its recent runs, and its settings."""
    name, adapter = _asked(call, "name"), call.adapter
    if not 0 < len(name) <= LONGEST_NAME or "\0" in name:
        raise Problem(404, "the name of a class is missing; Classes lists them")
    now = adapter.now()
    of_class = [one for one in adapter.stats(HOUR) if one.stat.handler == name]
    minutes: Counter[Any] = Counter()
    for one in of_class:
        minutes[one.minute] += one.stat.attempts
    job_class = registry.find(name)
    return {
        "now": now,
        "name": name,
        "windows": {
            text: _sum(adapter.class_stats(age, handlers=(name,)), name)
            for text, age in WINDOWS.items()
        },
        "chart": bar_chart(by_minute(minutes, now, 60), *WIDE),
        "jobs": [job_view(j) for j in adapter.page_jobs(JobFilter(handlers=(name,)), FEW).jobs],
        "settings": None if job_class is None else _settings_of(job_class),
        "summary": None if job_class is None else (job_class.__doc__ or "").strip(),
    }


def _settings_of(job_class: Any) -> dict[str, str]:
    """Return what the code says of a class, with the values that hold for it."""
    values = {name: getattr(job_class, name, None) for name in sorted(JOB_OPTIONS)}
    return {name: _setting_text(value) for name, value in values.items() if value is not None}


def _setting_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list | frozenset | set):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _sum(stats: Any, name: str) -> Stat:
    total = Stat(name, name)
    for stat in stats:
        total = total.plus(stat)
    return total


# --- workers -------------------------------------------------------------------------------------


def workers_page(call: ApiCall) -> Shown:
    """Return the workers, what they perform, and those that have ended."""
    workers = all_workers(call.adapter)
    running = tuple({job.handler for worker in workers for job in worker.jobs})
    stats = call.adapter.class_stats(DAY, handlers=running) if running else ()
    usual: dict[str, Stat] = {}
    for stat in stats:
        known = usual.get(stat.handler)
        usual[stat.handler] = stat if known is None else known.plus(stat)
    return {
        "now": call.adapter.now(),
        "workers": workers,
        "usual": {name: stat.run_quantile(0.95) for name, stat in usual.items()},
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


# --- schedules -----------------------------------------------------------------------------------


def schedules_page(call: ApiCall) -> Shown:
    """Return the recurring jobs, with their next ticks and the last jobs of their classes."""
    schedules = all_schedules(call.adapter)
    handlers = list(dict.fromkeys(view.record.handler for view in schedules))[:ROWS]
    last = {
        handler: call.adapter.page_jobs(JobFilter(handlers=(handler,)), 5).jobs
        for handler in handlers
    }
    return {"now": call.adapter.now(), "schedules": schedules, "last": last}


# --- what is asked -------------------------------------------------------------------------------


def _asked(call: ApiCall, name: str) -> str:
    return str(call.request.query_params.get(name, "")).strip()


def _before(call: ApiCall) -> int | None:
    text = _asked(call, "before")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:20]) <= LARGEST_ID):
        raise Problem(422, "before is no id of a job; begin at the start of the list")
    return int(text)
