"""The statements by which PostgreSQL stores jobs that have flow control."""

from __future__ import annotations

from jobqueue.adapters.postgres.schema_name import SchemaName
from jobqueue.adapters.sql.controlled_jobs import ControlledStatements
from jobqueue.adapters.sql.queries import JSON_COLUMNS, RECORD_NAMES

# As for all jobs, the ids ascend as the jobs do. A time comes as that of UTC.
INSERT = """
INSERT INTO {schema}.background_jobs
    (handler, args, queue, priority, max_attempts, run_at, created_at, updated_at, meta,
     state, line, terms, expires_at, unique_key, waiting_key, flow_id, flow_place)
SELECT job ->> 0, (job ->> 1)::json, job ->> 2, (job ->> 3)::int, (job ->> 4)::int,
       due.run_at, {now}, {now}, (job ->> 7)::json, job ->> 8, job ->> 9, (job ->> 10)::json,
       due.run_at + (job ->> 11)::float8 * interval '1 second', job ->> 12, job ->> 13,
       (job ->> 14)::bigint, (job ->> 15)::int
FROM json_array_elements(%(jobs)s::json) WITH ORDINALITY AS each (job, place)
CROSS JOIN LATERAL (
    SELECT coalesce((job ->> 5)::timestamp AT TIME ZONE 'UTC',
                    {now} + (job ->> 6)::float8 * interval '1 second') AS run_at) AS due
ORDER BY place
ON CONFLICT DO NOTHING
RETURNING id, run_at, created_at, unique_key, waiting_key
"""
FIND = """
SELECT {columns} FROM {schema}.background_jobs
WHERE {key} = %(key)s AND finished_at IS NULL
"""
CHANGE_WAITING = """
UPDATE {schema}.background_jobs
SET args = %(args)s::json, meta = %(meta)s::json, updated_at = {now},
    run_at = least({now} + %(delay)s::float8 * interval '1 second',
                   created_at + %(most)s::float8 * interval '1 second'),
    expires_at = least({now} + %(delay)s::float8 * interval '1 second',
                       created_at + %(most)s::float8 * interval '1 second')
                 + %(expires_in)s::float8 * interval '1 second'
WHERE waiting_key = %(key)s AND finished_at IS NULL AND state = 'gated'
RETURNING id
"""

# The lock is held until the caller's transaction is over, so that ids ascend in the order of the
# commits. The lines come sorted, so that two callers cannot wait for each other.
LOCK_LINES = """
SELECT pg_advisory_xact_lock(hashtextextended('jobqueue line ' || line, 0))
FROM json_array_elements_text(%(lines)s::json) AS wanted (line)
"""
# A key from further in the future than it would be held was taken while the clock was ahead.
HOLD_KEY = """
INSERT INTO {schema}.background_keys (key, job_id, fingerprint, expires_at, created_at)
VALUES (%(key)s, 0, '', {now} + %(lifetime)s::float8 * interval '1 second', {now})
ON CONFLICT (key) DO UPDATE
SET job_id = 0, expires_at = excluded.expires_at, created_at = excluded.created_at
WHERE background_keys.expires_at <= excluded.created_at
   OR background_keys.created_at > excluded.expires_at
RETURNING key
"""
NAME_HOLDER = """
UPDATE {schema}.background_keys SET job_id = %(job_id)s WHERE key = %(key)s RETURNING key
"""
FIND_HOLDER = "SELECT job_id, created_at FROM {schema}.background_keys WHERE key = %(key)s"
FIND_BY_ID = "SELECT {columns} FROM {schema}.background_jobs WHERE id = %(key)s"
FIND_FLOW = """
SELECT id FROM {schema}.background_flows
WHERE id = %(flow_id)s::bigint AND finished_at IS NULL AND cancelled_at IS NULL
"""
COLUMNS = ", ".join(f"{name}::text" if name in JSON_COLUMNS else name for name in RECORD_NAMES)


def controlled_statements(schema: SchemaName, now: str) -> ControlledStatements:
    """The statements, with an expression for the time."""
    find = {"columns": COLUMNS}
    return ControlledStatements(
        insert=schema.written_into(INSERT, now=now),
        find_unique=schema.written_into(FIND, key="unique_key", **find),
        find_waiting=schema.written_into(FIND, key="waiting_key", **find),
        change_waiting=schema.written_into(CHANGE_WAITING, now=now),
        hold_key=schema.written_into(HOLD_KEY, now=now),
        name_holder=schema.written_into(NAME_HOLDER),
        find_holder=schema.written_into(FIND_HOLDER),
        find_by_id=schema.written_into(FIND_BY_ID, **find),
        find_flow=schema.written_into(FIND_FLOW),
        lock_lines=LOCK_LINES,
    )
