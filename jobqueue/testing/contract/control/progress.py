"""The progress of jobs, reported by workers and set by others."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    UNFINISHED_STATES,
    Cancelled,
    Failed,
    JobState,
    Outcome,
    Released,
    Retried,
    Succeeded,
)
from jobqueue.testing.contract.base import (
    ContractBase,
    assert_unchanged_by_rejection,
    claim_new,
    claim_one,
    one_of_each_state,
    record,
    settle_all,
)

MINUTE = timedelta(minutes=1)


class ProgressContract(ContractBase):
    """Tests `report_progress`, `set_progress` and the progress in outcomes."""

    @pytest.mark.parametrize("text", ['"started"', "0.4", "null", '{"done": [1, 2]}', "[]"])
    def test_progress_is_stored(self, adapter: Adapter, clock: ManualClock, text: str) -> None:
        job = claim_new(adapter)
        before = record(adapter, job.id)
        clock.advance(MINUTE)
        adapter.report_progress({(job.id, job.token): text})
        progress = json.loads(text)
        assert record(adapter, job.id) == replace(before, progress=progress, updated_at=clock.now())

    def test_of_several_jobs_at_once(self, adapter: Adapter) -> None:
        jobs = [claim_new(adapter) for _ in range(3)]
        adapter.report_progress({(job.id, job.token): f'"{job.id}"' for job in reversed(jobs)})
        adapter.report_progress({})
        assert [record(adapter, job.id).progress for job in jobs] == [str(j.id) for j in jobs]

    def test_progress_of_a_lost_claim_is_not(self, adapter: Adapter) -> None:
        lost, other = claim_new(adapter), claim_new(adapter)
        settle_all(adapter, Retried(lost))
        again = claim_one(adapter, "worker-2")
        adapter.report_progress({(lost.id, lost.token): "1", (other.id, other.token): "2"})
        assert record(adapter, lost.id).progress is None
        assert record(adapter, other.id).progress == 2
        settle_all(adapter, Succeeded(again, keep=True, progress='"end"'))
        adapter.report_progress({(lost.id, lost.token): "1", (again.id, again.token): "3"})
        assert record(adapter, lost.id).progress == "end"

    @pytest.mark.parametrize("state", JobState)
    def test_progress_from_outside(
        self, adapter: Adapter, clock: ManualClock, state: JobState
    ) -> None:
        job = one_of_each_state(adapter)[state]
        before = record(adapter, job.id)
        clock.advance(MINUTE)
        allowed = state in UNFINISHED_STATES
        assert adapter.set_progress(job.id, '"begun"') is allowed
        after = replace(before, progress="begun", updated_at=clock.now())
        assert record(adapter, job.id) == (after if allowed else before)

    def test_the_last_progress_is_settled_with_the_job(self, adapter: Adapter) -> None:
        ways: list[type[Outcome]] = [Retried, Released, Failed, Cancelled]
        jobs = [claim_new(adapter) for _ in ways]
        kept = claim_new(adapter)
        outcomes = [how(job, progress='{"at": 1}') for how, job in zip(ways, jobs, strict=True)]
        settle_all(adapter, *outcomes, Succeeded(kept, keep=True, progress='{"at": 1}'))
        assert [record(adapter, job.id).progress for job in (*jobs, kept)] == [{"at": 1}] * 5

    def test_without_one_what_is_there_stays(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        adapter.report_progress({(job.id, job.token): "1"})
        settle_all(adapter, Retried(job, error="again"))
        settle_all(adapter, Succeeded(claim_one(adapter), keep=True))
        assert record(adapter, job.id).progress == 1

    def test_a_rejected_outcome_brings_no_progress(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        settle_all(adapter, Retried(job))
        claim_one(adapter, "worker-2")
        assert_unchanged_by_rejection(adapter, Failed(job, error="late", progress="1"))
