"""What the SQL databases have in common. `postgres.py` and `sqlite.py` override what differs.

The three statements of the path (enqueue, claim, settle) are each database's own; everything
beside it is portable SQLAlchemy Core and lives here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection

from jobqueue.adapters.settlement import (
    NOTHING_TO_SETTLE,
    Applied,
    Pair,
    Settlement,
    Settlements,
    cancelled_among,
    settlements_of,
)
from jobqueue.adapters.sql import reads
from jobqueue.adapters.sql.belonging import SqlBelonging
from jobqueue.adapters.sql.depths import SqlDepths
from jobqueue.adapters.sql.engine import FOR_EVER
from jobqueue.adapters.sql.enqueued import Enqueued
from jobqueue.adapters.sql.executing import Execute, executing_on
from jobqueue.adapters.sql.leases import SqlLeases
from jobqueue.adapters.sql.outside import SqlKeys, SqlStats, SqlTokens
from jobqueue.adapters.sql.pages import SqlPages
from jobqueue.adapters.sql.progress import SqlProgress
from jobqueue.adapters.sql.pruning import SqlPruning
from jobqueue.adapters.sql.schedules import SqlSchedules
from jobqueue.adapters.sql.steering import SqlSteering
from jobqueue.adapters.sql.transactions import SqlTransactions
from jobqueue.adapters.stored import StoredJob, kept_by
from jobqueue.errors import ConfigurationError, DatabaseRefused
from jobqueue.records import (
    Claim,
    ClaimedJob,
    JobFilter,
    JobState,
    NewJob,
    Outcome,
    SchemaStatus,
    Turn,
)


class SqlAdapter(
    SqlTransactions,
    SqlBelonging,
    SqlLeases,
    SqlSteering,
    SqlProgress,
    SqlSchedules,
    SqlPruning,
    SqlPages,
    SqlDepths,
    SqlKeys,
    SqlStats,
    SqlTokens,
):
    """The base of the adapters for SQL databases.

    Args:
        database: the engine, with its transactions.
        clock: a clock to use in place of the database's own; for tests.
    """

    # --- what each database says in its own way --------------------------------------------------

    @abstractmethod
    def _enqueue(self, execute: Execute, jobs: Sequence[NewJob]) -> Sequence[StoredJob]:
        """Insert jobs, in order."""

    @abstractmethod
    def _turn(
        self, settlements: Settlements, claim: Claim | None
    ) -> tuple[Applied, list[ClaimedJob]]:
        """Settle, then claim, in one transaction.

        Returns what still matched and was settled, and the jobs that are now running, in the order
        of the claim.
        """

    @abstractmethod
    def _raw_execute(self, session: Any) -> Execute | None:
        """A way to run statements on a driver's own connection, if it is of this database."""

    @abstractmethod
    def _server_version(self, connection: Connection) -> str:
        """The name and version of the server."""

    # --- the path --------------------------------------------------------------------------------

    def enqueue(self, jobs: Sequence[NewJob], *, session: Any = None) -> Sequence[StoredJob]:
        """See `Adapter.enqueue`."""
        records = self._enqueue_within(session, jobs)
        return records if isinstance(records, Enqueued) else kept_by(self, records)

    def _enqueue_within(self, session: Any, jobs: Sequence[NewJob]) -> Sequence[StoredJob]:
        jobs = list(jobs)
        if session is None:
            return self.database.write(lambda c: self._enqueue(executing_on(c), jobs))
        with self.database.errors_translated():
            execute = self._raw_execute(session)
            if execute is None:
                execute = executing_on(self.connection_of(session))
            else:
                self.refuse_other_database(execute)
            return self._enqueue(execute, jobs)

    def connection_of(self, session: Any) -> Connection:
        """The connection of the caller's transaction."""
        from sqlalchemy.orm import Session, scoped_session

        if isinstance(session, scoped_session):
            session = session()
        connection = session.connection() if isinstance(session, Session) else session
        if not isinstance(connection, Connection):
            raise ConfigurationError(
                f"session= was given a {type(session).__module__}.{type(session).__qualname__}; "
                "expected a SQLAlchemy Session or Connection, or a connection of the driver. "
                "With an AsyncSession: await MyJob.set(session=...).perform_later_async(...)"
            )
        own, theirs = self.database.engine.dialect, connection.dialect
        if own.name != theirs.name:
            raise ConfigurationError(
                f"session= is a transaction in {theirs.name}, but this job is kept in {own.name}; "
                "a transaction cannot span both"
            )
        self.refuse_other_database(executing_on(connection))
        return connection

    def claim(self, claim: Claim) -> list[ClaimedJob]:
        """See `Adapter.claim`."""
        return self._turn(NOTHING_TO_SETTLE, claim)[1]

    def settle(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """See `Adapter.settle`."""
        return list(self.turn(outcomes, None).rejected)

    def turn(self, outcomes: Sequence[Outcome], claim: Claim | None) -> Turn:
        """See `Adapter.turn`: one transaction."""
        settlements = settlements_of(outcomes)
        try:
            applied, claimed = self._turn(settlements, claim)
        except DatabaseRefused:
            if not outcomes:
                raise
            applied, claimed = self._settle_one_by_one(settlements), []
        rejected = _rejected(outcomes, applied.pairs)
        cancelled = cancelled_among(outcomes, applied.reasons)
        return Turn(rejected, tuple(claimed), cancelled=cancelled)

    def meanwhile(self, work: Callable[[], None]) -> AbstractContextManager[None]:
        """See `Adapter.meanwhile`."""
        return self.database.with_aside(work)

    def _settle_one_by_one(self, settlements: Settlements) -> Applied:
        """Settle a batch of which the database refused something, halving it to find out what."""
        try:
            return self._turn(settlements, None)[0]
        except DatabaseRefused as error:
            if len(settlements) == 1:
                plain = [without_refused_text(change, error) for change in settlements.changes]
                return self._turn(Settlements(settlements.removals, plain), None)[0]
        first, second = settlements.halves()
        return self._settle_one_by_one(first).plus(self._settle_one_by_one(second))

    # --- reads -----------------------------------------------------------------------------------

    def get(self, job_id: int) -> StoredJob | None:
        """See `Adapter.get`."""
        found = self.list_jobs(JobFilter(ids=(job_id,)), 1)
        return found[0] if found else None

    def list_jobs(self, where: JobFilter, limit: int) -> list[StoredJob]:
        """See `Adapter.list_jobs`."""
        query = reads.jobs_query(where, self._now(), limit)
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return kept_by(self, map(reads.job_record, rows))

    def count_jobs(self, where: JobFilter) -> int:
        """See `Adapter.count_jobs`."""
        query = reads.count_query(where, self._now())
        return int(
            self.database.read(lambda c: c.execute(query).scalar_one(), answer_seconds=FOR_EVER)
        )

    def count_by_state(self) -> Mapping[JobState, int]:
        """See `Adapter.count_by_state`."""
        query = reads.count_by_state_query()
        rows = self.database.read(lambda c: c.execute(query).all(), answer_seconds=FOR_EVER)
        return {JobState(state): count for state, count in rows}

    def running_jobs(self, limit: int) -> list[StoredJob]:
        """See `Adapter.running_jobs`."""
        query = reads.running_query(self._now(), limit)
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return kept_by(self, map(reads.job_record, rows))

    def paused_queues(self) -> set[str]:
        """See `Adapter.paused_queues`."""
        query = reads.paused_queues_query()
        return set(self.database.read(lambda c: c.execute(query).scalars().all()))

    # --- the database itself ---------------------------------------------------------------------

    def ping(self) -> None:
        """See `Adapter.ping`."""
        query = reads.jobs_query(JobFilter(), self._now(), 1)
        self.database.read(lambda connection: connection.execute(query).first())

    def migrate(self, revision: str = "head") -> None:
        """See `Adapter.migrate`."""
        from jobqueue.adapters.sql import schema

        self.migrating(lambda connection: schema.upgrade(connection, revision))

    def downgrade(self, revision: str) -> None:
        """See `Adapter.downgrade`."""
        from jobqueue.adapters.sql import schema

        self.migrating(lambda connection: schema.downgrade(connection, revision))

    def migration_sql(self, start: str | None = None) -> str:
        """See `Adapter.migration_sql`."""
        from jobqueue.adapters.sql import schema

        return schema.upgrade_sql(self.database.engine.dialect.name, start)

    def schema_status(self) -> SchemaStatus:
        """See `Adapter.schema_status`."""
        from jobqueue.adapters.sql import schema

        read = self.database.read
        return SchemaStatus(
            server=read(self._server_version),
            current=read(schema.current_revision),
            head=schema.head_revision(),
            missing=read(schema.missing_tables),
            trouble=read(schema.why_not_upgradable),
        )

    def migrating(self, work: Callable[[Connection], None]) -> None:
        """Change the tables in one transaction, alone: others that want to wait their turn."""

        def locked(connection: Connection) -> None:
            self._lock_migrations(connection)
            work(connection)

        self.database.write(locked, answer_seconds=FOR_EVER)

    @abstractmethod
    def _lock_migrations(self, connection: Connection) -> None:
        """Hold every other migration off until the transaction ends."""

    def close_spare_connections(self) -> None:
        """See `Adapter.close_spare_connections`."""
        self.database.close_spare()


def in_order_of_claim(jobs: list[ClaimedJob]) -> list[ClaimedJob]:
    """RETURNING promises no order."""
    return sorted(jobs, key=attrgetter("priority", "run_at", "id"))


def without_refused_text(settlement: Settlement, error: DatabaseRefused) -> Settlement:
    """A settlement whose text the database takes, whatever its encoding: plain ASCII."""
    text = settlement.error
    if text is not None:
        text = text.replace("\0", "").encode("ascii", "backslashreplace").decode("ascii")
    if settlement.result is not None:
        text = f"the result could not be stored: {error}".encode("ascii", "replace").decode("ascii")
    return replace(settlement, error=text, result=None, progress=None)


def seconds(delay: timedelta | None) -> float | None:
    """A delay as a number for the database."""
    return None if delay is None else delay.total_seconds()


def _rejected(outcomes: Sequence[Outcome], applied: Sequence[Pair]) -> tuple[Outcome, ...]:
    """What did not apply; of several outcomes for one claim, only the first can have."""
    if len(applied) == len(outcomes):
        return ()
    unseen, rejected = set(applied), []
    for outcome in outcomes:
        pair = (outcome.job.id, outcome.job.token)
        if pair not in unseen:
            rejected.append(outcome)
        unseen.discard(pair)
    return tuple(rejected)
