"""Announcing that jobs are ready, to those who wait for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobqueue.records import JobRecord, Wakeup

MOST_JOBS_LOOKED_AT = 1000


class Announcer:
    """Announces nothing: for a database that is watched by those who wait."""

    def announce(self, wakeup: Wakeup | None) -> None:
        """Say that jobs are ready, which have been committed already; nothing when it is None."""

    def announce_new(self, wakeup: Wakeup | None) -> None:
        """As `announce`, of jobs just enqueued, of which there may be a stream."""

    def announce_at_commit(self, session: Any, wakeup: Wakeup | None) -> None:
        """As `announce_new`, of jobs in a session's transaction, when that has been committed."""


def wakeup_for(records: Sequence[JobRecord]) -> Wakeup | None:
    """Word of those among jobs just enqueued that are due now; None when none is."""
    if len(records) > MOST_JOBS_LOOKED_AT:
        return Wakeup(jobs=len(records))
    due = [record for record in records if record.run_at <= record.created_at]
    if not due:
        return None
    return Wakeup(
        queues=frozenset(record.queue for record in due),
        lowest=min((record.priority, record.run_at, record.id) for record in due),
        jobs=len(due),
    )
