"""The attempts of jobs that did not succeed."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from jobqueue.records import AttemptRecord


class AttemptsRole(Protocol):
    """The role that reads and removes the attempts which are noted when they end."""

    def attempts(self, job_id: int) -> list[AttemptRecord]:
        """The attempts at a job that did not succeed, in order: the first, and the newest.

        There are at most `MOST_ATTEMPTS_KEPT`. They are gone with the job.
        """
        ...

    def prune_attempts(self, keep: timedelta, limit: int) -> int:
        """Remove attempts that ended longer ago than `keep`, at most `limit`; return how many."""
        ...
