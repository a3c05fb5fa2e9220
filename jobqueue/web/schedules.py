"""Recurring jobs over HTTP."""

from __future__ import annotations

from typing import Any

from jobqueue.views.schedules import ScheduleView, all_schedules
from jobqueue.web.operations import Answer, ApiCall


def list_schedules(call: ApiCall) -> Answer:
    """Answer the recurring jobs of all applications."""
    return Answer({"schedules": [_as_json(schedule) for schedule in all_schedules(call.adapter)]})


def _as_json(schedule: ScheduleView) -> dict[str, Any]:
    record = schedule.record
    return {
        "app": record.app,
        "name": record.name,
        "job": record.handler,
        "args": dict(schedule.args),
        "schedule": schedule.expression,
        "tz": schedule.zone,
        "catch_up": record.catch_up,
        "queue": record.queue,
        "priority": record.priority,
        "state": schedule.state,
        "paused": schedule.is_paused,
        "next_tick": schedule.next_tick and schedule.next_tick.isoformat(),
        "last_tick": record.last_tick and record.last_tick.isoformat(),
    }
