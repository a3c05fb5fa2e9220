"""SQLite's reads of jobs."""

from __future__ import annotations

from jobqueue.adapters.sql.depths import FIRST, DepthQueries
from jobqueue.adapters.sql.reads import SqlReads

_OF_QUEUE = "job.queue = head.queue"
_OF_LANE = f"{_OF_QUEUE} AND job.priority = head.priority"
# SQLite looks up only the first of columns that are compared as rows, and walks over the rest.
BY_COLUMNS = DepthQueries.of(
    following=f"""coalesce(
        {FIRST.format(condition=f"{_OF_QUEUE} AND job.priority > head.priority")},
        {FIRST.format(condition="job.queue > head.queue")})""",
    due=f"{_OF_LANE} AND job.run_at <= :now",
    later=f"{_OF_LANE} AND job.run_at > :now",
)


class SqliteReads(SqlReads):
    """The reads of jobs in a SQLite file."""

    depth_queries = BY_COLUMNS
