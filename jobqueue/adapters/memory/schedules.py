"""Recurring jobs and their ticks, in memory."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime

from jobqueue.adapters.memory.path import MemoryPath
from jobqueue.adapters.memory.store import MemoryRole, MemoryStore
from jobqueue.adapters.roles.schedules import SchedulesRole, last_jobs_with
from jobqueue.records import NewJob, NewSchedule, ScheduleRecord, TickSpan
from jobqueue.stored import StoredJob


class MemorySchedules(MemoryRole, SchedulesRole):
    """The schedules of recurring jobs, in memory.

    Args:
        store: as for every role.
        path: stores the jobs of ticks.
    """

    def __init__(self, store: MemoryStore, path: MemoryPath) -> None:
        super().__init__(store)
        self._path = path
        self._schedules: dict[tuple[str, str], ScheduleRecord] = {}

    def declare_schedules(self, app: str, schedules: Sequence[NewSchedule]) -> None:
        with self._store.lock:
            for schedule in schedules:
                self._declare(app, schedule)

    def _declare(self, app: str, schedule: NewSchedule) -> None:
        now, key = self._store.now(), (app, schedule.name)
        old = self._schedules.get(key) or _new_record(app, schedule, now)
        given = {f.name: getattr(schedule, f.name) for f in fields(schedule) if f.name != "args"}
        new = replace(old, **given, args=json.loads(schedule.args))
        if new.rule != old.rule:
            new = replace(new, since=now, enqueued=())
        self._schedules[key] = replace(
            new, declared_at=now, updated_at=old.updated_at if new == old else now
        )

    def renew_schedules(self, app: str, names: Collection[str]) -> set[str]:
        with self._store.lock:
            known = {name for name in names if (app, name) in self._schedules}
            for name in known:
                record = self._schedules[app, name]
                self._schedules[app, name] = replace(record, declared_at=self._store.now())
            return known

    def schedules(self, app: str | None = None) -> list[ScheduleRecord]:
        with self._store.lock:
            return [
                record
                for (of, _), record in sorted(self._schedules.items())
                if app is None or of == app
            ]

    def enqueue_ticks(
        self,
        seen: ScheduleRecord,
        jobs: Sequence[NewJob],
        last_tick: datetime,
        enqueued: tuple[TickSpan, ...] | None = None,
    ) -> Sequence[StoredJob] | None:
        with self._store.lock:
            current = self._unchanged(seen)
            if current is None or current.paused_at is not None:
                return None
            records = self._path.enqueue(jobs)
            self._schedules[seen.app, seen.name] = replace(
                current,
                last_tick=last_tick.astimezone(UTC),
                enqueued=current.enqueued if enqueued is None else enqueued,
                last_jobs=last_jobs_with(current, records),
            )
            return records

    def put_schedule_back(
        self, seen: ScheduleRecord, back: ScheduleRecord
    ) -> ScheduleRecord | None:
        with self._store.lock:
            current = self._unchanged(seen)
            if current is None:
                return None
            self._schedules[seen.app, seen.name] = put = replace(
                current,
                since=back.since,
                last_tick=back.last_tick,
                enqueued=back.enqueued,
                updated_at=self._store.now(),
            )
            return put

    def _unchanged(self, seen: ScheduleRecord) -> ScheduleRecord | None:
        current = self._schedules.get((seen.app, seen.name))
        if current is None:
            return None
        is_as_seen = (current.last_tick, current.updated_at) == (seen.last_tick, seen.updated_at)
        return current if is_as_seen else None

    def pause_schedule(self, app: str, name: str) -> bool:
        now = self._store.now()
        with self._store.lock:
            record = self._schedules.get((app, name))
            if record is None or record.paused_at is not None:
                return False
            self._schedules[app, name] = replace(record, paused_at=now, updated_at=now)
            return True

    def resume_schedule(self, app: str, name: str) -> bool:
        now = self._store.now()
        with self._store.lock:
            record = self._schedules.get((app, name))
            if record is None or record.paused_at is None:
                return False
            resumed = replace(record, paused_at=None, since=now, updated_at=now)
            self._schedules[app, name] = resumed
            return True


def _new_record(app: str, schedule: NewSchedule, now: datetime) -> ScheduleRecord:
    return ScheduleRecord(
        app=app,
        name=schedule.name,
        handler=schedule.handler,
        args=json.loads(schedule.args),
        rule=schedule.rule,
        catch_up=schedule.catch_up,
        queue=schedule.queue,
        priority=schedule.priority,
        max_attempts=schedule.max_attempts,
        since=now,
        last_tick=None,
        paused_at=None,
        declared_at=now,
        created_at=now,
        updated_at=now,
    )
