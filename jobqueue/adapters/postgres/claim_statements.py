"""The statements by which PostgreSQL finds lanes and claims jobs from them.

A lane is a priority, or a priority within a queue, in which jobs are due; see `low_water.py`. A
claim takes jobs from each lane in turn, from the lane's mark on.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobqueue.adapters.postgres.limits import WITHIN_TURN
from jobqueue.adapters.postgres.schema_name import SchemaName
from jobqueue.adapters.sql.tables import DAWN, DUSK

NOTHING_IS_PAUSED = """NOT EXISTS (
    SELECT FROM {schema}.background_queues WHERE paused_at IS NOT NULL)"""
# The value of `{but}` for a worker that passes over jobs that it does not know. A look walks over
# such jobs, for no more than its share of the time.
BUT = " AND handler <> ALL (%(passing_over)s::text[])"

_IS_NOT_PAUSED = """NOT EXISTS (
    SELECT FROM {schema}.background_queues WHERE name = queue AND paused_at IS NOT NULL)"""

# A look tells when its search began, which is after it has got its locks, and when it was over. The
# parts of a UNION ALL come one after the other.
_BEGUN = """
SELECT NULL AS queue, NULL::int AS priority, clock_timestamp() AS run_at, NULL::bigint AS id,
       NULL::bool AS may_run
UNION ALL"""
_ENDED = """UNION ALL
SELECT NULL, NULL, clock_timestamp(), NULL, NULL
"""
MOST_LANES = 2000
"""How many lanes a look goes through. Anybody may make as many as there are jobs."""

# One probe of an index for each lane, each finding the first job in it. (The claim index begins
# with the priority, so a range of run_at alone would cut nothing off: a million jobs of a low
# priority number waiting for tomorrow would be walked over.)
LOOK_EVERYWHERE = f"""
WITH RECURSIVE priorities (priority, run_at, id) AS (
    (SELECT priority, run_at, id FROM {{schema}}.background_jobs
     WHERE state = 'ready' AND {NOTHING_IS_PAUSED}{{but}}
     ORDER BY priority, run_at, id LIMIT 1)
    UNION ALL
    SELECT following.* FROM priorities CROSS JOIN LATERAL (
        SELECT job.priority, job.run_at, job.id FROM {{schema}}.background_jobs AS job
        WHERE job.state = 'ready' AND job.priority > priorities.priority{{but}}
        ORDER BY job.priority, job.run_at, job.id LIMIT 1) AS following
),
lanes (queue, priority, run_at, id) AS (
    (SELECT queue, priority, run_at, id FROM {{schema}}.background_jobs
     WHERE state = 'ready' AND NOT {NOTHING_IS_PAUSED}{{but}}
     ORDER BY queue, priority, run_at, id LIMIT 1)
    UNION ALL
    SELECT following.* FROM lanes CROSS JOIN LATERAL (
        SELECT job.queue, job.priority, job.run_at, job.id FROM {{schema}}.background_jobs AS job
        WHERE job.state = 'ready'
          AND (job.queue, job.priority) > (lanes.queue, lanes.priority){{but}}
        ORDER BY job.queue, job.priority, job.run_at, job.id LIMIT 1) AS following
)
{_BEGUN}
(SELECT NULL AS queue, priority, run_at, id, run_at <= {{now}} FROM priorities
 LIMIT {MOST_LANES})
UNION ALL
(SELECT queue, priority, run_at, id, run_at <= {{now}} AND {_IS_NOT_PAUSED} FROM lanes
 LIMIT {MOST_LANES})
{_ENDED}"""  # noqa: S608 - composed of constants

LOOK_IN_QUEUES = f"""
WITH RECURSIVE wanted (queue) AS (
    SELECT queue FROM unnest(%(queues)s::text[]) AS listed (queue) WHERE {_IS_NOT_PAUSED}
),
lanes (queue, priority, run_at, id) AS (
    SELECT first.* FROM wanted CROSS JOIN LATERAL (
        SELECT job.queue, job.priority, job.run_at, job.id FROM {{schema}}.background_jobs AS job
        WHERE job.state = 'ready' AND job.queue = wanted.queue{{but}}
        ORDER BY job.priority, job.run_at, job.id LIMIT 1) AS first
    UNION ALL
    SELECT following.* FROM lanes CROSS JOIN LATERAL (
        SELECT job.queue, job.priority, job.run_at, job.id FROM {{schema}}.background_jobs AS job
        WHERE job.state = 'ready' AND job.queue = lanes.queue
          AND job.priority > lanes.priority{{but}}
        ORDER BY job.priority, job.run_at, job.id LIMIT 1) AS following
)
{_BEGUN}
(SELECT queue, priority, run_at, id, run_at <= {{now}} FROM lanes LIMIT {MOST_LANES})
{_ENDED}"""  # noqa: S608 - composed of constants

# Where there are more lanes, those are found that the next thousands of ready jobs are in. The last
# row but one is where the next look goes on.
LOOK_ALONG = f"""
WITH walked AS MATERIALIZED (
    SELECT queue, handler, priority, run_at, id FROM {{schema}}.background_jobs
    WHERE state = 'ready'
      AND (priority, run_at, id)
        > (%(priority)s::int, %(run_at)s::timestamptz, %(id)s::bigint)
    ORDER BY priority, run_at, id LIMIT {{most_rows}}
),
lanes AS (
    SELECT DISTINCT ON (priority, queue) queue, priority, run_at, id FROM walked
    WHERE run_at <= {{now}} AND {_IS_NOT_PAUSED}{{in_queues}}{{but}}
    ORDER BY priority, queue, run_at, id
),
beyond AS (SELECT priority, run_at, id FROM walked ORDER BY priority, run_at, id
           OFFSET {{most_rows}} - 1)
{_BEGUN}
(SELECT queue, priority, run_at, id, true FROM lanes ORDER BY priority, run_at, id
 LIMIT {MOST_LANES})
UNION ALL
SELECT NULL, priority, run_at, id, false FROM beyond
{_ENDED}"""  # noqa: S608 - composed of constants
MOST_ROWS = 5000
AMONG_QUEUES = " AND queue = ANY (%(queues)s::text[])"

# The lanes are pulled one by one, the most urgent first, until there are enough; nothing is locked
# in vain.
_FROM_LANES = """
due AS MATERIALIZED (
    SELECT first.id, first.max_attempts, first.bytes
    FROM unnest(%(priorities)s::int[], %(run_ats)s::timestamptz[], %(ids)s::bigint[])
         AS lane (priority, run_at, id)
    CROSS JOIN LATERAL (
        SELECT job.id, job.max_attempts, {bytes} AS bytes
        FROM {schema}.background_jobs AS job
        WHERE job.state = 'ready' AND job.priority = lane.priority AND {in_queue}
          AND (job.run_at, job.id) >= (lane.run_at, lane.id) AND job.run_at <= {now}{but}
        ORDER BY job.run_at, job.id
        LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ) AS first
    WHERE {may_run}
    LIMIT %(limit)s
)"""

# With several queues the oldest of all their lanes come first. Candidates are taken from each
# without a lock, more than needed since other workers look at the same ones, and the best of them
# are locked. (`queue = ANY(…)` in one scan walks all that is due elsewhere.) Lanes of the same
# priority share in what is needed, or ten queues would cost ten times as much as one.
_FROM_LANES_OF_QUEUES = """
candidates AS MATERIALIZED (
    SELECT candidate.id, candidate.priority, candidate.run_at
    FROM unnest(%(queues)s::text[], %(priorities)s::int[], %(run_ats)s::timestamptz[],
                %(ids)s::bigint[], %(shares)s::int[]) AS lane (queue, priority, run_at, id, share)
    CROSS JOIN LATERAL (
        SELECT job.id, job.priority, job.run_at FROM {schema}.background_jobs AS job
        WHERE job.state = 'ready' AND job.queue = lane.queue AND job.priority = lane.priority
          AND (job.run_at, job.id) >= (lane.run_at, lane.id) AND job.run_at <= {now}{but}
        ORDER BY job.run_at, job.id
        LIMIT lane.share
    ) AS candidate
    WHERE {may_run}
),
due AS MATERIALIZED (
    SELECT job.id, job.max_attempts, {bytes} AS bytes
    FROM {schema}.background_jobs AS job
    WHERE job.state = 'ready' AND job.run_at <= {now} AND job.id = ANY (ARRAY(
        SELECT id FROM candidates ORDER BY priority, run_at, id LIMIT %(limit)s * 2 + 10))
    ORDER BY job.priority, job.run_at, job.id
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)"""

# `= ANY (ARRAY(…))` rather than a join: with LIMIT a parameter, the planner tips over to a hash
# join with the whole table. A job of a single attempt is taken for a free slot only, and others as
# long as there is room for arguments and meta. Mostly all are taken; they are not numbered then.
# Reading a time takes Python longer than reading any other column, and most times are known: jobs
# of one claim are locked at the same moment, and most are due when they are enqueued.
_MARK_AS_RUNNING = f"""
numbered AS (
    SELECT id, max_attempts, row_number() OVER one_by_one AS place,
           sum(bytes) OVER one_by_one AS bytes
    FROM due WINDOW one_by_one AS (ROWS UNBOUNDED PRECEDING)
),
chosen AS (
    SELECT id FROM due
    WHERE (SELECT min(max_attempts) > 1 AND sum(bytes) <= %(most_bytes)s FROM due)
       OR id IN (SELECT id FROM numbered
                 WHERE place <= %(free_slots)s OR (max_attempts > 1 AND bytes <= %(most_bytes)s))
)
UPDATE {{schema}}.background_jobs
SET state = 'running', attempts = least(attempts, 2147483646) + 1, locked_by = %(worker_id)s,
    claim_token = %(token)s, locked_at = {{now}}, updated_at = {{now}}
WHERE {WITHIN_TURN} AND id = ANY (ARRAY(SELECT id FROM chosen))
RETURNING id, handler, args::text, queue, priority, attempts, max_attempts, crashes,
          {{run_at}}, nullif({{created_at}}, {{run_at}}), meta::text,
          date_part('epoch', locked_at)
"""  # noqa: S608 - composed of constants

# A time written by hand may be '-infinity', or in 44 BC. The job is claimed, its time is `DAWN`.
_TELLABLE = f"greatest(least({{}}, '{DUSK}'), '{DAWN}')"
_MARK = _MARK_AS_RUNNING.format(
    now="{now}",
    schema="{schema}",
    run_at=_TELLABLE.format("run_at"),
    created_at=_TELLABLE.format("created_at"),
)

# What a claimed job brings along. Most have no meta, and pay nothing for it.
_BYTES = "octet_length(job.args::text) + coalesce(octet_length(job.meta::text), 0)"
_LATER = {"now": "{now}", "but": "{but}", "schema": "{schema}", "bytes": _BYTES}
_NO_QUEUE = {"in_queue": "true", "may_run": NOTHING_IS_PAUSED, **_LATER}
_ONE_QUEUE = {
    "in_queue": "job.queue = %(queue)s",
    "may_run": _IS_NOT_PAUSED.replace("= queue", "= %(queue)s"),
    **_LATER,
}
_QUEUES = {"may_run": _IS_NOT_PAUSED.replace("= queue", "= lane.queue"), **_LATER}
CLAIM_EVERYWHERE = f"WITH {_FROM_LANES.format(**_NO_QUEUE)}, {_MARK}"
CLAIM_IN_QUEUE = f"WITH {_FROM_LANES.format(**_ONE_QUEUE)}, {_MARK}"
CLAIM_IN_QUEUES = f"WITH {_FROM_LANES_OF_QUEUES.format(**_QUEUES)}, {_MARK}"


@dataclass(frozen=True, slots=True)
class ClaimStatements:
    """The SQL texts of looks and of claims, in all queues, in one, and in several."""

    look_everywhere: str
    look_in_queues: str
    look_along: str
    look_along_queues: str
    claim_everywhere: str
    claim_in_queue: str
    claim_in_queues: str

    @classmethod
    def of(cls, schema: SchemaName, now: str, but: str = "") -> ClaimStatements:
        """The statements, with an expression for the time and one more condition on jobs."""
        templates = (
            LOOK_EVERYWHERE,
            LOOK_IN_QUEUES,
            LOOK_ALONG,
            LOOK_ALONG.replace("{in_queues}", AMONG_QUEUES),
            CLAIM_EVERYWHERE,
            CLAIM_IN_QUEUE,
            CLAIM_IN_QUEUES,
        )
        values = {"now": now, "but": but, "in_queues": "", "most_rows": str(MOST_ROWS)}
        return cls(*(schema.written_into(template, **values) for template in templates))
