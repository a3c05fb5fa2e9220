"""The due jobs of each priority of queues, and those before a job, counted up to a limit.

A lane is a priority within a queue. As for the depths of queues, each lane is found by one probe of
the index (queue, priority, run_at, id), and counted along that index.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam

from jobqueue.adapters.sql.depths import FEWEST_OF_A_LANE, MOST_LANES, MOST_ROWS
from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.tables import UtcDateTime, to_name, to_utc
from jobqueue.records import Count, JobRecord, LaneDepth

_LANES = """
WITH RECURSIVE lanes (id, number) AS (
    SELECT (SELECT job.id FROM {{schema}}.background_jobs AS job WHERE job.state = 'ready'{of_queue}
            ORDER BY job.queue, job.priority, job.run_at, job.id LIMIT 1), 1
    UNION ALL
    SELECT (SELECT job.id FROM {{schema}}.background_jobs AS job
            WHERE job.state = 'ready'
              AND (job.queue, job.priority) > (head.queue, head.priority){of_queue}
            ORDER BY job.queue, job.priority, job.run_at, job.id LIMIT 1), lanes.number + 1
    FROM lanes JOIN {{schema}}.background_jobs AS head ON head.id = lanes.id
    WHERE lanes.number < :most_lanes
)"""
# Compared as rows, so that no index but that of the queues has the order.
_DEPTHS = """
SELECT head.queue, head.priority, head.run_at AS first_run_at, (SELECT count(*) FROM (
    SELECT job.id FROM {{schema}}.background_jobs AS job
    WHERE job.state = 'ready'
      AND (job.queue, job.priority) >= (head.queue, head.priority)
      AND (job.queue, job.priority, job.run_at) <= (head.queue, head.priority, :now)
    ORDER BY job.queue, job.priority, job.run_at, job.id LIMIT :most) AS counted) AS due
FROM lanes JOIN {{schema}}.background_jobs AS head ON head.id = lanes.id
ORDER BY head.queue, head.priority
"""
_NOW = bindparam("now", type_=UtcDateTime)


def _written(of_queue: str) -> tuple[Named, Named]:
    """The statements that count the lanes, and that read them."""
    lanes = _LANES.format(of_queue=of_queue)
    count = f"{lanes} SELECT count(id) FROM lanes"  # noqa: S608 - of constants
    return Named(count), Named(lanes + _DEPTHS.format(), _NOW)


EVERYWHERE, IN_QUEUE = _written(""), _written(" AND job.queue >= :queue AND job.queue <= :queue")

DUE_BEFORE = Named(
    """
SELECT count(*) FROM (
    SELECT job.id FROM {schema}.background_jobs AS job
    WHERE job.state = 'ready' AND (job.queue, job.priority) >= (:queue, :priority)
      AND (job.queue, job.priority, job.run_at, job.id) < (:queue, :priority, :run_at, :id)
    ORDER BY job.queue, job.priority, job.run_at, job.id LIMIT :most) AS counted
""",
    bindparam("run_at", type_=UtcDateTime),
)


def lane_depths(
    connection: Connection, now: datetime, most: int, queue: str | None
) -> list[LaneDepth]:
    """The lanes of all queues, or of one, each counted up to `most`."""
    count, read = EVERYWHERE if queue is None else IN_QUEUE
    given: dict[str, Any] = {"most_lanes": MOST_LANES}
    given |= {} if queue is None else {"queue": queue}
    number = connection.execute(count.on(connection), given).scalar_one()
    each = min(most, max(FEWEST_OF_A_LANE, MOST_ROWS // max(number, 1)))
    rows = connection.execute(read.on(connection), given | {"now": now, "most": each + 1})
    found = [_of(row, each) for row in rows]
    return sorted(found, key=lambda lane: (lane.queue, lane.priority))


def _of(row: Any, most: int) -> LaneDepth:
    due = min(row.due, most)
    return LaneDepth(
        to_name(row.queue), row.priority, due, to_utc(row.first_run_at), more=row.due > most
    )


def due_before(connection: Connection, now: datetime, job: JobRecord, most: int) -> Count:
    """The due jobs of a job's lane that come before it."""
    given = {
        "queue": job.queue,
        "priority": job.priority,
        "run_at": min(job.run_at, now),
        "id": job.id,
        "most": most + 1,
    }
    number = connection.execute(DUE_BEFORE.on(connection), given).scalar_one()
    return Count(min(number, most), number > most)
