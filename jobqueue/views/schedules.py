"""Recurring jobs as they are shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from jobqueue.adapters.base import Adapter
from jobqueue.cron import Schedule, schedule_from
from jobqueue.errors import InvalidJob, ScheduleNotFound
from jobqueue.maintenance.due_ticks import next_tick
from jobqueue.maintenance.ticker import is_declared
from jobqueue.records import (
    ActionFilter,
    ActionKind,
    ActionRecord,
    JobFilter,
    JobRecord,
    ScheduleRecord,
)
from jobqueue.redaction import summary_of
from jobqueue.views.jobs import shown_args

State = Literal["active", "paused", "inactive"]
MOST_PAUSES = 200
"""How many pauses are looked through for that of a schedule."""
NEXT_TICKS = 5
JOBS_AT_ONCE = 200
GONE = "gone"


@dataclass(frozen=True, slots=True)
class TickJobView:
    """The job of a tick as it is shown.

    Args:
        tick: the time that it was enqueued for.
        job_id: its id.
        job: the job as it is now; None if its row is gone: it succeeded and was not kept, or
            somebody removed it.
    """

    tick: datetime
    job_id: int
    job: JobRecord | None

    @property
    def state(self) -> str:
        """The state of the job, or `gone`."""
        return GONE if self.job is None else self.job.state.value

    def facts(self) -> dict[str, Any]:
        """Return what is shown, by name."""
        job = self.job
        run_time = None if job is None else job.run_time
        return {
            "tick": self.tick,
            "id": self.job_id,
            "state": self.state,
            "started_at": job and job.started_at,
            "finished_at": job and job.finished_at,
            "run_seconds": run_time and run_time.total_seconds(),
            "error": (job and summary_of(job.last_error)) or None,
        }


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A recurring job as it is shown.

    Args:
        record: its row.
        args: the arguments of its jobs; the secret ones are masked.
        state: `active`, `paused`, or `inactive`: no living worker has it in its code.
        expression: its times, as the code has them.
        zone: the time zone of its times.
        next_ticks: when it is enqueued next, the first few times; none unless it is active.
        last_jobs: the jobs of its last ticks, the latest one first.
        missed_tick: the first tick that should have been enqueued by now, and was not.
    """

    record: ScheduleRecord
    args: Mapping[str, Any]
    state: State
    expression: str
    zone: str
    next_ticks: tuple[datetime, ...]
    last_jobs: tuple[TickJobView, ...] = ()
    missed_tick: datetime | None = None

    @property
    def next_tick(self) -> datetime | None:
        """When it is enqueued next; None unless it is active."""
        return self.next_ticks[0] if self.next_ticks else None

    @property
    def is_paused(self) -> bool:
        """Whether the recurring job is paused: it is not enqueued until it is resumed."""
        return self.record.paused_at is not None

    def facts(self) -> dict[str, Any]:
        """Return what is shown, by name."""
        record = self.record
        return {
            "app": record.app,
            "name": record.name,
            "job": record.handler,
            "args": dict(self.args),
            "schedule": self.expression,
            "tz": self.zone,
            "catch_up": record.catch_up,
            "queue": record.queue,
            "priority": record.priority,
            "state": self.state,
            "paused": self.is_paused,
            "next_tick": self.next_tick,
            "last_tick": record.last_tick,
            "next_ticks": list(self.next_ticks),
            "last_jobs": [job.facts() for job in self.last_jobs],
        }


def pause_of(adapter: Adapter, record: ScheduleRecord) -> ActionRecord | None:
    """Return the action that paused a recurring job; None if it is not paused, or nobody knows."""
    if record.paused_at is None:
        return None
    where = ActionFilter(kinds=(ActionKind.PAUSE_SCHEDULE,))
    for action in adapter.actions(where, MOST_PAUSES):
        if (action.target.get("schedule"), action.target.get("app")) == (record.name, record.app):
            return action
    return None


def all_schedules(adapter: Adapter) -> list[ScheduleView]:
    """Return the recurring jobs of all applications in a database."""
    return _views(adapter, adapter.schedules())


def schedule_view(adapter: Adapter, record: ScheduleRecord) -> ScheduleView:
    """Return a recurring job as it is shown."""
    return _views(adapter, [record])[0]


def found_schedule(records: Sequence[ScheduleRecord], name: str, app: str | None) -> ScheduleRecord:
    """Return the schedule that a name means: its own name, or the end of it behind a dot.

    Args:
        records: the schedules of all applications.
        name: the name.
        app: only those of this application; None for all of them.

    Raises:
        ScheduleNotFound: it means none of them, or several.
    """
    own = [record for record in records if app in {None, record.app}]
    exact = [record for record in own if record.name == name]
    found = exact or [record for record in own if record.name.endswith("." + name)]
    if len(found) == 1:
        return found[0]
    raise ScheduleNotFound(_several(name, found) if found else _not_there(name, app, own, records))


def _several(name: str, found: Sequence[ScheduleRecord]) -> str:
    names = dict.fromkeys(record.name for record in found)
    if len(names) > 1:
        return f"{name!r} can be any of {', '.join(names)}; use the full name"
    apps = ", ".join(repr(record.app) for record in found)
    return f"{name!r} is a schedule of each of {apps}; say which app"


def _not_there(
    name: str, app: str | None, own: Sequence[ScheduleRecord], everywhere: Sequence[ScheduleRecord]
) -> str:
    of_app = "" if app is None else f" of {app!r}"
    others = sorted({r.app for r in everywhere if r.name == name or r.name.endswith("." + name)})
    if others:
        return f"no schedule{of_app} is named {name!r}, but one of {others[0]!r}; use --app"
    known = ", ".join(record.name for record in own) or "none"
    return (
        f"no schedule{of_app} is named {name!r}; in the database: {known}. "
        "A schedule gets there when a worker starts that has it in its code"
    )


def _views(adapter: Adapter, records: Sequence[ScheduleRecord]) -> list[ScheduleView]:
    if not records:
        return []
    now, has_workers = adapter.now(), bool(adapter.workers())
    jobs = _jobs_of(adapter, records)
    return [
        _view(record, _state(record, now, has_workers=has_workers), now, jobs) for record in records
    ]


def _jobs_of(adapter: Adapter, records: Sequence[ScheduleRecord]) -> Mapping[int, JobRecord]:
    ids = [job.job_id for record in records for job in record.last_jobs]
    found: dict[int, JobRecord] = {}
    for start in range(0, len(ids), JOBS_AT_ONCE):
        some = tuple(ids[start : start + JOBS_AT_ONCE])
        found |= {job.id: job for job in adapter.list_jobs(JobFilter(ids=some), len(some))}
    return found


def _state(record: ScheduleRecord, now: datetime, *, has_workers: bool) -> State:
    if record.paused_at is not None:
        return "paused"
    return "active" if has_workers and is_declared(record, now) else "inactive"


def _view(
    record: ScheduleRecord, state: State, now: datetime, jobs: Mapping[int, JobRecord]
) -> ScheduleView:
    args = shown_args(record)
    last = tuple(
        TickJobView(job.tick, job.job_id, jobs.get(job.job_id))
        for job in reversed(record.last_jobs)
    )
    try:
        schedule = schedule_from(record.rule)
        due = tuple(_next_ticks(record, schedule, now)) if state == "active" else ()
        missed = _missed_tick(record, schedule, now) if state == "active" else None
    except (InvalidJob, ArithmeticError, ValueError):
        # A newer release has declared it, or somebody wrote the row by hand.
        return ScheduleView(record, args, state, str(record.rule), "?", (), last)
    return ScheduleView(record, args, state, schedule.expression, schedule.zone, due, last, missed)


def _next_ticks(record: ScheduleRecord, schedule: Schedule, now: datetime) -> Iterator[datetime]:
    tick = next_tick(record, schedule, now)
    for _ in range(NEXT_TICKS):
        if tick is None:
            return
        yield tick
        tick = next_tick(record, schedule, tick)


def _missed_tick(record: ScheduleRecord, schedule: Schedule, now: datetime) -> datetime | None:
    last = record.since if record.last_tick is None else max(record.since, record.last_tick)
    tick = next_tick(record, schedule, last)
    return tick if tick is not None and tick < now else None
