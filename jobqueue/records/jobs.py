"""Jobs: as they are enqueued, and as their rows have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

from jobqueue.records.base import NO_DELAY, record
from jobqueue.records.flow_control import NO_TERMS, FlowControl, Terms

DEFAULT_QUEUE = "default"
DEFAULT_PRIORITY = 50
LARGEST_ID = 2**63 - 1
"""The largest id that a row can have."""


class JobState(StrEnum):
    """The state of a job's row."""

    READY = "ready"
    """Waiting for its time, or for a worker."""
    GATED = "gated"
    """Waiting as well, behind a limit or another job of its line."""
    BLOCKED = "blocked"
    """Waiting for other jobs of its flow."""
    RUNNING = "running"
    """Claimed by a worker."""
    SUCCEEDED = "succeeded"
    """Its `perform` returned."""
    FAILED = "failed"
    """It has no attempts left, or cannot be performed at all."""
    CANCELLED = "cancelled"
    """Somebody cancelled it, or it discarded itself."""


WAITING_STATES = (JobState.READY, JobState.GATED)
"""The states of jobs that a worker claims when it is their turn."""


UNSTARTED_STATES = (*WAITING_STATES, JobState.BLOCKED)
"""The states of jobs that no worker has claimed."""


RETRIABLE_STATES = (*WAITING_STATES, JobState.FAILED, JobState.CANCELLED)
"""The states of jobs that can be made due now."""


UNFINISHED_STATES = (*UNSTARTED_STATES, JobState.RUNNING)


FINISHED_STATES = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@record
class NewJob:
    """A job that is about to be stored. `args` is the text of a JSON object, and so is `meta`.

    It is due at `run_at`. When that is None, it is due `delay` after the database's own time.
    `flow_control` is None for most: they start as soon as a worker is free.
    """

    handler: str
    args: str = field(repr=False)
    queue: str
    priority: int
    max_attempts: int
    run_at: datetime | None = None
    delay: timedelta = NO_DELAY
    meta: str | None = field(default=None, repr=False)
    flow_control: FlowControl | None = None

    def due_at(self, now: datetime) -> datetime:
        """The moment at which it is due, if it is stored at `now`."""
        if self.run_at is not None:
            return self.run_at
        return now + self.delay if self.delay else now


@record
class JobRecord:
    """A job as its row in `background_jobs` has it. Times are aware and in UTC.

    The last attempt that has ended began at `started_at`, took `run_time`, and was performed by the
    worker `performed_by`. `run_time` is None when its process died. `error_key` is the key of the
    group of its error. A job that waits at gates has the `line` that it waits in and the `terms` on
    which it starts, and no worker performs it after `expires_at`. Keys tell that other calls mean
    the same job: `unique_key` until it ends, `waiting_key` until it starts. `flow_id` is the flow
    that it belongs to, and `flow_place` its place there.

    Its `repr` leaves the arguments out: they may be secret, and a `repr` ends up in logs.
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
    started_at: datetime | None = None
    run_time: timedelta | None = None
    performed_by: str | None = None
    error_key: str | None = None
    meta: Any = field(default=None, repr=False)
    line: str | None = None
    terms: Terms = NO_TERMS
    expires_at: datetime | None = None
    unique_key: str | None = None
    waiting_key: str | None = None
    flow_id: int | None = None
    flow_place: int | None = None

    @property
    def is_duplicate(self) -> bool:
        """Whether the call that returned it stored nothing, since this job was there before."""
        return False

    @property
    def waiting_state(self) -> JobState:
        """The state that it has while no worker has claimed it."""
        return JobState.READY if self.line is None else JobState.GATED


@dataclass(frozen=True, slots=True)
class Between:
    """A stretch of time, both ends included; None for an end that is open."""

    first: datetime | None = None
    last: datetime | None = None


@dataclass(frozen=True, slots=True)
class JsonValue:
    """A value that a job's `args` or `meta` has to have.

    Args:
        path: the names that lead to it, from the outermost on.
        value: a text, or a number, `true`, `false` or `null` as JSON writes it; None for any value.
    """

    path: tuple[str, ...]
    value: str | None = None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """A choice of jobs. Every column that is given must match; None matches everything.

    Args:
        before_id: only jobs with a smaller id: the next page of a list, newest first.
        due: True for jobs whose time has come, False for those whose time is still to come.
        workers: only jobs that one of these workers performs, or performed last.
        created: when they were enqueued.
        started: when their last attempt began.
        finished: when they ended.
        changed: when anything in their row changed last.
        attempts: at least so many attempts have begun.
        args: values that their arguments have.
        meta: values that their meta has.
        error: a text that their `last_error` has in it, in any case of its letters.
        error_keys: only jobs whose last attempt ended with an error of one of these groups.
        flows: only jobs of one of these flows.
    """

    ids: tuple[int, ...] | None = None
    states: tuple[JobState, ...] | None = None
    queues: tuple[str, ...] | None = None
    handlers: tuple[str, ...] | None = None
    before_id: int | None = None
    due: bool | None = None
    workers: tuple[str, ...] | None = None
    created: Between | None = None
    started: Between | None = None
    finished: Between | None = None
    changed: Between | None = None
    attempts: int | None = None
    args: tuple[JsonValue, ...] = ()
    meta: tuple[JsonValue, ...] = ()
    error: str | None = None
    error_keys: tuple[str, ...] | None = None
    flows: tuple[int, ...] | None = None


KEY_LIFETIME = timedelta(hours=24)
J_co = TypeVar("J_co", bound=JobRecord, covariant=True)


@dataclass(frozen=True, slots=True)
class UsedKey:
    """An idempotency key, and a fingerprint of the request that it is used for.

    Args:
        key: unique among all clients.
        fingerprint: of the request. It has to be the same whenever the key is used.
        lifetime: how long the key is remembered.
    """

    key: str
    fingerprint: str
    lifetime: timedelta = KEY_LIFETIME


@dataclass(frozen=True, slots=True)
class EnqueuedOnce(Generic[J_co]):
    """The result of enqueueing a job under an idempotency key.

    Args:
        job_id: the id of the key's job, stored now or before.
        job: the job as it is now; None when its row is gone.
        is_new: whether the job was stored now.
        fingerprint: of the request that the job was stored for.
        made_at: when it was stored.
    """

    job_id: int
    job: J_co | None
    is_new: bool
    fingerprint: str
    made_at: datetime
