"""The statements by which SQLite stores jobs that have flow control."""

from __future__ import annotations

from jobqueue.adapters.sql.controlled_jobs import ControlledStatements
from jobqueue.adapters.sql.queries import JSON_COLUMNS, RECORD_NAMES
from jobqueue.adapters.sqlite.time import SqliteTime

# `WHERE true` tells SQLite that `ON` belongs to no join.
INSERT = """
INSERT INTO background_jobs
    (handler, args, queue, priority, max_attempts, run_at, created_at, updated_at, meta,
     state, line, terms, expires_at, unique_key, waiting_key, flow_id, flow_place)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, run_at, {now}, {now},
       value ->> 7, value ->> 8, value ->> 9, value ->> 10,
       CASE WHEN value ->> 11 IS NOT NULL THEN {expiry} END, value ->> 12, value ->> 13,
       value ->> 14, value ->> 15
FROM (SELECT key, value, coalesce(value ->> 5, {later}) AS run_at FROM json_each(:jobs))
WHERE true ORDER BY key
ON CONFLICT DO NOTHING
RETURNING id, run_at, created_at, unique_key, waiting_key
"""
EXPIRY = """
strftime('%Y-%m-%d %H:%M:%f', run_at, printf('%+.3f seconds', value ->> 11)) || '000'"""
FIND = """
SELECT {columns} FROM background_jobs WHERE {key} = :key AND finished_at IS NULL
"""
CHANGE_WAITING = """
UPDATE background_jobs
SET args = :args, meta = :meta, updated_at = {now},
    run_at = {due},
    expires_at = CASE WHEN :expires_in IS NOT NULL THEN strftime(
        '%Y-%m-%d %H:%M:%f', {due}, printf('%+.3f seconds', :expires_in)) || '000' END
WHERE waiting_key = :key AND finished_at IS NULL AND state = 'gated'
RETURNING id
"""
DUE = """CASE WHEN :most IS NULL THEN {later} ELSE min({later}, strftime(
        '%Y-%m-%d %H:%M:%f', created_at, printf('%+.3f seconds', :most)) || '000') END"""
# A key from further in the future than it would be held was taken while the clock was ahead.
HOLD_KEY = """
INSERT INTO background_keys (key, job_id, fingerprint, expires_at, created_at)
VALUES (:key, 0, '', {later}, {now})
ON CONFLICT (key) DO UPDATE
SET job_id = 0, expires_at = excluded.expires_at, created_at = excluded.created_at
WHERE background_keys.expires_at <= excluded.created_at
   OR background_keys.created_at > excluded.expires_at
RETURNING key
"""
NAME_HOLDER = "UPDATE background_keys SET job_id = :job_id WHERE key = :key RETURNING key"
FIND_HOLDER = "SELECT job_id, created_at FROM background_keys WHERE key = :key"
FIND_BY_ID = "SELECT {columns} FROM background_jobs WHERE id = :key"
FIND_FLOW = """
SELECT id FROM background_flows
WHERE id = :flow_id AND finished_at IS NULL AND cancelled_at IS NULL
"""
COLUMNS = ", ".join(
    f"CAST({name} AS TEXT)" if name in JSON_COLUMNS else name for name in RECORD_NAMES
)


def controlled_statements(time: SqliteTime) -> ControlledStatements:
    """The statements, with the expressions for the time."""
    now, later = time.now_sql, time.later_sql
    return ControlledStatements(
        insert=INSERT.format(now=now, later=later("(value ->> 6)"), expiry=EXPIRY),
        find_unique=FIND.format(key="unique_key", columns=COLUMNS),
        find_waiting=FIND.format(key="waiting_key", columns=COLUMNS),
        hold_key=HOLD_KEY.format(now=now, later=later(":lifetime")),
        name_holder=NAME_HOLDER,
        find_holder=FIND_HOLDER,
        find_by_id=FIND_BY_ID.format(columns=COLUMNS),
        find_flow=FIND_FLOW,
        change_waiting=CHANGE_WAITING.format(now=now, due=DUE.format(later=later(":delay"))),
    )
