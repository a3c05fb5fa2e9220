"""Workers, their leases, and what becomes of the jobs of those that are gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    CrashedJob,
    JobFilter,
    JobState,
    Rescue,
    Retried,
)
from jobqueue.testing.contract.base import (
    LEASE,
    TEXTS,
    ContractBase,
    a_claim,
    assert_claimable,
    assert_unlocked,
    claim_new,
    claim_one,
    ids,
    new_job,
    new_worker,
    record,
    settle_all,
)

MINUTE = timedelta(minutes=1)


class LeasesContract(ContractBase):
    """Tests the methods about workers, their heartbeats and their jobs."""

    @pytest.mark.parametrize("queues", [None, ("default",), ("email", "a_b.c:d-e")])
    def test_a_registered_worker(
        self, adapter: Adapter, clock: ManualClock, queues: tuple[str, ...] | None
    ) -> None:
        adapter.register_worker(new_worker("worker-1", queues=queues))
        (worker,) = adapter.workers()
        assert (worker.id, worker.name, worker.host) == ("worker-1", "web", "host-1")
        assert (worker.pid, worker.queues, worker.concurrency) == (4711, queues, 2)
        assert (worker.lease, worker.started_at, worker.heartbeat_at) == (
            LEASE,
            clock.now(),
            clock.now(),
        )

    def test_workers_come_the_oldest_first(self, adapter: Adapter, clock: ManualClock) -> None:
        for name in ("c", "a", "b"):
            adapter.register_worker(new_worker(name))
            clock.advance(1)
        assert [worker.id for worker in adapter.workers()] == ["c", "a", "b"]

    def test_a_beat_renews_those_that_are_registered(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        for name in ("a", "b", "c"):
            adapter.register_worker(new_worker(name))
        started = clock.now()
        clock.advance(MINUTE)
        assert adapter.beat(["a", "unknown", "b"]) == {"a", "b"}
        beats = {worker.id: worker.heartbeat_at for worker in adapter.workers()}
        assert beats == {"a": clock.now(), "b": clock.now(), "c": started}
        assert {worker.started_at for worker in adapter.workers()} == {started}
        assert adapter.beat([]) == set()

    def test_unregistering_gives_back_its_jobs(self, adapter: Adapter) -> None:
        adapter.register_worker(new_worker("worker-1"))
        job = claim_new(adapter)
        adapter.unregister_worker("worker-1")
        assert adapter.workers() == []
        assert adapter.beat(["worker-1"]) == set()
        row = record(adapter, job.id)
        assert (row.state, row.attempts, row.last_error) == (JobState.READY, 0, None)
        assert_unlocked(row)
        assert assert_claimable(adapter, job.id).attempts == 1

    def test_unregistering_a_stranger_does_nothing(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        adapter.unregister_worker("stranger")
        assert record(adapter, job.id).state is JobState.RUNNING

    # --- rescue ----------------------------------------------------------------------------------

    def test_rescued_jobs_are_due_at_once(self, adapter: Adapter, clock: ManualClock) -> None:
        adapter.register_worker(new_worker("worker-1"))
        adapter.enqueue([new_job(), new_job()])
        first, second = adapter.claim(a_claim("worker-1"))
        clock.advance(MINUTE)
        (seen,) = adapter.workers()
        rescue = adapter.rescue(seen, "the worker is gone")
        assert rescue == Rescue("worker-1", released=(first.id, second.id))
        assert adapter.workers() == []
        row = record(adapter, first.id)
        assert (row.state, row.attempts) == (JobState.READY, 1)
        assert (row.last_error, row.updated_at) == ("the worker is gone", clock.now())
        assert row.run_at <= clock.now()
        assert_unlocked(row)
        assert assert_claimable(adapter, first.id).attempts == 2

    def test_what_was_freed_is_told_by_id(self, adapter: Adapter) -> None:
        adapter.enqueue([new_job(priority=2), new_job(priority=1), new_job(priority=3)])
        claimed = ids(adapter.claim(a_claim("worker-1")))
        assert claimed != sorted(claimed)
        rescue = adapter.rescue_orphans("worker-1", "gone")
        assert rescue == Rescue("worker-1", released=tuple(sorted(claimed)))

    def test_a_job_without_another_attempt_is_failed(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        adapter.register_worker(new_worker("worker-1"))
        adapter.enqueue([new_job(max_attempts=1), new_job(max_attempts=2)])
        once, twice = adapter.claim(a_claim("worker-1"))
        clock.advance(MINUTE)
        rescue = adapter.rescue(adapter.workers()[0], "the worker is gone")
        assert rescue == Rescue("worker-1", released=(twice.id,), failed=(once.id,))
        row = record(adapter, once.id)
        assert (row.state, row.attempts) == (JobState.FAILED, 1)
        assert (row.last_error, row.failed_at) == ("the worker is gone", clock.now())
        assert (row.finished_at, row.updated_at) == (clock.now(), clock.now())
        assert_unlocked(row)

    def test_the_last_of_several_attempts_is_failed_too(self, adapter: Adapter) -> None:
        adapter.register_worker(new_worker("worker-1"))
        settle_all(adapter, Retried(claim_new(adapter, new_job(max_attempts=2)), error="again"))
        job = claim_one(adapter, "worker-1")
        rescue = adapter.rescue(adapter.workers()[0], "the worker is gone")
        assert rescue == Rescue("worker-1", failed=(job.id,))

    def test_a_worker_that_has_beaten_since_is_left_alone(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        adapter.register_worker(new_worker("worker-1"))
        job = claim_new(adapter)
        (seen,) = adapter.workers()
        clock.advance(timedelta(milliseconds=1))
        adapter.beat(["worker-1"])
        assert adapter.rescue(seen, "the worker is gone") is None
        assert record(adapter, job.id).state is JobState.RUNNING
        assert len(adapter.workers()) == 1

    def test_a_worker_is_rescued_once(self, adapter: Adapter) -> None:
        adapter.register_worker(new_worker("worker-1"))
        (seen,) = adapter.workers()
        assert adapter.rescue(seen, "gone") == Rescue("worker-1")
        assert adapter.rescue(seen, "gone") is None
        assert adapter.rescue(replace(seen, id="stranger"), "gone") is None

    def test_the_jobs_of_others_are_left_alone(self, adapter: Adapter) -> None:
        for name in ("worker-1", "worker-2"):
            adapter.register_worker(new_worker(name))
        adapter.enqueue([new_job(), new_job()])
        mine = adapter.claim(a_claim("worker-1", limit=1))
        theirs = adapter.claim(a_claim("worker-2", limit=1))
        seen = {worker.id: worker for worker in adapter.workers()}
        assert adapter.rescue(seen["worker-1"], "gone") == Rescue("worker-1", tuple(ids(mine)))
        assert record(adapter, theirs[0].id).locked_by == "worker-2"

    @pytest.mark.parametrize("text", TEXTS)
    def test_any_error_is_kept(self, adapter: Adapter, text: str) -> None:
        job = claim_new(adapter)
        adapter.rescue_orphans("worker-1", text)
        assert record(adapter, job.id).last_error == text

    # --- orphans and strays ----------------------------------------------------------------------

    def test_orphans(self, adapter: Adapter) -> None:
        adapter.register_worker(new_worker("known"))
        adapter.enqueue([new_job() for _ in range(4)])
        for name in ("known", "lost-2", "lost-1", "lost-1"):
            claim = a_claim(name, limit=1)
            assert len(adapter.claim(claim)) == 1
        assert adapter.orphaned_workers() == ["lost-1", "lost-2"]
        rescue = adapter.rescue_orphans("lost-1", "gone")
        assert rescue is not None
        assert (len(rescue.released), rescue.failed) == (2, ())
        assert adapter.orphaned_workers() == ["lost-2"]

    def test_no_orphan_once_it_registers(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        assert adapter.orphaned_workers() == ["worker-1"]
        adapter.register_worker(new_worker("worker-1"))
        assert adapter.orphaned_workers() == []
        assert adapter.rescue_orphans("worker-1", "gone") is None
        assert record(adapter, job.id).state is JobState.RUNNING

    def test_orphans_without_another_attempt_are_failed(self, adapter: Adapter) -> None:
        job = claim_new(adapter, new_job(max_attempts=1))
        assert adapter.rescue_orphans("worker-1", "gone") == Rescue("worker-1", failed=(job.id,))
        assert adapter.rescue_orphans("worker-1", "gone") == Rescue("worker-1")

    def test_strays_are_given_back(self, adapter: Adapter) -> None:
        adapter.enqueue([new_job() for _ in range(4)])
        held, stray = adapter.claim(a_claim("worker-1", limit=2))
        (reclaimed,) = adapter.claim(a_claim("worker-1", limit=1))
        (other,) = adapter.claim(a_claim("worker-2", limit=1))
        known = [(held.id, held.token), (reclaimed.id, 1), (other.id, other.token)]
        freed = adapter.release_strays("worker-1", known)
        assert len(freed.released) == 2
        assert freed.ended == ()
        running = adapter.list_jobs(JobFilter(states=(JobState.RUNNING,)), 10)
        assert ids(running) == [other.id, held.id]
        row = record(adapter, stray.id)
        assert (row.state, row.attempts, row.last_error) == (JobState.READY, 0, None)
        assert_unlocked(row)
        assert not adapter.release_strays("worker-1", known)

    def test_a_crash_charges_what_was_performed_and_refunds_the_rest(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        adapter.register_worker(new_worker("worker-1"))
        adapter.enqueue([new_job(), new_job(), new_job()])
        guilty, beside, prefetched = adapter.claim(a_claim(limit=3))
        rescue = adapter.rescue_crashed(
            "worker-1",
            [
                CrashedJob(guilty.id, guilty.token, "it died", delay=MINUTE),
                CrashedJob(beside.id, beside.token, "it was killed", guilty=False),
            ],
        )
        assert rescue == Rescue("worker-1", released=(guilty.id, beside.id, prefetched.id))
        assert adapter.workers() == []
        first, second, third = (record(adapter, job.id) for job in (guilty, beside, prefetched))
        assert (first.attempts, first.crashes, first.last_error) == (1, 1, "it died")
        assert first.run_at == clock.now() + MINUTE
        assert (second.attempts, second.crashes, second.last_error) == (1, 0, "it was killed")
        assert (third.attempts, third.crashes, third.last_error) == (0, 0, None)
        for row in (first, second, third):
            assert row.state is JobState.READY
            assert_unlocked(row)
        assert [job.id for job in adapter.claim(a_claim(limit=3))] == [beside.id, prefetched.id]

    def test_the_third_crash_fails_a_job(self, adapter: Adapter, clock: ManualClock) -> None:
        for crashes in (1, 2, 3):
            job = claim_new(adapter) if crashes == 1 else adapter.claim(a_claim(limit=1))[0]
            rescue = adapter.rescue_crashed("worker-1", [CrashedJob(job.id, job.token, "died")])
            row = record(adapter, job.id)
            assert row.crashes == crashes
            assert row.state is (JobState.FAILED if crashes == 3 else JobState.READY)
        assert rescue.failed == (job.id,)
        assert row.failed_at == row.finished_at == clock.now()
        assert_unlocked(row)

    def test_a_crash_at_the_last_attempt_fails_a_job(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        job = claim_new(adapter, new_job(max_attempts=1))
        crashed = CrashedJob(job.id, job.token, "died", delay=MINUTE)
        rescue = adapter.rescue_crashed("worker-1", [crashed])
        assert rescue == Rescue("worker-1", failed=(job.id,))
        row = record(adapter, job.id)
        assert (row.state, row.run_at) == (JobState.FAILED, clock.now() + MINUTE)

    def test_a_crash_can_be_final(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        final = CrashedJob(job.id, job.token, "timed out", guilty=False, final=True)
        assert adapter.rescue_crashed("worker-1", [final]) == Rescue("worker-1", failed=(job.id,))
        row = record(adapter, job.id)
        assert (row.state, row.crashes) == (JobState.FAILED, 0)

    def test_a_crash_does_not_touch_what_others_hold(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        stale = CrashedJob(job.id, job.token + 1, "died")
        assert adapter.rescue_crashed("worker-2", [CrashedJob(job.id, job.token, "died")]) == (
            Rescue("worker-2")
        )
        assert record(adapter, job.id).state is JobState.RUNNING
        assert adapter.rescue_crashed("worker-1", [stale]).released == (job.id,)
        row = record(adapter, job.id)
        assert (row.state, row.attempts, row.crashes) == (JobState.READY, 0, 0)

    def test_workers_declare_what_their_code_has(self, adapter: Adapter) -> None:
        adapter.declare_handlers("worker-1", ["A"])
        assert adapter.declared_handlers() == {}
        for number in (1, 2):
            adapter.register_worker(new_worker(f"worker-{number}"))
        assert adapter.declared_handlers() == {}
        adapter.declare_handlers("worker-1", ["A", "B"])
        adapter.declare_handlers("worker-2", ["C"])
        assert adapter.declared_handlers() == {"worker-1": {"A", "B"}, "worker-2": {"C"}}
        adapter.unregister_worker("worker-1")
        assert adapter.declared_handlers() == {"worker-2": {"C"}}

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
