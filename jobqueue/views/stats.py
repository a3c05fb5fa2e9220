"""Stats: the numbers of jobs, and the attempts at them of the last minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from jobqueue.adapters.base import Adapter
from jobqueue.records import (
    BUCKET_BOUNDS,
    Count,
    Histogram,
    JobFilter,
    JobState,
    Quantile,
    Stat,
    StatOfMinute,
)

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
LONGEST_SERIES = timedelta(hours=3)
DIGITS = 6
HOUR, DAY, MOMENT = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)
DAYS_SHOWN = 7
HOURS_SHOWN = 12

K = TypeVar("K", tuple[str, str], datetime)


@dataclass(frozen=True, slots=True)
class StatsView:
    """Numbers of jobs and attempts as they are shown.

    Args:
        states: how many jobs are in each state.
        classes: the attempts at the jobs of each class in each queue, by these names.
        minutes: the attempts of each minute in which any ended, the oldest first.
    """

    states: Mapping[JobState, Count]
    classes: tuple[Stat, ...]
    minutes: Mapping[datetime, Stat]


def all_stats(
    adapter: Adapter, age: timedelta, most: int, until: timedelta = timedelta(0)
) -> StatsView:
    """Return the numbers of all jobs and attempts.

    Args:
        adapter: where they are.
        age: how far to look back on attempts. Of more than three hours, the minutes are the last.
        most: how many jobs of each state to count at most.
        until: how long ago to stop looking.
    """
    last = adapter.now() - until
    minutes = [one for one in adapter.stats(min(age, LONGEST_SERIES)) if one.minute <= last]
    return StatsView(
        {state: adapter.count_up_to(JobFilter(states=(state,)), most) for state in JobState},
        tuple(adapter.class_stats(age, until)),
        attempts_by_minute(minutes),
    )


def attempts_by_minute(found: Iterable[StatOfMinute]) -> dict[datetime, Stat]:
    """Return the attempts of all classes in each minute in which any ended, the oldest first."""
    return _sums(found, lambda one: one.minute)


def sum_of(stats: Iterable[Stat], name: str) -> Stat:
    """Return the sum of statistics, of whatever classes and queues, under a name."""
    total = Stat(name, name)
    for stat in stats:
        total = total.plus(stat)
    return total


def by_class(stats: Iterable[Stat]) -> dict[str, Stat]:
    """Return the sum of each class of all queues."""
    sums: dict[str, Stat] = {}
    for stat in stats:
        known = sums.get(stat.handler)
        sums[stat.handler] = stat if known is None else known.plus(stat)
    return sums


def usual_times(stats: Iterable[Stat]) -> dict[str, timedelta]:
    """Return how long 95 % of the jobs of each class take at most, by their names."""
    usual: dict[str, timedelta] = {}
    for stat in stats:
        found = stat.run_quantile(0.95)
        if found is not None:
            usual[stat.handler] = max(usual.get(stat.handler, timedelta(0)), found.duration)
    return usual


def stats_by_hour(
    adapter: Adapter,
    name: str,
    now: datetime,
    *,
    handlers: tuple[str, ...] | None = None,
    queues: tuple[str, ...] | None = None,
    before: timedelta = timedelta(0),
) -> dict[datetime, Stat]:
    """Return the statistics of each of the last full hours, and of this one, the oldest first.

    Full hours are read as they are rolled up. The clock goes on between two reads, so that each
    window is a moment longer at both ends.

    Args:
        adapter: where they are.
        name: the name that the sums get.
        now: the time by the adapter's clock.
        handlers: only of these classes; None for all.
        queues: only of these queues; None for all.
        before: how long before that time the last of these hours is.
    """
    found: dict[datetime, Stat] = {}
    this_hour = (now - before).replace(minute=0, second=0, microsecond=0)
    for ago in reversed(range(HOURS_SHOWN)):
        hour = this_hour - ago * HOUR
        since, until = now - hour + MOMENT, now - hour - HOUR - MOMENT
        stats = adapter.class_stats(since, max(until, before), handlers, queues)
        found[hour] = sum_of(stats, name)
    return found


def stats_by_day(
    adapter: Adapter,
    name: str,
    now: datetime,
    *,
    handlers: tuple[str, ...] | None = None,
    before: timedelta = timedelta(0),
) -> dict[datetime, Stat]:
    """Return the statistics of each of the last seven days in UTC, the oldest first.

    Args:
        adapter: where they are.
        name: the name that the sums get.
        now: the time by the adapter's clock.
        handlers: only of these classes; None for all.
        before: how long before that time the last of these days is.
    """
    found: dict[datetime, Stat] = {}
    today = (now - before).replace(hour=0, minute=0, second=0, microsecond=0)
    for ago in reversed(range(DAYS_SHOWN)):
        day = today - ago * DAY
        since, until = now - day + MOMENT, max(now - day - DAY - MOMENT, before)
        found[day] = sum_of(adapter.class_stats(since, until, handlers), name)
    return found


def bucket_seconds() -> list[float]:
    """Return the longest duration of each bucket of a histogram; the last bucket has none."""
    return [bound.total_seconds() for bound in BUCKET_BOUNDS]


def run_times_json(stat: Stat) -> dict[str, Any]:
    """Return how long attempts took, as the JSON of commands and of the API has it."""
    return _distribution_json(stat.run_quantile, stat.ran)


def wait_times_json(stat: Stat) -> dict[str, Any]:
    """Return how long jobs had been due, as the JSON of commands and of the API has it."""
    return _distribution_json(stat.wait_quantile, stat.waited)


def _distribution_json(
    quantile: Callable[[float], Quantile | None], histogram: Histogram
) -> dict[str, Any]:
    shares = {name: _quantile_json(quantile(share)) for name, share in QUANTILES.items()}
    return {**shares, "counts": list(histogram.counts)}


def _quantile_json(found: Quantile | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"seconds": round(found.duration.total_seconds(), DIGITS), "more": found.more}


def _sums(found: Iterable[StatOfMinute], key_of: Callable[[StatOfMinute], K]) -> dict[K, Stat]:
    """Return the sums of stats that have the same key, by their keys in order."""
    sums: dict[K, Stat] = {}
    for one in found:
        key = key_of(one)
        sums[key] = sums[key].plus(one.stat) if key in sums else one.stat
    return {key: sums[key] for key in sorted(sums)}
