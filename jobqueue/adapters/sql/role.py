"""The base of SQL roles, and the parts that the roles of one adapter share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, CursorResult, Text, case, literal, select
from sqlalchemy.sql.expression import ColumnElement, Executable

from jobqueue.adapters.base import Adapter
from jobqueue.adapters.sql.announcer import Announcer
from jobqueue.adapters.sql.database import ANSWER_SECONDS, Database
from jobqueue.adapters.sql.queries import job_record
from jobqueue.adapters.sql.sessions import SqlSessions
from jobqueue.adapters.sql.states import is_in
from jobqueue.adapters.sql.tables import JOBS
from jobqueue.adapters.sql.time import DatabaseTime
from jobqueue.records import LOOK_ANYWHERE, JobState
from jobqueue.stored import StoredJob, kept_by

UNLOCKED: dict[str, Any] = {"locked_at": None, "locked_by": None, "claim_token": None}
CANCEL_REQUESTED: ColumnElement[bool] = JOBS.c.cancel_requested_at.is_not(None)


def waiting_state() -> ColumnElement[str]:
    """The state that a job has when it waits again."""
    return case(
        (JOBS.c.line.is_not(None), JobState.GATED.value),
        else_=literal(JobState.READY.value, Text()),
    )


def held_by(worker_id: str) -> ColumnElement[bool]:
    """The condition that a worker holds a job."""
    return (JOBS.c.locked_by == worker_id) & is_in(JOBS.c.state, JobState.RUNNING)


def rows_where(
    id_column: Column[Any], condition: ColumnElement[bool], passing_over: bool
) -> tuple[ColumnElement[bool], ...]:
    """The conditions for rows, or for those of them that nobody else has locked."""
    if not passing_over:
        return (condition,)
    unlocked = select(id_column).where(condition).with_for_update(skip_locked=True).cte("unlocked")
    return (id_column.in_(select(unlocked.c.id)), condition)


@dataclass(frozen=True, slots=True)
class SqlParts:
    """The parts that the roles of one SQL adapter share.

    Args:
        adapter: the adapter that the records belong to.
        database: the engine and its transactions.
        time: the time in statements.
        sessions: the transactions of callers.
        announcer: announces jobs that become ready, usually after the commit.
    """

    adapter: Adapter
    database: Database
    time: DatabaseTime
    sessions: SqlSessions
    announcer: Announcer


class SqlRole:
    """A role of an adapter, with a database behind it."""

    def __init__(self, parts: SqlParts) -> None:
        self.adapter = parts.adapter
        self.database = parts.database
        self.time = parts.time
        self.sessions = parts.sessions
        self.announcer = parts.announcer

    def _records(self, rows: Iterable[Any]) -> list[StoredJob]:
        """The records of rows, which know their adapter."""
        return kept_by(self.adapter, map(job_record, rows))

    def _announce_if(self, something: object) -> None:
        """Announce that jobs are ready, without saying where, if `something` is true."""
        self.announcer.announce(LOOK_ANYWHERE if something else None)

    def _execute(
        self, statement: Executable, *, answer_seconds: float | None = ANSWER_SECONDS
    ) -> int:
        """Run a statement in a transaction of its own; return how many rows it changed."""

        def work(connection: Connection) -> int:
            result = connection.execute(statement)
            assert isinstance(result, CursorResult)  # noqa: S101 - these are never SELECTs
            return result.rowcount

        return self.database.write(work, answer_seconds=answer_seconds)
