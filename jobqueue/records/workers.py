"""Workers, and the rescue of the jobs of those that are gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from jobqueue.records.base import NO_DELAY
from jobqueue.records.jobs import JobRecord, JobState

MOST_CRASHES = 3
LONGEST_REASON = 500
"""How many characters of the reason of an end are stored."""


class WorkerState(StrEnum):
    """The states of a worker: it takes jobs, it rests, or it only finishes what it performs."""

    RUNNING = "running"
    RESTING = "resting"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class NewWorker:
    """A worker process that registers itself.

    Args:
        release: the release of the application that it runs; None if that is not known.
    """

    id: str
    name: str
    host: str
    pid: int
    queues: tuple[str, ...] | None
    concurrency: int
    lease: timedelta
    release: str | None = None


@dataclass(frozen=True, slots=True)
class WorkerNote:
    """A note of how a worker is, stored now and then.

    Args:
        state: whether it takes jobs.
        memory_bytes: the memory of its process; None if that is not known.
    """

    state: WorkerState
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A worker process as its row in `background_workers` has it.

    Args:
        process: what tells its process from others that get its id later (`process_identity`);
            None where nobody needs that.
        release: the release of the application that it runs; None if that is not known.
        note: how it was when that was last stored; None for a worker that stores no such thing.
    """

    id: str
    name: str
    host: str
    pid: int
    queues: tuple[str, ...] | None
    concurrency: int
    lease: timedelta
    started_at: datetime
    heartbeat_at: datetime
    process: str | None = None
    release: str | None = None
    note: WorkerNote | None = None


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """A worker that has ended, when and why."""

    id: str
    name: str
    host: str
    pid: int
    release: str | None
    started_at: datetime
    ended_at: datetime
    reason: str

    @classmethod
    def of(cls, worker: WorkerRecord, ended_at: datetime, reason: str) -> WorkerEnd:
        """Return the end of a worker."""
        return cls(
            worker.id,
            worker.name,
            worker.host,
            worker.pid,
            worker.release,
            worker.started_at,
            ended_at,
            reason[:LONGEST_REASON],
        )


@dataclass(frozen=True, slots=True)
class CrashedJob:
    """A job that was being performed when its process died.

    Args:
        id: the id of the job.
        token: the token of the claim under which it was performed.
        error: what becomes its `last_error`.
        delay: how long until it is due again.
        guilty: whether it is charged a crash. Three of them fail it.
        final: whether it is failed, whatever attempts it has left.
    """

    id: int
    token: int
    error: str
    delay: timedelta = NO_DELAY
    guilty: bool = True
    final: bool = False


@dataclass(frozen=True, slots=True)
class ChargedJob:
    """A job that lost an attempt with its worker, and the error that its row was given for that."""

    id: int
    handler: str
    error: str


@dataclass(frozen=True, slots=True)
class Rescue:
    """The jobs of a worker that is gone, after they were freed.

    A row that somebody else has locked is not waited for. What is left by that can be freed by the
    same call at another time.

    Args:
        worker_id: the worker.
        released: the ids of the jobs that are ready again.
        failed: the ids of the jobs that have failed for good.
        cancelled: the ids of the jobs that somebody had cancelled while they ran.
        ended: the records of the jobs that have failed or are cancelled.
        locked: the ids of the jobs that are not free yet, since their rows are locked.
        worker_is_locked: whether the row of the worker is.
        refused: the ids of the jobs that are not free yet, since the database refuses what that
            changes in their rows, as a trigger may; each with what it says.
        charged: those of the jobs that lost an attempt. Of all rescues, a single one has each.
    """

    worker_id: str
    released: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    cancelled: tuple[int, ...] = ()
    ended: tuple[JobRecord, ...] = field(default=(), compare=False, repr=False)
    locked: tuple[int, ...] = ()
    worker_is_locked: bool = False
    charged: tuple[ChargedJob, ...] = field(default=(), compare=False, repr=False)
    refused: tuple[tuple[int, str], ...] = ()

    @property
    def has_freed_all(self) -> bool:
        """Whether nothing is left that somebody has locked, or that the database refuses."""
        return not self.locked and not self.worker_is_locked and not self.refused

    @classmethod
    def of(
        cls, worker_id: str, states: Mapping[int, JobState], ended: Iterable[JobRecord]
    ) -> Rescue:
        """Sort jobs by the states that they have now."""

        def those(state: JobState) -> tuple[int, ...]:
            return tuple(sorted(job_id for job_id, now in states.items() if now is state))

        return cls(
            worker_id,
            those(JobState.READY),
            those(JobState.FAILED),
            those(JobState.CANCELLED),
            tuple(ended),
        )

    def __bool__(self) -> bool:
        """Whether any jobs were freed."""
        return bool(self.released or self.failed or self.cancelled)
