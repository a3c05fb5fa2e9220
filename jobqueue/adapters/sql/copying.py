"""Many jobs at once into PostgreSQL by COPY, which is twice as fast as INSERT.

COPY returns nothing, so the ids are drawn from the column's sequence before: an identity column
takes values that COPY brings, whether it is `ALWAYS` or not.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice

from jobqueue.records import NewJob

# Materialized, or the name of the sequence would be looked up for every id.
RESERVE = """
WITH ids AS MATERIALIZED (
    SELECT pg_get_serial_sequence('background_jobs', 'id')::regclass AS sequence
)
SELECT array_agg(nextval(ids.sequence)), {now} FROM ids, generate_series(1, %(number)s)
"""
COPY = """
COPY background_jobs (id, handler, args, queue, priority, max_attempts, run_at,
                      created_at, updated_at) FROM STDIN
"""
ROWS_PER_CHUNK = 500
SPECIAL = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def lines_of(jobs: Sequence[NewJob], ids: Sequence[int], now: datetime) -> Iterator[str]:
    """The jobs in COPY's text format, in chunks."""
    lines = (_line(job, job_id, now) for job, job_id in zip(jobs, ids, strict=True))
    while chunk := "".join(islice(lines, ROWS_PER_CHUNK)):
        yield chunk


def _line(job: NewJob, job_id: int, now: datetime) -> str:
    # JSON text has no bare tabs or line breaks; only its backslashes mean something to COPY.
    args = job.args.replace("\\", "\\\\") if "\\" in job.args else job.args
    run_at, created_at = _moment(job.run_at or now + job.delay), _moment(now)
    return (
        f"{job_id}\t{_text(job.handler)}\t{args}\t{_text(job.queue)}\t{job.priority}\t"
        f"{job.max_attempts}\t{run_at}\t{created_at}\t{created_at}\n"
    )


@functools.lru_cache(maxsize=1000)
def _text(value: str) -> str:
    return value.translate(SPECIAL)


@functools.lru_cache(maxsize=1000)
def _moment(value: datetime) -> str:
    return value.isoformat()
