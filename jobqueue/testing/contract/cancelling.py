"""Cancelling single jobs, those that run included, and giving them other arguments."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    Cancelled,
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
from jobqueue.testing.contract.base import (
    TEXTS,
    ContractBase,
    a_claim,
    assert_unchanged_by_rejection,
    assert_unlocked,
    claim_new,
    claim_one,
    enqueue_one,
    new_job,
    new_worker,
    record,
    settle_all,
)
from jobqueue.testing.contract.reading import one_of_each_state

MINUTE = timedelta(minutes=1)
UNCHANGED_BY_CANCEL = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class CancelContract(ContractBase):
    """What `request_cancel`, `cancel_requests` and `update_args` promise."""

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

    @pytest.mark.parametrize(
        "how", ["signed off", "strays", "crashed", "crashed aside", "lost", "orphan"]
    )
    def test_a_dead_workers_job_is_cancelled_rather_than_freed(
        self, adapter: Adapter, clock: ManualClock, how: str
    ) -> None:
        if how != "orphan":
            adapter.register_worker(new_worker())
        job = claim_new(adapter)
        adapter.request_cancel(job.id, "called off")
        ways: dict[str, Callable[[], Rescue | None]] = {
            "signed off": lambda: adapter.unregister_worker("worker-1"),
            "strays": lambda: adapter.release_strays("worker-1", ()),
            "crashed": lambda: adapter.rescue_crashed(
                "worker-1", [CrashedJob(job.id, job.token, "killed")]
            ),
            "crashed aside": lambda: adapter.rescue_crashed("worker-1", []),
            "lost": lambda: adapter.rescue(adapter.workers()[0], "lost"),
            "orphan": lambda: adapter.rescue_orphans("worker-1", "lost"),
        }
        rescue = ways[how]()
        now = record(adapter, job.id)
        assert rescue == Rescue("worker-1", cancelled=(job.id,))
        assert rescue.ended == (now,)
        assert (now.state, now.finished_at, now.failed_at) == ("cancelled", clock.now(), None)
        assert now.last_error == "called off"
        assert_unlocked(now)
        assert adapter.claim(a_claim()) == []

    def test_a_retry_forgets_the_request(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        adapter.request_cancel(job.id, "called off")
        settle_all(adapter, Cancelled(job))
        assert adapter.retry(JobFilter(ids=(job.id,))) == 1
        again = claim_one(adapter)
        assert adapter.cancel_requests("worker-1") == {}
        settle_all(adapter, Retried(again, error="once more"))
        assert record(adapter, job.id).state is JobState.READY

    # --- other arguments -------------------------------------------------------------------------

    @pytest.mark.parametrize("state", [JobState.READY, JobState.FAILED, JobState.CANCELLED])
    def test_other_arguments(self, adapter: Adapter, clock: ManualClock, state: JobState) -> None:
        job = one_of_each_state(adapter)[state]
        before = record(adapter, job.id)
        clock.advance(MINUTE)
        assert adapter.update_args(job.id, '{"b": [1, 2.5], "a": "Zoë 😀"}') is True
        args = {"b": [1, 2.5], "a": "Zoë 😀"}
        assert record(adapter, job.id) == replace(before, args=args, updated_at=clock.now())
        assert list(record(adapter, job.id).args) == ["b", "a"]

    def test_the_next_attempt_gets_them(self, adapter: Adapter) -> None:
        job = enqueue_one(adapter, new_job(args='{"a":1}'))
        adapter.update_args(job.id, '{"a":2}')
        assert claim_one(adapter).args.replace(" ", "") == '{"a":2}'

    @pytest.mark.parametrize("state", [JobState.RUNNING, JobState.SUCCEEDED])
    def test_others_keep_their_arguments(self, adapter: Adapter, state: JobState) -> None:
        job = one_of_each_state(adapter)[state]
        before = record(adapter, job.id)
        assert adapter.update_args(job.id, '{"a": 2}') is False
        assert record(adapter, job.id) == before


class ProgressContract(ContractBase):
    """What progress and results promise."""

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
        allowed = state in {JobState.READY, JobState.RUNNING}
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

    @pytest.mark.parametrize("text", TEXTS)
    def test_a_result_and_a_note_are_stored(self, adapter: Adapter, text: str) -> None:
        job, other = claim_new(adapter), claim_new(adapter)
        result = json.dumps({"text": text}, ensure_ascii=False)
        settle_all(
            adapter,
            Succeeded(job, keep=True, result=result),
            Succeeded(other, keep=True, note=text),
        )
        assert record(adapter, job.id).result == {"text": text}
        assert record(adapter, job.id).last_error is None
        assert (record(adapter, other.id).result, record(adapter, other.id).last_error) == (
            None,
            text,
        )
