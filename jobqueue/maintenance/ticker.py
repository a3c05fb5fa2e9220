"""The ticker, which enqueues recurring jobs when their time comes.

Every supervisor has a `Ticker`, and so has a worker without a supervisor, or with a hook that is
called for what is enqueued. There is no leader: the first ticker enqueues a tick, in a transaction
that only one ticker can commit.

The `schedule` of a class is declared to the database when a worker with that code starts. From then
on the row counts, for all machines alike. A ticker looks after the schedules that its own living
workers have in their code.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from jobqueue import log
from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.adapters.roles.schedules import SchedulesRole
from jobqueue.arguments import encode_args
from jobqueue.background import Service
from jobqueue.cron import Schedule, schedule_from
from jobqueue.defaults import DefaultAdapter
from jobqueue.errors import DatabaseRefused, InvalidJob, RowLocked
from jobqueue.hooks import NO_OBSERVERS, Observers
from jobqueue.job import Job, Registry, refuse_main, registry
from jobqueue.maintenance.due_ticks import (
    MOST_AT_ONCE,
    due_ticks,
    enqueued_with,
    is_ahead,
    next_tick,
    put_back,
)
from jobqueue.meta import with_meta_of_hooks
from jobqueue.records import NewJob, NewSchedule, ScheduleRecord

DEFAULT_APP = "jobs"
LOOK_SECONDS = 5.0
RENEW_SECONDS = 10.0
DECLARED_FOR = timedelta(seconds=3 * RENEW_SECONDS)
SHORTEST_PAUSE_SECONDS = 0.001
LOCKED_PAUSE = timedelta(seconds=1)
STOP_SECONDS = 5.0


# --- what the code declares ----------------------------------------------------------------------


def app_key(app: str | None) -> str:
    """The name under which an application's schedules are stored: its setting `app`."""
    return ",".join(sorted(name.strip() for name in (app or DEFAULT_APP).split(",")))


class TickerRoles(SchedulesRole, ReadsRole, Protocol):
    """The roles of an adapter that recurring jobs need."""


def schedules_in(registry: Registry, adapter: TickerRoles) -> list[NewSchedule]:
    """The schedules of all job classes that are kept in an adapter.

    Raises:
        InvalidArguments: the arguments of one do not fit its `perform`.
        InvalidJob: one is of a class that no worker could import.
    """
    kept = [c for c in registry.classes() if _is_kept_in(c, adapter)]
    return [new for job_class in kept for new in _schedules_of(job_class)]


def _is_kept_in(job_class: type[Job], adapter: TickerRoles) -> bool:
    own = inspect.getattr_static(job_class, "adapter")
    return isinstance(own, DefaultAdapter) or own is adapter


def _schedules_of(job_class: type[Job]) -> Iterator[NewSchedule]:
    for name, schedule in job_class.schedules().items():
        refuse_main(job_class)
        yield NewSchedule(
            name=name,
            handler=job_class.name,
            args=job_class.parameters().dump_mapping(schedule.args),
            rule=schedule.rule(),
            catch_up=schedule.catch_up,
            queue=job_class.queue,
            priority=job_class.priority,
            max_attempts=job_class.attempts_allowed(),
        )


def is_declared(record: ScheduleRecord, now: datetime) -> bool:
    """Whether a living worker has said lately that it has a schedule in its code.

    A moment in the future was noted by a clock that was ahead. Workers that live note another.
    """
    return abs(now - record.declared_at) < DECLARED_FOR


def job_of(record: ScheduleRecord, run_at: datetime | None = None) -> NewJob:
    """The job of a schedule, due at its tick, or now."""
    args = encode_args(record.args, record.handler)
    job_class = registry.find(record.handler)
    controlled = None if job_class is None else job_class.flow_control()
    return NewJob(
        handler=record.handler,
        args=args,
        queue=record.queue,
        priority=record.priority,
        max_attempts=record.max_attempts,
        run_at=run_at,
        flow_control=None if controlled is None else controlled.of(args),
    )


# --- the ticker ----------------------------------------------------------------------------------


class Ticks:
    """The steps of a `Ticker`: each enqueues the due ticks of schedules.

    Args:
        adapter: where they are.
        app: the application that they belong to.
        logger: where ticks are logged.
        monotonic: seconds that only go up; for tests.
        observers: the hooks that may add to the meta of a tick's job.
    """

    def __init__(
        self,
        adapter: TickerRoles,
        app: str | None,
        logger: logging.Logger,
        monotonic: Callable[[], float] = time.monotonic,
        observers: Observers = NO_OBSERVERS,
    ) -> None:
        self._observers = observers
        self._adapter = adapter
        self._app = app_key(app)
        self._logger = logger
        self._monotonic = monotonic
        self._mine: dict[str, NewSchedule] = {}
        self._undeclared: set[str] = set()
        self._renewed = float("-inf")
        self._not_understood: set[tuple[str, datetime]] = set()
        self._locked_since: dict[str, datetime] = {}

    def take(self, schedules: Iterable[NewSchedule]) -> None:
        """Look after these schedules from now on. New and changed ones are declared."""
        new = {schedule.name: schedule for schedule in schedules}
        self._undeclared |= {name for name, s in new.items() if self._mine.get(name) != s}
        self._undeclared &= set(new)
        self._mine = new

    def look(self) -> float | None:
        """Enqueue due ticks. Return how many seconds to wait before the next look, None for ever.

        Raises:
            DatabaseError: try again later; no tick is lost.
        """
        if not self._mine:
            return None
        self._declare()
        records = [r for r in self._adapter.schedules(self._app) if r.name in self._mine]
        now = self._adapter.now()
        nexts = [self._tick_if_free(record, now) for record in records if record.paused_at is None]
        first = min((tick for tick in nexts if tick is not None), default=None)
        if first is None:
            return LOOK_SECONDS
        return min(max((first - now).total_seconds(), SHORTEST_PAUSE_SECONDS), LOOK_SECONDS)

    def _declare(self) -> None:
        if self._monotonic() - self._renewed >= RENEW_SECONDS:
            known = self._adapter.renew_schedules(self._app, self._mine)
            self._undeclared |= set(self._mine) - known
            self._renewed = self._monotonic()
        if self._undeclared:
            self._declare_these([self._mine[name] for name in self._undeclared])

    def _declare_these(self, schedules: Sequence[NewSchedule]) -> None:
        """Declare schedules, all together unless one of them is locked. That one waits alone."""
        try:
            self._adapter.declare_schedules(self._app, schedules)
        except RowLocked:
            if len(schedules) > 1:
                for schedule in schedules:
                    self._declare_these([schedule])
        else:
            self._undeclared.difference_update(schedule.name for schedule in schedules)

    def _tick_if_free(self, record: ScheduleRecord, now: datetime) -> datetime | None:
        """Enqueue the due ticks of a schedule, and return when to look at it again.

        One that somebody keeps locked does not hold up the others. Its ticks are enqueued when it
        is free, as if it were still the time when that was tried first.
        """
        due_at = self._locked_since.get(record.name, now)
        try:
            following = self._tick_unless_odd(record, due_at)
        except RowLocked:
            if record.name not in self._locked_since:
                log.schedule_locked(self._logger, record.name)
            self._locked_since[record.name] = due_at
            return now + LOCKED_PAUSE
        was_locked = self._locked_since.pop(record.name, None) is not None
        return now if was_locked else following

    def _tick_unless_odd(self, record: ScheduleRecord, now: datetime) -> datetime | None:
        """As `_tick`. A row that somebody wrote by hand holds up no other; it is logged once."""
        try:
            return self._tick(record, now)
        except (DatabaseRefused, ArithmeticError, LookupError, TypeError, ValueError) as error:
            self._note_not_understood(record, error)
            return None

    def _tick(self, record: ScheduleRecord, now: datetime) -> datetime | None:
        """Enqueue the due ticks of a schedule, and return when it is due next."""
        schedule = self._understood(record)
        if schedule is None:
            return None
        if is_ahead(record, now):
            back = self._put_back(record, schedule, now)
            if back is None:
                return now
            record = back
        ticks = due_ticks(record, schedule, now)
        if ticks:
            self._enqueue(record, schedule, ticks)
        return next_tick(record, schedule, ticks[-1] if len(ticks) == MOST_AT_ONCE else now)

    def _put_back(
        self, record: ScheduleRecord, schedule: Schedule, now: datetime
    ) -> ScheduleRecord | None:
        """Have a schedule go on from now; None when another ticker has changed it."""
        back = self._adapter.put_schedule_back(record, put_back(record, schedule, now))
        if back is not None:
            due = next_tick(back, schedule, now)
            log.schedule_put_back(self._logger, record.name, record.last_tick or record.since, due)
        return back

    def _enqueue(self, record: ScheduleRecord, schedule: Schedule, ticks: list[datetime]) -> None:
        jobs = [job_of(record, tick) for tick in ticks]
        jobs = list(with_meta_of_hooks(jobs, self._observers, self._logger))
        enqueued = enqueued_with(record, schedule, ticks)
        stored = self._adapter.enqueue_ticks(record, jobs, ticks[-1], enqueued)
        for job in stored or ():
            if not job.is_duplicate:
                log.tick_enqueued(self._logger, record.name, job)

    def _understood(self, record: ScheduleRecord) -> Schedule | None:
        """The rule of a row; None, logged once, when a newer release declared one unknown here."""
        try:
            return schedule_from(record.rule)
        except InvalidJob as error:
            self._note_not_understood(record, error)
            return None

    def _note_not_understood(self, record: ScheduleRecord, error: Exception) -> None:
        if (record.name, record.updated_at) not in self._not_understood:
            self._not_understood.add((record.name, record.updated_at))
            log.schedule_not_understood(self._logger, record.name, error)


class Ticker:
    """A service that enqueues recurring jobs when their time comes.

    It waits for the next tick. Its thread starts with the first schedule.

    Args:
        adapter: where the schedules are.
        app: the application that they belong to.
        logger: where ticks are logged.
        observers: the hooks that may add to the meta of a tick's job.
    """

    def __init__(
        self,
        adapter: TickerRoles,
        app: str | None,
        logger: logging.Logger,
        observers: Observers = NO_OBSERVERS,
    ) -> None:
        self._ticks = Ticks(adapter, app, logger, observers=observers)
        self._given: tuple[NewSchedule, ...] = ()
        self._service = Service(
            "jobqueue-ticker",
            self._step,
            logger,
            on_trouble=partial(log.schedules_troubled, logger),
        )

    def mind(self, schedules: Sequence[NewSchedule]) -> None:
        """Look after these schedules from now on: those in the code of the living workers."""
        if self._given != tuple(schedules):
            self._service.start()
            self._given = tuple(schedules)
            self._service.wake()

    def stop(self) -> None:
        """Enqueue no more. A database that does not answer is not waited for."""
        self._service.stop(STOP_SECONDS)

    def _step(self) -> float | None:
        self._ticks.take(self._given)
        return self._ticks.look()
