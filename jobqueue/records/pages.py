"""What is read for lists and screens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic

from jobqueue.records.jobs import J_co


@dataclass(frozen=True, slots=True)
class Page(Generic[J_co]):
    """Some of the jobs that match a filter, the newest first.

    Args:
        jobs: they may be fewer than were asked for, even none, although more follow: only so many
            rows are looked at for one page.
        next_before_id: the `before_id` of the next page; None when this is the last.
    """

    jobs: Sequence[J_co]
    next_before_id: int | None


@dataclass(frozen=True, slots=True)
class Count:
    """How many there are; `more` when that is only what was counted before counting stopped."""

    number: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How much there is to do in a queue.

    Args:
        due: ready jobs whose time has come.
        later: ready jobs whose time has not come.
        running: jobs that workers hold.
        oldest_age: how long the oldest due job has been due; nothing when none is.
        paused: whether nothing is taken from it.
        more: whether there may be more than these numbers say, since counting stopped there.
    """

    queue: str
    due: int
    later: int
    running: int
    oldest_age: timedelta
    paused: bool
    more: bool = False
