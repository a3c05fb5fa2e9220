"""The statements by which PostgreSQL enqueues and settles jobs.

Those that claim are in `claim_statements.py`.

They are written out, and run in psycopg's own style, because their plans are what keeps a claim
fast (`docs/architecture.md` explains each) and because a caller's bare psycopg connection has to
be able to run them as well. `{now}` is the database's time or, in tests, a clock's. `{schema}` is
where the tables are.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobqueue.adapters.postgres.announcer import CHANNEL
from jobqueue.adapters.postgres.claim_statements import BUT, ClaimStatements
from jobqueue.adapters.postgres.copy_format import COPY, RESERVE
from jobqueue.adapters.postgres.limits import WAITING_WITHIN_TRANSACTION, WAITING_WITHIN_TURN
from jobqueue.adapters.postgres.schema_name import SchemaName
from jobqueue.records import MOST_ATTEMPTS_KEPT

# Identity values are given out in the order of the SELECT, so the ids ascend as the jobs do.
ENQUEUE = """
INSERT INTO {schema}.background_jobs
    (handler, args, queue, priority, max_attempts, run_at, created_at, updated_at, meta)
SELECT handler, args::json, queue, priority, max_attempts,
       coalesce(run_at, {now} + delay * interval '1 second'), {now}, {now}, meta::json
FROM unnest(%(handlers)s::text[], %(args)s::text[], %(queues)s::text[], %(priorities)s::int[],
            %(max_attempts)s::int[], %(run_ats)s::timestamptz[], %(delays)s::float8[],
            %(metas)s::text[])
     WITH ORDINALITY
     AS job (handler, args, queue, priority, max_attempts, run_at, delay, meta, place)
ORDER BY place
RETURNING id, run_at, created_at
"""

ENQUEUE_ONE = """
INSERT INTO {schema}.background_jobs
    (handler, args, queue, priority, max_attempts, run_at, created_at, updated_at, meta)
VALUES (%(handler)s, %(args)s::json, %(queue)s, %(priority)s, %(max_attempts)s,
        coalesce(%(run_at)s::timestamptz, {now} + %(delay)s::float8 * interval '1 second'),
        {now}, {now}, %(meta)s::json)
RETURNING id, run_at, created_at
"""

# The notification goes out with the commit: one disk write instead of two, and one way to the
# server. Its lock is held for one job at a time only, since of a stream of jobs few are announced.
ENQUEUE_ONE_AND_NOTIFY = f"""
WITH stored AS ({ENQUEUE_ONE})
SELECT id, run_at, created_at, pg_notify({CHANNEL}, json_build_object(
    'queues', json_build_array(%(queue)s::text), 'jobs', 1, 'more', %(more)s::bool,
    'lowest', json_build_array(%(priority)s::int, run_at, id))::text)
FROM stored
"""  # noqa: S608 - composed of constants

# The rows to settle: all of them, or those that nobody else has locked.
ROWS = "%(ids)s::bigint[]"
ROWS_TO_REMOVE = """ARRAY(
    SELECT id FROM {schema}.background_jobs
    WHERE id = ANY (%(ids)s::bigint[]) FOR UPDATE SKIP LOCKED)"""
ROWS_TO_CHANGE = ROWS_TO_REMOVE.replace("FOR UPDATE", "FOR NO KEY UPDATE")

# One statement for each token of a batch: a join with the pairs takes three times as long.
REMOVE = """
DELETE FROM {schema}.background_jobs
WHERE {limited} AND id = ANY ({rows}) AND claim_token = %(token)s
RETURNING id, claim_token
"""

# The attempts at a job go with it. Few jobs have any, so that most batches do not look for them.
# One that somebody has locked stays until it is too old.
REMOVE_AND_FORGET = f"""
WITH removed AS ({REMOVE}),
forgotten AS (
    DELETE FROM {{schema}}.background_attempts WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM {{schema}}.background_attempts WHERE job_id = ANY (ARRAY(
            SELECT id FROM removed WHERE id = ANY (%(tried_before)s::bigint[])))
        FOR UPDATE SKIP LOCKED))
)
SELECT id, claim_token FROM removed
"""  # noqa: S608 - composed of constants

# The rule of `settlement.py` is written out here for speed: a batch is one statement, whatever its
# outcomes. A job that becomes ready, and that somebody has cancelled, ends cancelled and keeps the
# reason, which is in `last_error`.
CHANGE = """
UPDATE {schema}.background_jobs AS job
SET state = CASE WHEN mine.state IN ('ready', 'gated') AND job.cancel_requested_at IS NOT NULL
                 THEN 'cancelled' ELSE mine.state END,
    attempts = greatest(job.attempts, -2147483647) - mine.refund,
    run_at = coalesce({now} + mine.delay * interval '1 second', job.run_at),
    last_error = CASE WHEN mine.keeps_error OR mine.state IN ('ready', 'gated')
                           AND job.cancel_requested_at IS NOT NULL
                      THEN job.last_error ELSE mine.error END,
    error_key = CASE WHEN mine.keeps_error OR mine.state IN ('ready', 'gated')
                          AND job.cancel_requested_at IS NOT NULL
                     THEN job.error_key ELSE mine.error_key END,
    started_at = coalesce({now} - mine.run_seconds * interval '1 second', job.started_at),
    run_seconds = coalesce(mine.run_seconds, job.run_seconds),
    performed_by = CASE WHEN mine.run_seconds IS NULL THEN job.performed_by
                        ELSE job.locked_by END,
    progress = coalesce(mine.progress::json, job.progress),
    result = mine.result::json,
    failed_at = CASE WHEN mine.state = 'failed' THEN {now} END,
    finished_at = CASE WHEN mine.state NOT IN ('ready', 'gated')
                            OR job.cancel_requested_at IS NOT NULL
                       THEN {now} END,
    locked_at = NULL, locked_by = NULL, claim_token = NULL, updated_at = {now}
FROM unnest(%(ids)s::bigint[], %(tokens)s::bigint[], %(states)s::text[], %(refunds)s::int[],
            %(delays)s::float8[], %(errors)s::text[], %(keeps_errors)s::bool[],
            %(results)s::text[], %(progresses)s::text[], %(run_seconds)s::float8[],
            %(error_keys)s::text[], %(ended)s::text[])
     AS mine (id, token, state, refund, delay, error, keeps_error, result, progress,
              run_seconds, error_key, ended)
WHERE {limited} AND job.id = ANY ({rows})
      AND job.id = mine.id AND job.claim_token = mine.token
RETURNING mine.id, mine.token,
          CASE WHEN job.state = 'cancelled' AND job.cancel_requested_at IS NOT NULL
                    AND (mine.state IN ('ready', 'gated') OR mine.keeps_error)
               THEN coalesce(job.last_error, '') END AS reason
"""

# Each attempt that has not succeeded gets the place after the job's last one. The first attempt
# stays, and the newest: the one that would be too many goes, found by its key.
CHANGE_AND_NOTE = f"""
WITH changed AS ({CHANGE},
    least(job.attempts, 2147483646) + mine.refund AS number, job.performed_by, job.started_at,
    job.updated_at, mine.ended, coalesce(mine.error, job.last_error) AS error, mine.error_key
),
noted AS (
    SELECT *, 1 + coalesce((
        SELECT max(place) FROM {{schema}}.background_attempts
        WHERE job_id = changed.id AND place < 2147483647), 0) AS place
    FROM changed WHERE ended IS NOT NULL
),
stored AS (
    INSERT INTO {{schema}}.background_attempts
        (job_id, place, number, worker_id, started_at, ended_at, outcome, error, error_key)
    SELECT id, place, number, performed_by, started_at, updated_at, ended, error, error_key
    FROM noted
    ON CONFLICT DO NOTHING
),
forgotten AS (
    DELETE FROM {{schema}}.background_attempts WHERE ctid = ANY (ARRAY(
        SELECT one_too_many.ctid FROM noted CROSS JOIN LATERAL (
            SELECT ctid FROM {{schema}}.background_attempts
            WHERE job_id = noted.id AND place = noted.place - {MOST_ATTEMPTS_KEPT - 1}
            LIMIT 1 FOR UPDATE SKIP LOCKED) AS one_too_many
        WHERE noted.place > {MOST_ATTEMPTS_KEPT}))
)
SELECT id, token, reason FROM changed
"""  # noqa: S608 - composed of constants

# What is still held when what is not locked has been settled.
STILL_HELD = """
SELECT job.id, job.claim_token
FROM unnest(%(ids)s::bigint[], %(tokens)s::bigint[]) AS mine (id, token)
JOIN {schema}.background_jobs AS job ON job.id = mine.id AND job.claim_token = mine.token
WHERE job.id = ANY (%(ids)s::bigint[])
"""


@dataclass(frozen=True, slots=True)
class SettleStatements:
    """The statements that settle a batch of jobs."""

    remove: str
    remove_and_forget: str
    change: str
    change_and_note: str

    @classmethod
    def _of(
        cls, schema: SchemaName, to_remove: str = ROWS, to_change: str = ROWS, **values: str
    ) -> SettleStatements:
        return cls(
            remove=schema.written_into(REMOVE, rows=to_remove, **values),
            remove_and_forget=schema.written_into(REMOVE_AND_FORGET, rows=to_remove, **values),
            change=schema.written_into(CHANGE, rows=to_change, **values),
            change_and_note=schema.written_into(CHANGE_AND_NOTE, rows=to_change, **values),
        )

    @classmethod
    def within_turn(cls, schema: SchemaName, now: str) -> SettleStatements:
        """The statements of a turn. `now` is the SQL expression for the time."""
        return cls._of(schema, now=now, limited=WAITING_WITHIN_TURN)

    @classmethod
    def passing_over(cls, schema: SchemaName, now: str) -> SettleStatements:
        """The statements that pass over rows which somebody else has locked."""
        to_remove, to_change = map(schema.written_into, (ROWS_TO_REMOVE, ROWS_TO_CHANGE))
        return cls._of(schema, to_remove, to_change, now=now, limited=WAITING_WITHIN_TURN)

    @classmethod
    def within_transaction(cls, schema: SchemaName, now: str) -> SettleStatements:
        """The statements that end a job's own transaction, which may take as long as the job."""
        return cls._of(schema, now=now, limited=WAITING_WITHIN_TRANSACTION)


@dataclass(frozen=True, slots=True)
class PathStatements:
    """The statements of a job's path, over the tables of a schema."""

    enqueue: str
    enqueue_one: str
    enqueue_one_and_notify: str
    reserve: str
    copy: str
    still_held: str
    settling: SettleStatements
    settling_unlocked: SettleStatements
    settling_within: SettleStatements
    claiming: ClaimStatements
    claiming_but: ClaimStatements

    @classmethod
    def of(cls, schema: SchemaName, now: str) -> PathStatements:
        """The statements with an expression for the time."""
        return cls(
            enqueue=schema.written_into(ENQUEUE, now=now),
            enqueue_one=schema.written_into(ENQUEUE_ONE, now=now),
            enqueue_one_and_notify=schema.written_into(ENQUEUE_ONE_AND_NOTIFY, now=now),
            reserve=schema.written_into(RESERVE, now=now),
            # It has no values, so that the driver takes nothing in it for a placeholder.
            copy=schema.written_into(COPY).replace("%%", "%"),
            still_held=schema.written_into(STILL_HELD),
            settling=SettleStatements.within_turn(schema, now),
            settling_unlocked=SettleStatements.passing_over(schema, now),
            settling_within=SettleStatements.within_transaction(schema, now),
            claiming=ClaimStatements.of(schema, now),
            claiming_but=ClaimStatements.of(schema, now, BUT),
        )
