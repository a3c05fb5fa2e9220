"""The removal of finished jobs that need not be kept."""

from __future__ import annotations

from datetime import timedelta

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import Discarded, Failed, JobFilter, JobState, Succeeded
from jobqueue.retention import EVERYTHING, NOTHING, Keep
from jobqueue.testing.contract.base import (
    ContractBase,
    a_claim,
    claim_new,
    enqueue_one,
    ids,
    new_job,
    settle_all,
)

MINUTE = timedelta(minutes=1)
SUCCEEDED, FAILED, CANCELLED = JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED


class RetentionContract(ContractBase):
    """Tests `prune` and `finished_handlers`."""

    def test_the_latest_so_many_stay(self, adapter: Adapter, clock: ManualClock) -> None:
        done = [succeed(adapter, clock) for _ in range(5)]
        assert adapter.prune(SUCCEEDED, ["Work"], Keep(count=2), 100) == 3
        assert left(adapter) == done[3:]
        assert adapter.prune(SUCCEEDED, ["Work"], Keep(count=2), 100) == 0

    def test_those_that_ended_at_one_moment_are_counted_too(self, adapter: Adapter) -> None:
        jobs = ids(adapter.enqueue([new_job() for _ in range(5)]))
        settle_all(adapter, *[Succeeded(job, keep=True) for job in adapter.claim(a_claim())])
        assert adapter.prune(SUCCEEDED, ["Work"], Keep(count=2), 100) == 3
        assert left(adapter) == jobs[3:]

    def test_those_that_ended_lately_stay(self, adapter: Adapter, clock: ManualClock) -> None:
        done = [succeed(adapter, clock) for _ in range(5)]
        clock.advance(MINUTE)
        assert adapter.prune(SUCCEEDED, ["Work"], Keep(age=3 * MINUTE), 100) == 3
        assert left(adapter) == done[3:]

    def test_both_limits_hold(self, adapter: Adapter, clock: ManualClock) -> None:
        done = [succeed(adapter, clock) for _ in range(5)]
        assert adapter.prune(SUCCEEDED, ["Work"], Keep(count=3, age=MINUTE * 100), 100) == 2
        assert left(adapter) == done[2:]
        assert adapter.prune(SUCCEEDED, ["Work"], Keep(count=3, age=MINUTE), 100) == 2
        assert left(adapter) == done[4:]

    def test_everything_and_nothing(self, adapter: Adapter, clock: ManualClock) -> None:
        done = [succeed(adapter, clock) for _ in range(2)]
        assert adapter.prune(SUCCEEDED, ["Work"], EVERYTHING, 100) == 0
        assert left(adapter) == done
        assert adapter.prune(SUCCEEDED, ["Work"], NOTHING, 100) == 2
        assert left(adapter) == []

    def test_a_batch_takes_the_oldest(self, adapter: Adapter, clock: ManualClock) -> None:
        done = [succeed(adapter, clock) for _ in range(5)]
        keep = Keep(count=1, age=MINUTE)
        assert adapter.prune(SUCCEEDED, ["Work"], keep, 2) == 2
        assert left(adapter) == done[2:]
        assert adapter.prune(SUCCEEDED, ["Work"], keep, 2) == 2
        assert adapter.prune(SUCCEEDED, ["Work"], keep, 2) == 0
        assert left(adapter) == done[4:]

    def test_those_that_ended_while_the_clock_was_ahead_make_room_for_later_ones(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        clock.advance(MINUTE * 1000)
        succeed(adapter, clock)
        succeed(adapter, clock, "Other")
        clock.advance(-MINUTE * 1000)
        assert adapter.prune(SUCCEEDED, ["Work"], Keep(count=2), 100) == 0
        ended = [r.finished_at for r in adapter.list_jobs(JobFilter(handlers=("Work",)), 1)]
        assert ended == [clock.now()]
        done = [succeed(adapter, clock) for _ in range(2)]
        assert adapter.prune(SUCCEEDED, ["Work"], Keep(count=2), 100) == 1
        assert left(adapter)[1:] == done

    def test_other_classes_and_states_are_left(self, adapter: Adapter, clock: ManualClock) -> None:
        other = succeed(adapter, clock, "Other")
        failed = claim_new(adapter)
        settle_all(adapter, Failed(failed, error="no"))
        waiting = enqueue_one(adapter, new_job(delay=MINUTE * 100)).id
        running = claim_new(adapter).id
        gone = succeed(adapter, clock)
        assert adapter.prune(SUCCEEDED, ["Work"], NOTHING, 100) == 1
        assert gone not in left(adapter)
        assert left(adapter) == [other, failed.id, waiting, running]

    def test_the_names_of_a_class_count_together(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        done = [succeed(adapter, clock, name) for name in ("Old", "New", "Old", "New")]
        assert adapter.prune(SUCCEEDED, ["Old", "New"], Keep(count=3), 100) == 1
        assert left(adapter) == done[1:]

    def test_failed_and_cancelled_jobs_are_states_of_their_own(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        settle_all(adapter, Failed(claim_new(adapter), error="no"))
        settle_all(adapter, Discarded(claim_new(adapter), reason="no"))
        clock.advance(MINUTE)
        assert adapter.prune(FAILED, ["Work"], Keep(age=MINUTE), 100) == 1
        assert adapter.count_by_state() == {CANCELLED: 1}
        assert adapter.prune(CANCELLED, ["Work"], Keep(age=MINUTE), 100) == 1

    def test_the_names_of_finished_jobs(self, adapter: Adapter, clock: ManualClock) -> None:
        for name in ("B", "A", "C", "A"):
            succeed(adapter, clock, name)
        settle_all(adapter, Failed(claim_new(adapter, new_job("D")), error="no"))
        enqueue_one(adapter, new_job("E"))
        assert adapter.finished_handlers(SUCCEEDED) == ["A", "B", "C"]
        assert adapter.finished_handlers(FAILED) == ["D"]
        assert adapter.finished_handlers(CANCELLED) == []


def succeed(adapter: Adapter, clock: ManualClock, handler: str = "Work") -> int:
    """Have a job succeed, a minute after the one before."""
    clock.advance(MINUTE)
    job = claim_new(adapter, new_job(handler))
    settle_all(adapter, Succeeded(job, keep=True))
    return job.id


def left(adapter: Adapter) -> list[int]:
    """The ids of all rows, the oldest first."""
    return sorted(ids(adapter.list_jobs(JobFilter(), 100)))
