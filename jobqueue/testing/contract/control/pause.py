"""The control of queues: no job of a paused one is claimed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    UNTIL_RESUMED,
    Failed,
    JobFilter,
    JobState,
    Pause,
    PausedQueue,
    Released,
    Retried,
    Succeeded,
)
from jobqueue.testing.contract.base import (
    ContractBase,
    a_claim,
    claim_new,
    enqueue_one,
    ids,
    new_job,
    record,
    settle_all,
)

MINUTE = timedelta(minutes=1)
WAYS_TO_CLAIM: tuple[tuple[str, ...] | None, ...] = (None, ("a",), ("a", "b"), ("b", "a", "c"))
AWKWARD_NAMES = ("A", "a.b", "a:b", "a-b", "a_b", "a" * 128)


class PauseContract(ContractBase):
    """Tests the methods that pause and resume queues, and list those that are paused."""

    @pytest.mark.parametrize("queues", WAYS_TO_CLAIM)
    def test_a_paused_queue_is_not_claimed_from(
        self, adapter: Adapter, queues: tuple[str, ...] | None
    ) -> None:
        made = adapter.enqueue([new_job(queue=name) for name in ("a", "b") * 3])
        adapter.pause_queues(["a"])
        open_ones = [job.id for job in made if job.queue == "b" and "b" in (queues or ("b",))]
        assert ids(adapter.claim(a_claim(queues=queues))) == open_ones
        assert adapter.claim(a_claim(queues=queues)) == []

    @pytest.mark.parametrize("queues", WAYS_TO_CLAIM)
    def test_a_resumed_queue_is_claimed_from(
        self, adapter: Adapter, queues: tuple[str, ...] | None
    ) -> None:
        made = adapter.enqueue([new_job(queue="a") for _ in range(3)])
        adapter.pause_queues(["a"])
        adapter.claim(a_claim(queues=queues))
        adapter.resume_queues(["a"])
        assert ids(adapter.claim(a_claim(queues=queues))) == ids(made)

    def test_urgent_jobs_of_a_paused_queue_hold_nobody_up(self, adapter: Adapter) -> None:
        adapter.enqueue([new_job(queue="a", priority=1) for _ in range(100)])
        made = adapter.enqueue([new_job(queue="b", priority=n) for n in (3, 2)])
        adapter.pause_queues(["a"])
        assert ids(adapter.claim(a_claim(limit=10))) == ids(made)[::-1]

    def test_all_queues_may_be_paused(self, adapter: Adapter) -> None:
        adapter.enqueue([new_job(queue=name) for name in ("a", "b", "c")])
        assert adapter.pause_queues(("c", "b", "a")) == {"a", "b", "c"}
        assert adapter.claim(a_claim()) == []
        assert adapter.claim(a_claim(queues=("a", "b", "c"))) == []
        assert adapter.paused_queues() == {"a", "b", "c"}

    def test_only_what_changed_is_returned(self, adapter: Adapter) -> None:
        assert adapter.pause_queues(["a", "a"]) == {"a"}
        assert adapter.pause_queues(["a", "b"]) == {"b"}
        assert adapter.resume_queues(["a", "never"]) == {"a"}
        assert adapter.resume_queues(["a"]) == set()
        assert adapter.pause_queues(["a", "b"]) == {"a"}
        assert adapter.paused_queues() == {"a", "b"}
        assert adapter.pause_queues([]) == adapter.resume_queues([]) == set()

    def test_a_queue_can_be_paused_before_its_first_job(self, adapter: Adapter) -> None:
        adapter.pause_queues(["later"])
        made = enqueue_one(adapter, new_job(queue="later"))
        assert adapter.claim(a_claim()) == []
        adapter.resume_queues(["later"])
        assert ids(adapter.claim(a_claim())) == [made.id]

    @pytest.mark.parametrize("name", AWKWARD_NAMES)
    def test_a_name_means_that_queue_alone(self, adapter: Adapter, name: str) -> None:
        mine = enqueue_one(adapter, new_job(queue="a"))
        enqueue_one(adapter, new_job(queue=name))
        assert adapter.pause_queues([name]) == adapter.paused_queues() == {name}
        assert ids(adapter.claim(a_claim())) == [mine.id]

    def test_jobs_go_on_being_enqueued_and_becoming_due(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        adapter.pause_queues(["a"])
        made = adapter.enqueue([new_job(queue="a"), new_job(queue="a", delay=MINUTE)])
        clock.advance(2 * MINUTE)
        (depth,) = adapter.queue_depths()
        assert (depth.queue, depth.due, depth.later, depth.paused) == ("a", 2, 0, True)
        assert depth.oldest_age == 2 * MINUTE
        adapter.resume_queues(["a"])
        assert not adapter.queue_depths()[0].paused
        assert ids(adapter.claim(a_claim())) == ids(made)

    def test_a_paused_queue_is_seen_without_jobs(self, adapter: Adapter) -> None:
        adapter.pause_queues(["a"])
        (depth,) = adapter.queue_depths()
        assert (depth.queue, depth.due, depth.later, depth.running) == ("a", 0, 0, 0)
        adapter.resume_queues(["a"])
        assert adapter.queue_depths() == []

    def test_what_was_claimed_before_is_settled(self, adapter: Adapter) -> None:
        jobs = [claim_new(adapter, new_job(queue="a")) for _ in range(4)]
        adapter.pause_queues(["a"])
        settle_all(
            adapter,
            Succeeded(jobs[0]),
            Failed(jobs[1], error="broken"),
            Retried(jobs[2], error="again"),
            Released(jobs[3]),
        )
        assert adapter.get(jobs[0].id) is None
        assert record(adapter, jobs[1].id).state is JobState.FAILED
        assert adapter.claim(a_claim()) == []
        adapter.resume_queues(["a"])
        assert ids(adapter.claim(a_claim())) == ids(jobs[2:])

    def test_one_turn_settles_and_passes_the_queue_over(self, adapter: Adapter) -> None:
        job = claim_new(adapter, new_job(queue="a"))
        waiting = enqueue_one(adapter, new_job(queue="a"))
        adapter.pause_queues(["a"])
        turn = adapter.turn([Succeeded(job)], a_claim())
        assert (turn.rejected, turn.claimed) == ((), ())
        assert record(adapter, waiting.id).state is JobState.READY

    def test_waiting_jobs_can_be_steered(self, adapter: Adapter) -> None:
        retried, cancelled, deleted = (enqueue_one(adapter, new_job(queue="a")) for _ in range(3))
        adapter.pause_queues(["a"])
        assert adapter.retry(JobFilter(ids=(retried.id,))) == 1
        assert adapter.cancel(JobFilter(ids=(cancelled.id,)), "no") == 1
        assert adapter.delete(JobFilter(ids=(deleted.id,))) == 1
        assert adapter.claim(a_claim()) == []

    @pytest.mark.parametrize("queues", [None, ("a", "b")])
    def test_from_then_on_nothing_is_claimed(
        self, adapter: Adapter, queues: tuple[str, ...] | None
    ) -> None:
        """A queue is paused during a claim: claims that begin afterwards pass it over."""
        made = adapter.enqueue([new_job(queue="a") for _ in range(2000)])
        begun, paused = threading.Event(), threading.Event()

        def claim_until_paused() -> int:
            taken = 0
            while not paused.is_set():
                taken += len(adapter.claim(a_claim(limit=1, queues=queues)))
                begun.set()
            return taken

        with ThreadPoolExecutor(1) as pool:
            claiming = pool.submit(claim_until_paused)
            begun.wait()
            try:
                adapter.pause_queues(["a"])
                waiting = adapter.count_jobs(JobFilter(states=(JobState.READY,)))
            finally:
                paused.set()
            taken = claiming.result()
        assert taken > 0
        assert len(made) - taken in (waiting, waiting - 1)
        assert adapter.claim(a_claim(queues=queues)) == []

    def test_many_may_pause_and_resume_at_once(self, adapter: Adapter) -> None:
        names = [f"queue-{n}" for n in range(8)]
        start = threading.Barrier(4)

        def pause(backwards: bool) -> set[str]:
            start.wait()
            return adapter.pause_queues(names[::-1] if backwards else names)

        with ThreadPoolExecutor(4) as pool:
            changed = list(pool.map(pause, (True, False, True, False)))
            resumed = list(pool.map(lambda _: adapter.resume_queues(names), range(4)))
        assert sorted(name for some in changed for name in some) == names
        assert sorted(name for some in resumed for name in some) == names
        assert adapter.paused_queues() == set()

    def test_a_pause_says_until_when_by_whom_and_why(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        paused_at = clock.now()
        pause = Pause(paused_at + MINUTE, "ada@laptop", "the mail server is down")
        assert adapter.pause_queues(["b"], pause) == {"b"}
        clock.advance(1)
        assert adapter.pause_queues(["a"]) == {"a"}
        assert adapter.pauses() == [
            PausedQueue("a", clock.now(), UNTIL_RESUMED),
            PausedQueue("b", paused_at, pause),
        ]
        adapter.resume_queues(["b"])
        assert [paused.name for paused in adapter.pauses()] == ["a"]
        adapter.pause_queues(["b"])
        assert adapter.pauses()[1] == PausedQueue("b", clock.now(), UNTIL_RESUMED)

    @pytest.mark.parametrize("newer", [UNTIL_RESUMED, Pause(by="ben", reason="and the next one")])
    def test_the_newest_pause_holds(
        self, adapter: Adapter, clock: ManualClock, newer: Pause
    ) -> None:
        paused_at = clock.now()
        adapter.pause_queues(["a"], Pause(paused_at + MINUTE, "ada", "a reason"))
        clock.advance(1)
        assert adapter.pause_queues(["a"], newer) == set()
        assert adapter.pauses() == [PausedQueue("a", paused_at, newer)]
        clock.advance(MINUTE)
        assert adapter.resume_due_queues() == set()
        assert adapter.paused_queues() == {"a"}

    def test_a_queue_resumes_when_its_time_has_come(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        made = enqueue_one(adapter, new_job(queue="a"))
        until = clock.now() + MINUTE
        adapter.pause_queues(["a", "b"], Pause(until))
        adapter.pause_queues(["later"], Pause(until + MINUTE))
        adapter.pause_queues(["for good"])
        clock.advance(MINUTE.total_seconds() - 1)
        assert adapter.resume_due_queues() == set()
        assert adapter.claim(a_claim()) == []
        clock.advance(1)
        assert adapter.claim(a_claim()) == []
        assert adapter.resume_due_queues() == {"a", "b"}
        assert adapter.resume_due_queues() == set()
        assert ids(adapter.claim(a_claim())) == [made.id]
        assert adapter.paused_queues() == {"later", "for good"}

    def test_each_queue_is_resumed_by_one(self, adapter: Adapter, clock: ManualClock) -> None:
        names = [f"queue-{n}" for n in range(8)]
        adapter.pause_queues(names, Pause(clock.now() + MINUTE))
        clock.advance(MINUTE)
        with ThreadPoolExecutor(4) as pool:
            resumed = list(pool.map(lambda _: adapter.resume_due_queues(), range(4)))
        assert sorted(name for some in resumed for name in some) == names
        assert adapter.paused_queues() == set()
