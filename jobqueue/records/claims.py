"""A claim, the jobs that it brings, and the outcomes of performing them."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from jobqueue.records.base import NO_DELAY, record
from jobqueue.records.errors import ErrorGroup
from jobqueue.records.flow_control import NO_TERMS, Terms
from jobqueue.records.jobs import JobRecord, JobState
from jobqueue.records.wakeups import Wakeup


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's request for jobs.

    Args:
        worker_id: the worker that claims; it becomes `locked_by`.
        token: a number that is fresh for every claim. Jobs can be settled only with the token that
            they were claimed with.
        limit: how many jobs at most.
        free_slots: how many of them will start at once. The rest is prefetched. A job that may be
            attempted only once is never prefetched: a lost machine would use it up unrun.
        queues: the queues to claim from; None for all of them.
        heard: the wake-up that came since the last claim, if one did. It says where the jobs are.
        passing_over: handlers whose jobs are left for others.
        most_bytes: the size of arguments and meta, in UTF-8, up to which jobs are prefetched. Those
            that will start at once count as well, but are claimed whatever their size.
    """

    worker_id: str
    token: int
    limit: int
    free_slots: int
    queues: tuple[str, ...] | None = None
    heard: Wakeup | None = None
    passing_over: tuple[str, ...] = ()
    most_bytes: int = sys.maxsize


@record
class ClaimedJob:
    """A job that this worker holds. `args` and `meta` are the JSON text of the row, undecoded.

    One that waited at gates has its `line`, and goes back there if it has to wait again. One that
    `is_expired` was claimed too late to be performed. One that was not has to start before this
    process's `time.monotonic()` is `start_by`. One of a flow has its `flow_id`.
    """

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
    meta: str | None = field(default=None, repr=False)
    line: str | None = None
    terms: Terms = NO_TERMS
    is_expired: bool = False
    start_by: float | None = None
    flow_id: int | None = None

    @property
    def waiting_state(self) -> JobState:
        """The state that it has when it waits again."""
        return JobState.READY if self.line is None else JobState.GATED

    @property
    def is_too_late(self) -> bool:
        """Whether it must not start any more."""
        return self.is_expired or (self.start_by is not None and time.monotonic() > self.start_by)

    @property
    def wait_time(self) -> timedelta:
        """How long the job was due before it was claimed, by the database's clock."""
        waited = self.locked_at - self.run_at
        return waited if waited.days >= 0 else NO_DELAY


def start_by(claimed_at: datetime, expires_at: datetime | None) -> float | None:
    """The value of `time.monotonic()` after which a job that is claimed now must not start.

    The clock of this process may differ from the database's. What both agree on is how long the
    job had left when it was claimed.
    """
    if expires_at is None:
        return None
    return time.monotonic() + (expires_at - claimed_at).total_seconds()


@record
class Outcome:
    """The end of a claimed job's attempt: one of the subclasses below.

    `progress` is the last progress that the job reported, as JSON.
    """

    job: ClaimedJob
    run_time: timedelta = NO_DELAY
    progress: str | None = field(default=None, kw_only=True)


@record
class Succeeded(Outcome):
    """`perform` returned. The row is removed unless `keep`.

    `result` is what it returned, as JSON, where the class keeps it. `note` says why it could not
    be stored.
    """

    keep: bool = False
    result: str | None = None
    note: str | None = None


@record
class Committed(Succeeded):
    """`perform` succeeded, and the transaction that the job wrote in has settled it already."""


@record
class Retried(Outcome):
    """The job is attempted again after `delay`. With `refund` the last attempt does not count.

    With `timed_out` it took longer than it may. `error_group` is the group of its error.
    """

    error: str = ""
    delay: timedelta = NO_DELAY
    refund: bool = False
    timed_out: bool = field(default=False, kw_only=True)
    error_group: ErrorGroup | None = field(default=None, kw_only=True)


@record
class Failed(Outcome):
    """The job has no attempts left, or cannot be performed. The row is removed unless `keep`.

    With `timed_out` its last attempt took longer than it may. `error_group` is the group of its
    error.
    """

    error: str = ""
    keep: bool = True
    timed_out: bool = field(default=False, kw_only=True)
    error_group: ErrorGroup | None = field(default=None, kw_only=True)


@record
class Discarded(Outcome):
    """The job ended itself, as `cancelled`. The row is removed unless `keep`."""

    reason: str = ""
    keep: bool = True


@record
class Cancelled(Discarded):
    """The job ended because somebody cancelled it while it ran. Their reason is kept.

    `error` is the error that its attempt ended with, if it would have been tried again for that.
    """

    error: str | None = None


@record
class Released(Outcome):
    """The job is given back as it was, its attempt refunded. `error`, if any, says why."""

    error: str | None = None
    delay: timedelta = NO_DELAY


@record
class Turn:
    """The answer of the database to one turn of a worker.

    Args:
        rejected: outcomes that were refused, since the worker no longer holds the claim.
        claimed: the jobs that were claimed.
        look_again_in: how soon to claim again although nothing was found: not everything was
            looked at. None when everything was.
        cancelled: the jobs that somebody had cancelled while they ran, with the reason that their
            rows have. They would have become ready again, or ended for it and are kept.
        locked: outcomes that are not stored yet, since somebody else keeps the rows of their jobs
            locked, or the database refuses to change them. They can be settled again later, by
            `settle_unlocked`.
        set_aside: jobs that nobody can claim, since the database refuses it. They are failed.
    """

    rejected: tuple[Outcome, ...]
    claimed: tuple[ClaimedJob, ...]
    look_again_in: timedelta | None = None
    cancelled: tuple[Cancelled, ...] = ()
    locked: tuple[Outcome, ...] = ()
    set_aside: tuple[JobRecord, ...] = ()
