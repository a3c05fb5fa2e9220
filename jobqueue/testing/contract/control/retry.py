"""The control of jobs: retrying them, in every state."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import Failed, JobFilter, JobState, Retried
from jobqueue.testing.contract.base import (
    ContractBase,
    a_claim,
    assert_claimable,
    claim_new,
    enqueue_one,
    ids,
    new_job,
    one_of_each_state,
    record,
    settle_all,
)

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


class RetryContract(ContractBase):
    """Tests `retry`."""

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
        assert adapter.retry(JobFilter()) == 4

    def test_a_retried_wait_ends(self, adapter: Adapter, clock: ManualClock) -> None:
        job = claim_new(adapter)
        settle_all(adapter, Retried(job, error="again", delay=HOUR))
        adapter.retry(JobFilter(due=False))
        assert assert_claimable(adapter, job.id).attempts == 2
        clock.advance(2 * HOUR)
        assert adapter.claim(a_claim()) == []
