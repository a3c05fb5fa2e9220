"""The removal of finished jobs that need not be kept."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from jobqueue.records import JobState
from jobqueue.retention import Keep


class RetentionRole(Protocol):
    """The role that removes finished jobs which need not be kept."""

    def finished_handlers(self, state: JobState) -> list[str]:
        """The names of the finished jobs in a state. Cheap, however many jobs there are."""
        ...

    def prune(self, state: JobState, handlers: Collection[str], keep: Keep, limit: int) -> int:
        """Remove finished jobs that need not be kept, the oldest first; return how many.

        At most `limit`, in a short transaction of its own. Rows that somebody else is locking are
        passed over, and nobody's claim waits.

        Args:
            state: the state of the jobs to remove.
            handlers: all the names of one class; their jobs are counted together.
            keep: how many jobs stay, and for how long.
            limit: how many to remove at most.
        """
        ...
