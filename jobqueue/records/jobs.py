"""A job as it is enqueued, and as its row is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

from jobqueue.records.base import NO_DELAY, record

DEFAULT_QUEUE = "default"
DEFAULT_PRIORITY = 50
LARGEST_ID = 2**63 - 1
"""The largest id that a row can have."""


class JobState(StrEnum):
    """The state of a job's row."""

    READY = "ready"
    """Waiting for its time, or for a worker."""
    RUNNING = "running"
    """Claimed by a worker."""
    SUCCEEDED = "succeeded"
    """Its `perform` returned."""
    FAILED = "failed"
    """Its attempts are used up, or it cannot be performed at all."""
    CANCELLED = "cancelled"
    """Called off by somebody, or discarded by itself."""


UNFINISHED_STATES = (JobState.READY, JobState.RUNNING)


FINISHED_STATES = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@record
class NewJob:
    """A job on its way into the table. `args` is the text of a JSON object.

    It is due at `run_at`, or, when that is None, `delay` after the database's own time.
    """

    handler: str
    args: str = field(repr=False)
    queue: str
    priority: int
    max_attempts: int
    run_at: datetime | None = None
    delay: timedelta = NO_DELAY

    def due_at(self, now: datetime) -> datetime:
        """When it is due, where it is stored at `now`."""
        if self.run_at is not None:
            return self.run_at
        return now + self.delay if self.delay else now


@record
class JobRecord:
    """A job as its row in `background_jobs` has it. Times are aware and in UTC.

    Its `repr` leaves the arguments out, as they may be secret: it ends up in logs.
    """

    id: int
    handler: str
    args: Mapping[str, Any] = field(repr=False)
    queue: str
    priority: int
    state: JobState
    attempts: int
    max_attempts: int
    run_at: datetime
    created_at: datetime
    updated_at: datetime
    locked_at: datetime | None = None
    locked_by: str | None = None
    crashes: int = 0
    last_error: str | None = None
    failed_at: datetime | None = None
    finished_at: datetime | None = None
    progress: Any = None
    result: Any = None
    cancel_requested_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are meant. None leaves a column out; every given one must match.

    Args:
        before_id: only ids below it: the next page of a list, newest first.
        due: True for jobs whose time has come, False for those still waiting for it.
    """

    ids: tuple[int, ...] | None = None
    states: tuple[JobState, ...] | None = None
    queues: tuple[str, ...] | None = None
    handlers: tuple[str, ...] | None = None
    before_id: int | None = None
    due: bool | None = None


KEY_LIFETIME = timedelta(hours=24)
J_co = TypeVar("J_co", bound=JobRecord, covariant=True)


@dataclass(frozen=True, slots=True)
class UsedKey:
    """An idempotency key, and what is asked with it.

    Args:
        key: unique among all who ask.
        fingerprint: of what is asked. It has to be the same whenever the key is used.
        lifetime: how long the key is remembered.
    """

    key: str
    fingerprint: str
    lifetime: timedelta = KEY_LIFETIME


@dataclass(frozen=True, slots=True)
class EnqueuedOnce(Generic[J_co]):
    """What came of enqueueing a job under an idempotency key.

    Args:
        job_id: of the job that the key made, now or before.
        job: as it is now; None when its row is gone.
        is_new: whether it was made now.
        fingerprint: of what was asked when it was made.
        made_at: when that was.
    """

    job_id: int
    job: J_co | None
    is_new: bool
    fingerprint: str
    made_at: datetime
