"""The due jobs of each priority of queues, and those before a job, counted up to a limit.

A lane is a priority within a queue. As for the depths of queues, each lane is found by one probe of
the index (queue, priority, run_at, id), and counted along that index.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam

from jobqueue.adapters.sql.depths import FEWEST_OF_A_LANE, FIRST, MOST_LANES, MOST_ROWS
from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.tables import UtcDateTime, to_name, to_utc
from jobqueue.records import Count, JobRecord, LaneDepth

_NOW = bindparam("now", type_=UtcDateTime)
_RUN_AT = bindparam("run_at", type_=UtcDateTime)
IN_QUEUE = "job.queue >= :queue AND job.queue <= :queue"


@dataclass(frozen=True, slots=True)
class LaneQueries:
    """The statements that count the lanes, those that read them, and the one that counts before.

    Of the first two there is one for all queues, and one for a queue.
    """

    counts: tuple[Named, Named]
    depths: tuple[Named, Named]
    due_before: Named

    @classmethod
    def of(
        cls, following: Callable[[str], str], due: str, same_lane: str, before: str
    ) -> LaneQueries:
        """Return the statements for a database.

        Args:
            following: gives the id of the first job of the lane after that of `head`, among the
                jobs that a condition is true of.
            due: the condition for those jobs of the lane of `head` that are due.
            same_lane: the condition for the jobs of a lane that is given.
            before: the condition for those of them that come before a job that is given.
        """
        lanes = (_lanes("true", following("true")), _lanes(IN_QUEUE, following(IN_QUEUE)))
        depths = f"""
SELECT head.queue, head.priority, head.run_at AS first_run_at, (SELECT count(*) FROM (
    SELECT job.id FROM {{schema}}.background_jobs AS job WHERE job.state = 'ready' AND {due}
    ORDER BY job.queue, job.priority, job.run_at, job.id LIMIT :most) AS counted) AS due
FROM lanes JOIN {{schema}}.background_jobs AS head ON head.id = lanes.id
ORDER BY head.queue, head.priority
"""  # noqa: S608 - of constants
        everywhere, in_queue = lanes
        count = " SELECT count(id) FROM lanes"
        return cls(
            (Named(everywhere + count), Named(in_queue + count)),
            (Named(everywhere + depths, _NOW), Named(in_queue + depths, _NOW)),
            Named(
                f"""
SELECT count(*) FROM (
    SELECT job.id FROM {{schema}}.background_jobs AS job
    WHERE job.state = 'ready' AND {same_lane} AND {before}
    ORDER BY job.queue, job.priority, job.run_at, job.id LIMIT :most) AS counted
""",  # noqa: S608 - of constants
                _RUN_AT,
            ),
        )


def _lanes(which: str, following: str) -> str:
    return f"""
WITH RECURSIVE lanes (id, number) AS (
    SELECT {FIRST.format(condition=which)}, 1
    UNION ALL
    SELECT {following}, lanes.number + 1
    FROM lanes JOIN {{schema}}.background_jobs AS head ON head.id = lanes.id
    WHERE lanes.number < :most_lanes
)"""  # noqa: S608 - of constants


# Compared as rows, so that no index but that of the queues has the order.
LANES_BY_ROWS = LaneQueries.of(
    following=lambda which: FIRST.format(
        condition=f"(job.queue, job.priority) > (head.queue, head.priority) AND {which}"
    ),
    due="""(job.queue, job.priority) >= (head.queue, head.priority)
      AND (job.queue, job.priority, job.run_at) <= (head.queue, head.priority, :now)""",
    same_lane="(job.queue, job.priority) >= (:queue, :priority)",
    before="(job.queue, job.priority, job.run_at, job.id) < (:queue, :priority, :run_at, :id)",
)


def lane_depths(
    connection: Connection, statements: LaneQueries, now: datetime, most: int, queue: str | None
) -> list[LaneDepth]:
    """The lanes of all queues, or of one, each counted up to `most`."""
    of_one = int(queue is not None)
    count, read = statements.counts[of_one], statements.depths[of_one]
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


def due_before(
    connection: Connection, statements: LaneQueries, now: datetime, job: JobRecord, most: int
) -> Count:
    """The due jobs of a job's lane that come before it."""
    given = {
        "queue": job.queue,
        "priority": job.priority,
        "run_at": min(job.run_at, now),
        "id": job.id,
        "most": most + 1,
    }
    number = connection.execute(statements.due_before.on(connection), given).scalar_one()
    return Count(min(number, most), number > most)
