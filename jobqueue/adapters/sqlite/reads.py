"""SQLite's reads of jobs."""

from __future__ import annotations

from jobqueue.adapters.sql.depths import FIRST, DepthQueries
from jobqueue.adapters.sql.lanes import LaneQueries
from jobqueue.adapters.sql.reads import SqlReads

_OF_QUEUE = "job.queue = head.queue"
_OF_LANE = f"{_OF_QUEUE} AND job.priority = head.priority"


def _following(which: str) -> str:
    """Two probes: SQLite looks up the first of columns that are compared as rows, and no more."""
    return f"""coalesce(
        {FIRST.format(condition=f"{_OF_QUEUE} AND job.priority > head.priority AND {which}")},
        {FIRST.format(condition=f"job.queue > head.queue AND {which}")})"""


class SqliteReads(SqlReads):
    """The reads of jobs in a SQLite file."""

    depth_queries = DepthQueries.of(
        following=_following("true"),
        due=f"{_OF_LANE} AND job.run_at <= :now",
        later=f"{_OF_LANE} AND job.run_at > :now",
    )
    lane_queries = LaneQueries.of(
        following=_following,
        due=f"{_OF_LANE} AND job.run_at <= :now",
        same_lane="job.queue = :queue AND job.priority = :priority",
        before="(job.run_at, job.id) < (:run_at, :id)",
    )
