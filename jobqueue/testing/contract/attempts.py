"""The attempts of jobs that did not succeed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.fingerprints import group_of_rescued
from jobqueue.records import (
    ATTEMPTS_LIFETIME,
    MOST_ATTEMPTS_KEPT,
    AttemptOutcome,
    AttemptRecord,
    Cancelled,
    ClaimedJob,
    CrashedJob,
    Discarded,
    ErrorGroup,
    Failed,
    JobFilter,
    JobState,
    Outcome,
    Released,
    Retried,
    Succeeded,
)
from jobqueue.retention import NOTHING
from jobqueue.testing.contract.base import (
    LEASE,
    ContractBase,
    claim_new,
    claim_one,
    new_job,
    new_worker,
    settle_all,
)

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
GROUP = ErrorGroup("abc", "Work", "ValueError", "work.py:perform", "no")


class AttemptsContract(ContractBase):
    """Tests `attempts` and `prune_attempts`, and what a settle notes of an attempt."""

    def test_the_story_of_a_job(self, adapter: Adapter, clock: ManualClock) -> None:
        job = claim_new(adapter)
        began = clock.now()
        clock.advance(3)
        settle_all(adapter, Retried(job, 3 * SECOND, error="no", error_group=GROUP))
        first = AttemptRecord(
            *(job.id, 1, "worker-1", began, clock.now()),
            *(AttemptOutcome.FAILED, "no", "abc"),
        )
        assert adapter.attempts(job.id) == [first]
        record = _of(adapter, job)
        assert (record.started_at, record.run_time) == (began, 3 * SECOND)
        assert (record.performed_by, record.error_key) == ("worker-1", "abc")
        again = claim_one(adapter, "worker-2")
        clock.advance(1)
        settle_all(adapter, Failed(again, SECOND, "too late", timed_out=True))
        found = adapter.attempts(job.id)
        assert found[0] == first
        assert found[1] == AttemptRecord(
            *(job.id, 2, "worker-2", clock.now() - SECOND, clock.now()),
            *(AttemptOutcome.TIMED_OUT, "too late"),
        )
        record = _of(adapter, job)
        assert (record.performed_by, record.error_key) == ("worker-2", None)

    @pytest.mark.parametrize(
        ("kind", "ended", "error"),
        [
            ("retried", AttemptOutcome.FAILED, "no"),
            ("asked", AttemptOutcome.RETRY_ASKED, "not yet"),
            ("failed", AttemptOutcome.FAILED, "no"),
            ("discarded", AttemptOutcome.DISCARDED, "of no use"),
        ],
    )
    def test_how_an_attempt_ended(
        self, adapter: Adapter, kind: str, ended: AttemptOutcome, error: str
    ) -> None:
        job = claim_new(adapter)
        outcomes: dict[str, Outcome] = {
            "retried": Retried(job, error="no"),
            "asked": Retried(job, error="not yet", refund=True),
            "failed": Failed(job, error="no"),
            "discarded": Discarded(job, reason="of no use"),
        }
        settle_all(adapter, outcomes[kind])
        (attempt,) = adapter.attempts(job.id)
        assert (attempt.outcome, attempt.number, attempt.error) == (ended, 1, error)

    def test_one_that_somebody_cancelled(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        adapter.request_cancel(job.id, "not wanted")
        settle_all(adapter, Cancelled(job, reason="not wanted"))
        (attempt,) = adapter.attempts(job.id)
        assert (attempt.outcome, attempt.error) == (AttemptOutcome.CANCELLED, "not wanted")

    def test_what_succeeds_or_is_given_back_is_not_noted(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        settle_all(adapter, Released(job, error="not mine"))
        assert adapter.attempts(job.id) == []
        assert _of(adapter, job).performed_by is None
        settle_all(adapter, Succeeded(claim_one(adapter), SECOND, keep=True))
        assert adapter.attempts(job.id) == []
        record = _of(adapter, job)
        assert (record.performed_by, record.run_time) == ("worker-1", SECOND)

    def test_a_claim_that_is_lost_notes_nothing(self, adapter: Adapter) -> None:
        adapter.register_worker(new_worker())
        job = claim_new(adapter)
        adapter.unregister_worker("worker-1")
        assert adapter.settle([Retried(job, error="late")])
        assert adapter.attempts(job.id) == []

    def test_a_job_that_succeeds_at_last_takes_its_attempts_along(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        """One that asked to be tried again has the same number again."""
        other = claim_new(adapter)
        settle_all(adapter, Retried(other, error="no", delay=HOUR))
        for refund in (False, True):
            job = claim_new(adapter)
            clock.advance(1)
            settle_all(adapter, Retried(job, error="no", refund=refund))
            assert adapter.attempts(job.id)
            settle_all(adapter, Succeeded(claim_one(adapter)))
            assert adapter.attempts(job.id) == []
        assert len(adapter.attempts(other.id)) == 1

    def test_a_job_that_is_removed_takes_its_attempts_along(self, adapter: Adapter) -> None:
        jobs = [claim_new(adapter) for _ in range(5)]
        settle_all(adapter, *[Failed(job, error="no") for job in jobs])
        adapter.delete(JobFilter(ids=(jobs[0].id,)))
        adapter.delete_each(JobFilter(ids=(jobs[1].id,)))
        assert [len(adapter.attempts(job.id)) for job in jobs] == [0, 0, 1, 1, 1]
        adapter.prune(JobState.FAILED, ["Work"], NOTHING, 1)
        assert [len(adapter.attempts(job.id)) for job in jobs] == [0, 0, 0, 1, 1]
        adapter.delete(JobFilter(states=(JobState.FAILED,)))
        assert [len(adapter.attempts(job.id)) for job in jobs] == [0] * 5

    def test_one_that_fails_at_last_and_is_not_kept(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        settle_all(adapter, Retried(job, error="no"))
        settle_all(adapter, Failed(claim_one(adapter), error="no", keep=False))
        assert adapter.attempts(job.id) == []

    def test_the_first_and_the_newest_stay(self, adapter: Adapter) -> None:
        job = claim_new(adapter, new_job(max_attempts=1000))
        for number in range(1, 41):
            settle_all(adapter, Retried(job, error=str(number)))
            job = claim_one(adapter)
        newest = range(42 - MOST_ATTEMPTS_KEPT, 41)
        assert [attempt.number for attempt in adapter.attempts(job.id)] == [1, *newest]
        assert [attempt.error for attempt in adapter.attempts(job.id)] == ["1", *map(str, newest)]

    def test_attempts_that_ended_with_their_process(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        adapter.register_worker(new_worker())
        crashed = claim_new(adapter)
        late = claim_new(adapter)
        beside = claim_new(adapter)
        claimed_at = clock.now()
        clock.advance(7)
        died = [
            CrashedJob(crashed.id, crashed.token, "it died"),
            CrashedJob(late.id, late.token, "too late", guilty=False, final=True),
        ]
        adapter.rescue_crashed("worker-1", died)
        key = group_of_rescued("Work", "it died").key
        assert adapter.attempts(crashed.id) == [
            AttemptRecord(
                *(crashed.id, 1, "worker-1", claimed_at, clock.now()),
                *(AttemptOutcome.CRASHED, "it died", key),
            )
        ]
        assert _of(adapter, crashed).error_key == key
        (attempt,) = adapter.attempts(late.id)
        assert (attempt.outcome, attempt.error) == (AttemptOutcome.TIMED_OUT, "too late")
        assert adapter.attempts(beside.id) == []
        record = _of(adapter, crashed)
        assert (record.started_at, record.run_time) == (claimed_at, None)
        assert record.performed_by == "worker-1"

    def test_attempts_that_were_lost_with_their_host(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        adapter.register_worker(new_worker())
        job = claim_new(adapter)
        clock.advance(LEASE * 2)
        (seen,) = adapter.workers()
        assert adapter.rescue(seen, "it is gone")
        assert claim_one(adapter, "worker-2").id == job.id
        orphan = claim_new(adapter)
        assert adapter.rescue_orphans("worker-1", "nobody knows it")
        for lost, error in ((job, "it is gone"), (orphan, "nobody knows it")):
            (attempt,) = adapter.attempts(lost.id)
            assert (attempt.outcome, attempt.error) == (AttemptOutcome.LOST, error)
            assert (attempt.worker_id, attempt.number) == ("worker-1", 1)

    def test_attempts_go_after_a_while(self, adapter: Adapter, clock: ManualClock) -> None:
        jobs = [claim_new(adapter) for _ in range(3)]
        settle_all(adapter, *[Failed(job, error="no") for job in jobs])
        clock.advance(ATTEMPTS_LIFETIME - SECOND)
        later = claim_new(adapter)
        settle_all(adapter, Failed(later, error="no"))
        assert adapter.prune_attempts(ATTEMPTS_LIFETIME, 10) == 0
        clock.advance(SECOND)
        assert adapter.prune_attempts(ATTEMPTS_LIFETIME, 2) == 2
        assert adapter.prune_attempts(ATTEMPTS_LIFETIME, 2) == 1
        assert [len(adapter.attempts(job.id)) for job in (*jobs, later)] == [0, 0, 0, 1]

    @pytest.mark.parametrize("job_id", [0, -1, 4711, 2**63])
    def test_a_job_that_is_not_there_has_none(self, adapter: Adapter, job_id: int) -> None:
        assert adapter.attempts(job_id) == []


def _of(adapter: Adapter, job: ClaimedJob) -> Any:
    record = adapter.get(job.id)
    assert record is not None
    return record
