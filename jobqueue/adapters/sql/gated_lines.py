"""The lines of jobs that wait at gates, and the jobs at their heads.

The index is (queue, line, priority, run_at, id). A head is a priority within a line. Each is found
by one probe, whatever waits in it, and so are the due jobs behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import BigInteger, Connection, bindparam

from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.readings import whole
from jobqueue.adapters.sql.tables import UtcDateTime, to_name, to_utc
from jobqueue.adapters.sql.terms import terms_in
from jobqueue.records import NO_TERMS, AfterFailure, Terms

MOST_GATED_QUEUES = 1000
LOWEST_PRIORITY = -(2**31) - 1
BEFORE_ALL_LINES = ("", LOWEST_PRIORITY)

_TIME = bindparam("now", type_=UtcDateTime)
_AFTER = bindparam("priority", type_=BigInteger())

GATED_QUEUES = Named(f"""
WITH RECURSIVE gated (queue) AS (
    SELECT (SELECT queue FROM {{schema}}.background_jobs WHERE state = 'gated'
            ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT job.queue FROM {{schema}}.background_jobs AS job
            WHERE job.state = 'gated' AND job.queue > gated.queue ORDER BY job.queue LIMIT 1)
    FROM gated WHERE gated.queue IS NOT NULL
)
SELECT queue, EXISTS (
    SELECT 1 FROM {{schema}}.background_queues AS other
    WHERE other.name = gated.queue AND other.paused_at IS NOT NULL) AS is_paused
FROM gated WHERE queue IS NOT NULL LIMIT {MOST_GATED_QUEUES}
""")  # noqa: S608 - of constants

HEADS = Named(
    """
WITH RECURSIVE heads (id, number) AS (
    SELECT (SELECT id FROM {schema}.background_jobs
            WHERE state = 'gated' AND queue = :queue AND (line, priority) > (:line, :priority)
            ORDER BY line, priority, run_at, id LIMIT 1), 1
    UNION ALL
    SELECT (SELECT job.id FROM {schema}.background_jobs AS job
            WHERE job.state = 'gated' AND job.queue = :queue
              AND (job.line, job.priority) > (head.line, head.priority)
            ORDER BY job.line, job.priority, job.run_at, job.id LIMIT 1), heads.number + 1
    FROM heads JOIN {schema}.background_jobs AS head ON head.id = heads.id
    WHERE heads.number < :most
)
SELECT head.line, head.priority, head.run_at, CAST(head.terms AS TEXT) AS terms
FROM heads JOIN {schema}.background_jobs AS head ON head.id = heads.id
ORDER BY heads.number
""",
    _AFTER,
)

# The first unfinished job of an ordered line, if it waits and is due. Jobs of a line may be in
# several queues and of several priorities: their order is that of their ids.
FIRST_IN_ORDER = Named(
    """
SELECT first.id, first.terms FROM (
    SELECT id, queue, state, run_at, expires_at, CAST(terms AS TEXT) AS terms
    FROM {schema}.background_jobs
    WHERE line = :line AND finished_at IS NULL ORDER BY id LIMIT 1) AS first
WHERE first.state = 'gated' AND first.queue = :queue AND first.run_at <= :now
  AND (first.expires_at IS NULL OR first.expires_at > :now)
""",
    _TIME,
)
FAILED_IN_ORDER = Named("""
SELECT id FROM {schema}.background_jobs WHERE line = :line AND state = 'failed'
ORDER BY id LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class Head:
    """The jobs of one priority in a line.

    Args:
        queue: the queue that they are in.
        line: the line that they wait in.
        priority: theirs.
        run_at: when the first of them is due.
        terms: on which they start.
    """

    queue: str
    line: str
    priority: int
    run_at: datetime
    terms: Terms = NO_TERMS

    @property
    def position(self) -> tuple[str, str, int]:
        """Its place among all heads."""
        return self.queue, self.line, self.priority


def gated_queues(
    connection: Connection, wanted: Sequence[str] | None, *, with_paused: bool = False
) -> list[str]:
    """The queues in which jobs wait at gates, those that are paused only if they are wanted."""
    rows = connection.execute(GATED_QUEUES.on(connection))
    names = [to_name(row.queue) for row in rows if with_paused or not row.is_paused]
    return [name for name in names if wanted is None or name in wanted]


def heads_of(connection: Connection, queue: str, after: tuple[str, int], most: int) -> list[Head]:
    """The heads of a queue, from a line and a priority on."""
    line, priority = after
    given = {"queue": queue, "line": line, "priority": priority, "most": most}
    rows = connection.execute(HEADS.on(connection), given)
    return [
        Head(queue, to_name(row.line), whole(row.priority, -(2**31)), to_utc(row.run_at), terms)
        for row in rows
        if (terms := terms_in(row.terms)) is not None
    ]


def first_in_order(connection: Connection, head: Head, now: datetime) -> tuple[int, Terms] | None:
    """The job that is next in an ordered line, and its terms; None while no job may start there."""
    given = {"line": head.line, "queue": head.queue, "now": now}
    first = connection.execute(FIRST_IN_ORDER.on(connection), given).first()
    terms = None if first is None else terms_in(first.terms)
    if first is None or terms is None:
        return None
    if terms.ordered is AfterFailure.STOP:
        line = {"line": head.line}
        failed = connection.execute(FAILED_IN_ORDER.on(connection), line).scalar()
        if failed is not None and failed < first.id:
            return None
    return first.id, terms


def with_terms_of_first(connection: Connection, heads: Iterable[Head], now: datetime) -> list[Head]:
    """Heads, those of ordered lines with the terms of the job that is next there, if one is.

    Elsewhere all jobs of a line have the same terms.
    """
    found = []
    for head in heads:
        if head.terms.ordered is None:
            found.append(head)
            continue
        first = first_in_order(connection, head, now)
        if first is not None:
            found.append(replace(head, terms=first[1]))
    return found
