"""Schedules of recurring jobs: as code declares them, and as their rows have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MOST_LAST_JOBS = 5
"""How many jobs of its last ticks a schedule remembers."""


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """A recurring job as the code of an application declares it.

    Args:
        name: unique within the application.
        handler: the name of the job's class.
        args: its arguments, the text of a JSON object.
        rule: when it is due, as `Schedule.rule` of `jobqueue.cron` has it.
        catch_up: what becomes of ticks that were missed: True, False or "all".
        queue: the queue of its jobs.
        priority: the priority of its jobs.
        max_attempts: how often each of its jobs is attempted.
    """

    name: str
    handler: str
    args: str
    rule: Mapping[str, Any]
    catch_up: bool | str
    queue: str
    priority: int
    max_attempts: int


@dataclass(frozen=True, slots=True)
class TickSpan:
    """Ticks that follow each other and have all been enqueued: from the first to the last."""

    first: datetime
    last: datetime

    def __contains__(self, tick: datetime) -> bool:
        return self.first <= tick <= self.last


@dataclass(frozen=True, slots=True)
class TickJob:
    """The job that was enqueued for a tick."""

    tick: datetime
    job_id: int


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """A recurring job as its row in `background_schedules` has it. Times are aware and in UTC.

    Args:
        app: the application that it belongs to.
        since: when its ticks began to count: it was first declared then, or got another rule, or
            was resumed.
        last_tick: the last tick that a job was enqueued for.
        paused_at: when somebody paused it; None when it is not paused.
        declared_at: when a worker that has it in its code last declared it.
        enqueued: ticks that are known to have been enqueued, the latest ones. Some may lie in the
            future: the clock was ahead when they were.
        last_jobs: the jobs of the last ticks, the latest one last.
    """

    app: str
    name: str
    handler: str
    args: Mapping[str, Any]
    rule: Mapping[str, Any]
    catch_up: bool | str
    queue: str
    priority: int
    max_attempts: int
    since: datetime
    last_tick: datetime | None
    paused_at: datetime | None
    declared_at: datetime
    created_at: datetime
    updated_at: datetime
    enqueued: tuple[TickSpan, ...] = ()
    last_jobs: tuple[TickJob, ...] = ()
