"""The roster of workers: portable SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, select, update

from jobqueue.adapters.roles.roster import RosterRole
from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.queries import MEMORY, NO_PID, STATE
from jobqueue.adapters.sql.readings import mapping, name_or_none, whole
from jobqueue.adapters.sql.role import SqlRole, rows_where
from jobqueue.adapters.sql.tables import ENDED_WORKERS, WORKERS, UtcDateTime, to_name, to_utc
from jobqueue.records import LONGEST_REASON, WorkerEnd, WorkerNote

KNOWN_AT_THE_END = [
    WORKERS.c[name] for name in ("id", "name", "host", "pid", "release", "started_at")
]
"""The columns of a worker's row that stay when it has ended."""

STORE_END = Named(
    """
INSERT INTO {schema}.background_ended_workers
    (id, name, host, pid, release, started_at, ended_at, reason)
VALUES (:id, :name, :host, :pid, :release, :started_at, :ended_at, :reason)
ON CONFLICT (id) DO NOTHING
""",
    bindparam("started_at", type_=UtcDateTime),
    bindparam("ended_at", type_=UtcDateTime),
)


class SqlRoster(SqlRole, RosterRole):
    """How workers are and how they have ended, in a SQL database."""

    def note_workers(self, notes: Mapping[str, WorkerNote]) -> None:
        these = WORKERS.c.id.in_(sorted(notes))
        query = select(WORKERS.c.id, WORKERS.c.details).where(these)
        unlocked = query.with_for_update(skip_locked=True, key_share=True)

        def work(connection: Connection) -> None:
            for worker_id, details in connection.execute(unlocked).all():
                note = notes[to_name(worker_id)]
                noted = {**mapping(details), STATE: note.state.value, MEMORY: note.memory_bytes}
                change = update(WORKERS).where(WORKERS.c.id == worker_id)
                connection.execute(change.values(details=noted))

        if notes:
            self.database.write(work)

    def ended_workers(self, limit: int) -> list[WorkerEnd]:
        is_back = select(WORKERS.c.id).where(WORKERS.c.id == ENDED_WORKERS.c.id).exists()
        query = select(ENDED_WORKERS).where(~is_back).limit(limit)
        query = query.order_by(ENDED_WORKERS.c.ended_at.desc(), ENDED_WORKERS.c.id)
        return [_worker_end(row) for row in self.database.read(lambda c: c.execute(query).all())]

    def prune_ended_workers(self, age: timedelta, limit: int) -> int:
        is_old = ENDED_WORKERS.c.ended_at <= self.time.later(-age)
        old = select(ENDED_WORKERS.c.id).where(is_old).order_by(ENDED_WORKERS.c.ended_at)
        if not self.database.read(lambda c: c.execute(old.limit(1)).first()):
            return 0
        unlocked = old.limit(limit).with_for_update(skip_locked=True)
        return self._execute(delete(ENDED_WORKERS).where(ENDED_WORKERS.c.id.in_(unlocked)))


def forget_end(connection: Connection, worker_id: str, passing_over: bool) -> None:
    """Remove the end of a worker that has registered again since, unless somebody locks it."""
    connection.execute(delete(ENDED_WORKERS).where(*_end_of(worker_id, passing_over)))


def store_end(connection: Connection, row: Row[Any], now: datetime, reason: str) -> None:
    """Store the end of a worker whose row was removed. An earlier end that is there stays.

    Args:
        connection: in the transaction that removed it.
        row: the columns `KNOWN_AT_THE_END` of its row.
        now: the time.
        reason: why it ended.
    """
    values = {
        "id": to_name(row.id),
        "name": to_name(row.name),
        "host": to_name(row.host),
        "pid": whole(row.pid, NO_PID),
        "release": name_or_none(row.release),
        "started_at": to_utc(row.started_at),
        "ended_at": now,
        "reason": reason[:LONGEST_REASON],
    }
    connection.execute(STORE_END.on(connection), values)


def correct_end(connection: Connection, worker_id: str, reason: str, passing_over: bool) -> None:
    """Store why a worker has ended that was removed before, by somebody who did not know."""
    change = update(ENDED_WORKERS).where(*_end_of(worker_id, passing_over))
    connection.execute(change.values(reason=reason[:LONGEST_REASON]))


def _end_of(worker_id: str, passing_over: bool) -> tuple[ColumnElement[bool], ...]:
    return rows_where(ENDED_WORKERS.c.id, ENDED_WORKERS.c.id == worker_id, passing_over)


def _worker_end(row: Row[Any]) -> WorkerEnd:
    return WorkerEnd(
        id=to_name(row.id),
        name=to_name(row.name),
        host=to_name(row.host),
        pid=whole(row.pid, NO_PID),
        release=name_or_none(row.release),
        started_at=to_utc(row.started_at),
        ended_at=to_utc(row.ended_at),
        reason=to_name(row.reason),
    )
