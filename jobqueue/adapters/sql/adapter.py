"""What the SQL databases have in common. `postgres.py` and `sqlite.py` override what differs.

The three statements of the path (enqueue, claim, settle) are each database's own; everything
beside it is portable SQLAlchemy Core and lives here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    Boolean,
    Connection,
    CursorResult,
    bindparam,
    case,
    delete,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.sql.expression import ColumnElement, Executable

from jobqueue.adapters.base import Adapter
from jobqueue.adapters.settlement import Settlement, settlement_of
from jobqueue.adapters.sql import reads
from jobqueue.adapters.sql.engine import Database
from jobqueue.adapters.sql.tables import JOBS, WORKERS, BackgroundWorker, UtcDateTime, to_utc
from jobqueue.clock import Clock
from jobqueue.errors import ConfigurationError, DatabaseRefused
from jobqueue.records import (
    MOST_CRASHES,
    Claim,
    ClaimedJob,
    CrashedJob,
    JobFilter,
    JobRecord,
    JobState,
    NewJob,
    NewWorker,
    Outcome,
    QueueDepth,
    Rescue,
    SchemaStatus,
    Turn,
    WorkerRecord,
)

UNLOCKED: dict[str, Any] = {"locked_at": None, "locked_by": None, "claim_token": None}


class SqlAdapter(Adapter):
    """The base of the adapters for SQL databases.

    Args:
        database: the engine, with its transactions.
        clock: a clock to use in place of the database's own; for tests.
    """

    def __init__(self, database: Database, clock: Clock | None) -> None:
        self.database = database
        self._clock = clock

    # --- what each database says in its own way --------------------------------------------------

    @abstractmethod
    def _database_time(self) -> ColumnElement[Any]:
        """The database's time, at the moment of the statement."""

    @abstractmethod
    def _database_time_after(self, delay: timedelta) -> ColumnElement[Any]:
        """The database's time, some time after the moment of the statement."""

    @abstractmethod
    def _enqueue(self, execute: Execute, jobs: Sequence[NewJob]) -> list[JobRecord]:
        """Insert jobs, in order."""

    @abstractmethod
    def _claim(self, connection: Connection, claim: Claim) -> list[ClaimedJob]:
        """Mark due jobs as running, and return them in the order of the claim."""

    @abstractmethod
    def _settle(self, connection: Connection, settlements: Sequence[Settlement]) -> set[Pair]:
        """Apply what still matches by (id, token); return the pairs that did."""

    @abstractmethod
    def _raw_execute(self, session: Any) -> Execute | None:
        """A way to run statements on a driver's own connection, if it is of this database."""

    @abstractmethod
    def _server_version(self, connection: Connection) -> str:
        """The name and version of the server."""

    # --- the path --------------------------------------------------------------------------------

    def enqueue(self, jobs: Sequence[NewJob], *, session: Any = None) -> list[JobRecord]:
        """See `Adapter.enqueue`."""
        if session is None:
            return self.database.write(lambda c: self._enqueue(executing_on(c), jobs))
        with self.database.errors_translated():
            execute = self._raw_execute(session) or executing_on(self._connection_of(session))
            return self._enqueue(execute, jobs)

    def _connection_of(self, session: Any) -> Connection:
        """The connection of the caller's transaction."""
        from sqlalchemy.orm import Session, scoped_session

        if isinstance(session, scoped_session):
            session = session()
        connection = session.connection() if isinstance(session, Session) else session
        if not isinstance(connection, Connection):
            raise ConfigurationError(
                f"session= was given a {type(session).__module__}.{type(session).__qualname__}; "
                "expected a SQLAlchemy Session or Connection, or a connection of the driver. "
                "With an AsyncSession: await session.run_sync(lambda s: "
                "MyJob.set(session=s).perform_later(...))"
            )
        own, theirs = self.database.engine.dialect, connection.dialect
        if own.name != theirs.name:
            raise ConfigurationError(
                f"session= is a transaction in {theirs.name}, but this job is kept in {own.name}; "
                "a transaction cannot span both"
            )
        return connection

    def claim(self, claim: Claim) -> list[ClaimedJob]:
        """See `Adapter.claim`."""
        return self.database.write(lambda connection: self._claim(connection, claim))

    def settle(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """See `Adapter.settle`."""
        return list(self.turn(outcomes, None).rejected)

    def turn(self, outcomes: Sequence[Outcome], claim: Claim | None) -> Turn:
        """See `Adapter.turn`: one transaction."""
        first = {(o.job.id, o.job.token): o for o in reversed(outcomes)}
        settlements = [settlement_of(outcome) for outcome in first.values()]
        try:
            applied, claimed = self._turn(settlements, claim)
        except DatabaseRefused:
            applied, claimed = self._settle_one_by_one(settlements), []
        return Turn(tuple(_rejected(outcomes, applied)), tuple(claimed))

    def _turn(
        self, settlements: Sequence[Settlement], claim: Claim | None
    ) -> tuple[set[Pair], list[ClaimedJob]]:
        def work(connection: Connection) -> tuple[set[Pair], list[ClaimedJob]]:
            applied = self._settle(connection, settlements) if settlements else set()
            return applied, self._claim(connection, claim) if claim is not None else []

        return self.database.write(work)

    def _settle_one_by_one(self, settlements: Sequence[Settlement]) -> set[Pair]:
        """Settle a batch of which the database refused something, halving it to find out what."""
        try:
            return self.database.write(lambda connection: self._settle(connection, settlements))
        except DatabaseRefused as error:
            if len(settlements) == 1:
                return self._settle_without_text(settlements[0], error)
        middle = len(settlements) // 2
        first, second = settlements[:middle], settlements[middle:]
        return self._settle_one_by_one(first) | self._settle_one_by_one(second)

    def _settle_without_text(self, settlement: Settlement, error: DatabaseRefused) -> set[Pair]:
        plain = without_refused_text(settlement, error)
        return self.database.write(lambda connection: self._settle(connection, [plain]))

    # --- workers and their leases ----------------------------------------------------------------

    def register_worker(self, worker: NewWorker) -> None:
        """See `Adapter.register_worker`."""
        now = self._now()
        statement = insert(BackgroundWorker).values(
            id=worker.id,
            name=worker.name,
            host=worker.host,
            pid=worker.pid,
            queues=None if worker.queues is None else list(worker.queues),
            concurrency=worker.concurrency,
            lease_seconds=worker.lease.total_seconds(),
            started_at=now,
            heartbeat_at=now,
        )
        self._execute(statement)

    def beat(self, worker_ids: Collection[str]) -> set[str]:
        """See `Adapter.beat`."""
        statement = (
            update(WORKERS)
            .where(WORKERS.c.id.in_(sorted(worker_ids)))
            .values(heartbeat_at=self._now())
            .returning(WORKERS.c.id)
        )
        return set(self.database.write(lambda c: c.execute(statement).scalars().all()))

    def unregister_worker(self, worker_id: str) -> None:
        """See `Adapter.unregister_worker`."""

        def work(connection: Connection) -> None:
            connection.execute(self._release(worker_id))
            connection.execute(delete(WORKERS).where(WORKERS.c.id == worker_id))

        self.database.write(work)

    def workers(self) -> list[WorkerRecord]:
        """See `Adapter.workers`."""
        rows = self.database.read(lambda c: c.execute(reads.workers_query()).all())
        return [reads.worker_record(row) for row in rows]

    def rescue(self, seen: WorkerRecord, error: str) -> Rescue | None:
        """See `Adapter.rescue`."""
        unchanged = (WORKERS.c.id == seen.id) & (WORKERS.c.heartbeat_at == seen.heartbeat_at)

        def work(connection: Connection) -> Rescue | None:
            if connection.execute(delete(WORKERS).where(unchanged)).rowcount == 0:
                return None
            return self._free_jobs_of(connection, seen.id, error)

        return self.database.write(work)

    def rescue_crashed(self, worker_id: str, performing: Sequence[CrashedJob]) -> Rescue:
        """See `Adapter.rescue_crashed`."""

        def work(connection: Connection) -> Rescue:
            ended = [
                (job.id, connection.execute(self._end_crashed(worker_id, job)).scalar())
                for job in performing
            ]
            free = self._release(worker_id).returning(JOBS.c.id)
            released = [job_id for job_id, state in ended if state == JobState.READY.value]
            released += connection.execute(free).scalars().all()
            connection.execute(delete(WORKERS).where(WORKERS.c.id == worker_id))
            failed = [job_id for job_id, state in ended if state == JobState.FAILED.value]
            return Rescue(worker_id, tuple(sorted(released)), tuple(sorted(failed)))

        return self.database.write(work)

    def _end_crashed(self, worker_id: str, job: CrashedJob) -> Any:
        now, crashes = self._now(), JOBS.c.crashes + int(job.guilty)
        used_up = (
            (JOBS.c.attempts >= JOBS.c.max_attempts)
            | (crashes >= MOST_CRASHES)
            | literal(job.final, Boolean())
        )
        return (
            update(JOBS)
            .where(_held_by(worker_id), JOBS.c.id == job.id, JOBS.c.claim_token == job.token)
            .values(
                **UNLOCKED,
                state=case((used_up, JobState.FAILED.value), else_=JobState.READY.value),
                crashes=crashes,
                run_at=self._later(job.delay) if job.delay else JOBS.c.run_at,
                last_error=job.error,
                failed_at=case((used_up, now)),
                finished_at=case((used_up, now)),
                updated_at=now,
            )
            .returning(JOBS.c.state)
        )

    def orphaned_workers(self) -> list[str]:
        """See `Adapter.orphaned_workers`."""
        query = reads.orphans_query()
        return [row[0] for row in self.database.read(lambda c: c.execute(query).all()) if row[0]]

    def rescue_orphans(self, worker_id: str, error: str) -> Rescue | None:
        """See `Adapter.rescue_orphans`."""
        query = reads.workers_query().where(WORKERS.c.id == worker_id)

        def work(connection: Connection) -> Rescue | None:
            if connection.execute(query).first() is not None:
                return None
            return self._free_jobs_of(connection, worker_id, error)

        return self.database.write(work)

    def _free_jobs_of(self, connection: Connection, worker_id: str, error: str) -> Rescue:
        now = self._now()
        unlock = update(JOBS).where(_held_by(worker_id)).returning(JOBS.c.id)
        unlock = unlock.values(**UNLOCKED, last_error=error, updated_at=now)
        used_up = JOBS.c.attempts >= JOBS.c.max_attempts
        end = unlock.where(used_up).values(
            state=JobState.FAILED.value, failed_at=now, finished_at=now
        )
        free = unlock.values(state=JobState.READY.value)
        failed = tuple(sorted(connection.execute(end).scalars().all()))
        released = tuple(sorted(connection.execute(free).scalars().all()))
        return Rescue(worker_id, released, failed)

    def release_strays(self, worker_id: str, held: Collection[tuple[int, int]]) -> int:
        """See `Adapter.release_strays`."""
        query = select(JOBS.c.id, JOBS.c.claim_token).where(_held_by(worker_id))

        def work(connection: Connection) -> int:
            found = [tuple(row) for row in connection.execute(query)]
            strays = [(job_id, token) for job_id, token in found if (job_id, token) not in held]
            release = self._release(worker_id).where(JOBS.c.id == bindparam("stray_id"))
            release = release.where(JOBS.c.claim_token == bindparam("stray_token"))
            pairs = [{"stray_id": job_id, "stray_token": token} for job_id, token in strays]
            return sum(connection.execute(release, pair).rowcount for pair in pairs)

        return self.database.write(work)

    def _release(self, worker_id: str) -> Any:
        return (
            update(JOBS)
            .where(_held_by(worker_id))
            .values(
                **UNLOCKED,
                state=JobState.READY.value,
                attempts=JOBS.c.attempts - 1,
                updated_at=self._now(),
            )
        )

    # --- reads -----------------------------------------------------------------------------------

    def get(self, job_id: int) -> JobRecord | None:
        """See `Adapter.get`."""
        found = self.list_jobs(JobFilter(ids=(job_id,)), 1)
        return found[0] if found else None

    def list_jobs(self, where: JobFilter, limit: int) -> list[JobRecord]:
        """See `Adapter.list_jobs`."""
        query = reads.jobs_query(where, self._now(), limit)
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return [reads.job_record(row) for row in rows]

    def count_jobs(self, where: JobFilter) -> int:
        """See `Adapter.count_jobs`."""
        query = reads.count_query(where, self._now())
        return int(self.database.read(lambda c: c.execute(query).scalar_one()))

    def count_by_state(self) -> Mapping[JobState, int]:
        """See `Adapter.count_by_state`."""
        rows = self.database.read(lambda c: c.execute(reads.count_by_state_query()).all())
        return {JobState(state): count for state, count in rows}

    def queue_depths(self) -> list[QueueDepth]:
        """See `Adapter.queue_depths`."""
        query = reads.depths_query(self._now())
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return reads.queue_depths(rows, self.paused_queues())

    def running_jobs(self, limit: int) -> list[JobRecord]:
        """See `Adapter.running_jobs`."""
        query = reads.running_query(self._now(), limit)
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return [reads.job_record(row) for row in rows]

    def paused_queues(self) -> set[str]:
        """See `Adapter.paused_queues`."""
        query = reads.paused_queues_query()
        return set(self.database.read(lambda c: c.execute(query).scalars().all()))

    # --- steering --------------------------------------------------------------------------------

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

    def migration_sql(self) -> str:
        """See `Adapter.migration_sql`."""
        from jobqueue.adapters.sql import schema

        return schema.upgrade_sql(self.database.engine.dialect.name)

    def schema_status(self) -> SchemaStatus:
        """See `Adapter.schema_status`."""
        from jobqueue.adapters.sql import schema

        server = self.database.read(self._server_version)
        current = self.database.read(schema.current_revision)
        return SchemaStatus(server=server, current=current, head=schema.head_revision())

    def migrating(self, work: Callable[[Connection], None]) -> None:
        """Change the tables in one transaction, alone: others that want to wait their turn."""

        def locked(connection: Connection) -> None:
            self._lock_migrations(connection)
            work(connection)

        self.database.write(locked)

    @abstractmethod
    def _lock_migrations(self, connection: Connection) -> None:
        """Hold every other migration off until the transaction ends."""

    def close(self) -> None:
        """See `Adapter.close`."""
        self.database.close()

    # --- helpers ---------------------------------------------------------------------------------

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

    def _execute(self, statement: Executable) -> int:
        def work(connection: Connection) -> int:
            result = connection.execute(statement)
            assert isinstance(result, CursorResult)  # noqa: S101 - these are never SELECTs
            return result.rowcount

        return self.database.write(work)


Pair = tuple[int, int]
"""A job's id and the token of a claim."""

Execute = Callable[[str, Any], Sequence[Any]]
"""Runs a statement in the driver's own style on a connection, and fetches the rows."""


def executing_on(connection: Connection) -> Execute:
    """Run statements on a SQLAlchemy connection."""
    return lambda sql, values: connection.exec_driver_sql(sql, values).all()


def record_of_new(job: NewJob, job_id: int, run_at: Any, created_at: Any) -> JobRecord:
    """The record of a job just inserted, from what was given and what the database added."""
    return JobRecord(
        id=job_id,
        handler=job.handler,
        args=reads.decoded_args(job.args),
        queue=job.queue,
        priority=job.priority,
        state=JobState.READY,
        attempts=0,
        max_attempts=job.max_attempts,
        run_at=to_utc(run_at),
        created_at=to_utc(created_at),
        updated_at=to_utc(created_at),
    )


def claimed_job(job_id: int, token: int, handler: str, args: str, *rest: Any) -> ClaimedJob:
    """A row that a claim returned."""
    queue, priority, attempts, max_attempts, crashes, run_at, created_at, locked_at = rest
    return ClaimedJob(
        id=job_id,
        token=token,
        handler=handler,
        args=args,
        queue=queue,
        priority=priority,
        attempts=attempts,
        max_attempts=max_attempts,
        crashes=crashes,
        run_at=to_utc(run_at),
        created_at=to_utc(created_at),
        locked_at=to_utc(locked_at),
    )


def in_order_of_claim(jobs: list[ClaimedJob]) -> list[ClaimedJob]:
    """RETURNING promises no order."""
    return sorted(jobs, key=lambda job: (job.priority, job.run_at, job.id))


def without_refused_text(settlement: Settlement, error: DatabaseRefused) -> Settlement:
    """A settlement whose text the database takes, whatever its encoding: plain ASCII."""
    text = settlement.error
    if text is not None:
        text = text.replace("\0", "").encode("ascii", "backslashreplace").decode("ascii")
    if settlement.result is not None:
        text = f"the result could not be stored: {error}".encode("ascii", "replace").decode("ascii")
    return replace(settlement, error=text, result=None)


def seconds(delay: timedelta | None) -> float | None:
    """A delay as a number for the database."""
    return None if delay is None else delay.total_seconds()


def _rejected(outcomes: Sequence[Outcome], applied: set[Pair]) -> Iterator[Outcome]:
    """What did not apply; of several outcomes for one claim, only the first can have."""
    unseen = set(applied)
    for outcome in outcomes:
        pair = (outcome.job.id, outcome.job.token)
        if pair not in unseen:
            yield outcome
        unseen.discard(pair)


def _held_by(worker_id: str) -> ColumnElement[bool]:
    return (JOBS.c.locked_by == worker_id) & (JOBS.c.state == JobState.RUNNING.value)
