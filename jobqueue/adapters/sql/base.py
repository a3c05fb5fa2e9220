"""What the statements of every SQL adapter are run with: a database, and its time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, CursorResult, bindparam, select
from sqlalchemy.sql.expression import ColumnElement, Executable

from jobqueue.adapters.base import Adapter
from jobqueue.adapters.sql import reads
from jobqueue.adapters.sql.engine import ANSWER_SECONDS, Database
from jobqueue.adapters.sql.tables import JOBS, UtcDateTime, to_utc
from jobqueue.adapters.stored import StoredJob, kept_by
from jobqueue.clock import Clock
from jobqueue.records import LOOK_ANYWHERE, JobState, Wakeup

UNLOCKED: dict[str, Any] = {"locked_at": None, "locked_by": None, "claim_token": None}
CANCEL_REQUESTED: ColumnElement[bool] = JOBS.c.cancel_requested_at.is_not(None)


def held_by(worker_id: str) -> ColumnElement[bool]:
    """The jobs that a worker holds."""
    return (JOBS.c.locked_by == worker_id) & (JOBS.c.state == JobState.RUNNING.value)


class SqlBase(Adapter):
    """An adapter with a database behind it."""

    def __init__(self, database: Database, clock: Clock | None) -> None:
        self.database = database
        self._clock = clock

    @abstractmethod
    def _database_time(self) -> ColumnElement[Any]:
        """The database's time, at the moment of the statement."""

    @abstractmethod
    def _database_time_after(self, delay: timedelta) -> ColumnElement[Any]:
        """The database's time, some time after the moment of the statement."""

    def _announce(self, wakeup: Wakeup) -> None:
        """Tell listeners of what has just been committed, where they do not see it themselves."""

    def _announce_if(self, something: object) -> None:
        """Tell listeners to look, if anything can have become ready."""
        if something:
            self._announce(LOOK_ANYWHERE)

    def _now(self) -> ColumnElement[Any]:
        """The time to compare with: the database's, or that of the clock that was passed in."""
        if self._clock is None:
            return self._database_time()
        return bindparam(None, self._clock.now(), type_=UtcDateTime)

    def _later(self, delay: timedelta) -> ColumnElement[Any]:
        """The time to compare with, some time from now."""
        if self._clock is None:
            return self._database_time_after(delay)
        return bindparam(None, self._clock.now() + delay, type_=UtcDateTime)

    def _records(self, rows: Iterable[Any]) -> list[StoredJob]:
        return kept_by(self, map(reads.job_record, rows))

    def _read_time(self, connection: Connection) -> datetime:
        return to_utc(connection.execute(select(self._now())).scalar_one())

    def _execute(
        self, statement: Executable, *, answer_seconds: float | None = ANSWER_SECONDS
    ) -> int:
        def work(connection: Connection) -> int:
            result = connection.execute(statement)
            assert isinstance(result, CursorResult)  # noqa: S101 - these are never SELECTs
            return result.rowcount

        return self.database.write(work, answer_seconds=answer_seconds)
