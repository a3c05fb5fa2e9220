"""The reads of jobs: portable SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.adapters.sql import queries
from jobqueue.adapters.sql.database import FOR_EVER
from jobqueue.adapters.sql.depths import BY_ROWS, capped_depths
from jobqueue.adapters.sql.lanes import LANES_BY_ROWS, due_before, lane_depths
from jobqueue.adapters.sql.pages import Pages
from jobqueue.adapters.sql.role import SqlParts, SqlRole
from jobqueue.records import (
    Count,
    JobFilter,
    JobRecord,
    JobState,
    LaneDepth,
    Page,
    QueueDepth,
)
from jobqueue.stored import StoredJob, kept_by


class SqlReads(SqlRole, ReadsRole):
    """The reads of jobs in a SQL database."""

    depth_queries = BY_ROWS
    lane_queries = LANES_BY_ROWS

    def __init__(self, parts: SqlParts) -> None:
        super().__init__(parts)
        self._pages = Pages(parts.time)

    def get(self, job_id: int) -> StoredJob | None:
        found = self.list_jobs(JobFilter(ids=(job_id,)), 1)
        return found[0] if found else None

    def list_jobs(self, where: JobFilter, limit: int) -> list[StoredJob]:
        query = queries.jobs_query(where, self.time.now(), limit)
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return kept_by(self.adapter, map(queries.job_record, rows))

    def count_jobs(self, where: JobFilter) -> int:
        query = queries.count_query(where, self.time.now())
        return int(
            self.database.read(lambda c: c.execute(query).scalar_one(), answer_seconds=FOR_EVER)
        )

    def count_by_state(self) -> Mapping[JobState, int]:
        query = queries.count_by_state_query()
        rows = self.database.read(lambda c: c.execute(query).all(), answer_seconds=FOR_EVER)
        return {JobState(state): count for state, count in rows}

    def page_jobs(self, where: JobFilter, limit: int) -> Page[StoredJob]:
        page = self.database.look(lambda c: self._pages.page(c, where, limit))
        kept_by(self.adapter, page.jobs)
        return page

    def count_up_to(self, where: JobFilter, most: int) -> Count:
        return self.database.look(lambda c: self._pages.count(c, where, most))

    def queue_depths(self, most: int | None = None) -> list[QueueDepth]:
        paused = self.database.read(queries.paused_queues)
        if most is not None:
            return self.database.look(
                lambda c: capped_depths(c, self.depth_queries, self.time.read(c), paused, most)
            )
        query = queries.depths_query(self.time.now())
        rows = self.database.read(lambda c: c.execute(query).all(), answer_seconds=FOR_EVER)
        return queries.queue_depths(rows, paused)

    def lane_depths(self, most: int, queue: str | None = None) -> list[LaneDepth]:
        return self.database.look(
            lambda c: lane_depths(c, self.lane_queries, self.time.read(c), most, queue)
        )

    def due_before(self, job: JobRecord, most: int) -> Count:
        return self.database.look(
            lambda c: due_before(c, self.lane_queries, self.time.read(c), job, most)
        )

    def running_jobs(self, limit: int) -> list[StoredJob]:
        query = queries.running_query(self.time.now(), limit)
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return kept_by(self.adapter, map(queries.job_record, rows))

    def now(self) -> datetime:
        return self.database.read(self.time.read)
