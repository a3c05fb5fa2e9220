"""The fixtures that every test of the contract uses, and short ways to make and check jobs."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    NO_DELAY,
    Claim,
    ClaimedJob,
    Discarded,
    Failed,
    FlowControl,
    Gate,
    JobState,
    NewJob,
    NewWorker,
    Outcome,
    Released,
    Succeeded,
    Terms,
)
from jobqueue.stored import StoredJob

LEASE = timedelta(seconds=30)
EMOJI_ZWJ_FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
TEXTS = (
    "",
    "plain",
    "quotes \" ' ` and \\ backslashes",
    "tabs\tand\nlines\r\nof both kinds",
    "Zo\u00eb, na\u0308ive, \u65e5\u672c\u8a9e, \u05e2\u05d1\u05e8\u05d9\u05ea",
    f"\U0001f600 {EMOJI_ZWJ_FAMILY} \U00020000",
    "'; DROP TABLE background_jobs; -- %s %(x)s :x ? $1 {x}",
    "\u2028 \ufeff \x7f \x1b[31m",
)

_tokens = itertools.count(1_000_000_007)


class ContractBase:
    """The fixtures of the contract."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The adapter's time, which stands still until a test moves it."""
        return ManualClock()

    @pytest.fixture
    def adapter(self, clock: ManualClock) -> Adapter:
        """An empty adapter on `clock`. Override it."""
        raise NotImplementedError(
            "override the fixture `adapter` to return an empty adapter that uses `clock`"
        )


def new_job(
    handler: str = "Work",
    args: str = "{}",
    *,
    queue: str = DEFAULT_QUEUE,
    priority: int = DEFAULT_PRIORITY,
    max_attempts: int = 5,
    delay: timedelta = NO_DELAY,
) -> NewJob:
    """A job to enqueue."""
    return NewJob(handler, args, queue, priority, max_attempts, delay=delay)


def new_worker(worker_id: str = "worker-1", *, queues: tuple[str, ...] | None = None) -> NewWorker:
    """A worker to register."""
    return NewWorker(worker_id, "web", "host-1", 4711, queues, 2, LEASE)


def enqueue_one(adapter: Adapter, job: NewJob | None = None) -> StoredJob:
    """Enqueue a single job."""
    return adapter.enqueue([job or new_job()])[0]


def a_claim(
    worker_id: str = "worker-1",
    *,
    limit: int = 100,
    free_slots: int | None = None,
    queues: tuple[str, ...] | None = None,
    token: int | None = None,
    passing_over: tuple[str, ...] = (),
    most_bytes: int = sys.maxsize,
) -> Claim:
    """A claim with a fresh token; every job of it would start at once unless said otherwise."""
    return Claim(
        worker_id=worker_id,
        token=next(_tokens) if token is None else token,
        limit=limit,
        free_slots=limit if free_slots is None else free_slots,
        queues=queues,
        passing_over=passing_over,
        most_bytes=most_bytes,
    )


def claim_one(adapter: Adapter, worker_id: str = "worker-1") -> ClaimedJob:
    """Claim the single job that is due."""
    (job,) = adapter.claim(a_claim(worker_id))
    return job


def claim_new(adapter: Adapter, job: NewJob | None = None) -> ClaimedJob:
    """Enqueue a job and claim it."""
    enqueue_one(adapter, job)
    return claim_one(adapter)


def ids(jobs: Sequence[StoredJob] | Sequence[ClaimedJob]) -> list[int]:
    """The ids of jobs, in their order."""
    return [job.id for job in jobs]


def record(adapter: Adapter, job_id: int) -> StoredJob:
    """The record of a job, which has to be there."""
    found = adapter.get(job_id)
    assert found is not None, f"job {job_id} is gone"
    return found


def settle_all(adapter: Adapter, *outcomes: Outcome) -> None:
    """Settle outcomes, and fail if any is rejected."""
    assert adapter.settle(outcomes) == []


def assert_unlocked(job: StoredJob) -> None:
    """Fail if a worker holds the job."""
    assert (job.locked_at, job.locked_by) == (None, None)


def assert_unchanged_by_rejection(adapter: Adapter, outcome: Outcome) -> None:
    """Fail unless an outcome is rejected, and its row stays as it is (or stays away)."""
    before = adapter.get(outcome.job.id)
    assert adapter.settle([outcome]) == [outcome]
    assert adapter.get(outcome.job.id) == before


def assert_claimable(adapter: Adapter, job_id: int) -> ClaimedJob:
    """Fail unless the job is ready and due."""
    assert record(adapter, job_id).state is JobState.READY
    taken = {job.id: job for job in adapter.claim(a_claim("somebody-else"))}
    assert job_id in taken
    return taken[job_id]


def one_of_each_state(adapter: Adapter) -> dict[JobState, StoredJob]:
    """A job in every state, enqueued in the order of `JobState`."""
    line = "nobody passes"
    controls = {
        JobState.GATED: FlowControl(line, Terms((Gate("nobody", None, 0),))),
        JobState.BLOCKED: FlowControl(line, is_blocked=True),
    }
    made = adapter.enqueue(
        [replace(new_job(str(s)), flow_control=controls.get(s)) for s in JobState]
    )
    jobs = {JobState(job.handler): job for job in adapter.claim(a_claim("worker-1"))}
    settle_all(
        adapter,
        Released(jobs[JobState.READY]),
        Succeeded(jobs[JobState.SUCCEEDED], keep=True),
        Failed(jobs[JobState.FAILED], error="broken"),
        Discarded(jobs[JobState.CANCELLED], reason="unwanted"),
    )
    return {JobState(job.handler): job for job in made}


def at_once(*actions: Any) -> None:
    """Call functions on a thread each, all beginning at the same moment."""
    begin, errors = threading.Barrier(len(actions)), list[BaseException]()

    def act(action: Any) -> None:
        begin.wait()
        try:
            action()
        except Exception as error:  # noqa: BLE001 - raised again below, on the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=act, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
