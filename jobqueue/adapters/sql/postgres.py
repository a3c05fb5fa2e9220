"""PostgreSQL: the statements of the path, and what else differs there.

They are written out, and run in psycopg's own style, because their plans are what keeps a claim
fast (`docs/architecture.md` explains each) and because a caller's bare psycopg connection has to
be able to run them as well. `{now}` is the database's time or, in tests, a clock's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import tuple_row
from sqlalchemy import URL, ColumnElement, Connection, Engine, Interval, func, literal
from sqlalchemy.orm import Session

from jobqueue.adapters.settlement import (
    NOTHING_TO_SETTLE,
    Applied,
    Settlement,
    Settlements,
    ids_by_token,
)
from jobqueue.adapters.sql import copying, postgres_health
from jobqueue.adapters.sql.adapter import in_order_of_claim, seconds
from jobqueue.adapters.sql.belonging import Place
from jobqueue.adapters.sql.engine import FOR_EVER
from jobqueue.adapters.sql.enqueued import Enqueued, record_of_new
from jobqueue.adapters.sql.executing import Execute, executing_on
from jobqueue.adapters.sql.postgres_claim import (
    BUT,
    Lane,
    LowWater,
    Statements,
    lane_of,
    low_water_of,
    moments_of,
    shares_of,
)
from jobqueue.adapters.sql.postgres_database import Statement, open_database
from jobqueue.adapters.sql.postgres_transaction import SETTLE_AND_COMMIT_SOON, PostgresTransaction
from jobqueue.adapters.sql.tables import to_utc
from jobqueue.adapters.sql.wakeups_postgres import CHANNEL, PostgresWakeups
from jobqueue.adapters.stored import StoredJob, kept_by
from jobqueue.clock import Clock
from jobqueue.errors import ConfigurationError, DatabaseError, DatabaseUnavailable
from jobqueue.outside import Health
from jobqueue.records import Claim, ClaimedJob, NewJob, Outcome, Released, Retried, Turn, Wakeup

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

FEWEST_TO_COPY = 1000
MOST_CLAIMANTS = 64
DEFAULT_PORT = 5432
MIGRATION_LOCK = int.from_bytes(b"jobqueue")

# Identity values are given out in the order of the SELECT, so the ids ascend as the jobs do.
ENQUEUE = """
INSERT INTO background_jobs
    (handler, args, queue, priority, max_attempts, run_at, created_at, updated_at)
SELECT handler, args::json, queue, priority, max_attempts,
       coalesce(run_at, {now} + delay * interval '1 second'), {now}, {now}
FROM unnest(%(handlers)s::text[], %(args)s::text[], %(queues)s::text[], %(priorities)s::int[],
            %(max_attempts)s::int[], %(run_ats)s::timestamptz[], %(delays)s::float8[])
     WITH ORDINALITY
     AS job (handler, args, queue, priority, max_attempts, run_at, delay, place)
ORDER BY place
RETURNING id, run_at, created_at
"""

ENQUEUE_ONE = """
INSERT INTO background_jobs
    (handler, args, queue, priority, max_attempts, run_at, created_at, updated_at)
VALUES (%(handler)s, %(args)s::json, %(queue)s, %(priority)s, %(max_attempts)s,
        coalesce(%(run_at)s::timestamptz, {now} + %(delay)s::float8 * interval '1 second'),
        {now}, {now})
RETURNING id, run_at, created_at
"""

# The notification goes out with the commit: one disk write instead of two, and one way to the
# server. Its lock is held for one job at a time only, since of a stream of jobs few are announced.
ENQUEUE_ONE_ALOUD = f"""
WITH stored AS ({ENQUEUE_ONE})
SELECT id, run_at, created_at, pg_notify({CHANNEL}, json_build_object(
    'queues', json_build_array(%(queue)s::text), 'jobs', 1, 'more', %(more)s::bool,
    'lowest', json_build_array(%(priority)s::int, run_at, id))::text)
FROM stored
"""  # noqa: S608 - composed of constants

# Where a connection leads, however it got there: names and poolers may have many addresses.
FIND_PLACE = """
SELECT current_user, current_database(), coalesce(host(inet_server_addr()), ''),
       current_setting('port'), pg_postmaster_start_time(),
       to_regclass('background_jobs')::oid::text
"""
# One statement for each token of a batch: a join with the pairs takes three times as long.
REMOVE = """
DELETE FROM background_jobs
WHERE id = ANY (%(ids)s::bigint[]) AND claim_token = %(token)s
RETURNING id, claim_token
"""

CHANGE = """
UPDATE background_jobs AS job
SET state = CASE WHEN mine.state = 'ready' AND job.cancel_requested_at IS NOT NULL
                 THEN 'cancelled' ELSE mine.state END,
    attempts = job.attempts - mine.refund,
    run_at = coalesce({now} + mine.delay * interval '1 second', job.run_at),
    last_error = CASE WHEN mine.keeps_error OR mine.state = 'ready'
                           AND job.cancel_requested_at IS NOT NULL
                      THEN job.last_error ELSE mine.error END,
    progress = coalesce(mine.progress::json, job.progress),
    result = mine.result::json,
    failed_at = CASE WHEN mine.state = 'failed' THEN {now} END,
    finished_at = CASE WHEN mine.state <> 'ready' OR job.cancel_requested_at IS NOT NULL
                       THEN {now} END,
    locked_at = NULL, locked_by = NULL, claim_token = NULL, updated_at = {now}
FROM unnest(%(ids)s::bigint[], %(tokens)s::bigint[], %(states)s::text[], %(refunds)s::int[],
            %(delays)s::float8[], %(errors)s::text[], %(keeps_errors)s::bool[],
            %(results)s::text[], %(progresses)s::text[])
     AS mine (id, token, state, refund, delay, error, keeps_error, result, progress)
WHERE job.id = ANY (%(ids)s::bigint[]) AND job.id = mine.id AND job.claim_token = mine.token
RETURNING mine.id, mine.token,
          CASE WHEN job.state = 'cancelled' AND job.cancel_requested_at IS NOT NULL
                    AND (mine.state = 'ready' OR mine.keeps_error)
               THEN coalesce(job.last_error, '') END
"""


class PostgresAdapter(PostgresWakeups):
    """Keeps jobs in PostgreSQL 14 or newer, through psycopg 3.

    Args:
        url: `postgresql://user:password@host/database`, with libpq's options as a query string.
        clock: a clock to use in place of the database's own; for tests.

    Raises:
        InvalidDatabaseUrl: the URL cannot be taken apart.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        super().__init__(open_database(url), clock)
        now = "%(now)s::timestamptz" if clock else "statement_timestamp()"
        self._enqueue_sql = ENQUEUE.format(now=now)
        self._enqueue_one_sql = ENQUEUE_ONE.format(now=now)
        self._enqueue_one_aloud_sql = ENQUEUE_ONE_ALOUD.format(now=now)
        self._reserve_sql = copying.RESERVE.format(now=now)
        self._change_sql = CHANGE.format(now=now)
        self._claiming = {False: Statements.of(now), True: Statements.of(now, BUT)}
        self._low_water = lru_cache(maxsize=MOST_CLAIMANTS)(low_water_of)
        # One that is made as ours are leads where they lead: there is nothing to ask.
        self._known_addresses.add(_address_in(self.database.engine.url))

    def enqueue(self, jobs: Sequence[NewJob], *, session: Any = None) -> Sequence[StoredJob]:
        """See `Adapter.enqueue`."""
        if session is None and len(jobs) == 1 and _is_due_at_once(jobs[0]):
            said = self._stream.what_to_say(Wakeup(queues=frozenset([jobs[0].queue])))
            if said is not None:
                return kept_by(self, self._enqueue_aloud(jobs, said))
        return super().enqueue(jobs, session=session)

    def _enqueue_aloud(self, jobs: Sequence[NewJob], said: Wakeup) -> Sequence[StoredJob]:
        """Store a job, and say so in the same transaction."""
        values = {**_facts(jobs[0]), "more": said.more, **self._clock_value()}
        try:
            ((*stored, _),) = self.database.write_alone(self._enqueue_one_aloud_sql, values)
        except DatabaseUnavailable:
            self._stream.forget()
            raise
        except DatabaseError:
            # Nothing was stored. It may be notifications that the server takes no more of, while
            # somebody listens to them without an end, and no job is refused for that.
            self._stream.forget()
            return super().enqueue(jobs)
        return _records(jobs, [stored])

    def _enqueue_within(self, session: Any, jobs: Sequence[NewJob]) -> Sequence[StoredJob]:
        if session is not None:
            return super()._enqueue_within(session, jobs)
        if len(jobs) >= FEWEST_TO_COPY:
            return self.database.write(
                lambda c: self._copy(executing_on(c), jobs), answer_seconds=FOR_EVER
            )
        return _records(jobs, self.database.write_alone(*self._enqueue_statement(jobs)))

    def _enqueue(self, execute: Execute, jobs: Sequence[NewJob]) -> Sequence[StoredJob]:
        if len(jobs) >= FEWEST_TO_COPY and isinstance(execute.driver, psycopg.Connection):
            return self._copy(execute, jobs)
        return _records(jobs, execute(*self._enqueue_statement(jobs)))

    def _enqueue_statement(self, jobs: Sequence[NewJob]) -> Statement:
        if len(jobs) == 1:
            return self._enqueue_one_sql, {**_facts(jobs[0]), **self._clock_value()}
        return self._enqueue_sql, {
            "handlers": [job.handler for job in jobs],
            "args": [job.args for job in jobs],
            "queues": [job.queue for job in jobs],
            "priorities": [job.priority for job in jobs],
            "max_attempts": [job.max_attempts for job in jobs],
            "run_ats": [job.run_at for job in jobs],
            "delays": [seconds(job.delay) for job in jobs],
            **self._clock_value(),
        }

    def _copy(self, execute: Execute, jobs: Sequence[NewJob]) -> Sequence[StoredJob]:
        values = {"number": len(jobs), **self._clock_value()}
        ((reserved, stored_at),) = execute(self._reserve_sql, values)
        ids, now = sorted(reserved), to_utc(stored_at)
        with psycopg.Cursor(execute.driver) as cursor, cursor.copy(copying.COPY) as copy:
            for chunk in copying.rows_of(jobs, ids, now, execute.driver.info.encoding):
                copy.write(chunk)
        return Enqueued(self, jobs, ids, now)

    def health(self) -> Health:
        """See `Adapter.health`."""
        return self.database.read(postgres_health.examine)

    def claim(self, claim: Claim) -> list[ClaimedJob]:
        """See `Adapter.claim`: from the very first job on."""
        low_water = LowWater(claim.queues)
        low_water.look(lambda: self._find_lanes(claim.queues, claim.passing_over))
        return self._claim_from(low_water, claim, NOTHING_TO_SETTLE)[1]

    def turn(self, outcomes: Sequence[Outcome], claim: Claim | None) -> Turn:
        """See `Adapter.turn`: everything in one round trip."""
        turn = super().turn(outcomes, claim)
        again = [o.job for o in outcomes if isinstance(o, Released | Retried) and not o.delay]
        if again:
            # Whoever gave them back has something else to do; others may sleep for minutes.
            self._announce(_word_of(again))
        if claim is None:
            return turn
        low_water = self._low_water(claim.worker_id, claim.queues)
        low_water.given_back(again)
        return replace(turn, look_again_in=low_water.put_off_for())

    def _find_lanes(
        self, queues: tuple[str, ...] | None, passing_over: tuple[str, ...] = ()
    ) -> list[Lane]:
        values = self._clock_value()
        statements = self._claiming[bool(passing_over)]
        sql = statements.look_everywhere
        if queues is not None:
            sql = statements.look_in_queues
            values["queues"] = list(dict.fromkeys(queues))
        if passing_over:
            values["passing_over"] = list(passing_over)
        rows = self.database.read(lambda c: c.exec_driver_sql(sql, values).all())
        return [lane_of(*row) for row in rows]

    def _claim_statement(self, claim: Claim, lanes: Sequence[Lane]) -> Statement:
        values: dict[str, Any] = {
            "limit": claim.limit,
            "free_slots": claim.free_slots,
            "worker_id": claim.worker_id,
            "token": claim.token,
            "priorities": [lane.priority for lane in lanes],
            "run_ats": moments_of(lanes),
            "ids": [lane.id for lane in lanes],
            **self._clock_value(),
        }
        statements = self._claiming[bool(claim.passing_over)]
        if claim.passing_over:
            values["passing_over"] = list(claim.passing_over)
        queues = [lane.queue for lane in lanes]
        if None in queues:
            return statements.claim_everywhere, values
        if len(set(queues)) == 1:
            return statements.claim_in_queue, values | {"queue": queues[0]}
        shares = shares_of(lanes, claim.limit)
        return statements.claim_in_queues, values | {"queues": queues, "shares": shares}

    def _turn(
        self, settlements: Settlements, claim: Claim | None
    ) -> tuple[Applied, list[ClaimedJob]]:
        if claim is None:
            return self._settle_at_once(settlements), []
        low_water = self._low_water(claim.worker_id, claim.queues)
        if claim.heard is not None:
            low_water.hear(claim.heard)
        looked = self._look_if_time(low_water, claim)
        applied, claimed = self._claim_from(low_water, claim, settlements)
        # Who is told that there is nothing goes to sleep.
        if not (looked or claimed or settlements) and self._look_if_time(low_water, claim):
            claimed = self._claim_from(low_water, claim, NOTHING_TO_SETTLE)[1]
        return applied, claimed

    def _look_if_time(self, low_water: LowWater, claim: Claim) -> bool:
        is_time = low_water.has_to_look()
        if is_time:
            self.database.do_aside()
            low_water.look(lambda: self._find_lanes(low_water.queues, claim.passing_over))
        return is_time

    def _claim_from(
        self, low_water: LowWater, claim: Claim, settlements: Settlements
    ) -> tuple[Applied, list[ClaimedJob]]:
        """BEGIN, what there is to settle, the claim, COMMIT."""
        lanes = low_water.lanes()
        if not lanes:
            return self._settle_at_once(settlements), []
        statements = self._settle_statements(settlements)
        statements.append(self._claim_statement(claim, lanes))
        *settled, rows = self.database.write_at_once(statements)
        claimed = in_order_of_claim(claimed_jobs(claim.token, rows))
        low_water.claimed(claimed, claim.limit)
        return _applied(settled, settlements), claimed

    def _settle_at_once(self, settlements: Settlements) -> Applied:
        statements = self._settle_statements(settlements)
        results = self.database.write_at_once(statements) if statements else []
        return _applied(results, settlements)

    def _settle_statements(self, settlements: Settlements) -> list[Statement]:
        statements = [
            (REMOVE, {"ids": _array(ids), "token": token})
            for token, ids in ids_by_token(settlements.removals).items()
        ]
        if settlements.changes:
            statements.append(
                (self._change_sql, _columns(settlements.changes) | self._clock_value())
            )
        return statements

    def settle_within(self, connection: Connection, settlements: Settlements) -> Applied:
        """See `SqlTransactions.settle_within`."""
        execute, settled = executing_on(connection), list[Sequence[Any]]()
        for sql, values in self._settle_statements(settlements):
            if isinstance(values["ids"], str):  # asyncpg takes no text for an array
                values["ids"] = [job_id for job_id, _ in settlements.removals]
            rows = execute(SETTLE_AND_COMMIT_SOON.format(settle=sql), values)
            settled.append([row[:-1] for row in rows])
        return _applied(settled, settlements)

    def _new_transaction(self, session: Session) -> PostgresTransaction:
        return PostgresTransaction(self, session)

    def _new_sync_engine(self) -> Engine:
        return self.database.new_engine_for_jobs()

    def _new_async_engine(self) -> AsyncEngine:
        return self.database.new_async_engine_for_jobs()

    def _raw_execute(self, session: Any) -> Execute | None:
        if isinstance(session, psycopg.AsyncConnection):
            raise ConfigurationError(
                "session= was given an asynchronous psycopg connection, which cannot be waited "
                "for; give perform_later a psycopg.Connection or a SQLAlchemy Session, and "
                "perform_later_async an AsyncSession"
            )
        if not isinstance(session, psycopg.Connection):
            return None

        def run(sql: str, values: Any) -> list[tuple[Any, ...]]:
            with psycopg.Cursor(session, row_factory=tuple_row) as cursor:
                return cursor.execute(sql.encode(), values).fetchall()

        return Execute(run, session)

    def _address_of(self, execute: Execute) -> Any:
        if isinstance(execute.driver, psycopg.Connection | psycopg.AsyncConnection):
            info = execute.driver.info
            return info.host, str(info.port), info.dbname, info.user, info.options
        return None if execute.url is None else _address_in(execute.url)

    def _place_of(self, execute: Execute) -> Place:
        ((user, database, host, port, started, table),) = execute(FIND_PLACE, {})
        return Place(
            f"postgresql://{user}@{host}:{port}/{database}",
            {"database": database, "server": (started, port), "schema": (table,)},
        )

    def _clock_value(self) -> dict[str, Any]:
        return {"now": self._clock.now()} if self._clock else {}

    def _lock_migrations(self, connection: Connection) -> None:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))

    def _database_time(self) -> ColumnElement[Any]:
        # The time of the statement: now() is when the transaction began, long ago perhaps.
        return func.statement_timestamp()

    def _database_time_after(self, delay: timedelta) -> ColumnElement[Any]:
        return func.statement_timestamp() + literal(delay, Interval())

    def _server_version(self, connection: Connection) -> str:
        version = connection.exec_driver_sql("SHOW server_version").scalar_one()
        return f"PostgreSQL {version}"


def _address_in(url: URL) -> tuple[Any, ...]:
    """As the driver has it of a connection; what the environment may add is left open."""
    options = {"host": url.host, "port": url.port, **url.query}
    port = str(options["port"] or DEFAULT_PORT)
    database = url.database or url.username
    return options["host"], port, database, url.username, options.get("options", "")


def _word_of(jobs: Sequence[ClaimedJob]) -> Wakeup:
    return Wakeup(
        queues=frozenset(job.queue for job in jobs),
        lowest=min((job.priority, job.run_at, job.id) for job in jobs),
        jobs=len(jobs),
    )


def _applied(results: Sequence[Sequence[Any]], settlements: Settlements) -> Applied:
    """The rows that `_settle_statements` return: those of changes come last, with a reason each."""
    *removed, changed = results if settlements.changes else (*results, ())
    pairs = list(chain.from_iterable(removed))
    pairs += [(job_id, token) for job_id, token, _ in changed]
    reasons = {(job_id, token): why for job_id, token, why in changed if why is not None}
    return Applied(pairs, reasons)


def _is_due_at_once(job: NewJob) -> bool:
    return job.run_at is None and not job.delay


def _facts(job: NewJob) -> dict[str, Any]:
    return {
        "handler": job.handler,
        "args": job.args,
        "queue": job.queue,
        "priority": job.priority,
        "max_attempts": job.max_attempts,
        "run_at": job.run_at,
        "delay": seconds(job.delay),
    }


def _records(jobs: Sequence[NewJob], rows: Iterable[Any]) -> Sequence[StoredJob]:
    return [record_of_new(job, *row) for job, row in zip(jobs, sorted(rows), strict=True)]


def claimed_jobs(token: int, rows: Sequence[Any]) -> list[ClaimedJob]:
    """The rows that a claim returned, all of them locked at the same moment."""
    if not rows:
        return []
    locked_at = rows[0][-1].astimezone(UTC)
    return [
        ClaimedJob(
            a, token, b, c, d, e, f, g, h, run_at.astimezone(UTC), at.astimezone(UTC), locked_at
        )
        for a, b, c, d, e, f, g, h, run_at, at, _ in rows
    ]


def _array(numbers: Iterable[int]) -> str:
    """An array as the server reads it; made by the driver it takes ten times as long."""
    return "{" + ",".join(map(str, numbers)) + "}"


def _columns(settlements: Sequence[Settlement]) -> dict[str, list[Any]]:
    return {
        "ids": [s.id for s in settlements],
        "tokens": [s.token for s in settlements],
        "states": [s.state.value for s in settlements],
        "refunds": [s.refund for s in settlements],
        "delays": [seconds(s.delay) for s in settlements],
        "errors": [s.error for s in settlements],
        "keeps_errors": [s.keeps_error for s in settlements],
        "results": [s.result for s in settlements],
        "progresses": [s.progress for s in settlements],
    }
