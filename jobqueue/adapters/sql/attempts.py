"""The attempts of jobs that did not succeed: portable SQLAlchemy Core.

They are noted by whatever ends them: by the statements of a settle, in each database's own way, and
by a rescue, here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    delete,
    exists,
    or_,
    select,
    tuple_,
)

from jobqueue.adapters.roles.attempts import AttemptsRole
from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.queries import can_be_id
from jobqueue.adapters.sql.readings import name_or_none, whole
from jobqueue.adapters.sql.role import SqlRole
from jobqueue.adapters.sql.tables import ATTEMPTS, JOBS, UtcDateTime, to_utc
from jobqueue.records import MOST_ATTEMPTS_KEPT, AttemptOutcome, AttemptRecord

MOST_PLACES = 2**31 - 1
NOTE = Named(
    f"""
INSERT INTO {{schema}}.background_attempts
    (job_id, place, number, worker_id, started_at, ended_at, outcome, error, error_key)
VALUES (:job_id, 1 + coalesce((SELECT max(place) FROM {{schema}}.background_attempts
                               WHERE job_id = :job_id AND place < {MOST_PLACES}), 0),
        :number, :worker_id, :started_at, :ended_at, :outcome, :error, :error_key)
ON CONFLICT DO NOTHING
""",  # noqa: S608 - composed of constants
    bindparam("started_at", type_=UtcDateTime),
    bindparam("ended_at", type_=UtcDateTime),
)
FORGET_ONE_TOO_MANY = Named(
    f"""
DELETE FROM {{schema}}.background_attempts
WHERE job_id = :job_id AND place > 1
  AND place <= (SELECT max(place) FROM {{schema}}.background_attempts
                WHERE job_id = :job_id AND place < {MOST_PLACES}) - {MOST_ATTEMPTS_KEPT - 1}
"""  # noqa: S608 - composed of constants
)
_KEY = (ATTEMPTS.c.job_id, ATTEMPTS.c.place)
AHEAD = timedelta(days=1)
"""An attempt that ended further in the future was dated by a clock that was ahead."""


@dataclass(frozen=True, slots=True)
class EndedAttempt:
    """An attempt that a rescue has ended."""

    job_id: int
    number: int
    worker_id: str
    started_at: datetime | None
    ended_at: datetime
    outcome: AttemptOutcome
    error: str | None
    error_key: str | None


def note_attempts(connection: Connection, attempts: Sequence[EndedAttempt]) -> None:
    """Note attempts in the transaction that has ended them."""
    rows = [
        {
            "job_id": attempt.job_id,
            "number": attempt.number,
            "worker_id": attempt.worker_id,
            "started_at": attempt.started_at,
            "ended_at": attempt.ended_at,
            "outcome": attempt.outcome.value,
            "error": attempt.error,
            "error_key": attempt.error_key,
        }
        for attempt in attempts
    ]
    if rows:
        connection.execute(NOTE.on(connection), rows)
        ids = [{"job_id": attempt.job_id} for attempt in attempts]
        connection.execute(FORGET_ONE_TOO_MANY.on(connection), ids)


def forget_attempts(connection: Connection, job_ids: Collection[int] | None) -> None:
    """Remove the attempts at jobs that were just removed: at some jobs, or at any."""
    statement = delete(ATTEMPTS).where(~exists().where(JOBS.c.id == ATTEMPTS.c.job_id))
    if job_ids is not None:
        ids = [job_id for job_id in job_ids if can_be_id(job_id)]
        statement = statement.where(ATTEMPTS.c.job_id.in_(ids))
    connection.execute(statement)


class SqlAttempts(SqlRole, AttemptsRole):
    """The attempts of jobs that did not succeed, in a SQL database."""

    def attempts(self, job_id: int) -> list[AttemptRecord]:
        if not can_be_id(job_id):
            return []
        query = select(ATTEMPTS).where(ATTEMPTS.c.job_id == job_id)
        query = query.order_by(ATTEMPTS.c.place.desc()).limit(MOST_ATTEMPTS_KEPT)
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return [attempt_record(row) for row in reversed(rows)]

    def prune_attempts(self, keep: timedelta, limit: int) -> int:
        old = select(*_KEY).where(self._is_to_go(keep)).order_by(ATTEMPTS.c.ended_at).limit(limit)
        if not self.database.read(lambda c: c.execute(old.limit(1)).first()):
            return 0
        unlocked = old.with_for_update(skip_locked=True)
        return self._execute(delete(ATTEMPTS).where(tuple_(*_KEY).in_(unlocked)))

    def _is_to_go(self, keep: timedelta) -> ColumnElement[bool]:
        too_old = ATTEMPTS.c.ended_at <= self.time.later(-keep)
        return or_(too_old, ATTEMPTS.c.ended_at > self.time.later(AHEAD))


def attempt_record(row: Row[Any]) -> AttemptRecord:
    """A row of `background_attempts` as a record."""
    return AttemptRecord(
        job_id=row.job_id,
        number=whole(row.number, 0),
        worker_id=name_or_none(row.worker_id),
        started_at=None if row.started_at is None else to_utc(row.started_at),
        ended_at=to_utc(row.ended_at),
        outcome=_outcome(row.outcome),
        error=name_or_none(row.error),
        error_key=name_or_none(row.error_key),
    )


def _outcome(value: Any) -> AttemptOutcome:
    """The outcome in a row; that it failed, where somebody wrote what is none."""
    try:
        return AttemptOutcome(value)
    except ValueError:
        return AttemptOutcome.FAILED
