"""Workers, their leases, and the jobs of workers that are gone: portable SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Insert,
    Update,
    bindparam,
    delete,
    false,
    insert,
    not_,
    or_,
    select,
    true,
    update,
)

from jobqueue.adapters.roles.leases import ASKED, LEASE_ENDED, PROCESS_DIED, LeasesRole
from jobqueue.adapters.settlement import GIVEN_BACK, Freed
from jobqueue.adapters.sql import queries
from jobqueue.adapters.sql.attempts import note_attempts
from jobqueue.adapters.sql.database import BEAT_SECONDS
from jobqueue.adapters.sql.freed_jobs import charged_jobs, ended_attempt, freeing, set_error_keys
from jobqueue.adapters.sql.readings import mapping, names
from jobqueue.adapters.sql.refusals import Refusals, Way
from jobqueue.adapters.sql.role import (
    SqlParts,
    SqlRole,
    held_by,
    rows_where,
)
from jobqueue.adapters.sql.roster import KNOWN_AT_THE_END, correct_end, forget_end, store_end
from jobqueue.adapters.sql.tables import DAWN, DUSK, JOBS, WORKERS, to_name
from jobqueue.errors import DatabaseRefused
from jobqueue.records import (
    WAITING_STATES,
    CrashedJob,
    JobFilter,
    JobState,
    NewWorker,
    Rescue,
    WorkerRecord,
)
from jobqueue.stored import StoredJob

Found = TypeVar("Found", Rescue, Rescue | None)
ALL: ColumnElement[bool] = true()

HANDLERS = "handlers"


class SqlLeases(SqlRole, LeasesRole):
    """The workers in a SQL database, and the rescue of the jobs of those that are gone.

    Heartbeats have connections of their own, so that nothing that waits can hold them up.
    """

    def __init__(self, parts: SqlParts) -> None:
        super().__init__(parts)
        self._beats = parts.database.apart()

    def _details_of(self, worker: NewWorker) -> dict[str, Any]:  # noqa: ARG002 - others note it
        """The facts for the column `details` of a new worker's row; none by default."""
        return {}

    def register_worker(self, worker: NewWorker) -> None:
        now = self.time.now()
        statement = self._insertion().values(
            id=worker.id,
            name=worker.name,
            host=worker.host,
            pid=worker.pid,
            queues=None if worker.queues is None else list(worker.queues),
            concurrency=worker.concurrency,
            lease_seconds=worker.lease.total_seconds(),
            started_at=now,
            heartbeat_at=now,
            details=self._details_of(worker) or None,
            release=worker.release,
        )
        self._beats.write_in_one_statement(
            lambda c: c.execute(statement), answer_seconds=BEAT_SECONDS
        )

    def _insertion(self) -> Insert:
        """The statement that stores a new worker; it may be repeated if its answer is lost."""
        return insert(WORKERS)

    def beat(self, worker_ids: Collection[str]) -> set[str]:
        statement = (
            update(WORKERS)
            .where(WORKERS.c.id.in_(sorted(worker_ids)))
            .values(heartbeat_at=self.time.now())
            .returning(WORKERS.c.id)
        )
        known = self._beats.write(
            lambda c: c.execute(statement).scalars().all(), answer_seconds=BEAT_SECONDS
        )
        return set(known)

    def unregister_worker(self, worker_id: str, why: str = ASKED) -> Rescue:

        def work(connection: Connection, way: Way) -> Rescue:
            self._remove(connection, worker_id, why, way.passing_over)
            rows = self._free(connection, worker_id, GIVEN_BACK, way)
            return self._rescue(connection, worker_id, rows, way)

        return self._announced(self._freed(work))

    def workers(self) -> list[WorkerRecord]:
        query = queries.workers_query()
        rows = self.database.read(lambda c: c.execute(query).all(), answer_seconds=BEAT_SECONDS)
        return [queries.worker_record(row) for row in rows]

    def rescue(self, seen: WorkerRecord, error: str, why: str = LEASE_ENDED) -> Rescue | None:
        unchanged = _is_still_at(seen.heartbeat_at)

        def work(connection: Connection, way: Way) -> Rescue | None:
            # The worker may have been frozen when it was seen, and be about to beat now.
            if self.is_living(seen):
                return None
            if not self._remove(connection, seen.id, why, way.passing_over, unchanged):
                is_locked = way.passing_over and _has_worker(connection, seen.id, unchanged)
                return Rescue(seen.id, worker_is_locked=True) if is_locked else None
            rows = self._free(connection, seen.id, Freed.lost(error), way)
            return self._rescue(connection, seen.id, rows, way)

        return self._announced(self._freed(work))

    def rescue_crashed(
        self, worker_id: str, performing: Sequence[CrashedJob], why: str | None = None
    ) -> Rescue:
        performed = [
            (JOBS.c.id == job.id) & (JOBS.c.claim_token == job.token) for job in performing
        ]

        def work(connection: Connection, way: Way) -> Rescue:
            removed = self._remove(connection, worker_id, why, way.passing_over)
            if why is not None and not removed:
                correct_end(connection, worker_id, why, way.passing_over)
            rows: list[Any] = []
            for job, is_it in zip(performing, performed, strict=True):
                crashed = Freed.crashed(job)
                rows += self._free(connection, worker_id, crashed, way, is_it)
            # One that was performed and has been passed over may not be locked any more.
            others = not_(or_(false(), *performed))
            rows += self._free(connection, worker_id, GIVEN_BACK, way, others)
            return self._rescue(connection, worker_id, rows, way)

        return self._announced(self._freed(work))

    def orphaned_workers(self) -> list[str]:
        query = queries.orphans_query()
        rows = self.database.read(lambda c: c.execute(query).all(), answer_seconds=BEAT_SECONDS)
        return [to_name(row[0]) for row in rows if row[0]]

    def rescue_orphans(self, worker_id: str, error: str) -> Rescue | None:

        def work(connection: Connection, way: Way) -> Rescue | None:
            if _has_worker(connection, worker_id):
                return None
            rows = self._free(connection, worker_id, Freed.lost(error), way)
            return self._rescue(connection, worker_id, rows, way)

        return self._announced(self._freed(work))

    def release_strays(self, worker_id: str, held: Collection[tuple[int, int]]) -> Rescue:
        query = select(JOBS.c.id, JOBS.c.claim_token).where(held_by(worker_id))
        is_it = (JOBS.c.id == bindparam("stray_id")) & (
            JOBS.c.claim_token == bindparam("stray_token")
        )

        def work(connection: Connection, way: Way) -> Rescue:
            found = [tuple(row) for row in connection.execute(query)]
            strays = [(job_id, token) for job_id, token in found if (job_id, token) not in held]
            free = freeing(self.time, worker_id, GIVEN_BACK, way.passing_over, is_it)
            rows: list[Any] = []
            for job_id, token in strays:
                stray = partial(self._free_stray, connection, free, token)
                rows += way.take(connection, [job_id], stray)
            return self._rescue(connection, worker_id, rows, Way(False, way.refused))

        return self._announced(self._freed(work))

    def _free_stray(
        self, connection: Connection, free: Update, token: int, ids: Sequence[int]
    ) -> list[Any]:
        strays = [{"stray_id": job_id, "stray_token": token} for job_id in ids]
        return [row for stray in strays for row in connection.execute(free, stray)]

    def _freed(self, work: Callable[[Connection, Way], Found]) -> Found:
        """Free jobs in a transaction; where the database refuses that, all but the refused ones."""
        name = self.database.name
        try:
            return self.database.write_giving_way(lambda c, passing: work(c, Way(passing)))
        except DatabaseRefused:
            return self.database.write_giving_way(
                lambda c, passing: work(c, Way(passing, Refusals(name)))
            )

    def _remove(
        self,
        connection: Connection,
        worker_id: str,
        why: str | None,
        passing_over: bool,
        which: ColumnElement[bool] = ALL,
    ) -> bool:
        """Remove a worker's row and store its end; return whether there was one.

        Without a reason, that of an earlier end stays: the worker was registered once more by a
        beat that came late.
        """
        removal = _without(worker_id, passing_over, which).returning(*KNOWN_AT_THE_END)
        row = connection.execute(removal).first()
        if row is not None:
            now = self.time.read(connection)
            if why is not None:
                forget_end(connection, to_name(row.id), passing_over)
            store_end(connection, row, now, why or PROCESS_DIED)
        return row is not None

    def _free(
        self,
        connection: Connection,
        worker_id: str,
        freed: Freed,
        way: Way,
        which: ColumnElement[bool] = ALL,
    ) -> list[Any]:
        """Free the jobs of a worker, or some of them, and note the attempts that end by that."""
        if way.refused is None:
            return self._free_at_once(connection, worker_id, freed, way, which)
        held = select(JOBS.c.id).where(held_by(worker_id), which).order_by(JOBS.c.id)
        return way.take(
            connection,
            connection.execute(held).scalars().all(),
            lambda ids: self._free_at_once(
                connection, worker_id, freed, way, which & JOBS.c.id.in_(ids)
            ),
        )

    def _free_at_once(
        self,
        connection: Connection,
        worker_id: str,
        freed: Freed,
        way: Way,
        which: ColumnElement[bool],
    ) -> list[Any]:
        statement = freeing(self.time, worker_id, freed, way.passing_over, which)
        rows = list(connection.execute(statement))
        if freed.ended is not None:
            attempts = [ended_attempt(row, worker_id, freed) for row in rows]
            note_attempts(connection, attempts)
            set_error_keys(connection, attempts)
        return rows

    def _rescue(
        self, connection: Connection, worker_id: str, rows: Iterable[Any], way: Way
    ) -> Rescue:
        """The rescue of jobs that were just freed, from the rows of `freeing`."""
        rows = list(rows)
        states = {row.id: JobState(row.state) for row in rows}
        ended = tuple(job_id for job_id, state in states.items() if state not in WAITING_STATES)
        records: list[StoredJob] = []
        if ended:
            query = queries.jobs_query(JobFilter(ids=ended), self.time.now(), len(ended))
            records = self._records(connection.execute(query).all())[::-1]
        rescue = replace(
            Rescue.of(worker_id, states, records), charged=charged_jobs(rows), refused=way.refusals
        )
        return _with_what_is_left(connection, rescue) if way.passing_over else rescue

    def _announced(self, rescue: Found) -> Found:
        """Announce the jobs of a rescue that are ready again, and return the rescue."""
        self._announce_if(rescue and rescue.released)
        return rescue

    def declare_handlers(self, worker_id: str, handlers: Collection[str]) -> None:
        of_worker = WORKERS.c.id == worker_id

        def work(connection: Connection) -> None:
            details = connection.execute(select(WORKERS.c.details).where(of_worker)).scalar()
            declared = {**mapping(details), HANDLERS: sorted(handlers)}
            connection.execute(update(WORKERS).where(of_worker).values(details=declared))

        self.database.write(work)

    def declared_handlers(self) -> dict[str, set[str]]:
        query = select(WORKERS.c.id, WORKERS.c.details).where(WORKERS.c.details.is_not(None))
        rows = self.database.read(lambda connection: connection.execute(query).all())
        details = {to_name(worker_id): mapping(found) for worker_id, found in rows}
        return {
            worker_id: set(names(found[HANDLERS]))
            for worker_id, found in details.items()
            if HANDLERS in found
        }


def _is_still_at(heartbeat: datetime) -> ColumnElement[bool]:
    """Whether a heartbeat is the one that was seen, which Python may not have been able to tell."""
    if heartbeat <= DAWN:
        return WORKERS.c.heartbeat_at <= DAWN
    if heartbeat >= DUSK:
        return WORKERS.c.heartbeat_at >= DUSK
    return WORKERS.c.heartbeat_at == heartbeat


def _without(worker_id: str, passing_over: bool, which: ColumnElement[bool] = ALL) -> Delete:
    """Remove a worker's row.

    Every transaction that frees a worker's jobs does this first, so that no two of them deadlock.
    """
    return delete(WORKERS).where(
        *rows_where(WORKERS.c.id, (WORKERS.c.id == worker_id) & which, passing_over)
    )


def _has_worker(connection: Connection, worker_id: str, which: ColumnElement[bool] = ALL) -> bool:
    query = select(WORKERS.c.id).where(WORKERS.c.id == worker_id, which)
    return connection.execute(query).first() is not None


def _with_what_is_left(connection: Connection, rescue: Rescue) -> Rescue:
    """A rescue, with the rows that were passed over, since somebody has locked them."""
    left = connection.execute(select(JOBS.c.id).where(held_by(rescue.worker_id))).scalars().all()
    is_there = _has_worker(connection, rescue.worker_id)
    locked = sorted(set(left) - dict(rescue.refused).keys())
    return replace(rescue, locked=tuple(locked), worker_is_locked=is_there)
