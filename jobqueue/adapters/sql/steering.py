"""Steering jobs that wait or have ended, and queues: portable SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, case, delete, text, update

from jobqueue.adapters.sql import reads
from jobqueue.adapters.sql.base import SqlBase
from jobqueue.adapters.sql.tables import JOBS, BackgroundQueue
from jobqueue.records import JobFilter, JobState

# The time is a placeholder: a queue that is not paused is given another in the same transaction.
HAVE_QUEUE = text(
    "INSERT INTO background_queues (name, updated_at) VALUES (:name, CURRENT_TIMESTAMP) "
    "ON CONFLICT (name) DO NOTHING"
)


class SqlSteering(SqlBase):
    """The part of an adapter that retries, cancels and deletes jobs, and pauses queues."""

    def retry(self, where: JobFilter) -> int:
        """See `Adapter.retry`."""
        now = self._now()
        allowed = (JobState.READY.value, JobState.FAILED.value, JobState.CANCELLED.value)
        statement = (
            update(JOBS)
            .where(*reads.conditions(where, now), JOBS.c.state.in_(allowed))
            .values(
                state=JobState.READY.value,
                run_at=case((JOBS.c.run_at < now, JOBS.c.run_at), else_=now),
                max_attempts=case(
                    (JOBS.c.attempts >= JOBS.c.max_attempts, JOBS.c.attempts + 1),
                    else_=JOBS.c.max_attempts,
                ),
                failed_at=None,
                finished_at=None,
                updated_at=now,
            )
        )
        return self._execute(statement)

    def cancel(self, where: JobFilter, reason: str) -> int:
        """See `Adapter.cancel`."""
        now = self._now()
        statement = (
            update(JOBS)
            .where(*reads.conditions(where, now), JOBS.c.state == JobState.READY.value)
            .values(
                state=JobState.CANCELLED.value,
                last_error=reason,
                finished_at=now,
                updated_at=now,
            )
        )
        return self._execute(statement)

    def delete(self, where: JobFilter, *, include_running: bool = False) -> int:
        """See `Adapter.delete`."""
        statement = delete(JOBS).where(*reads.conditions(where, self._now()))
        if not include_running:
            statement = statement.where(JOBS.c.state != JobState.RUNNING.value)
        return self._execute(statement)

    def pause_queues(self, queues: Collection[str]) -> set[str]:
        """See `Adapter.pause_queues`."""

        def work(connection: Connection) -> set[str]:
            for name in _in_order(queues):
                connection.execute(HAVE_QUEUE, {"name": name})
            return self._set_paused(connection, queues, paused=True)

        return self.database.write(work)

    def resume_queues(self, queues: Collection[str]) -> set[str]:
        """See `Adapter.resume_queues`."""
        return self.database.write(lambda c: self._set_paused(c, queues, paused=False))

    def _set_paused(
        self, connection: Connection, queues: Collection[str], *, paused: bool
    ) -> set[str]:
        """Pause or resume; return the queues that this was news to."""
        was_paused, now = BackgroundQueue.paused_at.is_not(None), self._now()
        change: Any = (
            update(BackgroundQueue)
            .where(~was_paused if paused else was_paused)
            .values(paused_at=now if paused else None, updated_at=now)
        )
        return {
            name
            for name in _in_order(queues)
            if connection.execute(change.where(BackgroundQueue.name == name)).rowcount
        }


def _in_order(names: Collection[str]) -> list[str]:
    """Each once, and in the same order everywhere: nobody waits for one who waits for them."""
    return sorted(set(names))
