"""The control of jobs: cancelling them, also while they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    UNSTARTED_STATES,
    Cancelled,
    Discarded,
    Failed,
    JobFilter,
    JobState,
    Outcome,
    Released,
    Retried,
    Succeeded,
)
from jobqueue.testing.contract.base import (
    TEXTS,
    ContractBase,
    a_claim,
    assert_unlocked,
    claim_new,
    claim_one,
    enqueue_one,
    new_job,
    one_of_each_state,
    record,
    settle_all,
)

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
UNCHANGED_BY_CANCEL = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class CancelContract(ContractBase):
    """Tests `cancel`, `cancel_each`, `request_cancel` and `cancel_requests`."""

    # --- those that have not started -------------------------------------------------------------

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
        unstarted = [*(jobs[state].id for state in UNSTARTED_STATES), other.id]
        assert sorted(job.id for job in cancelled) == unstarted
        assert cancelled == [record(adapter, job.id) for job in cancelled]
        assert {job.last_error for job in cancelled} == {"called off"}
        assert adapter.cancel_each(where, "called off") == []

    @pytest.mark.parametrize("state", [s for s in JobState if s not in UNSTARTED_STATES])
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

    # --- single jobs, those that run included ----------------------------------------------------

    def test_a_waiting_job_is_cancelled_at_once(self, adapter: Adapter, clock: ManualClock) -> None:
        job = enqueue_one(adapter)
        clock.advance(MINUTE)
        cancelled = replace(
            job,
            state=JobState.CANCELLED,
            last_error="called off",
            finished_at=clock.now(),
            updated_at=clock.now(),
        )
        assert adapter.request_cancel(job.id, "called off") == cancelled
        assert record(adapter, job.id) == cancelled
        assert adapter.claim(a_claim()) == []

    def test_a_running_job_is_asked_to_end(self, adapter: Adapter, clock: ManualClock) -> None:
        job = claim_new(adapter)
        before = record(adapter, job.id)
        clock.advance(MINUTE)
        assert adapter.cancel_requests("worker-1") == {}
        asked = replace(
            before,
            last_error="called off",
            cancel_requested_at=clock.now(),
            updated_at=clock.now(),
        )
        assert adapter.request_cancel(job.id, "called off") == asked
        assert record(adapter, job.id) == asked
        assert adapter.cancel_requests("worker-1") == {(job.id, job.token): "called off"}
        assert adapter.cancel_requests("worker-2") == {}

    @pytest.mark.parametrize("state", UNCHANGED_BY_CANCEL)
    def test_what_has_ended_stays_as_it_is(self, adapter: Adapter, state: JobState) -> None:
        before = one_of_each_state(adapter)[state]
        before = record(adapter, before.id)
        assert adapter.request_cancel(before.id, "too late") is None
        assert record(adapter, before.id) == before

    def test_what_is_not_there_cannot_be_cancelled(self, adapter: Adapter) -> None:
        for job_id in (0, -1, 4711, 2**80):
            assert adapter.request_cancel(job_id, "who?") is None
            assert adapter.cancel_each(JobFilter(ids=(job_id,)), "who?") == []
            assert adapter.delete_each(JobFilter(ids=(job_id,))) == []
            assert adapter.update_args(job_id, "{}") is False
            assert adapter.set_progress(job_id, "1") is False

    def test_a_cancelled_job_keeps_the_reason(self, adapter: Adapter, clock: ManualClock) -> None:
        job = claim_new(adapter)
        adapter.request_cancel(job.id, "called off")
        clock.advance(MINUTE)
        turn = adapter.turn([Cancelled(job, reason="while it ran")], None)
        assert (turn.rejected, turn.cancelled) == ((), (Cancelled(job, reason="called off"),))
        now = record(adapter, job.id)
        assert (now.state, now.last_error, now.attempts) == ("cancelled", "called off", 1)
        assert (now.finished_at, now.failed_at) == (clock.now(), None)
        assert_unlocked(now)
        assert adapter.cancel_requests("worker-1") == {}

    def test_a_cancelled_job_is_removed_unless_kept(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        settle_all(adapter, Cancelled(job, keep=False))
        assert adapter.get(job.id) is None

    @pytest.mark.parametrize("how", ["retried", "released"])
    def test_what_would_be_ready_again_is_cancelled(
        self, adapter: Adapter, clock: ManualClock, how: str
    ) -> None:
        job, other = claim_new(adapter), claim_new(adapter)
        adapter.request_cancel(job.id, "called off")
        ways: dict[str, Callable[..., Outcome]] = {
            "retried": partial(Retried, error="broken"),
            "released": partial(Released, error="unknown"),
        }
        errors = {"retried": "broken", "released": None}
        turn = adapter.turn([ways[how](job), ways[how](other)], None)
        assert turn.rejected == ()
        assert turn.cancelled == (Cancelled(job, reason="called off", error=errors[how]),)
        now = record(adapter, job.id)
        assert (now.state, now.finished_at) == ("cancelled", clock.now())
        assert now.last_error == "called off"
        assert_unlocked(now)
        assert [job.id for job in adapter.claim(a_claim())] == [other.id]

    def test_what_ends_meanwhile_ends_as_it_ends(self, adapter: Adapter) -> None:
        one, two = claim_new(adapter), claim_new(adapter)
        adapter.request_cancel(one.id, "called off")
        adapter.request_cancel(two.id, "called off")
        three = claim_new(adapter)
        adapter.request_cancel(three.id, "called off")
        outcomes = [
            Succeeded(one, keep=True),
            Failed(two, error="broken"),
            Discarded(three, reason="enough"),
        ]
        turn = adapter.turn(outcomes, None)
        assert (turn.rejected, turn.cancelled) == ((), ())
        assert record(adapter, three.id).last_error == "enough"
        assert (record(adapter, one.id).state, record(adapter, one.id).last_error) == (
            "succeeded",
            None,
        )
        assert (record(adapter, two.id).state, record(adapter, two.id).last_error) == (
            "failed",
            "broken",
        )

    def test_a_retry_forgets_the_request(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        adapter.request_cancel(job.id, "called off")
        settle_all(adapter, Cancelled(job))
        assert adapter.retry(JobFilter(ids=(job.id,))) == 1
        again = claim_one(adapter)
        assert adapter.cancel_requests("worker-1") == {}
        settle_all(adapter, Retried(again, error="once more"))
        assert record(adapter, job.id).state is JobState.READY
