"""Pages of jobs, counts and depths, for lists and screens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic

from jobqueue.records.jobs import J_co

LARGEST_PAGE_CHARACTERS = 4_000_000


@dataclass(frozen=True, slots=True)
class Page(Generic[J_co]):
    """Some of the jobs that match a filter, the newest first.

    Args:
        jobs: the jobs. There can be fewer than the limit, even none, with more to follow: only so
            many rows are looked at for one page.
        next_before_id: the `before_id` of the next page; None when this is the last.
        is_full: whether it ends where it does because its jobs are as large as a page may be:
            about `LARGEST_PAGE_CHARACTERS`, and one job at least.
    """

    jobs: Sequence[J_co]
    next_before_id: int | None
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class Count:
    """A number of jobs. With `more` there are more: counting stopped at that number."""

    number: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The depth of a queue: how much there is to do in it.

    Args:
        due: waiting jobs whose time has come, those at gates too.
        later: waiting jobs whose time has not come. Jobs that wait for others are not counted.
        running: jobs that workers hold.
        oldest_age: how long the oldest due job has been due; 0 when none is due.
        paused: whether the queue is paused: workers claim nothing from it.
        more: whether the numbers may be too small, since counting stopped there.
    """

    queue: str
    due: int
    later: int
    running: int
    oldest_age: timedelta
    paused: bool
    more: bool = False


@dataclass(frozen=True, slots=True)
class LaneDepth:
    """How many jobs of one priority of a queue are due.

    Args:
        queue: the name of the queue.
        priority: the priority.
        due: ready jobs whose time has come.
        first_run_at: when the first of its ready jobs is due, or has been since.
        more: whether there are more due ones, since counting stopped there.
    """

    queue: str
    priority: int
    due: int
    first_run_at: datetime
    more: bool = False
