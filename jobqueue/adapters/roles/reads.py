"""The reads of jobs: one, lists, pages, counts and depths."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from jobqueue.records import (
    Count,
    JobFilter,
    JobRecord,
    JobState,
    LaneDepth,
    Page,
    QueueDepth,
)
from jobqueue.stored import StoredJob


class ReadsRole(Protocol):
    """The role that reads jobs, and changes nothing."""

    def get(self, job_id: int) -> StoredJob | None:
        """One job, or None when there is no row of that id."""
        ...

    def list_jobs(self, where: JobFilter, limit: int) -> list[StoredJob]:
        """At most `limit` jobs, the newest (highest id) first."""
        ...

    def count_jobs(self, where: JobFilter) -> int:
        """The number of jobs that match."""
        ...

    def count_by_state(self) -> Mapping[JobState, int]:
        """The number of jobs in each state that has any."""
        ...

    def page_jobs(self, where: JobFilter, limit: int) -> Page[StoredJob]:
        """At most `limit` jobs, the newest first, and where the next page begins.

        Costs about the same whatever the filter and however many jobs there are. It returns fewer
        jobs when it would have to look at too many rows to find more.
        """
        ...

    def count_up_to(self, where: JobFilter, most: int) -> Count:
        """The number of jobs that match, counted up to `most`; as cheap as `page_jobs`."""
        ...

    def queue_depths(self, most: int | None = None) -> list[QueueDepth]:
        """The depth of each queue that has unfinished jobs or is paused, ordered by name.

        Of more than a thousand queues, those with the most due jobs.

        Args:
            most: count at most so many jobs of one priority of a queue, which is cheap however
                many there are; None to count them all.
        """
        ...

    def lane_depths(self, most: int, queue: str | None = None) -> list[LaneDepth]:
        """The due jobs of each priority of each queue that has ready ones.

        Ordered by queue and priority. Of more than a thousand such lanes, the first ones.

        Args:
            most: count at most so many jobs of each, and fewer where there are many.
            queue: only the lanes of this queue.
        """
        ...

    def due_before(self, job: JobRecord, most: int) -> Count:
        """The due jobs of a job's queue and priority that come before it, counted up to `most`."""
        ...

    def running_jobs(self, limit: int) -> list[StoredJob]:
        """At most `limit` running jobs, in the order in which they were claimed."""
        ...

    def now(self) -> datetime:
        """The current time by the clock that all times are compared with."""
        ...
