"""Recurring jobs as they are shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from jobqueue.adapters.base import Adapter
from jobqueue.cron import Schedule, schedule_from
from jobqueue.errors import InvalidJob
from jobqueue.maintenance.due_ticks import next_tick
from jobqueue.maintenance.ticker import is_declared
from jobqueue.records import ScheduleRecord
from jobqueue.views.jobs import shown_args

State = Literal["active", "paused", "inactive"]
MOST_COMING = 5


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A recurring job as it is shown.

    Args:
        record: its row.
        args: the arguments of its jobs; the secret ones are masked.
        state: `active`, `paused`, or `inactive`: no living worker has it in its code.
        expression: its times, as the code has them.
        zone: the time zone of its times.
        next_tick: when it is enqueued next; None unless it is active.
        missed_tick: the first tick that should have been enqueued by now, and was not.
        coming: the next ticks, the first one first; none unless it is active.
    """

    record: ScheduleRecord
    args: Mapping[str, Any]
    state: State
    expression: str
    zone: str
    next_tick: datetime | None
    missed_tick: datetime | None = None
    coming: tuple[datetime, ...] = ()

    @property
    def is_paused(self) -> bool:
        """Whether the recurring job is paused: it is not enqueued until it is resumed."""
        return self.record.paused_at is not None


def all_schedules(adapter: Adapter) -> list[ScheduleView]:
    """Return the recurring jobs of all applications in a database."""
    records = adapter.schedules()
    if not records:
        return []
    now, has_workers = adapter.now(), bool(adapter.workers())
    return [_view(record, _state(record, now, has_workers=has_workers), now) for record in records]


def _state(record: ScheduleRecord, now: datetime, *, has_workers: bool) -> State:
    if record.paused_at is not None:
        return "paused"
    return "active" if has_workers and is_declared(record, now) else "inactive"


def _view(record: ScheduleRecord, state: State, now: datetime) -> ScheduleView:
    args = shown_args(record)
    try:
        schedule = schedule_from(record.rule)
        due = next_tick(record, schedule, now) if state == "active" else None
        missed = _missed(record, schedule, now) if state == "active" else None
        coming = tuple(_coming(record, schedule, due))
    except (InvalidJob, ArithmeticError, ValueError):
        # A newer release has declared it, or somebody wrote the row by hand.
        return ScheduleView(record, args, state, str(record.rule), "?", None)
    return ScheduleView(
        record, args, state, schedule.expression, schedule.zone, due, missed, coming
    )


def _missed(record: ScheduleRecord, schedule: Schedule, now: datetime) -> datetime | None:
    last = record.since if record.last_tick is None else max(record.since, record.last_tick)
    tick = next_tick(record, schedule, last)
    return tick if tick is not None and tick < now else None


def _coming(
    record: ScheduleRecord, schedule: Schedule, first: datetime | None
) -> Iterator[datetime]:
    tick = first
    for _ in range(MOST_COMING):
        if tick is None:
            return
        yield tick
        tick = next_tick(record, schedule, tick)
