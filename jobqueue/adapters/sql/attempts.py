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
    Delete,
    Row,
    Select,
    bindparam,
    delete,
    exists,
    func,
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
IDS_AT_ONCE = 10_000
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
        # One by one: psycopg sends many in a pipeline, and another error ends that.
        for row in rows:
            connection.execute(NOTE.on(connection), row)
        for attempt in attempts:
            connection.execute(_removing(*_one_too_many(attempt.job_id)))


def _one_too_many(job_id: int) -> tuple[ColumnElement[bool], ...]:
    """The conditions for attempts between the first of a job and its newest."""
    of_job = ATTEMPTS.c.job_id == job_id
    last = select(func.max(ATTEMPTS.c.place)).where(of_job, ATTEMPTS.c.place < MOST_PLACES)
    upto = last.scalar_subquery() - (MOST_ATTEMPTS_KEPT - 1)
    return of_job, ATTEMPTS.c.place > 1, ATTEMPTS.c.place <= upto


def forget_attempts(connection: Connection, job_ids: Collection[int]) -> None:
    """Remove the attempts at jobs that were just removed."""
    ids = sorted(job_id for job_id in job_ids if can_be_id(job_id))
    is_gone = ~exists().where(JOBS.c.id == ATTEMPTS.c.job_id)
    for some in (ids[n : n + IDS_AT_ONCE] for n in range(0, len(ids), IDS_AT_ONCE)):
        connection.execute(_removing(is_gone, ATTEMPTS.c.job_id.in_(some)))


def forget_attempts_at(connection: Connection, jobs: Select[Any]) -> None:
    """Remove the attempts at jobs, given by a query for their ids, that are about to be removed."""
    connection.execute(_removing(ATTEMPTS.c.job_id.in_(jobs)))


def _removing(*conditions: ColumnElement[bool]) -> Delete:
    """The statement that removes attempts. One that somebody has locked stays: it goes by its age.

    No settle, no rescue and no retention waits for it.
    """
    unlocked = select(*_KEY).where(*conditions).with_for_update(skip_locked=True)
    return delete(ATTEMPTS).where(tuple_(*_KEY).in_(unlocked))


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
