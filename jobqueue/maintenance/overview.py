"""Workers and recurring jobs as they are shown, everywhere alike."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobqueue.adapters.base import Adapter
from jobqueue.cron import schedule_from
from jobqueue.errors import InvalidJob
from jobqueue.maintenance.ticker import is_declared
from jobqueue.records import ScheduleRecord, WorkerRecord
from jobqueue.showing import shown_args


def is_lost(adapter: Adapter, worker: WorkerRecord, now: datetime) -> bool:
    """Whether a worker's process is known to be gone, or has been silent past its lease.

    Args:
        adapter: where it is registered.
        worker: its row.
        now: the time by the adapter's clock (`Adapter.now`), which the heartbeat is by as well.
    """
    living = adapter.is_living(worker)
    return now - worker.heartbeat_at > worker.lease if living is None else not living


@dataclass(frozen=True, slots=True)
class Shown:
    """A schedule as it is shown.

    Args:
        record: its row.
        state: `active`, `paused`, or `inactive`: no living worker has it in its code.
        next_tick: None for one that is not active.
    """

    record: ScheduleRecord
    state: str
    expression: str
    zone: str
    next_tick: datetime | None


def all_shown(adapter: Adapter) -> list[Shown]:
    """All schedules of a database."""
    records = adapter.schedules()
    if not records:
        return []
    now, anybody = adapter.now(), bool(adapter.workers())
    return [_shown(record, now, anybody) for record in records]


def _shown(record: ScheduleRecord, now: datetime, anybody: bool) -> Shown:
    state = "active" if anybody and is_declared(record, now) else "inactive"
    if record.paused_at is not None:
        state = "paused"
    try:
        schedule = schedule_from(record.rule)
    except InvalidJob:
        return Shown(record, state, str(record.rule), "?", None)
    next_tick = schedule.next_after(now) if state == "active" else None
    return Shown(record, state, schedule.expression, schedule.zone, next_tick)


def schedule_json(shown: Shown) -> dict[str, Any]:
    """A schedule with all its fields, as JSON has it but for the times."""
    record = shown.record
    return {
        "app": record.app,
        "name": record.name,
        "job": record.handler,
        "args": shown_args(record),
        "schedule": shown.expression,
        "tz": shown.zone,
        "catch_up": record.catch_up,
        "queue": record.queue,
        "priority": record.priority,
        "state": shown.state,
        "paused": record.paused_at is not None,
        "next_tick": shown.next_tick,
        "last_tick": record.last_tick,
    }
