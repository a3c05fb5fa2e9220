"""The data that travels between the layers, all of it frozen.

In the order of the path: a `NewJob` is enqueued and answered with a `JobRecord`; a `Claim` yields
`ClaimedJob`s; performing one yields an `Outcome`; a `Turn` is what came of settling and claiming.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")

DEFAULT_QUEUE = "default"
DEFAULT_PRIORITY = 50
MOST_CRASHES = 3
NO_DELAY = timedelta(0)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """A frozen dataclass for what there is one of for every job, as the type checkers see it.

    Nothing stops an assignment while it runs: that would cost 0.2 us for each field of each job,
    since `frozen=True` makes `__init__` go through `object.__setattr__`.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


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


# --- enqueue -------------------------------------------------------------------------------------


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


# --- claim ---------------------------------------------------------------------------------------


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


# --- settle --------------------------------------------------------------------------------------


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


# --- workers -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewWorker:
    """A worker process that announces itself."""

    id: str
    name: str
    host: str
    pid: int
    queues: tuple[str, ...] | None
    concurrency: int
    lease: timedelta


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A worker process as its row in `background_workers` has it."""

    id: str
    name: str
    host: str
    pid: int
    queues: tuple[str, ...] | None
    concurrency: int
    lease: timedelta
    started_at: datetime
    heartbeat_at: datetime


@dataclass(frozen=True, slots=True)
class CrashedJob:
    """A job that was being performed when its process died.

    Args:
        id: the job's.
        token: of the claim under which it was performed.
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
class Rescue:
    """What became of the jobs of a worker that is gone.

    Args:
        worker_id: the worker.
        released: the ids of those that are ready again.
        failed: the ids of those that have failed for good.
        cancelled: the ids of those that somebody had cancelled while they ran.
        ended: the last two, as their rows are then.
    """

    worker_id: str
    released: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    cancelled: tuple[int, ...] = ()
    ended: tuple[JobRecord, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def of(
        cls, worker_id: str, states: Mapping[int, JobState], ended: Iterable[JobRecord]
    ) -> Rescue:
        """What became of jobs, by the states that they have now."""

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
        """Whether there were any jobs."""
        return bool(self.released or self.failed or self.cancelled)


# --- wake-ups ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wakeup:
    """Word that jobs have become due, for workers that wait.

    It promises nothing: what it speaks of may be taken by now, and what became due may never have
    been spoken of.

    Args:
        queues: where; None for anywhere.
        lowest: the place of the first of them, (priority, `run_at`, id); None when it is not known.
        jobs: how many; None when it is not known.
        more: whether more jobs may follow there in the next few milliseconds without a word.
    """

    queues: frozenset[str] | None = None
    lowest: tuple[int, datetime, int] | None = None
    jobs: int | None = None
    more: bool = False

    def merged(self, other: Wakeup) -> Wakeup:
        """Both in one."""
        queues = lowest = jobs = None
        if self.queues is not None and other.queues is not None:
            queues = self.queues | other.queues
        if self.lowest is not None and other.lowest is not None:
            lowest = min(self.lowest, other.lowest)
        if self.jobs is not None and other.jobs is not None:
            jobs = self.jobs + other.jobs
        return Wakeup(queues, lowest, jobs, self.more or other.more)

    def concerns(self, queues: tuple[str, ...] | None) -> bool:
        """Whether a worker on these queues (None for all) is meant."""
        return self.queues is None or queues is None or not self.queues.isdisjoint(queues)

    def to_json(self) -> str:
        """As text of less than 4 kB, to be sent elsewhere; what is not known is left out."""
        facts: dict[str, Any] = {}
        if self.queues is not None and len(self.queues) <= MOST_QUEUES_SENT:
            facts["queues"] = sorted(self.queues)
        if self.lowest is not None:
            priority, run_at, job_id = self.lowest
            facts["lowest"] = [priority, run_at.isoformat(), job_id]
        if self.jobs is not None:
            facts["jobs"] = self.jobs
        if self.more:
            facts["more"] = True
        return json.dumps(facts)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Wakeup:
        """What the JSON object of `to_json` says. What cannot be understood is not known."""
        try:
            queues, lowest, jobs = (facts.get(name) for name in ("queues", "lowest", "jobs"))
            place = lowest and (int(lowest[0]), datetime.fromisoformat(lowest[1]), int(lowest[2]))
            return cls(
                queues=None if queues is None else frozenset(queues),
                lowest=place or None,
                jobs=None if jobs is None else int(jobs),
                more=facts.get("more") is True,
            )
        except (TypeError, ValueError, LookupError):
            return cls()


LOOK_ANYWHERE = Wakeup()
MOST_QUEUES_SENT = 20
ECHO_SECONDS = 0.005
"""How long after a wake-up that announces `more` it has to be acted on once more."""


# --- schedules -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """A recurring job as the code of an application has it.

    Args:
        name: unique within the application.
        handler: the name of the job's class.
        args: its arguments, the text of a JSON object.
        rule: when it is due, as `Schedule.rule` of `jobqueue.cron` has it.
        catch_up: what becomes of ticks that were missed: True, False or "all".
        queue: that its jobs go to.
        priority: of its jobs.
        max_attempts: of its jobs.
    """

    name: str
    handler: str
    args: str
    rule: Mapping[str, Any]
    catch_up: bool | str
    queue: str
    priority: int
    max_attempts: int


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """A recurring job as its row in `background_schedules` has it. Times are aware and in UTC.

    Args:
        app: the application that it belongs to.
        since: when its ticks began to count: when it was first declared, got another rule, or was
            resumed.
        last_tick: the last one that a job was enqueued for.
        paused_at: when somebody paused it; None when it is not paused.
        declared_at: when a worker that has it in its code last said so.
    """

    app: str
    name: str
    handler: str
    args: Mapping[str, Any]
    rule: Mapping[str, Any]
    catch_up: bool | str
    queue: str
    priority: int
    max_attempts: int
    since: datetime
    last_tick: datetime | None
    paused_at: datetime | None
    declared_at: datetime
    created_at: datetime
    updated_at: datetime


# --- reads ---------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How much there is to do in a queue.

    Args:
        due: ready jobs whose time has come.
        later: ready jobs whose time has not come.
        running: jobs that workers hold.
        oldest_age: how long the oldest due job has been due; nothing when none is.
        paused: whether nothing is taken from it.
        more: whether there may be more than these numbers say, since counting stopped there.
    """

    queue: str
    due: int
    later: int
    running: int
    oldest_age: timedelta
    paused: bool
    more: bool = False


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """What `jobqueue doctor` asks of a database.

    Args:
        server: the name and version of what answers.
        current: the revision that the tables are recorded to have, if one is recorded.
        head: the revision that this release works with.
        missing: the tables of this release that are not there.
        trouble: why no migration can mend the tables, and what does, if that is so.
    """

    server: str
    current: str | None
    head: str
    missing: tuple[str, ...] = ()
    trouble: str | None = None
