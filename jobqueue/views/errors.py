"""Errors in groups as they are shown, and the changes to all jobs of a group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from jobqueue.adapters.roles.errors import ErrorsRole
from jobqueue.errors import ErrorGroupNotFound
from jobqueue.records import (
    SHOWN_HOURS,
    WAITING_STATES,
    ActionKind,
    ErrorGroupRecord,
    ErrorPosition,
    ErrorState,
    JobFilter,
    JobState,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
QUARTER, WEEK = 6 * HOUR, 7 * DAY
WEEK_HOURS = WEEK // HOUR
SHOWN_DAYS = 30
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RETRIED_STATES = (*WAITING_STATES, JobState.FAILED)
"""The jobs of a group that are retried: those that wait for another attempt, and that failed."""
CANCELLED_STATES = (*WAITING_STATES, JobState.RUNNING)
ACTION_OF_STATE = {
    ErrorState.MUTED: ActionKind.MUTE_ERRORS,
    ErrorState.RESOLVED: ActionKind.RESOLVE_ERRORS,
    ErrorState.OPEN: ActionKind.REOPEN_ERRORS,
}
"""The kind of action that sets a group to a state."""


@dataclass(frozen=True, slots=True)
class ErrorGroupView:
    """A group of errors as it is shown.

    Args:
        record: its row.
        hours: how many errors there were in each of the last 24 hours, the oldest first.
        days: how many there were on each of the last 30 days, the oldest first, if that is known.
    """

    record: ErrorGroupRecord
    hours: Mapping[datetime, int]
    days: Mapping[datetime, int]

    @property
    def number_of_day(self) -> int:
        """How many errors there were in the last 24 hours."""
        return sum(self.hours.values())

    @property
    def state(self) -> str:
        """The state in words: whether it has come back is part of it."""
        return "open again" if self.record.has_come_back else self.record.state.value

    def facts(self) -> dict[str, Any]:
        """Return what a list shows, by name."""
        group, record = self.record.group, self.record
        return {
            "key": group.key,
            "name": group.handler,
            "kind": group.kind,
            "place": group.place,
            "message": group.message,
            "state": record.state,
            "number_of_day": self.number_of_day,
            "hours": [{"hour": hour, "number": number} for hour, number in self.hours.items()],
            "first_seen_at": record.first_seen_at,
            "last_seen_at": record.last_seen_at,
            "first_release": record.first_release,
            "last_release": record.last_release,
            "last_job_id": record.last_job_id,
            "changed_at": record.changed_at,
            "changed_by": record.changed_by,
            "reopened_at": record.reopened_at,
        }

    def all_facts(self) -> dict[str, Any]:
        """Return everything that is known of the group, by name."""
        days = [{"day": day.date(), "number": number} for day, number in self.days.items()]
        return {**self.facts(), "days": days, "sample": self.record.sample}


def error_group_view(record: ErrorGroupRecord, now: datetime) -> ErrorGroupView:
    """Return a group as it is shown."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    hours = {hour - ago * HOUR: 0 for ago in reversed(range(SHOWN_HOURS))}
    today = hour.replace(hour=0)
    days = {today - ago * DAY: 0 for ago in reversed(range(SHOWN_DAYS))}
    for found in record.hours:
        day = found.hour.replace(hour=0, minute=0, second=0, microsecond=0)
        if found.hour in hours:
            hours[found.hour] += found.number
        if day in days:
            days[day] += found.number
    return ErrorGroupView(record, hours, days)


def errors_since_releases(views: Iterable[ErrorGroupView]) -> dict[str, int]:
    """Return how many errors of the last 24 hours are new since which release, the newest first.

    Those that began with no known release are left out.
    """
    found: dict[str, int] = {}
    for view in sorted(views, key=lambda view: view.record.first_seen_at, reverse=True):
        release = view.record.first_release
        if release is not None:
            found[release] = found.get(release, 0) + view.number_of_day
    return found


def as_it_was(record: ErrorGroupRecord, moment: datetime) -> ErrorGroupRecord:
    """Return a group with the errors that it had by a moment. Its state is that of today."""
    return replace(record, hours=tuple(each for each in record.hours if each.hour <= moment))


def week_of(record: ErrorGroupRecord, now: datetime) -> dict[datetime, int]:
    """Return how many errors there were in each quarter of a day of the last week.

    The oldest comes first. The hours of the record have to reach back that far.
    """
    last = now.replace(hour=now.hour // 6 * 6, minute=0, second=0, microsecond=0)
    quarters = {last - ago * QUARTER: 0 for ago in reversed(range(WEEK // QUARTER))}
    for found in record.hours:
        quarter = found.hour.replace(hour=found.hour.hour // 6 * 6)
        if quarter in quarters:
            quarters[quarter] += found.number
    return quarters


def release_of_new(record: ErrorGroupRecord, now: datetime) -> str | None:
    """Return the release that a group is new with; None if it is older than a week.

    Also None where the release is not known.
    """
    return record.first_release if record.first_seen_at > now - WEEK else None


def found_error_group(adapter: ErrorsRole, key: str) -> ErrorGroupRecord:
    """Return the group of a key.

    Raises:
        ErrorGroupNotFound: there is none.
    """
    record = adapter.error_group(key)
    if record is None:
        raise ErrorGroupNotFound(
            f"no group of errors has the key {key[:100]!r}; `jobqueue errors` lists them. One that "
            "was not seen for as long as `keep_errors` says is removed"
        )
    return record


def jobs_of_group(key: str, states: tuple[JobState, ...] | None = None) -> JobFilter:
    """Return the filter of the jobs whose last attempt ended with an error of a group."""
    return JobFilter(states=states, error_keys=(key,))


# --- places in a list ----------------------------------------------------------------------------


def text_of(position: ErrorPosition) -> str:
    """Return a place in a list as a text, for whoever asks for the next page."""
    microseconds = (position.last_seen_at - EPOCH) // timedelta(microseconds=1)
    return f"{microseconds}.{position.key}"


def position_in(text: str) -> ErrorPosition | None:
    """Return the place that a text of `text_of` says; None if it says none."""
    microseconds, dot, key = text.partition(".")
    with suppress(ValueError, OverflowError):
        if dot and key.isprintable():
            return ErrorPosition(EPOCH + timedelta(microseconds=int(microseconds)), key)
    return None
