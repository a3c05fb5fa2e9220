"""The roster of workers: how those are that work, and how others have ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from jobqueue.records import WorkerEnd, WorkerNote


class RosterRole(Protocol):
    """The role that keeps how workers are, beside their leases, and how they have ended.

    Whatever removes the row of a worker (in the role `leases`) stores its end.
    """

    def note_workers(self, notes: Mapping[str, WorkerNote]) -> None:
        """Store how workers are, by their ids. One whose row somebody has locked is left out."""
        ...

    def ended_workers(self, limit: int) -> list[WorkerEnd]:
        """Return at most `limit` workers that have ended, the latest first.

        One that has registered again since is not among them.
        """
        ...

    def prune_ended_workers(self, age: timedelta, limit: int) -> int:
        """Remove the ends that are older than `age`; return how many, at most `limit`."""
        ...
