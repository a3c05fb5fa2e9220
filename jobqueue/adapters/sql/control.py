"""The control of jobs and queues by people: portable SQLAlchemy Core."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Update,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from jobqueue.adapters.roles.control import ControlRole
from jobqueue.adapters.sql import queries
from jobqueue.adapters.sql.attempts import forget_attempts, forget_attempts_at
from jobqueue.adapters.sql.database import FOR_EVER
from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.readings import decoded, name_or_none
from jobqueue.adapters.sql.role import CANCEL_REQUESTED, SqlRole, held_by, rows_where, waiting_state
from jobqueue.adapters.sql.states import is_in
from jobqueue.adapters.sql.tables import JOBS, BackgroundQueue, to_name, to_utc
from jobqueue.errors import RowLocked
from jobqueue.records import (
    RETRIABLE_STATES,
    UNFINISHED_STATES,
    UNSTARTED_STATES,
    UNTIL_RESUMED,
    WAITING_STATES,
    JobFilter,
    JobState,
    Pause,
    PausedQueue,
    Wakeup,
)
from jobqueue.stored import StoredJob

# The time is a placeholder: a queue that is not paused is given another in the same transaction.
HAVE_QUEUE = Named(
    "INSERT INTO {schema}.background_queues (name, updated_at) VALUES (:name, CURRENT_TIMESTAMP) "
    "ON CONFLICT (name) DO NOTHING"
)

IS_PAUSED: ColumnElement[bool] = BackgroundQueue.paused_at.is_not(None)
LATER_NOTED = timedelta(milliseconds=1)
"""A pause notes its change that much later than its beginning. The release before notes both at the
same moment, and leaves the end, the author and the reason of an earlier pause in the row."""
OF_THIS_RELEASE: ColumnElement[bool] = BackgroundQueue.updated_at != BackgroundQueue.paused_at
"""Whether the end, the author and the reason in a row are those of its pause."""
RESUMED = dict.fromkeys(("paused_at", "paused_until", "paused_by", "reason"))
"""The columns of a queue that is not paused."""
MOST_ATTEMPTS = 2**31 - 1
"""The largest number in the column."""


class SqlControl(SqlRole, ControlRole):
    """The control of jobs and queues in a SQL database: retry, cancel, change, delete, pause."""

    def retry(self, where: JobFilter) -> int:
        statement = retrying(where, self.time.now())
        number = self._execute(statement, answer_seconds=FOR_EVER)
        self._announce_if(number)
        return number

    def cancel(self, where: JobFilter, reason: str) -> int:
        return self._execute(self._cancel(where, reason), answer_seconds=FOR_EVER)

    def cancel_each(self, where: JobFilter, reason: str) -> list[StoredJob]:
        return self._execute_for_records(self._cancel(where, reason))

    def _cancel(self, where: JobFilter, reason: str) -> Update:
        now = self.time.now()
        return (
            update(JOBS)
            .where(*queries.conditions(where, now), is_in(JOBS.c.state, *UNSTARTED_STATES))
            .values(
                state=JobState.CANCELLED.value,
                last_error=reason,
                error_key=None,
                finished_at=now,
                updated_at=now,
            )
        )

    def request_cancel(self, job_id: int, reason: str) -> StoredJob | None:
        where = JobFilter((job_id,), UNFINISHED_STATES)
        statement = requesting_cancel(where, reason, self.time.now())
        return next(iter(self._execute_for_records(statement)), None)

    def cancel_requests(self, worker_id: str) -> dict[tuple[int, int], str]:
        query = select(JOBS.c.id, JOBS.c.claim_token, JOBS.c.last_error)
        query = query.where(held_by(worker_id), CANCEL_REQUESTED)
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return {(job_id, token): reason or "" for job_id, token, reason in rows}

    def update_args(self, job_id: int, args: str) -> bool:
        now = self.time.now()
        where = JobFilter((job_id,), RETRIABLE_STATES)
        statement = update(JOBS).where(*queries.conditions(where, now))
        return bool(self._execute(statement.values(args=json.loads(args), updated_at=now)))

    def change_args(
        self, job_id: int, change: Callable[[StoredJob], str], *, retry: bool = False
    ) -> bool:
        where = JobFilter((job_id,), RETRIABLE_STATES if retry else WAITING_STATES)

        def work(connection: Connection) -> bool:
            now = self.time.now()
            query = queries.jobs_query(where, now, 1).with_for_update()
            row = connection.execute(query).first()
            if row is None:
                return False
            args = change(queries.job_record(row))
            if retry and not connection.execute(retrying(where, now)).rowcount:
                return False
            changed = update(JOBS).where(JOBS.c.id == job_id)
            connection.execute(changed.values(args=decoded(args), updated_at=now))
            return True

        is_changed = self.database.write(work)
        self._announce_if(retry and is_changed)
        return is_changed

    def set_progress(self, job_id: int, progress: str) -> bool:
        now = self.time.now()
        where = queries.conditions(JobFilter((job_id,), UNFINISHED_STATES), now)
        values = {"progress": json.loads(progress), "updated_at": now}
        return bool(self._execute(update(JOBS).where(*where).values(values)))

    def report_progress(self, reports: Mapping[tuple[int, int], str]) -> None:
        is_it = (JOBS.c.id == bindparam("job_id")) & (JOBS.c.claim_token == bindparam("token"))
        values = {
            "progress": bindparam("report", type_=JOBS.c.progress.type),
            "updated_at": self.time.now(),
        }
        # In ascending order of the ids, as settlements are, so that the two cannot deadlock.
        rows: list[dict[str, Any]] = [
            {"job_id": job_id, "token": token, "report": json.loads(progress)}
            for (job_id, token), progress in sorted(reports.items())
        ]

        def work(connection: Connection, passing_over: bool) -> bool:
            statement = update(JOBS).where(*rows_where(JOBS.c.id, is_it, passing_over))
            connection.execute(statement.values(values), rows)
            return passing_over

        if not rows:
            return
        has_passed_over = self.database.write_giving_way(work)
        if has_passed_over:
            raise RowLocked(f"{self.database.name}: somebody keeps rows of running jobs locked")

    def delete(self, where: JobFilter, *, include_running: bool = False) -> int:
        conditions = deletable(where, self.time.now(), include_running)

        def work(connection: Connection) -> int:
            forget_attempts_at(connection, select(JOBS.c.id).where(*conditions))
            return connection.execute(delete(JOBS).where(*conditions)).rowcount

        return self.database.write(work, answer_seconds=FOR_EVER)

    def delete_each(self, where: JobFilter, *, include_running: bool = False) -> list[StoredJob]:
        deleted = delete(JOBS).where(*deletable(where, self.time.now(), include_running))
        statement = deleted.returning(*queries.record_columns())

        def work(connection: Connection) -> list[Any]:
            rows = list(connection.execute(statement))
            forget_attempts(connection, [row.id for row in rows])
            return rows

        return self._records(sorted(self.database.write(work), key=attrgetter("id")))

    def _execute_for_records(self, statement: Update) -> list[StoredJob]:
        """Run a statement; return the jobs that it changed, ordered by id."""
        returning = statement.returning(*queries.record_columns())
        rows = self.database.write(lambda connection: connection.execute(returning).all())
        return self._records(sorted(rows, key=attrgetter("id")))

    def pause_queues(self, queues: Collection[str], pause: Pause = UNTIL_RESUMED) -> set[str]:
        now, noted = self.time.now(), self.time.later(LATER_NOTED)
        change: Any = update(BackgroundQueue).values(
            paused_until=pause.until, paused_by=pause.by, reason=pause.reason, updated_at=noted
        )
        begin = {"paused_at": now, "updated_at": noted}

        def work(connection: Connection) -> set[str]:
            for name in _in_order(queues):
                connection.execute(HAVE_QUEUE.on(connection), {"name": name})
                connection.execute(change.where(BackgroundQueue.name == name))
            return _changed(connection, queues, ~IS_PAUSED, begin)

        return self.database.write(work)

    def resume_queues(self, queues: Collection[str]) -> set[str]:
        values = RESUMED | {"updated_at": self.time.now()}
        resumed = self.database.write(lambda c: _changed(c, queues, IS_PAUSED, values))
        return self._announce_resumed(resumed)

    def resume_due_queues(self) -> set[str]:
        now = self.time.now()
        is_over = (BackgroundQueue.paused_until <= now) & OF_THIS_RELEASE
        due = select(BackgroundQueue.name).where(is_over)
        if not self.database.read(lambda connection: connection.execute(due.limit(1)).first()):
            return set()
        unlocked = due.with_for_update(skip_locked=True)
        resume: Any = (
            update(BackgroundQueue)
            .where(BackgroundQueue.name.in_(unlocked), is_over)
            .values(RESUMED | {"updated_at": now})
            .returning(BackgroundQueue.name)
        )
        names = self.database.write(lambda c: c.execute(resume).scalars().all())
        return self._announce_resumed(set(map(to_name, names)))

    def _announce_resumed(self, queues: set[str]) -> set[str]:
        """Announce the jobs of queues that were resumed, and return the queues."""
        self.announcer.announce(Wakeup(queues=frozenset(queues)) if queues else None)
        return queues

    def paused_queues(self) -> set[str]:
        return self.database.read(queries.paused_queues)

    def pauses(self) -> list[PausedQueue]:
        queue: Any = BackgroundQueue
        columns = (queue.name, queue.paused_at, queue.paused_until, queue.paused_by, queue.reason)
        query = (
            select(*columns, OF_THIS_RELEASE.label("knows_more"))
            .where(IS_PAUSED)
            .order_by(queue.name)
        )
        rows: Any = self.database.read(lambda connection: connection.execute(query).all())
        return [_paused_queue(row) for row in rows]


def retrying(
    where: JobFilter, now: ColumnElement[Any], due: ColumnElement[Any] | None = None
) -> Update:
    """The statement that makes waiting, failed and cancelled jobs due now, or at a later time."""
    return (
        update(JOBS)
        .where(
            *queries.conditions(where, now),
            is_in(JOBS.c.state, *RETRIABLE_STATES),
            _is_not_on_its_way(where, now),
        )
        .values(
            state=waiting_state(),
            run_at=case((JOBS.c.run_at < now, JOBS.c.run_at), else_=now) if due is None else due,
            max_attempts=case(
                (JOBS.c.attempts >= MOST_ATTEMPTS, MOST_ATTEMPTS),
                (JOBS.c.attempts >= JOBS.c.max_attempts, JOBS.c.attempts + 1),
                else_=JOBS.c.max_attempts,
            ),
            failed_at=None,
            finished_at=None,
            cancel_requested_at=None,
            updated_at=now,
            expires_at=case((JOBS.c.expires_at > now, JOBS.c.expires_at)),
        )
    )


def _is_not_on_its_way(where: JobFilter, now: ColumnElement[Any]) -> ColumnElement[bool]:
    """The condition that no other job has the key of one that has ended.

    Of several that have ended with the same key, the newest is retried.
    """
    conditions: list[ColumnElement[bool]] = [JOBS.c.finished_at.is_not(None)]
    other = JOBS.alias("other")
    for name in ("unique_key", "waiting_key"):
        key, key_of_other = JOBS.c[name], other.c[name]
        is_taken = exists().where(key_of_other == key, other.c.finished_at.is_(None))
        newest = (
            select(func.max(other.c.id))
            .where(*queries.conditions(where, now, other.c), other.c.finished_at.is_not(None))
            .where(is_in(other.c.state, *RETRIABLE_STATES), key_of_other.is_not(None))
            .group_by(key_of_other)
        )
        conditions.append(or_(key.is_(None), and_(~is_taken, JOBS.c.id.in_(newest))))
    return or_(JOBS.c.finished_at.is_(None), and_(*conditions))


def requesting_cancel(where: JobFilter, reason: str, now: ColumnElement[Any]) -> Update:
    """The statement that ends waiting jobs and asks running ones to end, of unfinished jobs."""
    is_ready = is_in(JOBS.c.state, *UNSTARTED_STATES)
    return (
        update(JOBS)
        .where(*queries.conditions(where, now))
        .values(
            state=case((is_ready, JobState.CANCELLED.value), else_=JOBS.c.state),
            last_error=reason,
            error_key=None,
            cancel_requested_at=case((~is_ready, now)),
            finished_at=case((is_ready, now)),
            updated_at=now,
        )
    )


def deletable(
    where: JobFilter, now: ColumnElement[Any], include_running: bool
) -> list[ColumnElement[bool]]:
    """The conditions for jobs that may be deleted."""
    conditions = queries.conditions(where, now)
    return conditions if include_running else [*conditions, ~_is_running()]


def _changed(
    connection: Connection,
    queues: Collection[str],
    which: ColumnElement[bool],
    values: Mapping[str, Any],
) -> set[str]:
    """Change those of some queues that fulfil a condition; return their names."""
    change: Any = update(BackgroundQueue).where(which).values(values)
    return {
        name
        for name in _in_order(queues)
        if connection.execute(change.where(BackgroundQueue.name == name)).rowcount
    }


def _paused_queue(row: Row[Any]) -> PausedQueue:
    since = to_utc(row.paused_at)
    if not row.knows_more:
        return PausedQueue(to_name(row.name), since, UNTIL_RESUMED)
    until = None if row.paused_until is None else to_utc(row.paused_until)
    pause = Pause(until, name_or_none(row.paused_by), name_or_none(row.reason))
    return PausedQueue(to_name(row.name), since, pause)


def _is_running() -> ColumnElement[bool]:
    return is_in(JOBS.c.state, JobState.RUNNING)


def _in_order(names: Collection[str]) -> list[str]:
    """Each name once, in the same order everywhere, so that two calls cannot deadlock."""
    return sorted(set(names))
