"""PostgreSQL: the statements of the path, and what else differs there.

They are written out, and run in psycopg's own style, because their plans are what keeps a claim
fast (`docs/architecture.md` explains each) and because a caller's bare psycopg connection has to
be able to run them as well. `{now}` is the database's time or, in tests, a clock's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from sqlalchemy import ColumnElement, Connection, Interval, create_engine, func, literal

from jobqueue.adapters.settlement import Settlement
from jobqueue.adapters.sql.adapter import (
    Execute,
    Pair,
    SqlAdapter,
    claimed_job,
    in_order_of_claim,
    record_of_new,
    seconds,
)
from jobqueue.adapters.sql.engine import Database, parse_url
from jobqueue.clock import Clock
from jobqueue.errors import ConfigurationError
from jobqueue.records import Claim, ClaimedJob, JobRecord, NewJob

# Text goes to the server as UTF-8 whatever its own encoding is: what that lacks, it refuses.
CONNECT_OPTIONS = {"connect_timeout": "10", "client_encoding": "utf8"}
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

# The claim index begins with the priority, so a range of run_at is only quick within one
# priority: a million jobs of a low priority number waiting for tomorrow would be walked over by
# every claim. Hence one probe for each priority that has ready rows, the most urgent first, until
# there are enough. The recursion and the join are pulled row by row; nothing is read in vain.
_PRIORITIES = """
priorities (priority) AS (
    (SELECT priority FROM background_jobs
     WHERE state = 'ready' AND {nothing_is_paused}
     ORDER BY priority LIMIT 1)
    UNION ALL
    SELECT (SELECT job.priority FROM background_jobs AS job
            WHERE job.state = 'ready' AND job.priority > priorities.priority
            ORDER BY job.priority LIMIT 1)
    FROM priorities WHERE priorities.priority IS NOT NULL
),
due_in_any_queue AS MATERIALIZED (
    SELECT due.id, due.max_attempts
    FROM priorities CROSS JOIN LATERAL (
        SELECT job.id, job.max_attempts FROM background_jobs AS job
        WHERE job.state = 'ready' AND job.priority = priorities.priority AND job.run_at <= {now}
        ORDER BY job.run_at, job.id
        LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ) AS due
    LIMIT %(limit)s
)"""

# The same for some of the queues. A lane is a priority within a queue. Candidates are taken from
# each lane without a lock, more than needed since other workers look at the same ones, and the
# best of all lanes are locked. (`queue = ANY(…)` in one scan walks all that is due elsewhere.)
_LANES = """
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
candidates AS MATERIALIZED (
    SELECT candidate.id, candidate.priority, candidate.run_at
    FROM lanes CROSS JOIN LATERAL (
        SELECT job.id, job.priority, job.run_at FROM background_jobs AS job
        WHERE job.state = 'ready' AND job.queue = lanes.queue
          AND job.priority = lanes.priority AND job.run_at <= {now}
        ORDER BY job.run_at, job.id
        LIMIT %(limit)s * 2 + 10
    ) AS candidate
    WHERE lanes.priority IS NOT NULL
),
due_in_wanted_queues AS MATERIALIZED (
    SELECT job.id, job.max_attempts FROM background_jobs AS job
    WHERE job.state = 'ready' AND job.run_at <= {now} AND job.id = ANY (ARRAY(
        SELECT id FROM candidates ORDER BY priority, run_at, id LIMIT %(limit)s * 2 + 10))
    ORDER BY job.priority, job.run_at, job.id
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)"""

_ALL_QUEUES_BUT_PAUSED = """
ready_queues (queue) AS (
    (SELECT queue FROM background_jobs
     WHERE state = 'ready' AND NOT {nothing_is_paused} ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT job.queue FROM background_jobs AS job
            WHERE job.state = 'ready' AND job.queue > ready_queues.queue
            ORDER BY job.queue LIMIT 1)
    FROM ready_queues WHERE ready_queues.queue IS NOT NULL
),
wanted (queue) AS (
    SELECT queue FROM ready_queues
    WHERE queue IS NOT NULL AND NOT EXISTS (
        SELECT FROM background_queues WHERE name = queue AND paused_at IS NOT NULL)
)"""

_THESE_QUEUES_BUT_PAUSED = """
wanted (queue) AS (
    SELECT queue FROM unnest(%(queues)s::text[]) AS listed (queue)
    WHERE NOT EXISTS (
        SELECT FROM background_queues WHERE name = queue AND paused_at IS NOT NULL)
)"""

# `= ANY (ARRAY(…))` rather than a join: with LIMIT a parameter, the planner tips over to a hash
# join with the whole table. A job of a single attempt is taken for a free slot only.
_MARK_AS_RUNNING = """
chosen AS (
    SELECT id FROM (SELECT id, max_attempts, row_number() OVER () AS place FROM due) AS numbered
    WHERE max_attempts > 1 OR place <= %(free_slots)s
)
UPDATE background_jobs
SET state = 'running', attempts = attempts + 1, locked_by = %(worker_id)s,
    claim_token = %(token)s, locked_at = {now}, updated_at = {now}
WHERE id = ANY (ARRAY(SELECT id FROM chosen))
RETURNING id, claim_token, handler, args::text, queue, priority, attempts, max_attempts, crashes,
          run_at, created_at, locked_at
"""

CLAIM_FROM_ALL_QUEUES = f"""WITH RECURSIVE {_PRIORITIES}, {_ALL_QUEUES_BUT_PAUSED}, {_LANES},
due AS (
    SELECT id, max_attempts FROM due_in_any_queue
    UNION ALL
    SELECT id, max_attempts FROM due_in_wanted_queues
),
{_MARK_AS_RUNNING}"""  # noqa: S608 - composed of constants

CLAIM_FROM_QUEUES = f"""WITH RECURSIVE {_THESE_QUEUES_BUT_PAUSED}, {_LANES},
due AS (SELECT id, max_attempts FROM due_in_wanted_queues),
{_MARK_AS_RUNNING}"""  # noqa: S608 - composed of constants

NOTHING_IS_PAUSED = "NOT EXISTS (SELECT FROM background_queues WHERE paused_at IS NOT NULL)"

# Locked in the order of their ids, so that two settlements cannot wait for each other.
REMOVE = """
DELETE FROM background_jobs WHERE id = ANY (ARRAY(
    SELECT job.id FROM unnest(%(ids)s::bigint[], %(tokens)s::bigint[]) AS mine (id, token)
    CROSS JOIN LATERAL (
        SELECT id FROM background_jobs
        WHERE background_jobs.id = mine.id AND claim_token = mine.token FOR UPDATE
    ) AS job
))
RETURNING id, claim_token
"""

CHANGE = """
UPDATE background_jobs AS job
SET state = mine.state,
    attempts = job.attempts - mine.refund,
    run_at = coalesce({now} + mine.delay * interval '1 second', job.run_at),
    last_error = CASE WHEN mine.keeps_error THEN job.last_error ELSE mine.error END,
    result = mine.result::json,
    failed_at = CASE WHEN mine.state = 'failed' THEN {now} END,
    finished_at = CASE WHEN mine.state <> 'ready' THEN {now} END,
    locked_at = NULL, locked_by = NULL, claim_token = NULL, updated_at = {now}
FROM unnest(%(ids)s::bigint[], %(tokens)s::bigint[], %(states)s::text[], %(refunds)s::int[],
            %(delays)s::float8[], %(errors)s::text[], %(keeps_errors)s::bool[],
            %(results)s::text[])
     AS mine (id, token, state, refund, delay, error, keeps_error, result)
WHERE job.id = ANY (%(ids)s::bigint[]) AND job.id = mine.id AND job.claim_token = mine.token
RETURNING mine.id, mine.token
"""


class PostgresAdapter(SqlAdapter):
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
        self._remove_sql, self._change_sql = REMOVE, CHANGE.format(now=now)
        names = {"now": now, "nothing_is_paused": NOTHING_IS_PAUSED}
        self._claim_all_sql = CLAIM_FROM_ALL_QUEUES.format(**names)
        self._claim_some_sql = CLAIM_FROM_QUEUES.format(**names)

    def _enqueue(self, execute: Execute, jobs: Sequence[NewJob]) -> list[JobRecord]:
        rows = execute(
            self._enqueue_sql,
            {
                "handlers": [job.handler for job in jobs],
                "args": [job.args for job in jobs],
                "queues": [job.queue for job in jobs],
                "priorities": [job.priority for job in jobs],
                "max_attempts": [job.max_attempts for job in jobs],
                "run_ats": [job.run_at for job in jobs],
                "delays": [seconds(job.delay) for job in jobs],
                **self._clock_value(),
            },
        )
        return [record_of_new(job, *row) for job, row in zip(jobs, sorted(rows), strict=True)]

    def _claim(self, connection: Connection, claim: Claim) -> list[ClaimedJob]:
        sql = self._claim_all_sql if claim.queues is None else self._claim_some_sql
        values: dict[str, Any] = {
            "limit": claim.limit,
            "free_slots": claim.free_slots,
            "worker_id": claim.worker_id,
            "token": claim.token,
            **self._clock_value(),
        }
        if claim.queues is not None:
            values["queues"] = list(dict.fromkeys(claim.queues))
        rows = connection.exec_driver_sql(sql, values).all()
        return in_order_of_claim([claimed_job(*row) for row in rows])

    def _settle(self, connection: Connection, settlements: Sequence[Settlement]) -> set[Pair]:
        removed = [s for s in settlements if s.remove]
        changed = [s for s in settlements if not s.remove]
        rows: list[Any] = []
        if removed:
            values = {"ids": [s.id for s in removed], "tokens": [s.token for s in removed]}
            rows += connection.exec_driver_sql(self._remove_sql, values).all()
        if changed:
            values = _columns(changed) | self._clock_value()
            rows += connection.exec_driver_sql(self._change_sql, values).all()
        return {(job_id, token) for job_id, token in rows}

    def _raw_execute(self, session: Any) -> Execute | None:
        if isinstance(session, psycopg.AsyncConnection):
            raise ConfigurationError(
                "session= was given an asynchronous psycopg connection, which perform_later "
                "cannot wait for; give it a psycopg.Connection or a SQLAlchemy Session"
            )
        if not isinstance(session, psycopg.Connection):
            return None

        def execute(sql: str, values: Any) -> list[tuple[Any, ...]]:
            with psycopg.Cursor(session, row_factory=tuple_row) as cursor:
                return cursor.execute(sql.encode(), values).fetchall()

        return execute

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


def open_database(url: str) -> Database:
    """An engine for a PostgreSQL URL, whichever of its spellings is used."""
    parsed = parse_url(url).set(drivername="postgresql+psycopg")
    parsed = parsed.set(query={**CONNECT_OPTIONS, **parsed.query})
    engine = create_engine(parsed, isolation_level="READ COMMITTED", hide_parameters=True)
    return Database(engine, engine.execution_options(isolation_level="AUTOCOMMIT"))


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
    }
