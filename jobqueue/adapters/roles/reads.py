"""Reading jobs: one, lists, pages, counts and depths."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from jobqueue.records import Count, JobFilter, JobState, Page, QueueDepth
from jobqueue.stored import StoredJob


class ReadsRole(Protocol):
    """Reads jobs, and changes nothing."""

    def get(self, job_id: int) -> StoredJob | None:
        """One job, or None when there is no row of that id."""
        ...

    def list_jobs(self, where: JobFilter, limit: int) -> list[StoredJob]:
        """At most `limit` jobs, the newest (highest id) first."""
        ...

    def count_jobs(self, where: JobFilter) -> int:
        """How many jobs match."""
        ...

    def count_by_state(self) -> Mapping[JobState, int]:
        """How many jobs there are in each state that has any."""
        ...

    def page_jobs(self, where: JobFilter, limit: int) -> Page[StoredJob]:
        """At most `limit` jobs, the newest first, and where the next page begins.

        Costs about the same whatever the filter and however many jobs there are. Where finding
        them would mean to look at too many rows it returns fewer.
        """
        ...

    def count_up_to(self, where: JobFilter, most: int) -> Count:
        """How many jobs match, counting no further than `most`; as cheap as `page_jobs`."""
        ...

    def queue_depths(self, most: int | None = None) -> list[QueueDepth]:
        """What there is to do in each queue that has unfinished jobs or is paused, by name.

        Args:
            most: how many jobs of one priority of a queue to count at most, which makes it cheap
                however many there are; None to count them all.
        """
        ...

    def running_jobs(self, limit: int) -> list[StoredJob]:
        """At most `limit` running jobs, those that were claimed first coming first."""
        ...

    def now(self) -> datetime:
        """The time that everything here is compared by."""
        ...
