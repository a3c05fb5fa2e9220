"""Steering: retry, cancel and delete, for jobs in every state."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import Failed, JobFilter, JobState, Retried
from jobqueue.testing.contract.base import (
    TEXTS,
    ContractBase,
    a_claim,
    assert_claimable,
    claim_new,
    enqueue_one,
    ids,
    new_job,
    record,
    settle_all,
)
from jobqueue.testing.contract.reading import one_of_each_state

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
NOT_RUNNING = [state for state in JobState if state is not JobState.RUNNING]


class SteeringContract(ContractBase):
    """What `retry`, `cancel` and `delete` promise."""

    # --- retry -----------------------------------------------------------------------------------

    def test_a_waiting_job_is_due_now(self, adapter: Adapter, clock: ManualClock) -> None:
        job = enqueue_one(adapter, new_job(delay=HOUR))
        clock.advance(MINUTE)
        assert adapter.retry(JobFilter(ids=(job.id,))) == 1
        assert record(adapter, job.id) == replace(job, run_at=clock.now(), updated_at=clock.now())
        assert assert_claimable(adapter, job.id).attempts == 1
        assert adapter.claim(a_claim()) == []

    def test_a_due_job_keeps_its_place(self, adapter: Adapter, clock: ManualClock) -> None:
        first, second = ids(adapter.enqueue([new_job(), new_job()]))
        clock.advance(MINUTE)
        assert adapter.retry(JobFilter(ids=(first,))) == 1
        assert ids(adapter.claim(a_claim())) == [first, second]

    @pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
    def test_an_ended_job_is_ready_again(
        self, adapter: Adapter, clock: ManualClock, state: JobState
    ) -> None:
        job_id = one_of_each_state(adapter)[state].id
        before = record(adapter, job_id)
        clock.advance(HOUR)
        assert adapter.retry(JobFilter(ids=(job_id,))) == 1
        after = record(adapter, job_id)
        assert after == replace(
            before,
            state=JobState.READY,
            run_at=after.run_at,
            failed_at=None,
            finished_at=None,
            updated_at=clock.now(),
        )
        assert after.run_at <= clock.now()
        assert assert_claimable(adapter, job_id).attempts == 2

    def test_one_more_attempt_is_allowed(self, adapter: Adapter) -> None:
        settle_all(adapter, Failed(claim_new(adapter, new_job(max_attempts=1)), error="broken"))
        assert adapter.retry(JobFilter(states=(JobState.FAILED,))) == 1
        (row,) = adapter.list_jobs(JobFilter(), 10)
        assert (row.attempts, row.max_attempts) == (1, 2)
        assert row.last_error == "broken"

    def test_attempts_that_are_left_stay_as_they_are(self, adapter: Adapter) -> None:
        settle_all(adapter, Failed(claim_new(adapter, new_job(max_attempts=5)), error="broken"))
        adapter.retry(JobFilter())
        assert [job.max_attempts for job in adapter.list_jobs(JobFilter(), 10)] == [5]

    @pytest.mark.parametrize("state", [JobState.RUNNING, JobState.SUCCEEDED])
    def test_running_and_succeeded_jobs_are_not_retried(
        self, adapter: Adapter, state: JobState
    ) -> None:
        job_id = one_of_each_state(adapter)[state].id
        before = record(adapter, job_id)
        assert adapter.retry(JobFilter(ids=(job_id,))) == 0
        assert record(adapter, job_id) == before

    def test_retry_counts_what_it_changed(self, adapter: Adapter) -> None:
        one_of_each_state(adapter)
        assert adapter.retry(JobFilter()) == 3

    def test_a_retried_wait_ends(self, adapter: Adapter, clock: ManualClock) -> None:
        job = claim_new(adapter)
        settle_all(adapter, Retried(job, error="again", delay=HOUR))
        adapter.retry(JobFilter(due=False))
        assert assert_claimable(adapter, job.id).attempts == 2
        clock.advance(2 * HOUR)
        assert adapter.claim(a_claim()) == []

    # --- cancel ----------------------------------------------------------------------------------

    @pytest.mark.parametrize("delay", [timedelta(0), HOUR])
    def test_a_job_that_has_not_started_is_cancelled(
        self, adapter: Adapter, clock: ManualClock, delay: timedelta
    ) -> None:
        job = enqueue_one(adapter, new_job(delay=delay))
        clock.advance(MINUTE)
        assert adapter.cancel(JobFilter(ids=(job.id,)), "called off") == 1
        assert record(adapter, job.id) == replace(
            job,
            state=JobState.CANCELLED,
            last_error="called off",
            finished_at=clock.now(),
            updated_at=clock.now(),
        )
        clock.advance(2 * HOUR)
        assert adapter.claim(a_claim()) == []

    def test_who_cancels_a_few_is_told_of_each(self, adapter: Adapter, clock: ManualClock) -> None:
        jobs = one_of_each_state(adapter)
        other = enqueue_one(adapter)
        clock.advance(MINUTE)
        where = JobFilter(ids=(*(job.id for job in jobs.values()), other.id))
        cancelled = adapter.cancel_each(where, "called off")
        ready = [jobs[JobState.READY].id, other.id]
        assert sorted(job.id for job in cancelled) == ready
        assert cancelled == [record(adapter, job.id) for job in cancelled]
        assert {job.last_error for job in cancelled} == {"called off"}
        assert adapter.cancel_each(where, "called off") == []

    @pytest.mark.parametrize("include_running", [True, False])
    def test_who_deletes_a_few_is_told_of_each(
        self, adapter: Adapter, include_running: bool
    ) -> None:
        jobs = [record(adapter, job.id) for job in one_of_each_state(adapter).values()]
        where = JobFilter(ids=tuple(job.id for job in jobs))
        expected = [job for job in jobs if include_running or job.state is not JobState.RUNNING]
        deleted = adapter.delete_each(where, include_running=include_running)
        assert sorted(deleted, key=lambda job: job.id) == sorted(expected, key=lambda job: job.id)
        assert adapter.count_jobs(where) == len(jobs) - len(expected)
        assert adapter.delete_each(where, include_running=include_running) == []

    @pytest.mark.parametrize("state", [s for s in JobState if s is not JobState.READY])
    def test_others_are_not_cancelled(self, adapter: Adapter, state: JobState) -> None:
        job_id = one_of_each_state(adapter)[state].id
        before = record(adapter, job_id)
        assert adapter.cancel(JobFilter(ids=(job_id,)), "called off") == 0
        assert record(adapter, job_id) == before

    @pytest.mark.parametrize("text", TEXTS)
    def test_any_reason_is_kept(self, adapter: Adapter, text: str) -> None:
        job = enqueue_one(adapter)
        adapter.cancel(JobFilter(), text)
        assert record(adapter, job.id).last_error == text

    # --- delete ----------------------------------------------------------------------------------

    @pytest.mark.parametrize("state", NOT_RUNNING)
    def test_a_job_that_is_not_running_is_deleted(self, adapter: Adapter, state: JobState) -> None:
        job_id = one_of_each_state(adapter)[state].id
        assert adapter.delete(JobFilter(ids=(job_id,))) == 1
        assert adapter.get(job_id) is None
        assert adapter.delete(JobFilter(ids=(job_id,))) == 0

    def test_running_jobs_are_deleted_only_when_included(self, adapter: Adapter) -> None:
        running = one_of_each_state(adapter)[JobState.RUNNING].id
        assert adapter.delete(JobFilter()) == 4
        assert adapter.count_by_state() == {JobState.RUNNING: 1}
        assert adapter.delete(JobFilter(ids=(running,))) == 0
        assert adapter.delete(JobFilter(), include_running=True) == 1
        assert adapter.count_jobs(JobFilter()) == 0
        assert adapter.orphaned_workers() == []

    def test_a_deleted_job_is_not_claimed(self, adapter: Adapter, clock: ManualClock) -> None:
        adapter.enqueue([new_job(queue="a"), new_job(queue="a", delay=HOUR)])
        kept = enqueue_one(adapter, new_job(queue="b"))
        assert adapter.delete(JobFilter(queues=("a",))) == 2
        clock.advance(2 * HOUR)
        assert ids(adapter.claim(a_claim())) == [kept.id]
