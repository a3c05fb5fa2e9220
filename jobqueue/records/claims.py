"""Claiming jobs, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from jobqueue.records.base import NO_DELAY, record
from jobqueue.records.wakeups import Wakeup


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's request for jobs.

    Args:
        worker_id: who asks; becomes `locked_by`.
        token: fresh for every claim; only who holds it can settle what was claimed with it.
        limit: how many jobs at most.
        free_slots: how many of them will start at once. The rest is prefetched, and a job that
            may be attempted only once is never prefetched: a lost machine would use it up unrun.
        queues: the queues to take from; None for all of them.
        heard: word of jobs that have become due since the last claim, to find them by.
        passing_over: handlers whose jobs are left for others.
    """

    worker_id: str
    token: int
    limit: int
    free_slots: int
    queues: tuple[str, ...] | None = None
    heard: Wakeup | None = None
    passing_over: tuple[str, ...] = ()


@record
class ClaimedJob:
    """A job that this worker holds. `args` is JSON as the row has it, not yet decoded."""

    id: int
    token: int
    handler: str
    args: str = field(repr=False)
    queue: str
    priority: int
    attempts: int
    max_attempts: int
    crashes: int
    run_at: datetime
    created_at: datetime
    locked_at: datetime

    @property
    def wait_time(self) -> timedelta:
        """How long it was due before it was claimed, by the database's clock."""
        waited = self.locked_at - self.run_at
        return waited if waited.days >= 0 else NO_DELAY


@record
class Outcome:
    """What came of performing a claimed job; one of the subclasses below.

    `progress` is the last that the job reported, as JSON.
    """

    job: ClaimedJob
    run_time: timedelta = NO_DELAY
    progress: str | None = field(default=None, kw_only=True)


@record
class Succeeded(Outcome):
    """`perform` returned. The row is removed unless `keep`.

    `result` is what it returned, as JSON, where that is kept; `note` says why it could not be.
    """

    keep: bool = False
    result: str | None = None
    note: str | None = None


@record
class Committed(Succeeded):
    """Succeeded, and settled already: by the transaction that the job wrote in."""


@record
class Retried(Outcome):
    """To be attempted again after `delay`; `refund` when the attempt is not to count."""

    error: str = ""
    delay: timedelta = NO_DELAY
    refund: bool = False


@record
class Failed(Outcome):
    """Out of attempts, or impossible to perform. The row is removed unless `keep`."""

    error: str = ""
    keep: bool = True


@record
class Discarded(Outcome):
    """Ended by itself, as `cancelled`. The row is removed unless `keep`."""

    reason: str = ""
    keep: bool = True


@record
class Cancelled(Discarded):
    """Ended since somebody cancelled it while it ran. What they gave as the reason stays.

    `error` is what its attempt ended by, where that was an error and would have been tried again.
    """

    error: str | None = None


@record
class Released(Outcome):
    """Given back as it was: the attempt is refunded. `error`, if any, says why."""

    error: str | None = None
    delay: timedelta = NO_DELAY


@record
class Turn:
    """What one turn of a worker brought.

    Args:
        rejected: outcomes refused because the claim was lost.
        claimed: jobs.
        look_again_in: when to claim again where nothing was claimed, since not everything was
            looked at; None when it was.
        cancelled: what became of jobs that somebody had cancelled, with the reason of their rows:
            those that would have become ready again, and those that had heeded it and are kept.
    """

    rejected: tuple[Outcome, ...]
    claimed: tuple[ClaimedJob, ...]
    look_again_in: timedelta | None = None
    cancelled: tuple[Cancelled, ...] = ()
