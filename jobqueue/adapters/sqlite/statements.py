"""The statements by which SQLite enqueues, claims and settles jobs.

`{now}` and `{later}` are the database's time or, in tests, a clock's.
"""

from __future__ import annotations

from jobqueue.records import MOST_ATTEMPTS_KEPT

# One parameter carries the whole batch, so its size does not matter. Rows are inserted in the
# order of the SELECT, so the ids ascend as the jobs do.
ENQUEUE = """
INSERT INTO background_jobs
    (handler, args, queue, priority, max_attempts, run_at, created_at, updated_at, meta)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4,
       coalesce(value ->> 5, {later}), {now}, {now}, value ->> 7
FROM json_each(:jobs) ORDER BY key
RETURNING id, run_at, created_at
"""

INSERT = """
INSERT INTO background_jobs
    (handler, args, queue, priority, max_attempts, run_at, created_at, updated_at, meta)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

# The value of `{but}` for a worker that passes over jobs that it does not know.
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
    LIMIT {most_lanes}
),
due AS (
    SELECT id, max_attempts,
           length(CAST(args AS BLOB)) + coalesce(length(CAST(meta AS BLOB)), 0) AS bytes
    FROM background_jobs
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
    LIMIT {most_lanes}
),
due AS (
    SELECT job.id, job.max_attempts,
           length(CAST(job.args AS BLOB)) + coalesce(length(CAST(job.meta AS BLOB)), 0) AS bytes
    FROM lanes CROSS JOIN background_jobs AS job
    WHERE job.id IN (
        SELECT candidate.id FROM background_jobs AS candidate
        WHERE candidate.state = 'ready' AND candidate.queue = lanes.queue
          AND candidate.priority = lanes.priority AND candidate.run_at <= {now}{but}
        ORDER BY candidate.run_at, candidate.id LIMIT :limit)
    ORDER BY job.priority, job.run_at, job.id LIMIT :limit
)"""

# What there is of too many lanes is found by a walk over all that is ready, in the order of the
# claim, so many rows at a time.
_WALK = """
walked AS (
    SELECT id, queue, handler, priority, run_at, max_attempts, args, meta
    FROM background_jobs
    WHERE state = 'ready' {further} ORDER BY priority, run_at, id LIMIT {most_rows}
),
due AS (
    SELECT id, max_attempts,
           length(CAST(args AS BLOB)) + coalesce(length(CAST(meta AS BLOB)), 0) AS bytes
    FROM walked
    WHERE run_at <= {now}{but}{in_queues}
      AND queue NOT IN (SELECT value FROM json_each(:paused))
    ORDER BY priority, run_at, id LIMIT :limit
)"""
IN_QUEUES = " AND queue IN (SELECT value FROM json_each(:queues))"
FURTHER = """
AND (priority, run_at, id) > (SELECT priority, run_at, id FROM background_jobs WHERE id = :after)"""

# How many lanes or rows were looked at, and the last of the rows.
PRIORITIES_SEEN = "(SELECT count(*) FROM priorities), NULL"
LANES_SEEN = "(SELECT count(*) FROM lanes), NULL"
ROWS_SEEN = """(SELECT count(*) FROM walked),
    (SELECT id FROM walked ORDER BY priority DESC, run_at DESC, id DESC LIMIT 1)"""
MOST_LANES = 1000
MOST_ROWS = 5000

# Each step of a statement that Python takes lets go of the interpreter, and then waits for the job
# that is being performed meanwhile to do the same. So the rows come as one value, and are marked by
# a statement without any: four steps a turn instead of one for each job.
_FIND = """
SELECT CAST(json_group_array(json_array(
    id, CAST(handler AS TEXT), CAST(args AS TEXT), CAST(queue AS TEXT), CAST(priority AS INTEGER),
    min(CAST(attempts AS INTEGER), 2147483646) + 1, CAST(max_attempts AS INTEGER),
    CAST(crashes AS INTEGER), CAST(run_at AS TEXT), CAST(created_at AS TEXT),
    CAST(meta AS TEXT))) AS BLOB),
    {tally}
FROM background_jobs
WHERE id IN (
    SELECT id FROM (
        SELECT id, max_attempts, row_number() OVER one_by_one AS place,
               sum(bytes) OVER one_by_one AS bytes
        FROM due WINDOW one_by_one AS (ROWS UNBOUNDED PRECEDING))
    WHERE place <= :free_slots OR (max_attempts > 1 AND bytes <= :most_bytes))
"""
TEXT_PLACES = {"handler": 1, "args": 2, "queue": 3, "meta": 10}
FIND_IN_ALL_QUEUES = f"WITH RECURSIVE {_PRIORITIES} {_FIND}"
FIND_IN_QUEUES = f"WITH RECURSIVE {_LANES} {_FIND}"
FIND_BY_WALKING = f"WITH {_WALK} {_FIND}"
MARK_AS_RUNNING = """
UPDATE background_jobs
SET state = 'running', attempts = min(CAST(attempts AS INTEGER), 2147483646) + 1,
    locked_by = :worker_id, claim_token = :token, locked_at = :now, updated_at = :now,
    handler = CAST(handler AS TEXT), queue = CAST(queue AS TEXT)
WHERE id IN (SELECT value FROM json_each(:ids))
"""
# Names that are no UTF-8 would not be found by the names that they are shown as.
MEND_NAMES = "UPDATE background_jobs SET handler = :handler, queue = :queue WHERE id = :id"

# No name of a queue equals bytes. In the index these come after all text.
MEND_QUEUES = """
UPDATE background_jobs SET queue = CAST(queue AS TEXT) WHERE state = 'ready' AND queue >= x''"""

PAUSED = "SELECT CAST(name AS TEXT) FROM background_queues WHERE paused_at IS NOT NULL"
READY_QUEUES = f"""
WITH RECURSIVE ready_queues (queue) AS (
    SELECT (SELECT queue FROM background_jobs WHERE state = 'ready' ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT job.queue FROM background_jobs AS job
            WHERE job.state = 'ready' AND job.queue > ready_queues.queue
            ORDER BY job.queue LIMIT 1)
    FROM ready_queues WHERE ready_queues.queue IS NOT NULL
    LIMIT {MOST_LANES}
)
SELECT CAST(queue AS BLOB) FROM ready_queues WHERE queue IS NOT NULL
"""  # noqa: S608 - composed of constants

# The comparison in it is the fence: what it returns is what was asked about, not what the row says.
HELD = """
SELECT mine.value ->> 0, mine.value ->> 1,
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
# The rule of `settlement.py` is written out here for speed: one statement runs for all changes.
# A job that becomes ready, and that somebody has cancelled, ends cancelled and keeps the reason.
CHANGE = """
UPDATE background_jobs
SET state = CASE WHEN :state IN ('ready', 'gated') AND cancel_requested_at IS NOT NULL
                 THEN 'cancelled' ELSE :state END,
    attempts = CAST(attempts AS INTEGER) - :refund,
    run_at = CASE WHEN :delay IS NULL THEN run_at ELSE {later} END,
    last_error = CASE WHEN :keeps_error
                           OR :state IN ('ready', 'gated') AND cancel_requested_at IS NOT NULL
                      THEN last_error ELSE :error END,
    error_key = CASE WHEN :keeps_error
                          OR :state IN ('ready', 'gated') AND cancel_requested_at IS NOT NULL
                     THEN error_key ELSE :error_key END,
    started_at = CASE WHEN :run_seconds IS NULL THEN started_at ELSE {started} END,
    run_seconds = coalesce(:run_seconds, run_seconds),
    performed_by = CASE WHEN :run_seconds IS NULL THEN performed_by ELSE locked_by END,
    progress = coalesce(:progress, progress),
    result = :result,
    failed_at = CASE WHEN :failed THEN {now} END,
    finished_at = CASE WHEN :finished OR cancel_requested_at IS NOT NULL THEN {now} END,
    locked_at = NULL, locked_by = NULL, claim_token = NULL, updated_at = {now}
WHERE id = :id
"""

# Each attempt that has not succeeded gets the place after the job's last one. The first attempt
# stays, and the newest.
NOTE = """
INSERT OR IGNORE INTO background_attempts
    (job_id, place, number, worker_id, started_at, ended_at, outcome, error, error_key)
SELECT job.id, 1 + coalesce((SELECT max(place) FROM background_attempts
                             WHERE job_id = job.id AND place < 2147483647), 0),
       min(CAST(job.attempts AS INTEGER), 2147483646) + (ended.value ->> 1), job.performed_by,
       job.started_at, job.updated_at, ended.value ->> 2,
       coalesce(ended.value ->> 3, job.last_error), ended.value ->> 4
FROM json_each(:ended) AS ended CROSS JOIN background_jobs AS job ON job.id = ended.value ->> 0
"""
FORGET_TOO_MANY = f"""
DELETE FROM background_attempts
WHERE job_id IN (SELECT value ->> 0 FROM json_each(:ended)) AND place > 1
  AND place <= (SELECT max(place) FROM background_attempts AS mine
                WHERE mine.job_id = background_attempts.job_id AND mine.place < 2147483647)
               - {MOST_ATTEMPTS_KEPT - 1}
"""  # noqa: S608 - composed of constants
FORGET = """
DELETE FROM background_attempts WHERE job_id IN (SELECT value FROM json_each(:ids))"""
