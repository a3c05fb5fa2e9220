"""The control of jobs: deleting them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import JobFilter, JobState
from jobqueue.testing.contract.base import (
    ContractBase,
    a_claim,
    enqueue_one,
    ids,
    new_job,
    one_of_each_state,
    record,
)

HOUR = timedelta(hours=1)
NOT_RUNNING = [state for state in JobState if state is not JobState.RUNNING]


class DeleteContract(ContractBase):
    """Tests `delete` and `delete_each`."""

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

    @pytest.mark.parametrize("state", NOT_RUNNING)
    def test_a_job_that_is_not_running_is_deleted(self, adapter: Adapter, state: JobState) -> None:
        job_id = one_of_each_state(adapter)[state].id
        assert adapter.delete(JobFilter(ids=(job_id,))) == 1
        assert adapter.get(job_id) is None
        assert adapter.delete(JobFilter(ids=(job_id,))) == 0

    def test_running_jobs_are_deleted_only_when_included(self, adapter: Adapter) -> None:
        running = one_of_each_state(adapter)[JobState.RUNNING].id
        assert adapter.delete(JobFilter()) == len(JobState) - 1
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
