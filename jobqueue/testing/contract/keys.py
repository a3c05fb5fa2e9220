"""Idempotency keys: one job for each."""

from __future__ import annotations

from datetime import timedelta

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    JobFilter,
    Succeeded,
    UsedKey,
)
from jobqueue.testing.contract.base import (
    ContractBase,
    claim_one,
    new_job,
    record,
    settle_all,
)

KEY = UsedKey("key", "the same")


class KeysContract(ContractBase):
    """Tests `enqueue_once` and `prune_keys`."""

    def test_a_key_makes_one_job(self, adapter: Adapter, clock: ManualClock) -> None:
        made = adapter.enqueue_once(KEY, new_job())
        assert made.job is not None
        assert (made.is_new, made.job_id, made.made_at) == (True, made.job.id, clock.now())
        began = clock.now()
        clock.advance(60)
        again = adapter.enqueue_once(UsedKey("key", "other"), new_job("Other"))
        assert (again.is_new, again.job_id) == (False, made.job_id)
        assert (again.job, again.fingerprint) == (record(adapter, made.job_id), "the same")
        assert again.made_at == began
        assert adapter.count_jobs(JobFilter()) == 1
        assert adapter.enqueue_once(UsedKey("another", "the same"), new_job()).is_new

    def test_a_key_whose_job_is_gone(self, adapter: Adapter) -> None:
        made = adapter.enqueue_once(KEY, new_job())
        settle_all(adapter, Succeeded(claim_one(adapter)))
        again = adapter.enqueue_once(KEY, new_job())
        assert (again.is_new, again.job_id, again.job) == (False, made.job_id, None)
        assert adapter.count_jobs(JobFilter()) == 0

    def test_a_key_is_forgotten_after_its_lifetime(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        made = adapter.enqueue_once(KEY, new_job())
        clock.advance(KEY.lifetime - timedelta(seconds=1))
        assert not adapter.enqueue_once(KEY, new_job()).is_new
        assert adapter.prune_keys(10) == 0
        clock.advance(1)
        again = adapter.enqueue_once(UsedKey("key", "other"), new_job())
        assert (again.is_new, again.fingerprint) == (True, "other")
        assert again.job_id != made.job_id
        clock.advance(KEY.lifetime)
        assert adapter.prune_keys(10) == 1

    def test_a_key_that_was_used_while_the_clock_was_ahead_is_not_kept_for_as_long(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        clock.advance(KEY.lifetime)
        assert adapter.enqueue_once(KEY, new_job()).is_new
        clock.advance(-KEY.lifetime)
        assert not adapter.enqueue_once(KEY, new_job()).is_new
        clock.advance(-1)
        assert adapter.enqueue_once(KEY, new_job()).is_new
        assert not adapter.enqueue_once(KEY, new_job()).is_new

    def test_no_keys_to_remove(self, adapter: Adapter) -> None:
        assert adapter.prune_keys(100) == 0
