"""The statement that frees jobs of a worker that is gone, and what is noted of their attempts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Text,
    Update,
    bindparam,
    case,
    literal,
    or_,
    update,
)

from jobqueue.adapters.settlement import Freed
from jobqueue.adapters.sql.attempts import EndedAttempt
from jobqueue.adapters.sql.readings import name_or_none, whole
from jobqueue.adapters.sql.role import (
    CANCEL_REQUESTED,
    UNLOCKED,
    held_by,
    rows_where,
    waiting_state,
)
from jobqueue.adapters.sql.tables import JOBS, to_name, to_utc
from jobqueue.adapters.sql.time import DatabaseTime
from jobqueue.records import AttemptOutcome, ChargedJob, JobState

FEWEST_ATTEMPTS, MOST_CRASHES_STORED = -(2**31), 2**15 - 1
"""The ends of the columns. Only somebody's own hand writes such numbers."""


def freeing(
    time: DatabaseTime,
    worker_id: str,
    freed: Freed,
    passing_over: bool,
    which: ColumnElement[bool],
) -> Update:
    """Return the statement that frees the jobs of a worker, or some of them, and returns each.

    Each job changes in one statement. Somebody may cancel it at the same moment, and between
    two statements that would be missed.
    """
    now, fails = time.now(), _fails(freed)
    return (
        update(JOBS)
        .where(*rows_where(JOBS.c.id, held_by(worker_id) & which, passing_over))
        .values(
            **UNLOCKED,
            state=case(
                (CANCEL_REQUESTED, JobState.CANCELLED.value),
                (fails, JobState.FAILED.value),
                else_=waiting_state(),
            ),
            attempts=_less(JOBS.c.attempts, freed.refund),
            crashes=_more(JOBS.c.crashes, freed.crashes),
            run_at=JOBS.c.run_at if freed.delay is None else time.later(freed.delay),
            last_error=_last_error(freed),
            failed_at=case((fails & ~CANCEL_REQUESTED, now)),
            finished_at=case((fails | CANCEL_REQUESTED, now)),
            updated_at=now,
            **_performance(freed),
        )
        .returning(
            *(JOBS.c.id, JOBS.c.state, JOBS.c.attempts, JOBS.c.started_at, JOBS.c.updated_at),
            *(JOBS.c.last_error, JOBS.c.handler, _charge(freed)),
        )
    )


def _fails(freed: Freed) -> ColumnElement[bool]:
    """Whether a freed job fails: `Freed.settlement_of` in SQL."""
    conditions: list[ColumnElement[bool]] = [literal(freed.is_final, Boolean())]
    if freed.may_fail:
        conditions.append(JOBS.c.attempts >= JOBS.c.max_attempts)
    if freed.most_crashes is not None:
        conditions.append(JOBS.c.crashes >= freed.most_crashes - freed.crashes)
    return or_(*conditions)


def _performance(freed: Freed) -> dict[str, Any]:
    """The columns that tell of an attempt, where one has ended. Nobody knows how long it took."""
    if freed.ended is None:
        return {}
    return {
        "performed_by": JOBS.c.locked_by,
        "started_at": JOBS.c.locked_at,
        "run_seconds": None,
    }


def ended_attempt(row: Any, worker_id: str, freed: Freed) -> EndedAttempt:
    """Return the attempt that ends with the freeing of a job, from its row."""
    return EndedAttempt(
        job_id=row.id,
        number=whole(row.attempts, 0),
        worker_id=worker_id,
        started_at=None if row.started_at is None else to_utc(row.started_at),
        ended_at=to_utc(row.updated_at),
        outcome=freed.ended or AttemptOutcome.LOST,
        error=freed.error or name_or_none(row.last_error),
        error_key=freed.error_key_of(to_name(row.handler)),
    )


def set_error_keys(connection: Connection, attempts: Sequence[EndedAttempt]) -> None:
    """Set the group of the error of jobs that were just freed, unless somebody cancelled them."""
    statement = update(JOBS).where(
        JOBS.c.id == bindparam("job_id"), JOBS.c.last_error == bindparam("error")
    )
    rows = [
        {"job_id": attempt.job_id, "error": attempt.error, "key": attempt.error_key}
        for attempt in attempts
    ]
    for row in rows:
        connection.execute(statement.values(error_key=bindparam("key")), row)


def _charge(freed: Freed) -> ColumnElement[Any]:
    """The error that jobs are charged with, beside each of them; NULL where they are given back."""
    return literal(freed.error, Text()).label("charge")


def charged_jobs(rows: Iterable[Any]) -> tuple[ChargedJob, ...]:
    """Return those of freed jobs that lost an attempt, from their rows."""
    return tuple(
        ChargedJob(row.id, to_name(row.handler), row.charge)
        for row in rows
        if row.charge is not None
    )


def _less(attempts: ColumnElement[int], refund: int) -> ColumnElement[int]:
    """The attempts without a refunded one; no fewer than there can be."""
    return case((attempts > FEWEST_ATTEMPTS, attempts - refund), else_=attempts)


def _more(crashes: ColumnElement[int], charged: int) -> ColumnElement[int]:
    """The crashes with one more; no more than there is room for."""
    return case((crashes < MOST_CRASHES_STORED, crashes + charged), else_=crashes)


def _last_error(freed: Freed) -> ColumnElement[Any]:
    """The new `last_error`; the reason of somebody who cancelled the job stays."""
    if freed.error is None:
        return JOBS.c.last_error
    return case((CANCEL_REQUESTED, JOBS.c.last_error), else_=freed.error)
