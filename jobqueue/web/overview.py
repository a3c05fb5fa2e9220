"""Queues, workers, recurring jobs, stats, and whether all is well."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from jobqueue.config import QUEUE_NAME_RULE, is_queue_name
from jobqueue.maintenance.overview import all_shown, is_lost, schedule_json
from jobqueue.records import (
    JobFilter,
    JobRecord,
    JobState,
    QueueDepth,
    Stat,
    StatOfMinute,
    WorkerRecord,
)
from jobqueue.web.operations import Answer, Call
from jobqueue.web.problems import Problem

MOST_COUNTED = 10_000
MOST_RUNNING = 1_000
DIGITS = 6


def queues(call: Call) -> Answer:
    """How much there is to do in each queue."""
    depths = call.adapter.queue_depths(MOST_COUNTED)
    return Answer({"queues": [_queue_json(depth) for depth in depths]})


def _queue_json(depth: QueueDepth) -> dict[str, Any]:
    return {
        "name": depth.queue,
        "due": depth.due,
        "later": depth.later,
        "running": depth.running,
        "more": depth.more,
        "oldest_age_seconds": depth.oldest_age.total_seconds(),
        "paused": depth.paused,
    }


def pause(call: Call) -> Answer:
    """Let nothing be claimed from a queue."""
    name = _queue_name(call)
    changed = bool(call.adapter.pause_queues([name]))
    call.note("paused", f"queue {name}")
    return Answer({"name": name, "paused": True, "changed": changed})


def resume(call: Call) -> Answer:
    """Let a queue be claimed from again."""
    name = _queue_name(call)
    changed = bool(call.adapter.resume_queues([name]))
    call.note("resumed", f"queue {name}")
    return Answer({"name": name, "paused": False, "changed": changed})


def _queue_name(call: Call) -> str:
    name: str = call.path["name"]
    if not is_queue_name(name):
        raise Problem(422, f"{name!r} is no name for a queue; expected {QUEUE_NAME_RULE}")
    return name


# --- workers and schedules -----------------------------------------------------------------------


def workers(call: Call) -> Answer:
    """The workers of all machines, and what they perform."""
    running = dict[str, list[JobRecord]]()
    for job in call.adapter.running_jobs(MOST_RUNNING):
        running.setdefault(job.locked_by or "", []).append(job)
    found, now = call.adapter.workers(), call.adapter.now()
    listed = [
        _worker_json(worker, running.get(worker.id, ()), is_lost(call.adapter, worker, now))
        for worker in found
    ]
    return Answer({"workers": listed})


def _worker_json(worker: WorkerRecord, jobs: Iterable[JobRecord], lost: bool) -> dict[str, Any]:
    return {
        "id": worker.id,
        "name": worker.name,
        "host": worker.host,
        "pid": worker.pid,
        "queues": None if worker.queues is None else list(worker.queues),
        "concurrency": worker.concurrency,
        "started_at": worker.started_at.isoformat(),
        "heartbeat_at": worker.heartbeat_at.isoformat(),
        "lost": lost,
        "jobs": [
            {
                "id": job.id,
                "name": job.handler,
                "locked_at": job.locked_at and job.locked_at.isoformat(),
            }
            for job in jobs
        ],
    }


def schedules(call: Call) -> Answer:
    """The recurring jobs of all applications."""
    listed = [schedule_json(shown) for shown in all_shown(call.adapter)]
    return Answer({"schedules": [_with_texts(schedule) for schedule in listed]})


def _with_texts(values: dict[str, Any]) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in values.items()}


# --- stats ---------------------------------------------------------------------------------------


def stats(call: Call) -> Answer:
    """How many jobs there are, and what became of attempts."""
    minutes: int = call.query.minutes
    found = call.adapter.stats(timedelta(minutes=minutes))
    return Answer(
        {
            "states": _counts(call),
            "minutes": minutes,
            "classes": [_class_json(stat, minutes) for stat in _by_class(found)],
            "series": _series(found),
        }
    )


def _counts(call: Call) -> dict[str, Any]:
    counts = {
        state: call.adapter.count_up_to(JobFilter(states=(state,)), MOST_COUNTED)
        for state in JobState
    }
    return {state: {"count": one.number, "more": one.more} for state, one in counts.items()}


def _by_class(found: Iterable[StatOfMinute]) -> list[Stat]:
    sums: dict[tuple[str, str], Stat] = {}
    for of_minute in found:
        stat = of_minute.stat
        key = (stat.handler, stat.queue)
        sums[key] = stat if key not in sums else sums[key].plus(stat)
    return [sums[key] for key in sorted(sums)]


def _class_json(stat: Stat, minutes: int) -> dict[str, Any]:
    attempts = max(stat.attempts, 1)
    return {
        "name": stat.handler,
        "queue": stat.queue,
        "succeeded": stat.succeeded,
        "retried": stat.retried,
        "failed": stat.failed,
        "cancelled": stat.cancelled,
        "attempts_per_minute": round(stat.attempts / minutes, DIGITS),
        "mean_seconds": round(stat.run_time.total_seconds() / attempts, DIGITS),
        "longest_seconds": round(stat.longest.total_seconds(), DIGITS),
        "mean_wait_seconds": round(stat.wait_time.total_seconds() / attempts, DIGITS),
    }


def _series(found: Iterable[StatOfMinute]) -> list[dict[str, Any]]:
    minutes: dict[datetime, Stat] = {}
    for one in found:
        before = minutes.get(one.minute)
        minutes[one.minute] = one.stat if before is None else before.plus(one.stat)
    return [
        {
            "minute": minute.isoformat(),
            "succeeded": stat.succeeded,
            "retried": stat.retried,
            "failed": stat.failed,
            "cancelled": stat.cancelled,
        }
        for minute, stat in sorted(minutes.items())
    ]


# --- health --------------------------------------------------------------------------------------


async def healthz(_: Call) -> Answer:
    """Whether this process answers."""
    return Answer({"status": "ok"})


def readyz(call: Call) -> Answer:
    """Whether the database answers and has its tables."""
    call.adapter.ping()
    return Answer({"status": "ok"})


async def home(call: Call) -> Answer:
    """Where to look further."""
    return Answer(
        {"document": call.url("/api/openapi.json"), "jobs": call.url("/api/jobs")},
    )
