"""The depths of queues, counted up to a limit, so that they cost little however many jobs wait.

A lane is a priority within a queue. Each lane is found by one probe of the index (queue, priority,
run_at, id). The more lanes there are, the fewer jobs are counted in each. Where there are too many,
only so many jobs are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam

from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.tables import UtcDateTime, to_name, to_utc
from jobqueue.records import QueueDepth

MOST_LANES = 1_000
MOST_ROWS = 40_000
FEWEST_OF_A_LANE = 100

FIRST = """(SELECT job.id FROM {{schema}}.background_jobs AS job
            WHERE job.state = 'ready' AND {condition}
            ORDER BY job.queue, job.priority, job.run_at, job.id LIMIT 1)"""


@dataclass(frozen=True, slots=True)
class DepthQueries:
    """The statements that find the lanes, and count the jobs in each."""

    count_lanes: Named
    lanes: Named

    @classmethod
    def of(cls, following: str, due: str, later: str) -> DepthQueries:
        """Return the statements for a database.

        Args:
            following: the id of the first job of the lane after that of `head`.
            due: the condition for those jobs of the lane of `head` that are due.
            later: the condition for those that are due later.
        """
        lanes = f"""
WITH RECURSIVE lanes (id, number) AS (
    SELECT {FIRST.format(condition="true")}, 1
    UNION ALL
    SELECT {following}, lanes.number + 1
    FROM lanes JOIN {{schema}}.background_jobs AS head ON head.id = lanes.id
    WHERE lanes.number < :most_lanes
)"""  # noqa: S608 - of constants
        counts = (
            f"""(SELECT count(*) FROM (
    SELECT job.id FROM {{schema}}.background_jobs AS job WHERE job.state = 'ready' AND {of_lane}
    ORDER BY job.queue, job.priority, job.run_at, job.id LIMIT :most) AS counted) AS {name}"""  # noqa: S608
            for name, of_lane in (("due", due), ("later", later))
        )
        return cls(
            Named(f"{lanes} SELECT count(id) FROM lanes"),  # noqa: S608 - of constants
            Named(
                f"""{lanes}
SELECT head.queue, head.run_at AS oldest, {", ".join(counts)}
FROM lanes JOIN {{schema}}.background_jobs AS head ON head.id = lanes.id
""",  # noqa: S608 - of constants
                bindparam("now", type_=UtcDateTime),
            ),
        )


# Compared as rows, so that no index but that of the queues has the order.
BY_ROWS = DepthQueries.of(
    following=FIRST.format(condition="(job.queue, job.priority) > (head.queue, head.priority)"),
    due="""(job.queue, job.priority) >= (head.queue, head.priority)
      AND (job.queue, job.priority, job.run_at) <= (head.queue, head.priority, :now)""",
    later="""(job.queue, job.priority, job.run_at) > (head.queue, head.priority, :now)
      AND (job.queue, job.priority) <= (head.queue, head.priority)""",
)

# Of more lanes than that, the jobs that come first in the index.
FIRST_ROWS = Named(
    """
SELECT first.queue, min(first.run_at) AS oldest,
       count(CASE WHEN first.run_at <= :now THEN 1 END) AS due,
       count(CASE WHEN first.run_at > :now THEN 1 END) AS later
FROM (SELECT job.queue, job.run_at FROM {schema}.background_jobs AS job WHERE job.state = 'ready'
      ORDER BY job.queue, job.priority, job.run_at, job.id LIMIT :most) AS first
GROUP BY first.queue
""",
    bindparam("now", type_=UtcDateTime),
)

# Jobs at gates, by an index of their times.
GATED = Named(
    """
SELECT first.queue, min(first.run_at) AS oldest, count(*) AS number
FROM (SELECT job.queue, job.run_at FROM {schema}.background_jobs AS job
      WHERE job.state = 'gated' AND job.run_at <= :now ORDER BY job.run_at LIMIT :most) AS first
GROUP BY first.queue
""",
    bindparam("now", type_=UtcDateTime),
)
GATED_FOR_LATER = Named(
    """
SELECT first.queue, count(*) AS number
FROM (SELECT job.queue FROM {schema}.background_jobs AS job
      WHERE job.state = 'gated' AND job.run_at > :now ORDER BY job.run_at LIMIT :most) AS first
GROUP BY first.queue
""",
    bindparam("now", type_=UtcDateTime),
)

RUNNING = Named("""
SELECT running.queue, count(*) FROM (
    SELECT queue FROM {schema}.background_jobs
    WHERE state = 'running' ORDER BY locked_by LIMIT :most
) AS running GROUP BY running.queue
""")


def capped_depths(
    connection: Connection, statements: DepthQueries, now: datetime, paused: set[str], most: int
) -> list[QueueDepth]:
    """The depth of each queue, counting at most `most` jobs of each lane."""
    limits = {"most_lanes": MOST_LANES}
    lanes = connection.execute(statements.count_lanes.on(connection), limits).scalar_one()
    each = min(most, max(FEWEST_OF_A_LANE, max(MOST_ROWS, most) // max(lanes, 1)))
    cut = lanes >= MOST_LANES
    if cut:
        each = MOST_ROWS
        counted = connection.execute(
            FIRST_ROWS.on(connection), {"now": now, "most": MOST_ROWS}
        ).all()
    else:
        counted = connection.execute(
            statements.lanes.on(connection), limits | {"now": now, "most": each + 1}
        ).all()
    running = connection.execute(RUNNING.on(connection), {"most": most + 1}).all()
    depths = {name: _empty(name) for name in paused}
    for name, depth in [
        *((to_name(row.queue), _of_lane(row, now, each)) for row in counted),
        *(
            (to_name(queue), replace(_empty(to_name(queue)), running=n, more=n > most))
            for queue, n in running
        ),
        *_at_gates(connection, now, max(MOST_ROWS, most)),
    ]:
        depths[name] = _both(depths.get(name, _empty(name)), depth)
    return [
        replace(depths[name], paused=name in paused, more=depths[name].more or cut)
        for name in sorted(depths)
    ]


def _at_gates(connection: Connection, now: datetime, most: int) -> Iterator[tuple[str, QueueDepth]]:
    """The jobs at gates, of all queues together counted up to a limit."""
    given = {"now": now, "most": most}
    due = connection.execute(GATED.on(connection), given).all()
    more = sum(row.number for row in due) == most
    for row in due:
        name = to_name(row.queue)
        age = now - to_utc(row.oldest)
        yield name, replace(_empty(name), due=row.number, oldest_age=age, more=more)
    later = connection.execute(GATED_FOR_LATER.on(connection), given).all()
    more = sum(row.number for row in later) == most
    for row in later:
        name = to_name(row.queue)
        yield name, replace(_empty(name), later=row.number, more=more)


def _of_lane(row: Any, now: datetime, most: int) -> QueueDepth:
    age = now - to_utc(row.oldest) if row.due else timedelta(0)
    more = row.due > most or row.later > most
    return QueueDepth(
        to_name(row.queue),
        min(row.due, most),
        min(row.later, most),
        0,
        age,
        paused=False,
        more=more,
    )


def _empty(name: str) -> QueueDepth:
    return QueueDepth(name, 0, 0, 0, timedelta(0), paused=False)


def _both(one: QueueDepth, other: QueueDepth) -> QueueDepth:
    return replace(
        one,
        due=one.due + other.due,
        later=one.later + other.later,
        running=one.running + other.running,
        oldest_age=max(one.oldest_age, other.oldest_age),
        more=one.more or other.more,
    )
