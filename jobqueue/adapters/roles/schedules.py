"""Recurring jobs and their ticks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from jobqueue.records import (
    MOST_LAST_JOBS,
    NewJob,
    NewSchedule,
    ScheduleRecord,
    TickJob,
    TickSpan,
)
from jobqueue.stored import StoredJob


def last_jobs_with(seen: ScheduleRecord, jobs: Sequence[StoredJob]) -> tuple[TickJob, ...]:
    """The jobs of the last ticks of a schedule, with those of the ticks that come now.

    A tick whose job was there already has none of its own.
    """
    stored = [job for job in jobs if not job.is_duplicate]
    new = [TickJob(job.run_at, job.id) for job in stored[-MOST_LAST_JOBS:]]
    return (*seen.last_jobs, *new)[-MOST_LAST_JOBS:]


class SchedulesRole(Protocol):
    """The role that keeps the schedules of recurring jobs."""

    def declare_schedules(self, app: str, schedules: Sequence[NewSchedule]) -> None:
        """Store schedules as an application has them now, over what is there of the same names.

        A new schedule, and one with another rule, ticks from now on. Others go on from their last
        tick. Paused schedules stay paused. Schedules of other names are left as they are.

        Raises:
            RowLocked: somebody keeps one of them locked; none is stored.
        """
        ...

    def renew_schedules(self, app: str, names: Collection[str]) -> set[str]:
        """Note that a living worker still has these schedules; return those that are stored."""
        ...

    def schedules(self, app: str | None = None) -> list[ScheduleRecord]:
        """The schedules of an application, or of all of them, by app and name."""
        ...

    def enqueue_ticks(
        self,
        seen: ScheduleRecord,
        jobs: Sequence[NewJob],
        last_tick: datetime,
        enqueued: tuple[TickSpan, ...] | None = None,
    ) -> Sequence[StoredJob] | None:
        """Enqueue the jobs of ticks and note the last of them, in one transaction.

        The schedule remembers the last few jobs that were enqueued for it.

        Returns None, and does neither, when the schedule is paused or is no longer as it was
        `seen`: another worker has enqueued these ticks, or it was changed.

        Args:
            seen: the schedule.
            jobs: the jobs of its ticks.
            last_tick: the last of these ticks.
            enqueued: all ticks that it remembers as enqueued from now on; None for those that it
                does already.

        Raises:
            RowLocked: somebody keeps the schedule locked; nothing is stored.
        """
        ...

    def put_schedule_back(
        self, seen: ScheduleRecord, back: ScheduleRecord
    ) -> ScheduleRecord | None:
        """Store `since`, `last_tick` and `enqueued` of a schedule whose last tick was ahead.

        Returns the schedule as it is then; None, and changes nothing, when it is no longer as it
        was `seen`.
        """
        ...

    def pause_schedule(self, app: str, name: str) -> bool:
        """Pause a schedule; return whether there was one that was not paused."""
        ...

    def resume_schedule(self, app: str, name: str) -> bool:
        """Let a paused schedule tick again, from now on; return whether there was a paused one."""
        ...
