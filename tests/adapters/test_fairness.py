"""A worker on several queues: no queue waits behind the endless stream of another.

At the same priority the oldest comes first, whichever queue it is in. So a job waits for those that
were due before it, and until it is noticed, however fast others are added.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.postgres.low_water import LOOK_AGAIN_SECONDS
from jobqueue.adapters.sql.announcer import wakeup_for
from jobqueue.records import (
    Claim,
    ClaimedJob,
    JobRecord,
    NewJob,
    Outcome,
    Retried,
    Succeeded,
    Wakeup,
)

BATCH = 10
BACKLOG = 40
TURNS_PER_LOOK = 5
LONGEST_WAIT = BACKLOG // BATCH + 1

Settling = Callable[[ClaimedJob], Outcome]


class Stream:
    """A worker, and a queue `busy` that gets a new job for each that it claims.

    Where a worker only looks now and then for jobs that it has not heard of, it does so once in
    `TURNS_PER_LOOK` turns.
    """

    def __init__(self, adapter: Adapter, queues: tuple[str, ...] | None, settling: Settling):
        self.adapter, self.queues, self.settling = adapter, queues, settling
        self.turns = 0
        self._held: Sequence[ClaimedJob] = ()
        self._tokens = itertools.count(1)
        if isinstance(adapter, PostgresAdapter):
            adapter.path.low_water_marks.of("w", queues).monotonic = self._seconds
        enqueued(adapter, "busy", BACKLOG)

    def _seconds(self) -> float:
        return self.turns * LOOK_AGAIN_SECONDS / TURNS_PER_LOOK

    def turn(self, heard: Wakeup | None = None) -> Sequence[ClaimedJob]:
        self.turns += 1
        if self.settling is Succeeded:
            enqueued(self.adapter, "busy", len(self._held))
        claim = Claim("w", next(self._tokens), BATCH, BATCH, self.queues, heard)
        turn = self.adapter.turn([self.settling(job) for job in self._held], claim)
        self._held = turn.claimed
        assert len(self._held) == BATCH
        return self._held

    def turns_until(self, job: JobRecord, heard: Wakeup | None = None) -> int:
        """How many turns it takes to claim a job that has just been enqueued."""
        for turns in range(1, 100):
            if job.id in {claimed.id for claimed in self.turn(heard)}:
                return turns
            heard = None
        pytest.fail(f"{job!r} has not been claimed in a hundred turns")


def enqueued(adapter: Adapter, queue: str, count: int = 1) -> Sequence[JobRecord]:
    return adapter.enqueue([NewJob("Work", "{}", queue, 50, 1000)] * count) if count else ()


@pytest.fixture(
    params=[None, ("busy", "quiet"), ("quiet", "busy")], ids=["all", "busy first", "quiet first"]
)
def queues(request: pytest.FixtureRequest) -> tuple[str, ...] | None:
    """Those of the worker."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=[Succeeded, Retried], ids=["others are added", "the same are retried"])
def stream(
    request: pytest.FixtureRequest, adapter: Adapter, queues: tuple[str, ...] | None
) -> Stream:
    """One that has been going on for a while."""
    made = Stream(adapter, queues, request.param)
    for _ in range(3):
        made.turn()
    return made


def test_a_job_of_another_queue_is_claimed_within_a_look(stream: Stream, adapter: Adapter) -> None:
    (job,) = enqueued(adapter, "quiet")
    assert stream.turns_until(job) <= LONGEST_WAIT + TURNS_PER_LOOK


def test_a_job_that_is_heard_of_waits_for_those_before_it(stream: Stream, adapter: Adapter) -> None:
    jobs = enqueued(adapter, "quiet")
    assert stream.turns_until(jobs[0], heard=wakeup_for(jobs)) <= LONGEST_WAIT


def test_every_job_of_another_queue_gets_its_turn(stream: Stream, adapter: Adapter) -> None:
    for _ in range(10):
        (job,) = enqueued(adapter, "quiet")
        assert stream.turns_until(job) <= LONGEST_WAIT + TURNS_PER_LOOK
