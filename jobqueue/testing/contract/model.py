"""The model of a queue in plain Python, with which an adapter is compared call by call.

It knows nothing of databases, locks or indexes. What it says is what `jobqueue.adapters.base`
promises, with one freedom: which jobs a turn may overlook for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from jobqueue.clock import ManualClock
from jobqueue.records import (
    MOST_CRASHES,
    Cancelled,
    Claim,
    ClaimedJob,
    CrashedJob,
    Discarded,
    Failed,
    JobFilter,
    JobState,
    Outcome,
    Released,
    Rescue,
    Retried,
    Succeeded,
)
from jobqueue.stored import StoredJob

Pair = tuple[int, int]
READY, RUNNING = JobState.READY, JobState.RUNNING
SUCCEEDED, FAILED, CANCELLED = JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED


@dataclass
class ModelJob:
    """A job, with what of it can be seen from outside, its token, and since when it is ready."""

    id: int
    queue: str
    priority: int
    max_attempts: int
    run_at: datetime
    ready_since: datetime
    state: JobState = READY
    attempts: int = 0
    crashes: int = 0
    locked_by: str | None = None
    last_error: str | None = None
    failed_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested: bool = False
    progress: Any = None
    token: int | None = None

    @property
    def place(self) -> tuple[int, datetime, int]:
        """The place of the job in the order of the claim."""
        return self.priority, self.run_at, self.id

    @property
    def pair(self) -> Pair | None:
        """The job's id and the token of its claim."""
        return None if self.token is None else (self.id, self.token)

    def reason_or(self, error: str | None) -> str | None:
        """The `last_error` when the attempt ends. A reason for a cancel takes precedence."""
        return self.last_error if self.cancel_requested else error


SEEN = (
    "id", "queue", "priority", "max_attempts", "run_at", "state", "attempts", "crashes",
    "locked_by", "last_error", "failed_at", "finished_at", "progress",
)  # fmt: skip


def what_is_seen(job: ModelJob | StoredJob) -> dict[str, Any]:
    """The values in which the model and a row have to agree."""
    requested = (
        job.cancel_requested if isinstance(job, ModelJob) else job.cancel_requested_at is not None
    )
    return {name: getattr(job, name) for name in SEEN} | {"cancel_requested": requested}


@dataclass
class Model:
    """All jobs, the registered workers with their last beats, and the paused queues.

    Args:
        clock: the time of the adapter that is compared with it.
    """

    clock: ManualClock
    jobs: dict[int, ModelJob] = field(default_factory=dict)
    beats: dict[str, datetime] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    steered_at: datetime | None = None

    # --- the path --------------------------------------------------------------------------------

    def enqueue(self, records: Iterable[StoredJob]) -> None:
        """Note that jobs were stored."""
        for record in records:
            assert record.id not in self.jobs, f"id {record.id} was used before"
            self.jobs[record.id] = ModelJob(
                id=record.id,
                queue=record.queue,
                priority=record.priority,
                max_attempts=record.max_attempts,
                run_at=record.run_at,
                ready_since=self.clock.now(),
            )

    def due(self, queues: Collection[str] | None) -> list[ModelJob]:
        """The jobs that can be claimed from these queues, in the order of the claim."""
        now = self.clock.now()
        found = [
            job
            for job in self.jobs.values()
            if (job.state is READY and job.run_at <= now)
            and (queues is None or job.queue in queues)
            and job.queue not in self.paused
        ]
        return sorted(found, key=lambda job: job.place)

    def claim(
        self, claim: Claim, claimed: Sequence[ClaimedJob], may_miss: Collection[int] = ()
    ) -> None:
        """Check which jobs a claim brought, and note them. It may miss those in `may_miss`."""
        due = self.due(claim.queues)
        certain = [job for job in due if job.id not in may_miss]
        taken = [job.id for job in claimed]
        assert len(taken) <= claim.limit, f"{len(taken)} jobs for a limit of {claim.limit}"
        assert len(set(taken)) == len(taken), f"{taken} has a job twice"
        assert set(taken) <= {job.id for job in due}, f"not to be had: {taken} of {due}"
        assert taken == [job.id for job in due if job.id in taken], f"{taken} is out of order"
        for job in due:
            ahead = [other for other in due if other.place < job.place]
            if job.id in taken:
                ahead = [other for other in ahead if other in certain]
                assert _may_go(job, len(ahead), claim), f"{job} was claimed before its turn"
            elif job in certain:
                assert not _may_go(job, len(ahead), claim), f"{job} was passed over"
        for claimed_job in claimed:
            self._claimed(self.jobs[claimed_job.id], claim, claimed_job)

    def _claimed(self, job: ModelJob, claim: Claim, claimed: ClaimedJob) -> None:
        job.state, job.locked_by, job.token = RUNNING, claim.worker_id, claim.token
        job.attempts += 1
        assert (claimed.token, claimed.attempts, claimed.crashes, claimed.max_attempts) == (
            claim.token,
            job.attempts,
            job.crashes,
            job.max_attempts,
        )
        assert (claimed.queue, claimed.priority, claimed.run_at, claimed.locked_at) == (
            job.queue,
            job.priority,
            job.run_at,
            self.clock.now(),
        )

    def settle(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Apply outcomes, and return those that are to be rejected."""
        return [outcome for outcome in outcomes if not self._settled(outcome)]

    def _settled(self, outcome: Outcome) -> bool:
        job = self.held_under(outcome.job.id, outcome.job.token)
        if job is None:
            return False
        match outcome:
            case Succeeded(keep=keep, note=note):
                job.last_error = note
                self._end(job, SUCCEEDED, keep=keep)
            case Failed(error=error, keep=keep):
                job.last_error = error
                self._end(job, FAILED, keep=keep)
            case Cancelled(keep=keep):
                self._end(job, CANCELLED, keep=keep)
            case Discarded(reason=reason, keep=keep):
                job.last_error = reason
                self._end(job, CANCELLED, keep=keep)
            case Retried(error=error, delay=delay, refund=refund):
                job.last_error, job.run_at = job.reason_or(error), self.clock.now() + delay
                job.attempts -= int(refund)
                self._free(job)
            case Released(error=error, delay=delay):
                self._refund(job, error)
                job.run_at = self.clock.now() + delay if delay else job.run_at
        return True

    def held_under(self, job_id: int, token: int) -> ModelJob | None:
        """The job, if it is held under that token; else None."""
        job = self.jobs.get(job_id)
        return job if job is not None and job.token == token else None

    # --- what becomes of a job that somebody held ------------------------------------------------

    def _end(self, job: ModelJob, state: JobState, *, keep: bool = True) -> None:
        job.state, job.token, job.locked_by = state, None, None
        job.finished_at = self.clock.now()
        job.failed_at = self.clock.now() if state is FAILED else None
        if not keep:
            del self.jobs[job.id]

    def _free(self, job: ModelJob) -> JobState:
        """Make a job ready again, or cancelled if somebody has cancelled it."""
        if job.cancel_requested:
            self._end(job, CANCELLED)
        else:
            job.state, job.token, job.locked_by = READY, None, None
            job.ready_since = self.clock.now()
        return job.state

    def _refund(self, job: ModelJob, error: str | None = None) -> JobState:
        job.attempts -= 1
        job.last_error = job.last_error if error is None else job.reason_or(error)
        return self._free(job)

    # --- workers ---------------------------------------------------------------------------------

    def held_by(self, worker_id: str) -> list[ModelJob]:
        """The jobs that a worker holds."""
        return [job for job in self.jobs.values() if job.locked_by == worker_id]

    def unregister(self, worker_id: str) -> Rescue:
        """Note that a worker was unregistered."""
        self.beats.pop(worker_id, None)
        return _rescue(worker_id, {job.id: self._refund(job) for job in self.held_by(worker_id)})

    def rescue(self, worker_id: str, error: str) -> Rescue:
        """Rescue a worker that is taken for dead: attempts are spent, no crash is charged."""
        self.beats.pop(worker_id, None)
        ended = {job.id: self._rescued(job, error) for job in self.held_by(worker_id)}
        return _rescue(worker_id, ended)

    def _rescued(self, job: ModelJob, error: str) -> JobState:
        job.last_error = job.reason_or(error)
        if job.attempts < job.max_attempts or job.cancel_requested:
            return self._free(job)
        self._end(job, FAILED)
        return job.state

    def rescue_crashed(self, worker_id: str, performing: Sequence[CrashedJob]) -> Rescue:
        """Rescue a dead process: jobs that it performed are charged, others are refunded."""
        self.beats.pop(worker_id, None)
        ended = {}
        for crashed in performing:
            job = self.held_under(crashed.id, crashed.token)
            if job is not None and job.locked_by == worker_id:
                ended[job.id] = self._crashed(job, crashed)
        for job in self.held_by(worker_id):
            ended[job.id] = self._refund(job)
        return _rescue(worker_id, ended)

    def _crashed(self, job: ModelJob, crashed: CrashedJob) -> JobState:
        job.crashes += int(crashed.guilty)
        job.last_error = job.reason_or(crashed.error)
        if crashed.delay:
            job.run_at = self.clock.now() + crashed.delay
        used_up = job.attempts >= job.max_attempts or job.crashes >= MOST_CRASHES or crashed.final
        if not used_up or job.cancel_requested:
            return self._free(job)
        self._end(job, FAILED)
        return job.state

    def release_strays(self, worker_id: str, held: Collection[Pair]) -> Rescue:
        """Give back the jobs of a worker that it does not know of."""
        strays = [job for job in self.held_by(worker_id) if job.pair not in held]
        return _rescue(worker_id, {job.id: self._refund(job) for job in strays})

    def orphaned_workers(self) -> list[str]:
        """The workers that hold jobs without being registered."""
        holding = {job.locked_by for job in self.jobs.values() if job.locked_by is not None}
        return sorted(holding - set(self.beats))

    # --- steering --------------------------------------------------------------------------------

    def matching(self, where: JobFilter, states: Collection[JobState]) -> list[ModelJob]:
        """The jobs that match a filter, of those in these states."""
        now = self.clock.now()
        return [
            job
            for job in self.jobs.values()
            if job.state in states
            and (where.ids is None or job.id in where.ids)
            and (where.queues is None or job.queue in where.queues)
            and (where.states is None or job.state in where.states)
            and (where.due is None or where.due == (job.run_at <= now))
        ]

    def retry(self, where: JobFilter) -> int:
        """Make jobs due now."""
        jobs = self.matching(where, (READY, FAILED, CANCELLED))
        for job in jobs:
            job.run_at = min(job.run_at, self.clock.now())
            job.max_attempts = max(job.max_attempts, job.attempts + 1)
            job.failed_at = job.finished_at = None
            job.cancel_requested = False
            self._free(job)
        return len(jobs)

    def cancel(self, where: JobFilter, reason: str) -> int:
        """Cancel jobs that wait."""
        jobs = self.matching(where, (READY,))
        for job in jobs:
            job.last_error = reason
            self._end(job, CANCELLED)
        return len(jobs)

    def request_cancel(self, job_id: int, reason: str) -> JobState | None:
        """Cancel a job that waits, or ask for the end of a running one."""
        job = self.jobs.get(job_id)
        if job is None or job.state not in {READY, RUNNING}:
            return None
        job.last_error = reason
        if job.state is READY:
            self._end(job, CANCELLED)
        else:
            job.cancel_requested = True
        return job.state

    def cancel_requests(self, worker_id: str) -> dict[Pair, str | None]:
        """The cancel requests for the jobs of a worker."""
        held = self.held_by(worker_id)
        return {job.pair: job.last_error for job in held if job.cancel_requested and job.pair}

    def report_progress(self, job_id: int, token: int, progress: Any) -> None:
        """Store the progress that the holder of a claim, old or new, has reported."""
        job = self.held_under(job_id, token)
        if job is not None:
            job.progress = progress

    def delete(self, where: JobFilter, *, include_running: bool) -> int:
        """Remove jobs."""
        spared = set() if include_running else {RUNNING}
        jobs = self.matching(where, set(JobState) - spared)
        for job in jobs:
            del self.jobs[job.id]
        return len(jobs)

    def pause(self, queues: Collection[str]) -> set[str]:
        """Note that queues are paused."""
        changed = set(queues) - self.paused
        self.paused |= changed
        self.steered_at = self.clock.now()
        return changed

    def resume(self, queues: Collection[str]) -> set[str]:
        """Note that queues are resumed."""
        changed = set(queues) & self.paused
        self.paused -= changed
        self.steered_at = self.clock.now()
        return changed

    def young(self, lateness: timedelta) -> set[int]:
        """The ready jobs that became claimable only within the time `lateness`."""
        after = self.clock.now() - lateness
        return {job.id for job in self.jobs.values() if max(self._since(job)) > after}

    def _since(self, job: ModelJob) -> Iterator[datetime]:
        yield job.ready_since
        yield job.run_at
        if self.steered_at is not None:
            yield self.steered_at


def _may_go(job: ModelJob, ahead: int, claim: Claim) -> bool:
    """Whether a claim takes a job that has `ahead` jobs before it."""
    return ahead < claim.limit and (job.max_attempts > 1 or ahead < claim.free_slots)


def _rescue(worker_id: str, ended: dict[int, JobState]) -> Rescue:
    def those(states: Callable[[JobState], bool]) -> tuple[int, ...]:
        return tuple(sorted(job_id for job_id, state in ended.items() if states(state)))

    return Rescue(
        worker_id,
        those(lambda s: s is READY),
        those(lambda s: s is FAILED),
        those(lambda s: s is CANCELLED),
    )
