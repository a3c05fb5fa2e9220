"""The memory that the jobs of a test are kept in, and its clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.adapters.roles.transactions import AsyncTransaction, Transaction
from jobqueue.clock import SystemClock
from jobqueue.defaults import default_configuration
from jobqueue.records import Claim, ClaimedJob, NewJob
from jobqueue.stored import StoredJob

WORKER = "jobqueue.testing"


class TravelClock:
    """This machine's clock, which can be put forward."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        """The clock's time, as an aware UTC datetime."""
        return self._clock.now() + self._ahead

    def travel_to(self, moment: datetime) -> None:
        """Put the clock forward to a time, unless that is past already."""
        self._ahead += max(timedelta(0), moment - self.now())


class InboxAdapter(MemoryAdapter):
    """An adapter in memory that also remembers every job that was ever enqueued."""

    def __init__(self, clock: TravelClock) -> None:
        super().__init__(clock=clock)
        self.path.on_stored = self._note_stored
        self.enqueued: list[StoredJob] = []
        self.joined: list[StoredJob] = []
        self.after_store: Callable[[Sequence[StoredJob]], None] | None = None

    def enqueue(self, jobs: Sequence[NewJob], *, session: Any = None) -> Sequence[StoredJob]:
        if _is_driver_connection(session):
            # Its commit cannot be seen, so the jobs are stored at once.
            session = None
        records = super().enqueue(jobs, session=session)
        if session is not None:
            self.joined += records
        return records

    def transaction(self, sessions: Callable[[], Any] | None = None) -> Transaction:
        return super().transaction(sessions or _session_of_database)

    def transaction_async(self, sessions: Callable[[], Any] | None = None) -> AsyncTransaction:
        return super().transaction_async(sessions or _async_session_of_database)

    def _note_stored(self, records: Sequence[StoredJob]) -> None:
        self.enqueued += records
        if self.after_store is not None:
            self.after_store(records)

    def take(self, job_id: int | None, queue: str | None) -> ClaimedJob | None:
        """Claim one job: the given one, or the next that is due (in a queue)."""
        if job_id is not None:
            return self.path.claim_job(job_id, Claim(WORKER, 1, 1, 1))
        queues = None if queue is None else (queue,)
        return next(iter(self.claim(Claim(WORKER, 1, 1, 1, queues))), None)


def _session_of_database() -> Any:
    return default_configuration.own_adapter.transaction().session


def _async_session_of_database() -> Any:
    return default_configuration.own_adapter.transaction_async().session


def _is_driver_connection(session: Any) -> bool:
    """Whether a session is a connection of psycopg or sqlite3. Neither is imported for that."""
    return any(
        (kind.__module__.partition(".")[0], kind.__name__)
        in {("psycopg", "Connection"), ("sqlite3", "Connection")}
        for kind in type(session).__mro__
    )
