"""Transactions that a job's completion is part of, for adapters that have them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.adapters.roles.transactions import Transaction
from jobqueue.errors import ClaimLost
from jobqueue.records import ClaimedJob, JobFilter, JobState, Retried, Succeeded
from jobqueue.testing.contract.announcements import idling
from jobqueue.testing.contract.base import (
    ContractBase,
    a_claim,
    assert_unlocked,
    claim_new,
    claim_one,
    new_job,
    new_worker,
    record,
    settle_all,
)

Write = Callable[[Adapter, Succeeded | None], None]
EFFECT = new_job("Effect")


@contextmanager
def begun(adapter: Adapter) -> Iterator[Transaction]:
    """A transaction in which something has been written: a job that is enqueued."""
    transaction = adapter.transaction()
    try:
        assert transaction.take_turn(10)
        transaction.begin()
        adapter.enqueue([EFFECT], session=transaction.session)
        yield transaction
    finally:
        transaction.end()


def write_and_commit(adapter: Adapter, outcome: Succeeded | None) -> None:
    """Do what a block of `self.transaction()` does: begin, write, flush and commit."""
    with begun(adapter) as transaction:
        transaction.flush()
        transaction.commit(outcome)


async def write_and_commit_async(adapter: Adapter, outcome: Succeeded | None) -> None:
    made = adapter.transaction_async()
    assert made.inner.take_turn(10)
    try:
        await made.run(made.inner.begin)
        await made.run(lambda: adapter.enqueue([EFFECT], session=made.inner.session))
        await made.run(made.inner.flush)
        await made.run(made.inner.commit, outcome)
    finally:
        await made.run(made.inner.end)


def effects(adapter: Adapter) -> int:
    """The number of writes by `begun` that were committed."""
    return adapter.count_jobs(JobFilter(handlers=(EFFECT.handler,)))


in_both_ways = pytest.mark.parametrize(
    "write",
    [
        write_and_commit,
        lambda adapter, outcome: asyncio.run(write_and_commit_async(adapter, outcome)),
    ],
    ids=["sync", "async"],
)
keeping = pytest.mark.parametrize("keep", [True, False])


class TransactionContract(ContractBase):
    """Tests `transaction`, `transaction_async` and `was_committed`.

    It is not part of `AdapterContract`: an adapter need not have transactions. To be inherited from
    beside it.
    """

    @in_both_ways
    def test_what_is_enqueued_within_is_heard_of(self, adapter: Adapter, write: Write) -> None:
        job = claim_new(adapter)
        with idling(adapter) as idler:
            write(adapter, Succeeded(job))
        assert idler.heard is not None
        assert [claimed.handler for claimed in idler.claimed] == [EFFECT.handler]

    @in_both_ways
    @keeping
    def test_both_are_committed(self, adapter: Adapter, write: Write, keep: bool) -> None:
        job = claim_new(adapter)
        write(adapter, Succeeded(job, keep=keep, progress='{"n": 1}'))
        assert effects(adapter) == 1
        assert (adapter.get(job.id) is not None) is keep
        if keep:
            assert record(adapter, job.id).state is JobState.SUCCEEDED
            assert record(adapter, job.id).progress == {"n": 1}
            assert_unlocked(record(adapter, job.id))

    @in_both_ways
    def test_what_completes_nothing_is_committed(self, adapter: Adapter, write: Write) -> None:
        write(adapter, None)
        assert effects(adapter) == 1

    @in_both_ways
    @keeping
    @pytest.mark.parametrize("how", ["reclaimed", "released", "rescued", "deleted", "settled"])
    def test_neither_is_committed_when_the_job_is_lost(
        self, adapter: Adapter, write: Write, keep: bool, how: str
    ) -> None:
        adapter.register_worker(new_worker())
        job = claim_new(adapter)
        LOSE[how](adapter, job)
        before = adapter.get(job.id)
        with pytest.raises(ClaimLost, match=f"job {job.id}"):
            write(adapter, Succeeded(job, keep=keep))
        assert effects(adapter) == 0
        assert adapter.get(job.id) == before
        assert not adapter.was_committed(Succeeded(job, keep=keep)) or before is None

    def test_nothing_is_there_before_the_commit(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        with begun(adapter) as transaction:
            transaction.flush()
            assert effects(adapter) == 0
            assert record(adapter, job.id).state is JobState.RUNNING
            assert adapter.cancel_requests("worker-1") == {}

    def test_what_is_not_committed_is_rolled_back(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        with begun(adapter) as transaction:
            transaction.flush()
        assert effects(adapter) == 0
        assert not adapter.was_committed(Succeeded(job))
        settle_all(adapter, Succeeded(job))

    @keeping
    def test_what_was_committed_can_be_found_out(self, adapter: Adapter, keep: bool) -> None:
        job = claim_new(adapter)
        outcome = Succeeded(job, keep=keep)
        assert not adapter.was_committed(outcome)
        write_and_commit(adapter, outcome)
        assert adapter.was_committed(outcome)

    def test_a_cancel_that_comes_too_late_changes_nothing(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        adapter.request_cancel(job.id, "too late")
        write_and_commit(adapter, Succeeded(job, keep=True))
        assert record(adapter, job.id).state is JobState.SUCCEEDED

    def test_it_is_the_same_database(self, adapter: Adapter) -> None:
        assert adapter.is_same_database(adapter)


def _reclaim(adapter: Adapter, job: ClaimedJob) -> None:
    settle_all(adapter, Retried(job, error="again"))
    assert claim_one(adapter, "somebody-else").id == job.id


def _rescue(adapter: Adapter, _: ClaimedJob) -> None:
    (worker,) = adapter.workers()
    assert adapter.rescue(worker, "silent") is not None
    assert adapter.claim(a_claim("somebody-else")) != []


LOSE: dict[str, Callable[[Adapter, ClaimedJob], object]] = {
    "reclaimed": _reclaim,
    "released": lambda adapter, _: adapter.release_strays("worker-1", []),
    "rescued": _rescue,
    "deleted": lambda adapter, job: adapter.delete(JobFilter((job.id,)), include_running=True),
    "settled": lambda adapter, job: adapter.settle([Succeeded(job)]),
}
