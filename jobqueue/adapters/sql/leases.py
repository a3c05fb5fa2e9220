"""Workers, their leases, and the jobs of workers that are gone: portable SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    bindparam,
    case,
    delete,
    insert,
    literal,
    select,
    update,
)

from jobqueue.adapters.roles.leases import LeasesRole
from jobqueue.adapters.sql import queries
from jobqueue.adapters.sql.database import BEAT_SECONDS
from jobqueue.adapters.sql.role import CANCEL_REQUESTED, UNLOCKED, SqlRole, held_by
from jobqueue.adapters.sql.tables import JOBS, WORKERS, BackgroundWorker
from jobqueue.records import (
    MOST_CRASHES,
    CrashedJob,
    JobFilter,
    JobState,
    NewWorker,
    Rescue,
    WorkerRecord,
)


class SqlLeases(SqlRole, LeasesRole):
    """Keeps workers in a SQL database, and frees the jobs of those that are gone."""

    def register_worker(self, worker: NewWorker) -> None:
        now = self.time.now()
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
        self._execute(statement, answer_seconds=BEAT_SECONDS)

    def beat(self, worker_ids: Collection[str]) -> set[str]:
        statement = (
            update(WORKERS)
            .where(WORKERS.c.id.in_(sorted(worker_ids)))
            .values(heartbeat_at=self.time.now())
            .returning(WORKERS.c.id)
        )
        known = self.database.write(
            lambda c: c.execute(statement).scalars().all(), answer_seconds=BEAT_SECONDS
        )
        return set(known)

    def unregister_worker(self, worker_id: str) -> Rescue:

        def work(connection: Connection) -> Rescue:
            connection.execute(_without(worker_id))
            released = connection.execute(self._release(worker_id))
            return self._freed(connection, worker_id, released)

        rescue = self.database.write_giving_way(work)
        self._announce_if(rescue.released)
        return rescue

    def workers(self) -> list[WorkerRecord]:
        query = queries.workers_query()
        rows = self.database.read(lambda c: c.execute(query).all(), answer_seconds=BEAT_SECONDS)
        return [queries.worker_record(row) for row in rows]

    def rescue(self, seen: WorkerRecord, error: str) -> Rescue | None:
        unchanged = (WORKERS.c.id == seen.id) & (WORKERS.c.heartbeat_at == seen.heartbeat_at)

        def work(connection: Connection) -> Rescue | None:
            # It may have been frozen when it was seen, and go on by now, waiting to beat.
            if self.is_living(seen):
                return None
            if connection.execute(delete(WORKERS).where(unchanged)).rowcount == 0:
                return None
            return self._free_jobs_of(connection, seen.id, error)

        return self._announced(self.database.write_giving_way(work))

    def rescue_crashed(self, worker_id: str, performing: Sequence[CrashedJob]) -> Rescue:

        def work(connection: Connection) -> Rescue:
            connection.execute(_without(worker_id))
            rows: list[Any] = []
            for job in performing:
                rows += connection.execute(self._end_crashed(worker_id, job))
            rows += connection.execute(self._release(worker_id))
            return self._freed(connection, worker_id, rows)

        rescue = self.database.write_giving_way(work)
        self._announce_if(rescue.released)
        return rescue

    def _end_crashed(self, worker_id: str, job: CrashedJob) -> Any:
        now, crashes = self.time.now(), JOBS.c.crashes + int(job.guilty)
        used_up = (
            (JOBS.c.attempts >= JOBS.c.max_attempts)
            | (crashes >= MOST_CRASHES)
            | literal(job.final, Boolean())
        )
        return (
            update(JOBS)
            .where(held_by(worker_id), JOBS.c.id == job.id, JOBS.c.claim_token == job.token)
            .values(
                **_freed(used_up, now),
                crashes=crashes,
                run_at=self.time.later(job.delay) if job.delay else JOBS.c.run_at,
                last_error=_reason_or(job.error),
            )
            .returning(JOBS.c.id, JOBS.c.state)
        )

    def orphaned_workers(self) -> list[str]:
        query = queries.orphans_query()
        rows = self.database.read(lambda c: c.execute(query).all(), answer_seconds=BEAT_SECONDS)
        return [row[0] for row in rows if row[0]]

    def rescue_orphans(self, worker_id: str, error: str) -> Rescue | None:
        query = queries.workers_query().where(WORKERS.c.id == worker_id)

        def work(connection: Connection) -> Rescue | None:
            if connection.execute(query).first() is not None:
                return None
            return self._free_jobs_of(connection, worker_id, error)

        return self._announced(self.database.write_giving_way(work))

    def _announced(self, rescue: Rescue | None) -> Rescue | None:
        self._announce_if(rescue and rescue.released)
        return rescue

    def _free_jobs_of(self, connection: Connection, worker_id: str, error: str) -> Rescue:
        used_up = JOBS.c.attempts >= JOBS.c.max_attempts
        statement = (
            update(JOBS)
            .where(held_by(worker_id))
            .values(**_freed(used_up, self.time.now()), last_error=_reason_or(error))
            .returning(JOBS.c.id, JOBS.c.state)
        )
        return self._freed(connection, worker_id, connection.execute(statement))

    def _freed(self, connection: Connection, worker_id: str, rows: Iterable[Any]) -> Rescue:
        """What became of jobs, by their (id, state); those that have ended are read whole."""
        states = {job_id: JobState(state) for job_id, state in rows}
        ended = tuple(job_id for job_id, state in states.items() if state is not JobState.READY)
        if not ended:
            return Rescue.of(worker_id, states, ())
        query = queries.jobs_query(JobFilter(ids=ended), self.time.now(), len(ended))
        return Rescue.of(worker_id, states, self._records(connection.execute(query).all())[::-1])

    def release_strays(self, worker_id: str, held: Collection[tuple[int, int]]) -> Rescue:
        query = select(JOBS.c.id, JOBS.c.claim_token).where(held_by(worker_id))

        def work(connection: Connection) -> Rescue:
            found = [tuple(row) for row in connection.execute(query)]
            strays = [(job_id, token) for job_id, token in found if (job_id, token) not in held]
            release = self._release(worker_id).where(JOBS.c.id == bindparam("stray_id"))
            release = release.where(JOBS.c.claim_token == bindparam("stray_token"))
            rows: list[Any] = []
            for job_id, token in strays:
                rows += connection.execute(release, {"stray_id": job_id, "stray_token": token})
            return self._freed(connection, worker_id, rows)

        rescue = self.database.write_giving_way(work)
        self._announce_if(rescue.released)
        return rescue

    def _release(self, worker_id: str) -> Any:
        now = self.time.now()
        return (
            update(JOBS)
            .where(held_by(worker_id))
            .values(
                **UNLOCKED,
                state=case(
                    (CANCEL_REQUESTED, JobState.CANCELLED.value), else_=JobState.READY.value
                ),
                attempts=JOBS.c.attempts - 1,
                finished_at=case((CANCEL_REQUESTED, now)),
                updated_at=now,
            )
            .returning(JOBS.c.id, JOBS.c.state)
        )

    def declare_handlers(self, worker_id: str, handlers: Collection[str]) -> None:
        details = {"handlers": sorted(handlers)}
        self._execute(update(WORKERS).where(WORKERS.c.id == worker_id).values(details=details))

    def declared_handlers(self) -> dict[str, set[str]]:
        query = select(WORKERS.c.id, WORKERS.c.details).where(WORKERS.c.details.is_not(None))
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return {worker_id: set(details.get("handlers", ())) for worker_id, details in rows}


def _without(worker_id: str) -> Any:
    """Who frees the jobs of a worker takes its row first, lest two wait for each other."""
    return delete(WORKERS).where(WORKERS.c.id == worker_id)


def _reason_or(error: str) -> ColumnElement[Any]:
    """Why somebody had cancelled a job, which stays; otherwise what became of its worker."""
    return case((CANCEL_REQUESTED, JOBS.c.last_error), else_=error)


def _freed(used_up: ColumnElement[bool], now: ColumnElement[Any]) -> dict[str, Any]:
    """What becomes of a job whose worker is gone: all of it in one statement.

    Somebody may ask for its end at the same moment; between two statements that would be missed.
    """
    return {
        **UNLOCKED,
        "state": case(
            (CANCEL_REQUESTED, JobState.CANCELLED.value),
            (used_up, JobState.FAILED.value),
            else_=JobState.READY.value,
        ),
        "failed_at": case((used_up & ~CANCEL_REQUESTED, now)),
        "finished_at": case((used_up | CANCEL_REQUESTED, now)),
        "updated_at": now,
    }
