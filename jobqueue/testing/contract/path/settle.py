"""The settlement of jobs: the change that each outcome makes to its row, and the fence."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    ClaimedJob,
    Discarded,
    Failed,
    JobFilter,
    JobState,
    Outcome,
    Released,
    Retried,
    Succeeded,
)
from jobqueue.stored import StoredJob
from jobqueue.testing.contract.base import (
    TEXTS,
    ContractBase,
    a_claim,
    assert_claimable,
    assert_unchanged_by_rejection,
    assert_unlocked,
    claim_new,
    claim_one,
    enqueue_one,
    ids,
    new_job,
    new_worker,
    record,
    settle_all,
)

MINUTE = timedelta(minutes=1)
LONG_TEXT = "\u00e9\U0001f600x" * 100_000
MakeOutcome = Callable[[ClaimedJob], Outcome]

WayToSettle = Callable[[Adapter, Sequence[Outcome]], list[Outcome]]

WAYS_TO_SETTLE: dict[str, WayToSettle] = {
    "settle": lambda adapter, outcomes: adapter.settle(outcomes),
    "turn": lambda adapter, outcomes: list(adapter.turn(outcomes, None).rejected),
    "turn that claims": lambda adapter, outcomes: list(
        adapter.turn(outcomes, a_claim("worker-3", queues=("another",))).rejected
    ),
    "settle_unlocked": lambda adapter, outcomes: list(adapter.settle_unlocked(outcomes).rejected),
}
EVERY_OUTCOME: dict[str, MakeOutcome] = {
    "succeeded": Succeeded,
    "succeeded, kept": lambda job: Succeeded(job, keep=True, result='{"n": 1}'),
    "retried": lambda job: Retried(job, error="again", delay=MINUTE),
    "failed": lambda job: Failed(job, error="broken"),
    "failed, removed": lambda job: Failed(job, error="broken", keep=False),
    "discarded": lambda job: Discarded(job, reason="no longer wanted"),
    "discarded, removed": lambda job: Discarded(job, reason="no longer wanted", keep=False),
    "released": Released,
}
every_outcome = pytest.mark.parametrize(
    "outcome_of", EVERY_OUTCOME.values(), ids=EVERY_OUTCOME.keys()
)
removing = pytest.mark.parametrize(
    "outcome_of",
    [
        outcome
        for name, outcome in EVERY_OUTCOME.items()
        if "removed" in name or name == "succeeded"
    ],
)
with_text = pytest.mark.parametrize(
    "outcome_of",
    [
        lambda job, text: Retried(job, error=text),
        lambda job, text: Failed(job, error=text),
        lambda job, text: Discarded(job, reason=text),
        lambda job, text: Released(job, error=text),
    ],
    ids=["retried", "failed", "discarded", "released"],
)


class SettleContract(ContractBase):
    """Tests `settle` and `turn`."""

    # --- each outcome ----------------------------------------------------------------------------

    @removing
    def test_removed(self, adapter: Adapter, outcome_of: MakeOutcome) -> None:
        job = claim_new(adapter)
        settle_all(adapter, outcome_of(job))
        assert adapter.get(job.id) is None

    def test_succeeded_and_kept(self, adapter: Adapter, clock: ManualClock) -> None:
        job = claim_new(adapter)
        before = record(adapter, job.id)
        clock.advance(MINUTE)
        settle_all(adapter, Succeeded(job, keep=True, result='{"b": [1, 2.5], "a": null}'))
        after = record(adapter, job.id)
        assert after == replace(
            before,
            state=JobState.SUCCEEDED,
            locked_at=None,
            locked_by=None,
            **just_performed(clock),
            finished_at=clock.now(),
            updated_at=clock.now(),
            result={"b": [1, 2.5], "a": None},
        )

    def test_failed_and_kept(self, adapter: Adapter, clock: ManualClock) -> None:
        job = claim_new(adapter)
        before = record(adapter, job.id)
        clock.advance(MINUTE)
        settle_all(adapter, Failed(job, error="Traceback: broken"))
        assert record(adapter, job.id) == replace(
            before,
            state=JobState.FAILED,
            locked_at=None,
            locked_by=None,
            **just_performed(clock),
            last_error="Traceback: broken",
            failed_at=clock.now(),
            finished_at=clock.now(),
            updated_at=clock.now(),
        )

    def test_discarded_and_kept(self, adapter: Adapter, clock: ManualClock) -> None:
        job = claim_new(adapter)
        before = record(adapter, job.id)
        clock.advance(MINUTE)
        settle_all(adapter, Discarded(job, reason="no longer wanted"))
        assert record(adapter, job.id) == replace(
            before,
            state=JobState.CANCELLED,
            locked_at=None,
            locked_by=None,
            **just_performed(clock),
            last_error="no longer wanted",
            finished_at=clock.now(),
            updated_at=clock.now(),
        )

    def test_retried(self, adapter: Adapter, clock: ManualClock) -> None:
        job = claim_new(adapter)
        before = record(adapter, job.id)
        clock.advance(MINUTE)
        delay = timedelta(days=3, milliseconds=125)
        settle_all(adapter, Retried(job, error="Traceback: again", delay=delay))
        assert record(adapter, job.id) == replace(
            before,
            state=JobState.READY,
            run_at=clock.now() + delay,
            locked_at=None,
            locked_by=None,
            **just_performed(clock),
            last_error="Traceback: again",
            updated_at=clock.now(),
        )
        clock.advance(delay)
        assert assert_claimable(adapter, job.id).attempts == 2

    def test_retried_without_spending_an_attempt(self, adapter: Adapter) -> None:
        job = claim_new(adapter, new_job(max_attempts=1))
        settle_all(adapter, Retried(job, error="not yet", refund=True))
        assert record(adapter, job.id).attempts == 0
        assert assert_claimable(adapter, job.id).attempts == 1

    def test_released_keeps_its_place_and_its_error(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        first = claim_new(adapter)
        settle_all(adapter, Retried(first, error="the last one", delay=MINUTE))
        clock.advance(2 * MINUTE)
        job = claim_one(adapter)
        before = record(adapter, job.id)
        clock.advance(MINUTE)
        behind = enqueue_one(adapter)
        settle_all(adapter, Released(job))
        assert record(adapter, job.id) == replace(
            before,
            state=JobState.READY,
            attempts=1,
            locked_at=None,
            locked_by=None,
            updated_at=clock.now(),
        )
        assert record(adapter, job.id).last_error == "the last one"
        assert ids(adapter.claim(a_claim())) == [job.id, behind.id]

    def test_released_with_a_reason_and_a_wait(self, adapter: Adapter, clock: ManualClock) -> None:
        job = claim_new(adapter)
        settle_all(adapter, Released(job, error="nobody knows it", delay=MINUTE))
        row = record(adapter, job.id)
        assert (row.state, row.attempts) == (JobState.READY, 0)
        assert (row.last_error, row.run_at) == ("nobody knows it", clock.now() + MINUTE)
        assert_unlocked(row)
        assert adapter.claim(a_claim()) == []

    def test_success_clears_the_last_error(self, adapter: Adapter) -> None:
        settle_all(adapter, Retried(claim_new(adapter), error="the last one"))
        job = claim_one(adapter)
        settle_all(adapter, Succeeded(job, keep=True))
        assert record(adapter, job.id).last_error is None

    @with_text
    @pytest.mark.parametrize("text", [*TEXTS, LONG_TEXT], ids=range(len(TEXTS) + 1))
    def test_any_text_is_kept(
        self, adapter: Adapter, text: str, outcome_of: Callable[[ClaimedJob, str], Outcome]
    ) -> None:
        job = claim_new(adapter)
        settle_all(adapter, outcome_of(job, text))
        assert record(adapter, job.id).last_error == text

    @with_text
    @pytest.mark.parametrize("text", ["a NUL \0 in it", "a surrogate \udc80 in it"])
    def test_text_that_no_database_takes_costs_the_outcome_nothing(
        self, adapter: Adapter, text: str, outcome_of: Callable[[ClaimedJob, str], Outcome]
    ) -> None:
        adapter.enqueue([new_job() for _ in range(5)])
        jobs = adapter.claim(a_claim())
        outcomes: list[Outcome] = [Failed(job, error=f"text {job.id}") for job in jobs]
        outcomes[2] = outcome_of(jobs[2], text)
        assert adapter.settle(outcomes) == []
        rows = [record(adapter, job.id) for job in jobs]
        assert JobState.RUNNING not in {row.state for row in rows}
        assert "in it" in str(rows[2].last_error)
        others = [row for row in rows if row.id != jobs[2].id]
        assert [row.last_error for row in others] == [f"text {row.id}" for row in others]

    # --- the fence -------------------------------------------------------------------------------

    @every_outcome
    def test_another_token_is_rejected(self, adapter: Adapter, outcome_of: MakeOutcome) -> None:
        job = claim_new(adapter)
        assert_unchanged_by_rejection(adapter, outcome_of(replace(job, token=job.token + 1)))
        settle_all(adapter, outcome_of(job))

    @every_outcome
    def test_settling_twice_is_rejected(self, adapter: Adapter, outcome_of: MakeOutcome) -> None:
        job = claim_new(adapter)
        settle_all(adapter, outcome_of(job))
        assert_unchanged_by_rejection(adapter, Failed(job, error="once more"))
        assert_unchanged_by_rejection(adapter, Succeeded(job))

    @every_outcome
    def test_a_job_that_was_rescued_is_rejected(
        self, adapter: Adapter, outcome_of: MakeOutcome
    ) -> None:
        job = claim_new(adapter)
        adapter.register_worker(new_worker("worker-1"))
        assert adapter.rescue(adapter.workers()[0], "lost") is not None
        assert_unchanged_by_rejection(adapter, outcome_of(job))

    @every_outcome
    def test_a_job_that_the_same_worker_claimed_again_is_rejected(
        self, adapter: Adapter, outcome_of: MakeOutcome
    ) -> None:
        old = claim_new(adapter)
        assert len(adapter.release_strays("worker-1", ()).released) == 1
        new = claim_one(adapter, "worker-1")
        assert new.id == old.id
        assert_unchanged_by_rejection(adapter, outcome_of(old))
        settle_all(adapter, outcome_of(new))

    @pytest.mark.parametrize("among", [0, 40])
    @pytest.mark.parametrize("way", WAYS_TO_SETTLE.values(), ids=WAYS_TO_SETTLE.keys())
    @every_outcome
    def test_a_job_that_another_worker_claimed_again_is_rejected(
        self, adapter: Adapter, outcome_of: MakeOutcome, way: WayToSettle, among: int
    ) -> None:
        """In whatever way it is settled, and among however many that are settled in time."""
        late = claim_new(adapter)
        assert len(adapter.release_strays("worker-1", ()).released) == 1
        again = claim_one(adapter, "worker-2")
        assert again.id == late.id
        before = record(adapter, late.id)
        adapter.enqueue([new_job() for _ in range(among)])
        in_time = [outcome_of(job) for job in adapter.claim(a_claim("worker-1", limit=among))]
        assert len(in_time) == among
        stale, middle = outcome_of(late), among // 2
        assert way(adapter, [*in_time[:middle], stale, *in_time[middle:]]) == [stale]
        assert record(adapter, late.id) == before
        held = adapter.count_jobs(JobFilter(states=(JobState.RUNNING,)))
        assert held == 1, f"{held - 1} of those in time are still running"
        settle_all(adapter, outcome_of(again))

    @every_outcome
    def test_a_job_that_was_deleted_is_rejected(
        self, adapter: Adapter, outcome_of: MakeOutcome
    ) -> None:
        job = claim_new(adapter)
        adapter.delete(JobFilter(ids=(job.id,)), include_running=True)
        assert_unchanged_by_rejection(adapter, outcome_of(job))

    @pytest.mark.parametrize("stale_first", [True, False])
    @every_outcome
    def test_an_old_and_a_new_claim_of_one_job_in_a_batch(
        self, adapter: Adapter, outcome_of: MakeOutcome, stale_first: bool
    ) -> None:
        old = claim_new(adapter)
        settle_all(adapter, Released(old))
        stale, mine = outcome_of(old), Retried(claim_one(adapter), error="mine", delay=MINUTE)
        assert adapter.settle([stale, mine] if stale_first else [mine, stale]) == [stale]
        assert record(adapter, old.id).last_error == "mine"

    def test_a_claim_is_settled_once_in_a_batch(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        first, second = Failed(job, error="first"), Failed(job, error="second")
        assert adapter.settle([first, second]) == [second]
        assert record(adapter, job.id).last_error == "first"

    # --- batches ---------------------------------------------------------------------------------

    def test_a_batch_of_nothing(self, adapter: Adapter) -> None:
        assert adapter.settle([]) == []
        turn = adapter.turn([], None)
        assert (turn.rejected, turn.claimed) == ((), ())

    def test_a_batch_of_everything(self, adapter: Adapter) -> None:
        adapter.enqueue([new_job() for _ in range(8 * len(EVERY_OUTCOME))])
        jobs = adapter.claim(a_claim())
        kinds = [*EVERY_OUTCOME.values()] * 8
        fresh = [outcome_of(job) for outcome_of, job in zip(kinds, jobs, strict=True)]
        stale = [replace(outcome, job=replace(outcome.job, token=1)) for outcome in fresh]
        batch = [outcome for pair in zip(stale, fresh, strict=True) for outcome in pair]
        assert adapter.settle(batch) == stale
        assert adapter.count_by_state() == {
            JobState.SUCCEEDED: 8,
            JobState.READY: 16,
            JobState.FAILED: 8,
            JobState.CANCELLED: 8,
        }

    def test_a_big_batch(self, adapter: Adapter) -> None:
        made = adapter.enqueue([new_job() for _ in range(2_000)])
        jobs = adapter.claim(a_claim(limit=2_000))
        assert ids(jobs) == ids(made)
        settle_all(adapter, *[Succeeded(job, keep=job.id % 2 == 0) for job in jobs])
        assert adapter.count_jobs(JobFilter()) == 1_000

    # --- the turn --------------------------------------------------------------------------------

    def test_a_turn_settles_and_claims(self, adapter: Adapter) -> None:
        done = claim_new(adapter)
        stale = Succeeded(replace(done, token=1))
        waiting = enqueue_one(adapter)
        turn = adapter.turn([Succeeded(done), stale], a_claim())
        assert turn.rejected == (stale,)
        assert ids([*turn.claimed]) == [waiting.id]
        assert adapter.get(done.id) is None

    def test_a_turn_may_only_settle(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        enqueue_one(adapter)
        assert adapter.turn([Succeeded(job)], None).claimed == ()
        assert adapter.get(job.id) is None

    def test_what_a_turn_makes_ready_is_claimable_in_the_next(self, adapter: Adapter) -> None:
        adapter.enqueue([new_job(), new_job()])
        first, second = adapter.claim(a_claim())
        turn = adapter.turn([Retried(first, error="again"), Released(second)], a_claim())
        turns = [*turn.claimed, *adapter.turn([], a_claim()).claimed]
        assert sorted(ids(turns)) == [first.id, second.id]
        assert {job.id: job.attempts for job in turns} == {first.id: 2, second.id: 1}

    def test_something_is_done_meanwhile_once(self, adapter: Adapter) -> None:
        job, done = claim_new(adapter), list[StoredJob]()
        turn = adapter.turn([Succeeded(job)], a_claim(), lambda: done.append(enqueue_one(adapter)))
        claimed = [*turn.claimed, *adapter.turn([], a_claim()).claimed]
        assert ids(claimed) == ids(done)
        assert len(done) == 1

    def test_or_when_there_is_nothing_to_do(self, adapter: Adapter) -> None:
        done: list[str] = []
        assert adapter.turn([], None, lambda: done.append("once")).claimed == ()
        assert adapter.turn([], a_claim()).claimed == ()
        assert done == ["once"]

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

    def test_what_nobody_has_locked_is_settled_as_in_a_turn(self, adapter: Adapter) -> None:
        adapter.enqueue([new_job(), new_job()])
        done, failed = adapter.claim(a_claim())
        stale = Succeeded(replace(done, token=done.token + 1))
        turn = adapter.settle_unlocked([stale, Succeeded(done), Failed(failed, error="broken")])
        assert (turn.rejected, turn.locked, turn.claimed) == ((stale,), (), ())
        assert adapter.get(done.id) is None
        assert record(adapter, failed.id).state is JobState.FAILED


def just_performed(clock: ManualClock) -> dict[str, Any]:
    """The columns of an attempt that has just ended and took no time."""
    return {
        "started_at": clock.now(),
        "run_time": timedelta(0),
        "performed_by": "worker-1",
    }
