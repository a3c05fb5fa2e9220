"""Numbers of jobs and attempts over HTTP."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jobqueue.records import Count, Stat
from jobqueue.views.stats import all_stats, bucket_seconds, run_times_json, wait_times_json
from jobqueue.web.operations import Answer, ApiCall

MOST_COUNTED = 10_000
DIGITS = 6


def show_stats(call: ApiCall) -> Answer:
    """Answer how many jobs there are, and the attempts at them of the last minutes."""
    minutes, ago = call.query.minutes, timedelta(minutes=call.query.minutes_ago)
    stats = all_stats(call.adapter, timedelta(minutes=minutes) + ago, MOST_COUNTED, ago)
    return Answer(
        {
            "states": {state: _count_json(count) for state, count in stats.states.items()},
            "minutes": minutes,
            "bucket_seconds": bucket_seconds(),
            "classes": [_class_json(stat, minutes) for stat in stats.classes],
            "series": [_minute_json(minute, stat) for minute, stat in stats.minutes.items()],
        }
    )


def _count_json(count: Count) -> dict[str, Any]:
    return {"count": count.number, "more": count.more}


def _class_json(stat: Stat, minutes: int) -> dict[str, Any]:
    attempts = max(stat.attempts, 1)
    return {
        "name": stat.handler,
        "queue": stat.queue,
        **_outcomes_json(stat),
        "attempts_per_minute": round(stat.attempts / minutes, DIGITS),
        "mean_seconds": round(stat.run_time.total_seconds() / attempts, DIGITS),
        "longest_seconds": round(stat.longest.total_seconds(), DIGITS),
        "mean_wait_seconds": round(stat.wait_time.total_seconds() / attempts, DIGITS),
        "run": run_times_json(stat),
        "wait": wait_times_json(stat),
    }


def _minute_json(minute: datetime, stat: Stat) -> dict[str, Any]:
    return {"minute": minute.isoformat(), **_outcomes_json(stat)}


def _outcomes_json(stat: Stat) -> dict[str, int]:
    return {
        "succeeded": stat.succeeded,
        "retried": stat.retried,
        "failed": stat.failed,
        "cancelled": stat.cancelled,
    }
