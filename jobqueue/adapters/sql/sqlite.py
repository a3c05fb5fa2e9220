"""SQLite: the statements of the path, and what else differs there.

Every write is a transaction that takes the write lock at its start (`BEGIN IMMEDIATE`). One that
reads first and then writes fails at once when another has written in between, whatever the busy
timeout is; see `begin_immediate`.
"""

from __future__ import annotations

import json
import socket
import sqlite3
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    NullPool,
    String,
    create_engine,
    event,
    literal_column,
)
from sqlalchemy.orm import Session

from jobqueue.adapters.settlement import (
    NOTHING_APPLIED,
    Applied,
    Pair,
    Settlement,
    Settlements,
    ids_by_token,
)
from jobqueue.adapters.sql.adapter import in_order_of_claim, seconds
from jobqueue.adapters.sql.belonging import Place
from jobqueue.adapters.sql.engine import parse_url
from jobqueue.adapters.sql.enqueued import Enqueued, record_of_new
from jobqueue.adapters.sql.executing import Execute
from jobqueue.adapters.sql.sqlite_writer import (
    BUSY_TIMEOUT_SECONDS,
    SqliteDatabase,
    SqliteTransaction,
)
from jobqueue.adapters.sql.tables import to_text, to_utc
from jobqueue.adapters.sql.transactions import need
from jobqueue.adapters.sql.wakeups_sqlite import SqliteWakeups
from jobqueue.adapters.stored import StoredJob
from jobqueue.clock import Clock
from jobqueue.errors import DatabaseUnavailable, InvalidDatabaseUrl, SchemaError
from jobqueue.records import (
    FINISHED_STATES,
    Claim,
    ClaimedJob,
    JobState,
    NewJob,
    WorkerRecord,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

FEWEST_ROW_BY_ROW = 1000
SWITCH_POLL_SECONDS = 0.02
OLDEST_VERSION = (3, 38, 0)
READ_OPTION = "jobqueue_read"

# SQLite's clock has milliseconds; zeros make the text as long as Python's.
_TIME = "strftime('%Y-%m-%d %H:%M:%f', {moment}) || '000'"
_TIME_LATER = "strftime('%Y-%m-%d %H:%M:%f', {moment}, printf('%+.3f seconds', {delay})) || '000'"

# One parameter carries the whole batch, so its size does not matter. Rows are inserted in the
# order of the SELECT, so the ids ascend as the jobs do.
ENQUEUE = """
INSERT INTO background_jobs
    (handler, args, queue, priority, max_attempts, run_at, created_at, updated_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4,
       coalesce(value ->> 5, {later}), {now}, {now}
FROM json_each(:jobs) ORDER BY key
RETURNING id, run_at, created_at
"""

INSERT = """
INSERT INTO background_jobs
    (handler, args, queue, priority, max_attempts, run_at, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""

# What `{but}` is where a worker passes over jobs that it does not know, else nothing.
BUT = " AND handler NOT IN (SELECT value FROM json_each(:passing_over))"

_PRIORITIES = """
priorities (priority) AS (
    SELECT (SELECT priority FROM background_jobs WHERE state = 'ready' {in_queue}
            ORDER BY priority LIMIT 1)
    UNION ALL
    SELECT (SELECT job.priority FROM background_jobs AS job
            WHERE job.state = 'ready' {in_queue} AND job.priority > priorities.priority
            ORDER BY job.priority LIMIT 1)
    FROM priorities WHERE priorities.priority IS NOT NULL
),
due AS (
    SELECT id, max_attempts FROM background_jobs
    WHERE state = 'ready' {in_queue} AND priority IN (SELECT priority FROM priorities)
      AND run_at <= {now}{but}
    ORDER BY priority, run_at, id LIMIT :limit
)"""

# A lane is a priority within a queue. SQLite has no LATERAL; an IN that refers to the lane does
# the same.
_LANES = """
wanted (queue) AS (SELECT value FROM json_each(:queues)),
lanes (queue, priority) AS (
    SELECT wanted.queue, (SELECT job.priority FROM background_jobs AS job
                          WHERE job.state = 'ready' AND job.queue = wanted.queue
                          ORDER BY job.priority LIMIT 1)
    FROM wanted
    UNION ALL
    SELECT lanes.queue, (SELECT job.priority FROM background_jobs AS job
                         WHERE job.state = 'ready' AND job.queue = lanes.queue
                           AND job.priority > lanes.priority
                         ORDER BY job.priority LIMIT 1)
    FROM lanes WHERE lanes.priority IS NOT NULL
),
due AS (
    SELECT job.id, job.max_attempts FROM lanes CROSS JOIN background_jobs AS job
    WHERE job.id IN (
        SELECT candidate.id FROM background_jobs AS candidate
        WHERE candidate.state = 'ready' AND candidate.queue = lanes.queue
          AND candidate.priority = lanes.priority AND candidate.run_at <= {now}{but}
        ORDER BY candidate.run_at, candidate.id LIMIT :limit)
    ORDER BY job.priority, job.run_at, job.id LIMIT :limit
)"""

# Each step of a statement that Python takes lets go of the interpreter, and then waits for the job
# that is being performed meanwhile to do the same. So the rows come as one value, and are marked by
# a statement without any: four steps a turn instead of one for each job.
_FIND = """
SELECT CAST(json_group_array(json_array(
    id, handler, CAST(args AS TEXT), queue, priority, attempts + 1, max_attempts, crashes, run_at,
    created_at)) AS BLOB)
FROM background_jobs
WHERE id IN (
    SELECT id FROM (SELECT id, max_attempts, row_number() OVER () AS place FROM due)
    WHERE max_attempts > 1 OR place <= :free_slots)
"""
ARGS_PLACE = 2
FIND_IN_ALL_QUEUES = f"WITH RECURSIVE {_PRIORITIES} {_FIND}"
FIND_IN_QUEUES = f"WITH RECURSIVE {_LANES} {_FIND}"
MARK_AS_RUNNING = """
UPDATE background_jobs
SET state = 'running', attempts = attempts + 1, locked_by = :worker_id, claim_token = :token,
    locked_at = :now, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids))
"""

PAUSED = "SELECT name FROM background_queues WHERE paused_at IS NOT NULL"
READY_QUEUES = """
WITH RECURSIVE ready_queues (queue) AS (
    SELECT (SELECT queue FROM background_jobs WHERE state = 'ready' ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT job.queue FROM background_jobs AS job
            WHERE job.state = 'ready' AND job.queue > ready_queues.queue
            ORDER BY job.queue LIMIT 1)
    FROM ready_queues WHERE ready_queues.queue IS NOT NULL
)
SELECT queue FROM ready_queues WHERE queue IS NOT NULL
"""

HELD = """
SELECT job.id, job.claim_token,
       CASE WHEN job.cancel_requested_at IS NOT NULL THEN coalesce(job.last_error, '') END
FROM json_each(:pairs) AS mine CROSS JOIN background_jobs AS job
WHERE job.id = mine.value ->> 0 AND job.claim_token = mine.value ->> 1
"""
HELD_UNDER = """
SELECT count(*) FROM json_each(:ids) AS mine CROSS JOIN background_jobs AS job
WHERE job.id = mine.value AND job.claim_token = :token
"""
REMOVE = """
DELETE FROM background_jobs
WHERE claim_token = :token AND id IN (SELECT value FROM json_each(:ids))
"""
REMOVE_SOME = f"{REMOVE} RETURNING id, claim_token"
CHANGE = """
UPDATE background_jobs
SET state = CASE WHEN :state = 'ready' AND cancel_requested_at IS NOT NULL
                 THEN 'cancelled' ELSE :state END,
    attempts = attempts - :refund,
    run_at = CASE WHEN :delay IS NULL THEN run_at ELSE {later} END,
    last_error = CASE WHEN :keeps_error OR :state = 'ready' AND cancel_requested_at IS NOT NULL
                      THEN last_error ELSE :error END,
    progress = coalesce(:progress, progress),
    result = :result,
    failed_at = CASE WHEN :failed THEN {now} END,
    finished_at = CASE WHEN :finished OR cancel_requested_at IS NOT NULL THEN {now} END,
    locked_at = NULL, locked_by = NULL, claim_token = NULL, updated_at = {now}
WHERE id = :id
"""


class SqliteAdapter(SqliteWakeups):
    """Keeps jobs in a SQLite file, in WAL mode, with every commit synced to the disk.

    Args:
        url: `sqlite:///relative/path` or `sqlite:////absolute/path`.
        clock: a clock to use in place of the database's own; for tests.

    Raises:
        InvalidDatabaseUrl: it names no file: SQLite's memory cannot be shared.
    """

    database: SqliteDatabase

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        super().__init__(open_database(url), clock)
        moment = ":now" if clock else "'now'"
        self._now_sql = _TIME.format(moment=moment)
        later = _TIME_LATER.format(moment=moment, delay="{delay}")
        self._enqueue_sql = ENQUEUE.format(
            now=self._now_sql, later=later.format(delay="(value ->> 6)")
        )
        self._change_sql = CHANGE.format(now=self._now_sql, later=later.format(delay=":delay"))
        self._find_in_all_sql, self._find_in_one_sql, self._find_in_some_sql = _finding(but="")
        self._find_but = _finding(but=BUT)

    def _enqueue(self, execute: Execute, jobs: Sequence[NewJob]) -> Sequence[StoredJob]:
        if len(jobs) >= FEWEST_ROW_BY_ROW:
            return self._enqueue_row_by_row(execute, jobs)
        batch = [
            (
                job.handler,
                job.args,
                job.queue,
                job.priority,
                job.max_attempts,
                to_text(job.run_at) if job.run_at else None,
                seconds(job.delay),
            )
            for job in jobs
        ]
        values = {"jobs": json.dumps(batch), **self._clock_value()}
        rows = sorted(tuple(row) for row in execute(self._enqueue_sql, values))
        return [record_of_new(job, *row) for job, row in zip(jobs, rows, strict=True)]

    def _enqueue_row_by_row(self, execute: Execute, jobs: Sequence[NewJob]) -> Sequence[StoredJob]:
        """One statement run for each: quicker than taking many apart out of one JSON text.

        Nobody else can write meanwhile, so the ids that they are given follow on each other.
        """
        ((now_text,),) = execute(f"SELECT {self._now_sql}", self._clock_value())
        now = to_utc(now_text)
        run_ats = [job.due_at(now) for job in jobs]
        execute(
            INSERT,
            [
                (
                    *(job.handler, job.args, job.queue, job.priority, job.max_attempts),
                    *(now_text if run_at is now else to_text(run_at), now_text, now_text),
                )
                for job, run_at in zip(jobs, run_ats, strict=True)
            ],
        )
        ((last,),) = execute("SELECT last_insert_rowid()", ())
        return Enqueued(self, jobs, range(last - len(jobs) + 1, last + 1), now)

    def _turn(
        self, settlements: Settlements, claim: Claim | None
    ) -> tuple[Applied, list[ClaimedJob]]:
        def work(connection: Connection) -> tuple[Applied, list[ClaimedJob]]:
            applied = self.settle_within(connection, settlements)
            return applied, self._claim(connection, claim) if claim is not None else []

        self.database.do_aside()
        return self.database.write(work)

    def _claim(self, connection: Connection, claim: Claim) -> list[ClaimedJob]:
        queues = self._queues_to_claim_from(connection, claim)
        now = self._now_text(connection)
        rows = self._find_due(connection, claim, queues, now)
        if rows:
            ids = json.dumps([row[0] for row in rows])
            connection.exec_driver_sql(
                MARK_AS_RUNNING,
                {"ids": ids, "worker_id": claim.worker_id, "token": claim.token, "now": now},
            )
        return in_order_of_claim(claimed_jobs(claim.token, now, rows))

    def _find_due(
        self, connection: Connection, claim: Claim, queues: Sequence[str] | None, now: str
    ) -> list[Any]:
        """What to claim, as the rows will be then."""
        values: dict[str, Any] = {
            "limit": claim.limit,
            "free_slots": claim.free_slots,
            "now": now,
        }
        in_all, in_one, in_some = (
            self._find_in_all_sql,
            self._find_in_one_sql,
            self._find_in_some_sql,
        )
        if claim.passing_over:
            in_all, in_one, in_some = self._find_but
            values["passing_over"] = json.dumps(claim.passing_over)
        sql = in_all
        if queues is not None and len(queues) == 1:
            sql, values["queue"] = in_one, queues[0]
        elif queues is not None:
            sql, values["queues"] = in_some, json.dumps(queues)
        return _decoded(connection.exec_driver_sql(sql, values).scalar_one())

    def _now_text(self, connection: Connection) -> str:
        """The time, told once: SQLite would work it out anew for every row of a statement."""
        select_now = f"SELECT {self._now_sql}"
        return str(connection.exec_driver_sql(select_now, self._clock_value()).scalar_one())

    def _queues_to_claim_from(self, connection: Connection, claim: Claim) -> list[str] | None:
        """None for all; the transaction is the only writer, so what it reads stays true."""
        paused = set(connection.exec_driver_sql(PAUSED).scalars())
        if claim.queues is None and not paused:
            return None
        wanted: Iterable[str] | None = claim.queues
        if wanted is None:
            wanted = connection.exec_driver_sql(READY_QUEUES).scalars()
        return [queue for queue in dict.fromkeys(wanted) if queue not in paused]

    def _remove(self, connection: Connection, pairs: Sequence[Pair]) -> Sequence[Pair]:
        removed: list[Any] = []
        for token, ids in ids_by_token(pairs).items():
            values = {"token": token, "ids": json.dumps(ids)}
            held = connection.exec_driver_sql(HELD_UNDER, values).scalar_one()
            if held == len(ids):
                connection.exec_driver_sql(REMOVE, values)
                removed += [(job_id, token) for job_id in ids]
            elif held:
                removed += connection.exec_driver_sql(REMOVE_SOME, values).all()
        return removed

    def _change(self, connection: Connection, changes: Sequence[Settlement]) -> Applied:
        if not changes:
            return NOTHING_APPLIED
        pairs = json.dumps([(change.id, change.token) for change in changes])
        rows = connection.exec_driver_sql(HELD, {"pairs": pairs}).all()
        held = {(job_id, token): reason for job_id, token, reason in rows}
        mine = [change for change in changes if (change.id, change.token) in held]
        if mine:
            connection.exec_driver_sql(self._change_sql, [self._columns(change) for change in mine])
        called_off = [(change.id, change.token) for change in mine if change.heeds_cancel]
        reasons = {pair: held[pair] for pair in called_off if held[pair] is not None}
        return Applied(list(held), reasons)

    def _columns(self, settlement: Settlement) -> dict[str, Any]:
        return {
            "id": settlement.id,
            "state": settlement.state.value,
            "refund": settlement.refund,
            "delay": seconds(settlement.delay),
            "error": settlement.error,
            "keeps_error": settlement.keeps_error,
            "progress": settlement.progress,
            "result": settlement.result,
            "failed": settlement.state is JobState.FAILED,
            "finished": settlement.state in FINISHED_STATES,
            **self._clock_value(),
        }

    def settle_within(self, connection: Connection, settlements: Settlements) -> Applied:
        """See `SqlTransactions.settle_within`."""
        removed = Applied(self._remove(connection, settlements.removals), {})
        return removed.plus(self._change(connection, settlements.changes))

    def _new_transaction(self, session: Session) -> SqliteTransaction:
        return SqliteTransaction(self, session, self.database.writer)

    def _new_sync_engine(self) -> Engine:
        engine = create_engine(self.database.engine.url, hide_parameters=True)
        _set_up(engine)
        return engine

    def _new_async_engine(self) -> AsyncEngine:
        need("aiosqlite", "aiosqlite")
        from sqlalchemy.ext.asyncio import create_async_engine

        url = self.database.engine.url.set(drivername="sqlite+aiosqlite")
        engine = create_async_engine(url, hide_parameters=True, poolclass=NullPool)
        _set_up(engine.sync_engine)
        return engine

    def _raw_execute(self, session: Any) -> Execute | None:
        if not isinstance(session, sqlite3.Connection):
            return None

        def run(sql: str, values: Any) -> list[Any]:
            cursor = session.cursor()
            cursor.row_factory = None
            if isinstance(values, list):
                return cursor.executemany(sql, values).fetchall()
            return cursor.execute(sql, values).fetchall()

        return Execute(run, session)

    def _address_of(self, execute: Execute) -> Any:
        return execute("PRAGMA database_list", ())[0][2]

    def _place_of(self, execute: Execute) -> Place:
        file = self._address_of(execute)
        path = str(Path(file).resolve()) if file else ""
        name = f"sqlite:///{path}" if path else "a SQLite database in memory"
        return Place(name, {"file": (path,)})

    def _clock_value(self) -> dict[str, Any]:
        return {"now": to_text(self._clock.now())} if self._clock else {}

    def is_living(self, worker: WorkerRecord) -> bool | None:
        """By its process id and start time: a long transaction elsewhere holds back heartbeats.

        Of a process that is stopped the heartbeat decides, as on other databases.
        """
        import psutil

        if worker.host != socket.gethostname():
            return None
        try:
            process = psutil.Process(worker.pid)
            started_before = process.create_time() < worker.started_at.timestamp() + 1
            stopped = process.status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return None
        if stopped and started_before:
            return None
        return started_before

    def migrate(self, revision: str = "head") -> None:
        """See `Adapter.migrate`; the file is created if it is not there."""
        path = Path(str(self.database.engine.url.database))
        if not path.parent.is_dir():
            raise DatabaseUnavailable(
                f"the folder {path.parent} for {path.name} does not exist; create it, or check the "
                "URL"
            )
        path.touch()
        super().migrate(revision)

    def _lock_migrations(self, connection: Connection) -> None:
        """The transaction holds the write lock already."""

    def _database_time(self) -> ColumnElement[Any]:
        return literal_column(f"({self._now_sql})", String())

    def _database_time_after(self, delay: timedelta) -> ColumnElement[Any]:
        later = _TIME_LATER.format(moment="'now'", delay=repr(delay.total_seconds()))
        return literal_column(f"({later})", String())

    def _server_version(self, connection: Connection) -> str:  # noqa: ARG002
        return f"SQLite {sqlite3.sqlite_version}"


def begin_immediate(engine: Engine) -> Engine:
    """Make every transaction of a SQLite engine take the write lock when it begins.

    Use it on the application's own engine when it enqueues in its own transactions
    (`session=`). Otherwise a transaction that reads, and then enqueues, fails with "database is
    locked" as soon as any other transaction has written in between: SQLite cannot let it go on
    from what it has read, and does not wait however long the busy timeout is.

    Args:
        engine: an engine of SQLAlchemy for SQLite, before its first connection is opened.

    Returns:
        The same engine.
    """

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if not connection.get_execution_options().get(READ_OPTION):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _decoded(rows: bytes) -> list[Any]:
    """The rows that were found, of which one that is no UTF-8 must not spoil the others.

    Its arguments are to be refused when they are read, as JSON that has `\\xff` in it.
    """
    try:
        found: list[Any] = json.loads(rows)
    except UnicodeDecodeError:
        found = json.loads(rows.decode(errors="surrogateescape"))
        for row in found:
            row[ARGS_PLACE] = readable(row[ARGS_PLACE].encode(errors="surrogateescape"))
    return found


def readable(text: bytes) -> str:
    """Text from a column, with what is no UTF-8 spelled out."""
    return text.decode(errors="backslashreplace")


def _finding(but: str) -> tuple[str, str, str]:
    """What finds the jobs to claim: in all queues, in one and in several."""
    return (
        FIND_IN_ALL_QUEUES.format(now=":now", in_queue="", but=but),
        FIND_IN_ALL_QUEUES.format(now=":now", in_queue="AND queue = :queue", but=but),
        FIND_IN_QUEUES.format(now=":now", but=but),
    )


def claimed_jobs(token: int, now: str, rows: Sequence[Any]) -> list[ClaimedJob]:
    """The rows that a claim found, all of them locked at the same moment."""
    locked_at, read = to_utc(now), datetime.fromisoformat
    return [
        ClaimedJob(
            *(a, token, b, c, d, e, f, g, h),
            *(read(run_at + "+00:00"), read(created_at + "+00:00"), locked_at),
        )
        for a, b, c, d, e, f, g, h, run_at, created_at in rows
    ]


def open_database(url: str) -> SqliteDatabase:
    """An engine for a SQLite file that is there already: SQLite itself would quietly make one."""
    _refuse_old_sqlite()
    parsed = parse_url(url).set(drivername="sqlite+pysqlite")
    _refuse_memory(parsed)
    parsed = parsed.set(query={"timeout": str(BUSY_TIMEOUT_SECONDS), **parsed.query})
    engine = create_engine(parsed, hide_parameters=True)
    _set_up(engine)

    @event.listens_for(engine, "connect")
    def read_whatever_is_there(connection: sqlite3.Connection, _: Any) -> None:
        connection.text_factory = readable

    return SqliteDatabase(engine, engine.execution_options(**{READ_OPTION: True}))


def _set_up(engine: Engine) -> None:
    """What is to be done with each connection, and each transaction."""
    file = engine.url.database

    @event.listens_for(engine, "do_connect")
    def refuse_missing_file(*_: Any) -> None:
        where = Path(str(file)).absolute()
        if not where.exists():
            raise SchemaError(
                f"the database {where} does not exist; run `jobqueue setup`, or go to the folder "
                "where that was done"
            )

    @event.listens_for(engine, "connect")
    def make_durable(connection: Any, _: Any) -> None:
        _enter_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")

    begin_immediate(engine)


def _enter_wal(connection: sqlite3.Connection) -> None:
    """Switch a file to WAL, waiting for others that do the same: the busy timeout does not."""
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(SWITCH_POLL_SECONDS)
        else:
            return


def _refuse_old_sqlite() -> None:
    if sqlite3.sqlite_version_info < OLDEST_VERSION:
        raise DatabaseUnavailable(
            f"SQLite {sqlite3.sqlite_version} is too old for jobqueue; 3.38 or newer is needed "
            "(Python's sqlite3 module is built with it), or PostgreSQL"
        )


def _refuse_memory(url: URL) -> None:
    name = url.database or ""
    if name in {"", ":memory:"} or "mode=memory" in name or "memory" in url.query.get("mode", ""):
        raise InvalidDatabaseUrl(
            f"{url} is a database in memory, which every connection would have to itself; "
            "use a file (sqlite:///jobs.sqlite3), or memory:// for tests"
        )
