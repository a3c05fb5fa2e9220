"""Errors in groups: those of a class that are alike, whatever their ids and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from jobqueue.records.base import NO_DELAY, record

MOST_ERROR_GROUPS = 10_000
"""How many groups the database keeps: those that were seen last."""
SHOWN_HOURS = 24
"""How many hours of a group a list shows."""


@record
class ErrorGroup:
    """A group of errors that are alike.

    Args:
        key: the same for all errors of the group, in every release and on every adapter.
        handler: the job class, by the name in its rows.
        kind: the type of the exception.
        place: the innermost frame of the application's own code, as `file.py:function`; None where
            the error has none.
        message: the message, with numbers, ids, quoted text and addresses replaced.
    """

    key: str
    handler: str
    kind: str
    place: str | None
    message: str


class ErrorState(StrEnum):
    """The state of a group of errors."""

    OPEN = "open"
    """Somebody should look at it."""
    MUTED = "muted"
    """It is known, and stays out of lists until it is reopened."""
    RESOLVED = "resolved"
    """It is mended. When it comes back, it is open again."""


@dataclass(frozen=True, slots=True)
class NewErrors:
    """The errors of a group that a process has seen since it stored them last.

    Args:
        group: the group.
        number: how many there were.
        sample: the text of the last one, with its traceback.
        job_id: the job of the last one.
        first_ago: how long ago the first one was.
        last_ago: how long ago the last one was.
    """

    group: ErrorGroup
    number: int
    sample: str
    job_id: int | None
    first_ago: timedelta = NO_DELAY
    last_ago: timedelta = NO_DELAY


@dataclass(frozen=True, slots=True)
class ErrorHour:
    """The number of errors of a group in the hour that began at `hour`."""

    hour: datetime
    number: int


@dataclass(frozen=True, slots=True)
class ErrorGroupRecord:
    """A group of errors as its row in `background_errors` has it. Times are aware and in UTC.

    Args:
        group: the key and what the errors have in common.
        sample: the text of the last one, with its traceback; empty in a list.
        first_seen_at: when the first one was.
        last_seen_at: when the last one was.
        first_release: the release of the application that it was first seen with, if that is known.
        last_release: the release that it was last seen with.
        last_job_id: the job of the last one.
        state: whether somebody should look at it.
        changed_at: when somebody changed the state.
        changed_by: who that was.
        reopened_at: when it came back after it was resolved.
        hours: the hours in which there were any, the oldest first: those of the last day in a list,
            or of as many hours as were asked for, and all that are kept of a single group.
    """

    group: ErrorGroup
    sample: str
    first_seen_at: datetime
    last_seen_at: datetime
    first_release: str | None = None
    last_release: str | None = None
    last_job_id: int | None = None
    state: ErrorState = ErrorState.OPEN
    changed_at: datetime | None = None
    changed_by: str | None = None
    reopened_at: datetime | None = None
    hours: tuple[ErrorHour, ...] = ()

    @property
    def key(self) -> str:
        """The key of the group."""
        return self.group.key

    @property
    def has_come_back(self) -> bool:
        """Whether it is open since it was seen again after somebody had resolved it."""
        return self.state is ErrorState.OPEN and self.reopened_at is not None

    @property
    def position(self) -> ErrorPosition:
        """The place of the group in a list."""
        return ErrorPosition(self.last_seen_at, self.key)

    def since(self, moment: datetime) -> int:
        """Return how many errors there were in the hours from a moment on."""
        return sum(hour.number for hour in self.hours if hour.hour >= moment)


@dataclass(frozen=True, slots=True)
class ErrorPosition:
    """A place in a list of groups, those that were seen last first."""

    last_seen_at: datetime
    key: str


@dataclass(frozen=True, slots=True)
class ErrorFilter:
    """A choice of groups of errors. All that is given must match; None matches everything.

    Args:
        states: their states.
        handlers: their job classes, by the names in rows.
        period: only those that were seen within it.
        before: only those after this place in the list: the next page.
    """

    states: tuple[ErrorState, ...] | None = None
    handlers: tuple[str, ...] | None = None
    period: timedelta | None = None
    before: ErrorPosition | None = None


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """Some of the groups that match a filter, those that were seen last first.

    Args:
        groups: the groups.
        next_before: the `before` of the next page; None when this is the last.
    """

    groups: tuple[ErrorGroupRecord, ...]
    next_before: ErrorPosition | None = None
