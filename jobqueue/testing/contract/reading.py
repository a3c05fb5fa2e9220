"""Reads: single jobs, lists, filters and counts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    Discarded,
    Failed,
    JobFilter,
    JobState,
    QueueDepth,
    Released,
    Succeeded,
)
from jobqueue.stored import StoredJob
from jobqueue.testing.contract.base import (
    ContractBase,
    a_claim,
    claim_one,
    enqueue_one,
    ids,
    new_job,
    settle_all,
)

HOUR = timedelta(hours=1)
NO_IDS = (0, -1, 999_999_999, 2**31, 2**63 - 1, 2**63, 10**30, -(10**30))


def one_of_each_state(adapter: Adapter) -> dict[JobState, StoredJob]:
    """A job in every state, enqueued in the order of `JobState`."""
    made = adapter.enqueue([new_job(str(state)) for state in JobState])
    jobs = {JobState(job.handler): job for job in adapter.claim(a_claim("worker-1"))}
    settle_all(
        adapter,
        Released(jobs[JobState.READY]),
        Succeeded(jobs[JobState.SUCCEEDED], keep=True),
        Failed(jobs[JobState.FAILED], error="broken"),
        Discarded(jobs[JobState.CANCELLED], reason="unwanted"),
    )
    return {JobState(job.handler): job for job in made}


class ReadContract(ContractBase):
    """What the reads promise."""

    def test_an_empty_database(self, adapter: Adapter) -> None:
        assert adapter.get(1) is None
        assert adapter.list_jobs(JobFilter(), 10) == []
        assert adapter.count_jobs(JobFilter()) == 0
        assert adapter.count_by_state() == {}
        assert adapter.paused_queues() == set()
        assert adapter.workers() == []
        assert adapter.orphaned_workers() == []

    @pytest.mark.parametrize("job_id", NO_IDS)
    def test_ids_that_are_none(self, adapter: Adapter, job_id: int) -> None:
        made = enqueue_one(adapter)
        assert adapter.get(job_id) is None
        assert ids(adapter.list_jobs(JobFilter(ids=(job_id, made.id)), 10)) == [made.id]
        assert adapter.count_jobs(JobFilter(ids=(job_id,))) == 0
        assert adapter.retry(JobFilter(ids=(job_id,))) == 0
        assert adapter.cancel(JobFilter(ids=(job_id,)), "no") == 0
        assert adapter.delete(JobFilter(ids=(job_id,))) == 0
        below = adapter.list_jobs(JobFilter(before_id=job_id), 10)
        assert ids(below) == ([made.id] if job_id > made.id else [])

    def test_the_newest_first_and_no_more_than_the_limit(self, adapter: Adapter) -> None:
        made = ids(adapter.enqueue([new_job(priority=n) for n in range(10)]))
        assert ids(adapter.list_jobs(JobFilter(), 100)) == made[::-1]
        assert ids(adapter.list_jobs(JobFilter(), 3)) == made[:6:-1]

    def test_pages(self, adapter: Adapter) -> None:
        made = ids(adapter.enqueue([new_job() for _ in range(10)]))
        page = adapter.list_jobs(JobFilter(before_id=made[7]), 3)
        assert ids(page) == [made[6], made[5], made[4]]
        assert adapter.list_jobs(JobFilter(before_id=made[0]), 3) == []

    def test_by_id(self, adapter: Adapter) -> None:
        made = ids(adapter.enqueue([new_job() for _ in range(5)]))
        assert ids(adapter.list_jobs(JobFilter(ids=(made[1], made[3])), 10)) == [made[3], made[1]]
        assert adapter.count_jobs(JobFilter(ids=(made[1], made[1]))) == 1
        assert adapter.count_jobs(JobFilter(ids=())) == 0

    def test_by_many_ids(self, adapter: Adapter) -> None:
        made = ids(adapter.enqueue([new_job() for _ in range(1_000)]))
        assert adapter.count_jobs(JobFilter(ids=tuple(made))) == 1_000

    @pytest.mark.parametrize("state", JobState)
    def test_by_state(self, adapter: Adapter, state: JobState) -> None:
        jobs = one_of_each_state(adapter)
        (found,) = adapter.list_jobs(JobFilter(states=(state,)), 10)
        assert (found.id, found.state) == (jobs[state].id, state)
        assert adapter.count_jobs(JobFilter(states=(state,))) == 1

    def test_by_several_states(self, adapter: Adapter) -> None:
        jobs = one_of_each_state(adapter)
        wanted = JobFilter(states=(JobState.FAILED, JobState.READY))
        found = [jobs[JobState.FAILED].id, jobs[JobState.READY].id]
        assert ids(adapter.list_jobs(wanted, 10)) == found
        assert adapter.count_by_state() == dict.fromkeys(JobState, 1)
        assert adapter.count_jobs(JobFilter(states=())) == 0

    def test_by_queue_and_handler(self, adapter: Adapter) -> None:
        names = [("A", "x"), ("A", "y"), ("B", "x"), ("B", "z")]
        ax, ay, bx, bz = ids(adapter.enqueue([new_job(h, queue=q) for h, q in names]))
        assert ids(adapter.list_jobs(JobFilter(queues=("x",)), 10)) == [bx, ax]
        assert ids(adapter.list_jobs(JobFilter(queues=("y", "z", "none")), 10)) == [bz, ay]
        assert ids(adapter.list_jobs(JobFilter(handlers=("A",)), 10)) == [ay, ax]
        assert ids(adapter.list_jobs(JobFilter(handlers=("A",), queues=("x",)), 10)) == [ax]
        assert adapter.count_jobs(JobFilter(handlers=("a",))) == 0

    def test_by_time(self, adapter: Adapter, clock: ManualClock) -> None:
        now, later = ids(adapter.enqueue([new_job(), new_job(delay=HOUR)]))
        assert ids(adapter.list_jobs(JobFilter(due=True), 10)) == [now]
        assert ids(adapter.list_jobs(JobFilter(due=False), 10)) == [later]
        clock.advance(HOUR)
        assert ids(adapter.list_jobs(JobFilter(due=True), 10)) == [later, now]
        assert adapter.count_jobs(JobFilter(due=False)) == 0

    def test_every_condition_must_match(self, adapter: Adapter) -> None:
        made = adapter.enqueue([new_job("A", queue="x"), new_job("B", queue="x", delay=HOUR)])
        claim_one(adapter)
        first = JobFilter(
            ids=tuple(ids(made)),
            states=(JobState.RUNNING,),
            queues=("x",),
            handlers=("A", "B"),
            before_id=made[1].id,
            due=True,
        )
        assert ids(adapter.list_jobs(first, 10)) == [made[0].id]
        assert adapter.count_jobs(first) == 1

    def test_a_result_of_any_kind_is_read_back(self, adapter: Adapter) -> None:
        results = ["null", "0", "false", '""', "[]", "{}", '"\u00e9\U0001f600"', "1.5", "[1, 2]"]
        adapter.enqueue([new_job() for _ in results])
        jobs = adapter.claim(a_claim())
        settle_all(
            adapter,
            *[Succeeded(j, keep=True, result=r) for j, r in zip(jobs, results, strict=True)],
        )
        found = [job.result for job in reversed(adapter.list_jobs(JobFilter(), 100))]
        assert found == [None, 0, False, "", [], {}, "\u00e9\U0001f600", 1.5, [1, 2]]

    def test_ping_and_status(self, adapter: Adapter) -> None:
        adapter.ping()
        status = adapter.schema_status()
        assert status.server
        assert (status.current or "") == status.head

    def test_the_depth_of_each_queue(self, adapter: Adapter, clock: ManualClock) -> None:
        adapter.enqueue([new_job(queue="b"), new_job(queue="b"), new_job(queue="a")])
        adapter.enqueue([new_job(queue="b", delay=timedelta(hours=1))])
        (job,) = adapter.claim(a_claim(limit=1, queues=("b",)))
        clock.advance(90)
        assert adapter.queue_depths() == [
            QueueDepth("a", 1, 0, 0, timedelta(seconds=90), paused=False),
            QueueDepth("b", 1, 1, 1, timedelta(seconds=90), paused=False),
        ]
        assert [running.id for running in adapter.running_jobs(10)] == [job.id]
        settle_all(adapter, Succeeded(job))
        assert [(depth.queue, depth.running) for depth in adapter.queue_depths()] == [
            ("a", 0),
            ("b", 0),
        ]
