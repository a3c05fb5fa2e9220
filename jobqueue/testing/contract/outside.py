"""What those who look from outside need: pages, capped counts, keys, stats and tokens."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    Count,
    Discarded,
    Failed,
    JobFilter,
    JobState,
    QueueDepth,
    Stat,
    StatOfMinute,
    Succeeded,
    TokenRecord,
    UsedKey,
)
from jobqueue.stored import StoredJob
from jobqueue.testing.contract.base import (
    ContractBase,
    a_claim,
    claim_one,
    enqueue_one,
    ids,
    new_job,
    record,
    settle_all,
)

KEY = UsedKey("key", "the same")
FILTERS = (
    JobFilter(),
    JobFilter(states=(JobState.READY,)),
    JobFilter(states=(JobState.SUCCEEDED,)),
    JobFilter(states=(JobState.FAILED, JobState.CANCELLED, JobState.READY)),
    JobFilter(states=(JobState.READY, JobState.READY)),
    JobFilter(states=()),
    JobFilter(queues=("a",)),
    JobFilter(queues=("a", "b", "a", "none")),
    JobFilter(handlers=("One",)),
    JobFilter(handlers=("One", "Two", "One")),
    JobFilter(handlers=("One",), queues=("b",), states=(JobState.FAILED, JobState.READY)),
    JobFilter(due=True),
    JobFilter(due=False, queues=("a",)),
    JobFilter(ids=(1, 2, 3, 10**30), states=(JobState.READY, JobState.SUCCEEDED)),
    JobFilter(before_id=20, queues=("a",)),
)


def some_of_each(adapter: Adapter) -> None:
    """Jobs of two classes in two queues, in every state, in no order."""
    for number in range(30):
        handler, queue = ("One", "Two")[number % 2], ("a", "b")[number // 2 % 2]
        delay = timedelta(hours=number % 3)
        adapter.enqueue([new_job(handler, queue=queue, delay=delay, priority=number % 4)])
    first, second, third, *_ = adapter.claim(a_claim(limit=7))
    settle_all(
        adapter,
        Succeeded(first, keep=True),
        Failed(second, error="broken"),
        Discarded(third, reason="unwanted"),
    )
    adapter.cancel(JobFilter(ids=(20, 21)), "no")


def pages_of(adapter: Adapter, where: JobFilter, limit: int) -> list[list[int]]:
    """The ids of every page."""
    pages, before = [], where.before_id
    while True:
        page = adapter.page_jobs(replace(where, before_id=before), limit)
        pages.append(ids(list(page.jobs)))
        before = page.next_before_id
        if before is None:
            return pages


class OutsideContract(ContractBase):
    """What pages, counts, keys, stats and tokens promise."""

    @pytest.mark.parametrize("where", FILTERS, ids=str)
    def test_pages_have_all_that_a_list_has(self, adapter: Adapter, where: JobFilter) -> None:
        some_of_each(adapter)
        wanted = ids(adapter.list_jobs(where, 1_000))
        for limit in (1, 4, 1_000):
            pages = pages_of(adapter, where, limit)
            assert [job_id for page in pages for job_id in page] == wanted
            assert max(map(len, pages)) <= limit

    @pytest.mark.parametrize("where", FILTERS, ids=str)
    def test_a_page_of_everything_is_the_last(self, adapter: Adapter, where: JobFilter) -> None:
        some_of_each(adapter)
        page = adapter.page_jobs(where, 1_000)
        assert (len(page.jobs), page.next_before_id) == (adapter.count_jobs(where), None)

    @pytest.mark.parametrize("where", FILTERS, ids=str)
    def test_capped_counts(self, adapter: Adapter, where: JobFilter) -> None:
        some_of_each(adapter)
        number = adapter.count_jobs(where)
        assert adapter.count_up_to(where, 1_000) == Count(number)
        assert adapter.count_up_to(where, 2) == Count(min(number, 2), number > 2)

    def test_pages_know_where_their_jobs_are_kept(self, adapter: Adapter) -> None:
        enqueue_one(adapter)
        [job] = adapter.page_jobs(JobFilter(), 1).jobs
        assert job.cancel() is JobState.CANCELLED

    def test_depths_that_are_counted_up_to_a_limit(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        some_of_each(adapter)
        adapter.pause_queues(["paused"])
        clock.advance(90)
        assert adapter.queue_depths(1_000) == adapter.queue_depths()
        adapter.delete(JobFilter(), include_running=True)
        assert adapter.queue_depths(10) == [
            QueueDepth("paused", 0, 0, 0, timedelta(0), paused=True)
        ]

    # --- idempotency keys ------------------------------------------------------------------------

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

    # --- arguments -------------------------------------------------------------------------------

    def test_arguments_are_changed_of_a_ready_job(self, adapter: Adapter) -> None:
        job = enqueue_one(adapter, new_job(args='{"a": 1}'))

        def with_b(seen: StoredJob) -> str:
            return json.dumps({**seen.args, "b": 2})

        assert adapter.change_args(job.id, with_b)
        assert record(adapter, job.id).args == {"a": 1, "b": 2}
        assert json.loads(claim_one(adapter).args) == {"a": 1, "b": 2}
        assert not adapter.change_args(job.id, with_b)
        assert not adapter.change_args(10**30, with_b)

    def test_nothing_is_changed_when_the_change_is_refused(self, adapter: Adapter) -> None:
        job = enqueue_one(adapter)

        def refuse(seen: StoredJob) -> str:
            raise ValueError(seen.id)

        with pytest.raises(ValueError, match=str(job.id)):
            adapter.change_args(job.id, refuse)
        assert record(adapter, job.id) == job

    # --- stats -----------------------------------------------------------------------------------

    def test_stats_of_workers_are_added_up_by_minute(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        second = timedelta(seconds=1)
        one = Stat("One", "a", 3, 2, 1, 4, 10 * second, 3 * second, 5 * second)
        adapter.add_stats("worker-1", [one, Stat("One", "b", 1)])
        adapter.add_stats("worker-1", [])
        adapter.add_stats("worker-1", [one])
        adapter.add_stats("worker-2", [Stat("One", "a", 1, longest=9 * second)])
        minute = clock.now().replace(second=0, microsecond=0)
        clock.advance(60)
        adapter.add_stats("worker-1", [Stat("One", "a", 1)])
        assert adapter.stats(timedelta(hours=1)) == [
            StatOfMinute(
                minute, Stat("One", "a", 7, 4, 2, 8, 20 * second, 9 * second, 10 * second)
            ),
            StatOfMinute(minute, Stat("One", "b", 1)),
            StatOfMinute(minute + timedelta(minutes=1), Stat("One", "a", 1)),
        ]
        assert [found.minute for found in adapter.stats(timedelta(seconds=60))] == [
            minute + timedelta(minutes=1)
        ]

    def test_stats_are_removed_after_a_week(self, adapter: Adapter, clock: ManualClock) -> None:
        adapter.add_stats("worker-1", [Stat("One", "a", 1), Stat("Two", "a", 1)])
        clock.advance(timedelta(days=6, hours=23))
        adapter.add_stats("worker-1", [Stat("One", "a", 1)])
        assert adapter.prune_stats(10) == 0
        clock.advance(timedelta(hours=2))
        assert adapter.prune_stats(1) == 1
        assert adapter.prune_stats(10) == 1
        assert len(adapter.stats(timedelta(days=30))) == 1

    # --- tokens ----------------------------------------------------------------------------------

    def test_tokens(self, adapter: Adapter, clock: ManualClock) -> None:
        now, hour = clock.now(), timedelta(hours=1)
        first = TokenRecord("aa", "one", ("read", "operate"), "hash", now)
        second = TokenRecord("bb", "two", ("enqueue",), "hash", now + hour, now + 2 * hour)
        adapter.store_token(second)
        adapter.store_token(first)
        assert adapter.tokens() == [first, second]
        assert adapter.find_token("bb") == second
        assert adapter.find_token("cc") is None
        assert adapter.revoke_token("bb")
        revoked = adapter.find_token("bb")
        assert revoked is not None
        assert revoked.revoked_at == now
        assert not adapter.revoke_token("bb")
        assert not adapter.revoke_token("cc")
        assert adapter.find_token("aa") == first
