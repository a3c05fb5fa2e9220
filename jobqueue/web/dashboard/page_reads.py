"""The reads of a page: what was not answered in time is left out, and the page says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from jobqueue.adapters.base import Adapter
from jobqueue.errors import DatabaseUnavailable
from jobqueue.read_budget import ReadBudget, note_rows
from jobqueue.records import Count, ErrorPage, LaneDepth, Page, QueueDepth
from jobqueue.web.operations import ApiCall

PAGE_SECONDS = 5.0
"""How long the reads of a page may take together."""


@dataclass(frozen=True, slots=True)
class SideRead:
    """A read that a page can do without.

    Args:
        what: what it reads, in the plural.
        otherwise: makes what stands for it where it was not answered.
    """

    what: str
    otherwise: Callable[[], Any]


SIDE_READS: Mapping[str, SideRead] = {
    "actions": SideRead("actions", list),
    "attempts": SideRead("earlier attempts", list),
    "class_stats": SideRead("statistics of classes", list),
    "count_up_to": SideRead("numbers of jobs", lambda: Count(0, more=True)),
    "due_before": SideRead("jobs that come first", lambda: Count(0, more=True)),
    "ended_by_queue": SideRead("numbers of ended jobs", dict),
    "ended_workers": SideRead("workers that have ended", list),
    "error_groups": SideRead("errors", lambda: ErrorPage((), None)),
    "lane_depths": SideRead("priorities of queues", list),
    "page_jobs": SideRead("jobs", lambda: Page((), None)),
    "pauses": SideRead("pauses", list),
    "queue_depths": SideRead("depths of queues", list),
    "running_jobs": SideRead("running jobs", list),
    "samples": SideRead("depths of queues over time", list),
    "schedules": SideRead("schedules", list),
    "stacks_of": SideRead("stacks", lambda: None),
    "stats": SideRead("statistics of the last hour", list),
    "workers": SideRead("workers", list),
}


class PageReads:
    """An adapter as a page reads it.

    Where the database does not answer one of the `SIDE_READS` in time, the page has the rest.

    Args:
        adapter: what is read.
        budget: how long the reads may take, and how many rows they have looked at.
    """

    def __init__(self, adapter: Adapter, budget: ReadBudget) -> None:
        self.whole = adapter
        self._budget = budget
        self._unanswered: dict[str, None] = {}

    @property
    def unanswered(self) -> Sequence[str]:
        """The reads that were not answered, in the order in which they were asked for."""
        return tuple(self._unanswered)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.whole, name)
        if not callable(found):
            return found
        side = SIDE_READS.get(name)
        return _counting(found) if side is None else self._allowed_to_fail(found, side)

    def _allowed_to_fail(self, read: Callable[..., Any], side: SideRead) -> Callable[..., Any]:
        def reads(*args: Any, **named: Any) -> Any:
            if not self._budget.left_seconds:
                return self._without(side)
            try:
                return _counted(read(*args, **named))
            except DatabaseUnavailable:
                return self._without(side)

        return reads

    def _without(self, side: SideRead) -> Any:
        self._unanswered[side.what] = None
        return side.otherwise()


def _counting(read: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **named: _counted(read(*args, **named))


def _counted(answer: Any) -> Any:
    """Note the rows of an answer: those that are in it, and those that were counted for it."""
    note_rows(_rows_of(answer))
    return answer


def _rows_of(answer: Any) -> int:
    """How many rows an answer tells of. The adapter itself notes those that it walked over."""
    if isinstance(answer, list | tuple):
        return sum(map(_rows_of, answer))
    counted = COUNTED.get(type(answer))
    if counted is not None:
        return counted(answer)
    return len(answer) if isinstance(answer, dict | set) else int(answer is not None)


COUNTED: Mapping[type, Callable[[Any], int]] = {
    Count: lambda count: count.number,
    QueueDepth: lambda depth: depth.due + depth.later + depth.running,
    LaneDepth: lambda lane: lane.due,
    ErrorPage: lambda page: len(page.groups),
    Page: lambda page: len(page.jobs),
}
"""How many rows some answers tell of."""


@dataclass(frozen=True, slots=True)
class PageCall(ApiCall):
    """A request for a page, whose reads may fail by parts."""

    reads: PageReads = field(kw_only=True)

    @property
    def adapter(self) -> Adapter:
        """The adapter as the page reads it."""
        return cast("Adapter", self.reads)
