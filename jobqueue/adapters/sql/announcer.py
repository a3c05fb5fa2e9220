"""The announcer, which wakes waiting workers when jobs are ready."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobqueue.records import JobRecord, JobState, Wakeup

MOST_JOBS_LOOKED_AT = 1000


class Announcer:
    """An announcer that announces nothing: for a database that listeners watch by themselves."""

    def announce(self, wakeup: Wakeup | None) -> None:
        """Announce jobs that are ready and committed; nothing when it is None."""

    def announce_new(self, wakeup: Wakeup | None) -> None:
        """Announce jobs that were just enqueued, perhaps one of a stream of such calls."""

    def announce_at_commit(self, session: Any, wakeup: Wakeup | None) -> None:
        """Announce jobs enqueued in a session's transaction, when it has been committed."""


def wakeup_for(records: Sequence[JobRecord]) -> Wakeup | None:
    """The wake-up for jobs just enqueued that are due now; None when none is."""
    if len(records) > MOST_JOBS_LOOKED_AT:
        return Wakeup(jobs=len(records))
    due = [
        record
        for record in records
        if record.run_at <= record.created_at and not record.is_duplicate
    ]
    if not due:
        return None
    return Wakeup(
        queues=frozenset(record.queue for record in due),
        lowest=min((record.priority, record.run_at, record.id) for record in due),
        jobs=len(due),
        gated=any(record.state is JobState.GATED for record in due),
    )
