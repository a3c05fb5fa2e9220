"""Recurring jobs and their ticks: portable SQLAlchemy Core.

A tick is enqueued once: its job is inserted in the transaction that moves `last_tick` on, and only
one of several workers still finds `last_tick` as it was.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select, update
from sqlalchemy.sql.expression import ColumnElement

from jobqueue.adapters.roles.schedules import SchedulesRole, last_jobs_with
from jobqueue.adapters.sql.announcer import wakeup_for
from jobqueue.adapters.sql.execute import executing_on
from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.path import SqlPath
from jobqueue.adapters.sql.readings import LARGEST, args_in, mapping, moment, whole
from jobqueue.adapters.sql.role import SqlParts, SqlRole
from jobqueue.adapters.sql.tables import (
    DAWN,
    BackgroundSchedule,
    UtcDateTime,
    to_name,
    to_utc,
)
from jobqueue.records import (
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    LARGEST_ID,
    MOST_LAST_JOBS,
    NewJob,
    NewSchedule,
    ScheduleRecord,
    TickJob,
    TickSpan,
)
from jobqueue.stored import StoredJob, kept_by

Row = BackgroundSchedule

KEPT = ("since", "enqueued")
"""The facts that stay in the column `schedule` when the same rule is declared again."""

NO_MOMENT = DAWN
BOTH_ENDS = 2

# The rest of a new row is a placeholder: it is declared in the same transaction.
HAVE_SCHEDULE = Named(
    "INSERT INTO {schema}.background_schedules "
    "(app, name, handler, schedule, declared_at, created_at, updated_at) "
    "VALUES (:app, :name, '', '{}', :now, :now, :now) ON CONFLICT (app, name) DO NOTHING",
    bindparam("now", type_=UtcDateTime),
)


class SqlSchedules(SqlRole, SchedulesRole):
    """The schedules of recurring jobs, in a SQL database.

    Args:
        parts: as for every role.
        path: inserts the jobs of ticks.
    """

    def __init__(self, parts: SqlParts, path: SqlPath) -> None:
        super().__init__(parts)
        self._path = path

    def declare_schedules(self, app: str, schedules: Sequence[NewSchedule]) -> None:

        def work(connection: Connection) -> None:
            # In the same order everywhere, so that two calls cannot deadlock.
            for schedule in sorted(schedules, key=lambda schedule: schedule.name):
                self._declare(connection, app, schedule)

        self.database.write_unless_locked(work)

    def _declare(self, connection: Connection, app: str, schedule: NewSchedule) -> None:
        key, now = {"app": app, "name": schedule.name}, self.time.read(connection)
        is_new = connection.execute(HAVE_SCHEDULE.on(connection), {**key, "now": now}).rowcount
        row = connection.execute(_chosen(app, schedule.name).with_for_update()).one()
        change = update(Row).where(*_is(app, schedule.name)).values(declared_at=now)
        wanted = _definition(schedule)
        before = mapping(row.schedule)
        if "last_jobs" in before:
            wanted["last_jobs"] = before["last_jobs"]
        if is_new or before.get("rule") != wanted["rule"]:
            wanted["since"] = now.isoformat()
        else:
            wanted |= {key: before[key] for key in KEPT if key in before}
        stored = (row.handler, row.args, row.schedule)
        if stored != (schedule.handler, json.loads(schedule.args), wanted):
            change = change.values(
                handler=schedule.handler,
                args=json.loads(schedule.args),
                schedule=wanted,
                updated_at=now,
            )
        connection.execute(change)

    def renew_schedules(self, app: str, names: Collection[str]) -> set[str]:
        these = (Row.app == app, Row.name.in_(sorted(names)))
        change = update(Row).values(declared_at=self.time.now())

        def work(connection: Connection, passing_over: bool) -> Sequence[str]:
            if passing_over:
                unlocked = select(Row.name).where(*these).with_for_update(skip_locked=True)
                free = connection.execute(unlocked).scalars().all()
                connection.execute(change.where(Row.app == app, Row.name.in_(free)))
                return connection.execute(select(Row.name).where(*these)).scalars().all()
            return connection.execute(change.where(*these).returning(Row.name)).scalars().all()

        return set(self.database.write_giving_way(work))

    def schedules(self, app: str | None = None) -> list[ScheduleRecord]:
        query = _all_columns().order_by(Row.app, Row.name)
        if app is not None:
            query = query.where(Row.app == app)
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return sorted(map(_record, rows), key=lambda record: (record.app, record.name))

    def enqueue_ticks(
        self,
        seen: ScheduleRecord,
        jobs: Sequence[NewJob],
        last_tick: datetime,
        enqueued: tuple[TickSpan, ...] | None = None,
    ) -> Sequence[StoredJob] | None:
        move_on: Any = update(Row).where(*_unchanged(seen), Row.paused_at.is_(None))
        move_on = move_on.values(last_tick=last_tick)
        spans = seen.enqueued if enqueued is None else enqueued

        def work(connection: Connection) -> Sequence[StoredJob] | None:
            if not connection.execute(move_on).rowcount:
                return None
            records = self._path.insert(executing_on(connection), jobs)
            noted = replace(seen, enqueued=spans, last_jobs=last_jobs_with(seen, records))
            remember: Any = update(Row).where(*_is(seen.app, seen.name))
            connection.execute(remember.values(schedule=_stored(noted)))
            return records

        records = self.database.write_unless_locked(work)
        if records is None:
            return None
        self.announcer.announce_new(wakeup_for(records))
        return kept_by(self.adapter, records)

    def put_schedule_back(
        self, seen: ScheduleRecord, back: ScheduleRecord
    ) -> ScheduleRecord | None:
        change = update(Row).where(*_unchanged(seen)).returning(*Row.__table__.columns)
        change = change.values(
            last_tick=back.last_tick, schedule=_stored(back), updated_at=self.time.now()
        )
        row = self.database.write(lambda connection: connection.execute(change).first())
        return None if row is None else _record(row)

    def pause_schedule(self, app: str, name: str) -> bool:
        now = self.time.now()
        change = (
            update(Row)
            .where(*_is(app, name), Row.paused_at.is_(None))
            .values(paused_at=now, updated_at=now)
        )
        return bool(self._execute(change))

    def resume_schedule(self, app: str, name: str) -> bool:
        paused = (*_is(app, name), Row.paused_at.is_not(None))

        def work(connection: Connection) -> bool:
            now = self.time.read(connection)
            row = connection.execute(_all_columns().where(*paused).with_for_update()).first()
            if row is None:
                return False
            since = {**mapping(row.schedule), "since": now.isoformat()}
            change = update(Row).where(*paused)
            connection.execute(change.values(paused_at=None, schedule=since, updated_at=now))
            return True

        return self.database.write(work)


def _all_columns() -> Select[Any]:
    return select(*Row.__table__.columns)


def _chosen(app: str, name: str) -> Select[Any]:
    return _all_columns().where(*_is(app, name))


def _is(app: str, name: str) -> tuple[ColumnElement[bool], ...]:
    return (Row.app == app, Row.name == name)


def _unchanged(seen: ScheduleRecord) -> tuple[ColumnElement[bool], ...]:
    return (
        *_is(seen.app, seen.name),
        Row.last_tick.is_not_distinct_from(seen.last_tick),
        Row.updated_at == seen.updated_at,
    )


def _stored(record: ScheduleRecord) -> dict[str, Any]:
    """The content of the column `schedule`."""
    spans = [[span.first.isoformat(), span.last.isoformat()] for span in record.enqueued]
    jobs = [[job.tick.isoformat(), job.job_id] for job in record.last_jobs]
    return {
        **_definition(record),
        "since": record.since.isoformat(),
        "enqueued": spans,
        "last_jobs": jobs,
    }


def _definition(schedule: NewSchedule | ScheduleRecord) -> dict[str, Any]:
    """The content of the column `schedule` as the code has it, without what became of it."""
    return {
        "rule": dict(schedule.rule),
        "catch_up": schedule.catch_up,
        "queue": schedule.queue,
        "priority": schedule.priority,
        "max_attempts": schedule.max_attempts,
    }


def _record(row: Any) -> ScheduleRecord:
    """A row as a record. One whose rule cannot be read has none, and no ticks."""
    stored = mapping(row.schedule)
    catch_up = stored.get("catch_up", False)
    return ScheduleRecord(
        app=to_name(row.app),
        name=to_name(row.name),
        handler=to_name(row.handler),
        args=args_in(row.args),
        rule=mapping(stored.get("rule")),
        catch_up=catch_up if catch_up == "all" else catch_up is True,
        queue=to_name(stored.get("queue", DEFAULT_QUEUE)),
        priority=whole(stored.get("priority", DEFAULT_PRIORITY), -LARGEST - 1),
        max_attempts=whole(stored.get("max_attempts"), 1),
        since=moment(stored.get("since"), to_utc(row.created_at)),
        last_tick=_moment_or_none(row.last_tick),
        paused_at=_moment_or_none(row.paused_at),
        declared_at=to_utc(row.declared_at),
        created_at=to_utc(row.created_at),
        updated_at=to_utc(row.updated_at),
        enqueued=_spans_in(stored.get("enqueued")),
        last_jobs=_jobs_in(stored.get("last_jobs")),
    )


def _moment_or_none(value: Any) -> datetime | None:
    return None if value is None else to_utc(value)


def _spans_in(found: Any) -> tuple[TickSpan, ...]:
    """The spans of ticks; those that cannot be read are forgotten."""
    spans = [pair for pair in found if isinstance(pair, list)] if isinstance(found, list) else []
    read = [[moment(text, NO_MOMENT) for text in pair] for pair in spans]
    return tuple(
        TickSpan(*pair) for pair in read if len(pair) == BOTH_ENDS and NO_MOMENT not in pair
    )


def _jobs_in(found: Any) -> tuple[TickJob, ...]:
    """The jobs of the last ticks; those that cannot be read are forgotten."""
    pairs = [pair for pair in found if isinstance(pair, list)] if isinstance(found, list) else []
    read = [
        TickJob(moment(pair[0], NO_MOMENT), pair[1])
        for pair in pairs
        if len(pair) == BOTH_ENDS and type(pair[1]) is int and 0 < pair[1] <= LARGEST_ID
    ]
    return tuple(job for job in read if job.tick != NO_MOMENT)[-MOST_LAST_JOBS:]
