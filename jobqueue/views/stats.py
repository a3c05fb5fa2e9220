"""Stats: the numbers of jobs, and the attempts at them of the last minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from jobqueue.adapters.base import Adapter
from jobqueue.records import Count, JobFilter, JobState, Stat, StatOfMinute

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


def all_stats(adapter: Adapter, age: timedelta, most: int) -> StatsView:
    """Return the numbers of all jobs and attempts.

    Args:
        adapter: where they are.
        age: how far to look back on attempts.
        most: how many jobs of each state to count at most.
    """
    found = adapter.stats(age)
    return StatsView(
        {state: adapter.count_up_to(JobFilter(states=(state,)), most) for state in JobState},
        tuple(_sums(found, lambda one: (one.stat.handler, one.stat.queue)).values()),
        _sums(found, lambda one: one.minute),
    )


def _sums(found: Iterable[StatOfMinute], key_of: Callable[[StatOfMinute], K]) -> dict[K, Stat]:
    """Return the sums of stats that have the same key, by their keys in order."""
    sums: dict[K, Stat] = {}
    for one in found:
        key = key_of(one)
        sums[key] = sums[key].plus(one.stat) if key in sums else one.stat
    return {key: sums[key] for key in sorted(sums)}
