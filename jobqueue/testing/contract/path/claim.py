"""The claim: which jobs, in which order, and by whom."""

from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import JobFilter, JobState, Released, Retried, Succeeded
from jobqueue.testing.contract.base import (
    ContractBase,
    a_claim,
    claim_new,
    claim_one,
    enqueue_one,
    ids,
    new_job,
    record,
    settle_all,
)

SECOND = timedelta(seconds=1)
NAMED_QUEUES: tuple[tuple[str, ...] | None, ...] = (None, ("a",), ("a", "b"))


class ClaimContract(ContractBase):
    """Tests `claim`."""

    def test_a_claimed_job_is_running(self, adapter: Adapter, clock: ManualClock) -> None:
        made = enqueue_one(adapter, new_job("Greet", '{"n": 1}', queue="email", priority=7))
        clock.advance(5)
        (job,) = adapter.claim(a_claim("worker-1", token=2**62))
        assert (job.id, job.token, job.handler, job.args) == (made.id, 2**62, "Greet", '{"n": 1}')
        assert (job.queue, job.priority, job.crashes) == ("email", 7, 0)
        assert (job.attempts, job.max_attempts) == (1, 5)
        assert (job.run_at, job.created_at, job.locked_at) == (
            made.run_at,
            made.created_at,
            clock.now(),
        )
        assert job.wait_time == 5 * SECOND

    def test_its_row_says_so(self, adapter: Adapter, clock: ManualClock) -> None:
        made = enqueue_one(adapter)
        clock.advance(5)
        claim_one(adapter, "worker-1")
        row = record(adapter, made.id)
        assert (row.state, row.attempts) == (JobState.RUNNING, 1)
        assert (row.locked_by, row.locked_at, row.updated_at) == (
            "worker-1",
            clock.now(),
            clock.now(),
        )
        assert (row.run_at, row.created_at) == (made.run_at, made.created_at)

    def test_there_may_be_nothing_to_claim(self, adapter: Adapter) -> None:
        assert adapter.claim(a_claim()) == []
        assert adapter.claim(a_claim(queues=("a", "b"))) == []

    @pytest.mark.parametrize("queues", NAMED_QUEUES)
    def test_what_is_passed_over_is_left_for_others(
        self, adapter: Adapter, queues: tuple[str, ...] | None
    ) -> None:
        handlers = ["A", "B", "A", "C", "B", "A", "D"]
        made = adapter.enqueue([new_job(handler, queue="a") for handler in handlers])
        ours = a_claim("worker-1", queues=queues, passing_over=("A", "B", "it's not there"))
        assert [job.handler for job in adapter.turn([], ours).claimed] == ["C", "D"]
        again = a_claim("worker-1", queues=queues, passing_over=("A", "B"))
        assert adapter.turn([], again).claimed == ()
        assert adapter.claim(a_claim("worker-3", queues=queues, passing_over=("A", "B"))) == []
        theirs = a_claim("worker-2", queues=queues, limit=2)
        assert ids(adapter.turn([], theirs).claimed) == [made[0].id, made[1].id]
        rest = adapter.claim(a_claim("worker-2", queues=queues, passing_over=("B",)))
        assert ids(rest) == [made[2].id, made[5].id]

    def test_what_was_passed_over_is_found_when_it_no_longer_is(self, adapter: Adapter) -> None:
        first = enqueue_one(adapter, new_job("A"))
        enqueue_one(adapter, new_job("B"))
        (other,) = adapter.turn([], a_claim(passing_over=("A",))).claimed
        assert other.handler == "B"
        settle_all(adapter, Succeeded(other))
        found: list[int] = []
        while not found:  # it may take until the next look, half a second at most
            found = ids(adapter.turn([], a_claim()).claimed)
        assert found == [first.id]

    def test_what_is_given_back_unknown_wakes_others(self, adapter: Adapter) -> None:
        enqueue_one(adapter, new_job("A"))
        (job,) = adapter.turn([], a_claim("worker-1")).claimed
        turn = adapter.turn([Released(job, error="?")], a_claim("worker-1", passing_over=("A",)))
        assert (turn.rejected, turn.claimed) == ((), ())
        assert ids(adapter.turn([], a_claim("worker-2")).claimed) == [job.id]

    def test_a_job_is_claimed_once(self, adapter: Adapter) -> None:
        enqueue_one(adapter)
        claim_one(adapter)
        assert adapter.claim(a_claim("worker-2")) == []

    @pytest.mark.parametrize("queues", NAMED_QUEUES)
    def test_by_priority_then_time_then_id(
        self, adapter: Adapter, clock: ManualClock, queues: tuple[str, ...] | None
    ) -> None:
        made = adapter.enqueue(
            [
                new_job("6th", queue="a", priority=50, delay=2 * SECOND),
                new_job("4th", queue="a", priority=50, delay=SECOND),
                new_job("5th", queue="a", priority=50, delay=SECOND),
                new_job("7th", queue="a", priority=99),
                new_job("1st", queue="a", priority=-5, delay=3 * SECOND),
                new_job("2nd", queue="a", priority=10, delay=SECOND),
                new_job("3rd", queue="a", priority=10, delay=2 * SECOND),
            ]
        )
        clock.advance(10)
        claimed = adapter.claim(a_claim(queues=queues))
        assert [job.handler for job in claimed] == [
            "1st", "2nd", "3rd", "4th", "5th", "6th", "7th",
        ]  # fmt: skip
        assert sorted(ids(claimed)) == ids(made)

    @pytest.mark.parametrize("limit", [1, 3])
    @pytest.mark.parametrize("queues", NAMED_QUEUES)
    def test_the_first_of_many_by_priority_then_time_then_id(
        self, adapter: Adapter, clock: ManualClock, queues: tuple[str, ...] | None, limit: int
    ) -> None:
        """Each claim takes what comes first, of jobs that mostly have their like in all of it."""
        places = [(priority, delay) for delay in (3, 1, 2) for priority in (50, 7, 99)] * 2
        made = adapter.enqueue(
            [new_job(queue="a", priority=p, delay=delay * SECOND) for p, delay in places]
        )
        clock.advance(10)
        expected = sorted(made, key=lambda job: (job.priority, job.run_at, job.id))
        claims = range(0, len(made), limit)
        claimed = [ids(adapter.claim(a_claim(limit=limit, queues=queues))) for _ in claims]
        assert claimed == [ids(expected[first : first + limit]) for first in claims]

    @pytest.mark.parametrize("queues", [None, ("a", "b", "c"), ("c", "b", "a")])
    def test_the_order_goes_across_queues(
        self, adapter: Adapter, queues: tuple[str, ...] | None
    ) -> None:
        names = ("c", "a", "b")
        adapter.enqueue([new_job(queue=names[n % 3], priority=n // 6) for n in range(30)])
        claimed = [job for _ in range(6) for job in adapter.claim(a_claim(limit=5, queues=queues))]
        assert ids(claimed) == sorted(ids(claimed))
        assert len(claimed) == 30

    @pytest.mark.parametrize("queues", NAMED_QUEUES)
    def test_no_more_than_the_limit(self, adapter: Adapter, queues: tuple[str, ...] | None) -> None:
        made = adapter.enqueue([new_job(queue="a") for _ in range(7)])
        sizes = [ids(adapter.claim(a_claim(limit=3, queues=queues))) for _ in range(4)]
        assert sizes == [ids(made[:3]), ids(made[3:6]), ids(made[6:]), []]

    def test_only_from_the_queues_asked_for(self, adapter: Adapter) -> None:
        a, b, c = adapter.enqueue([new_job(queue=name, priority=9) for name in ("a", "b", "c")])
        adapter.enqueue([new_job(queue="urgent", priority=1) for _ in range(100)])
        assert ids(adapter.claim(a_claim(limit=10, queues=("c", "a")))) == [a.id, c.id]
        assert ids(adapter.claim(a_claim(limit=10, queues=("b",)))) == [b.id]

    def test_unknown_queues_are_empty(self, adapter: Adapter) -> None:
        made = enqueue_one(adapter, new_job(queue="a"))
        assert adapter.claim(a_claim(queues=("A", "a ", "none"))) == []
        assert ids(adapter.claim(a_claim(queues=("none", "a")))) == [made.id]

    def test_no_queues_are_not_all_queues(self, adapter: Adapter) -> None:
        enqueue_one(adapter)
        assert adapter.claim(a_claim(queues=())) == []

    def test_a_queue_may_be_named_twice(self, adapter: Adapter) -> None:
        made = adapter.enqueue([new_job(queue=name) for name in ("a", "b") * 10])
        claims = [a_claim(limit=8, queues=("a", "b", "a", "a")) for _ in range(3)]
        claimed = [ids(adapter.claim(claim)) for claim in claims]
        assert claimed == [ids(made[:8]), ids(made[8:16]), ids(made[16:])]

    @pytest.mark.parametrize("queues", NAMED_QUEUES)
    def test_not_before_its_time(
        self, adapter: Adapter, clock: ManualClock, queues: tuple[str, ...] | None
    ) -> None:
        later = enqueue_one(adapter, new_job(queue="a", priority=1, delay=10 * SECOND))
        now = enqueue_one(adapter, new_job(queue="a", priority=99))
        assert ids(adapter.claim(a_claim(queues=queues))) == [now.id]
        clock.advance(10 * SECOND - timedelta(milliseconds=1))
        assert adapter.claim(a_claim(queues=queues)) == []
        clock.advance(timedelta(milliseconds=1))
        assert ids(adapter.claim(a_claim(queues=queues))) == [later.id]

    def test_finished_jobs_are_not_claimed(self, adapter: Adapter) -> None:
        settle_all(adapter, Succeeded(claim_new(adapter), keep=True))
        adapter.cancel(JobFilter(ids=(enqueue_one(adapter).id,)), "no")
        assert adapter.claim(a_claim()) == []

    def test_each_claim_counts_an_attempt(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        settle_all(adapter, Retried(job, error="again"))
        again = claim_one(adapter)
        assert (again.attempts, record(adapter, job.id).attempts) == (2, 2)

    @pytest.mark.parametrize("queues", NAMED_QUEUES)
    def test_a_single_attempt_is_taken_for_a_free_slot_only(
        self, adapter: Adapter, queues: tuple[str, ...] | None
    ) -> None:
        once, often = new_job(queue="a", max_attempts=1), new_job(queue="a", max_attempts=2)
        made = ids(adapter.enqueue([once, often, once, often, once]))
        first = adapter.claim(a_claim(limit=10, free_slots=1, queues=queues))
        assert ids(first) == [made[0], made[1], made[3]]
        assert adapter.claim(a_claim(limit=10, free_slots=0, queues=queues)) == []
        assert record(adapter, made[2]).attempts == 0
        second = adapter.claim(a_claim(limit=10, free_slots=1, queues=queues))
        assert ids(second) == [made[2]]
        assert ids(adapter.claim(a_claim(limit=1, queues=queues))) == [made[4]]

    def test_slots_are_for_those_who_come_first(self, adapter: Adapter) -> None:
        once, often = new_job(max_attempts=1), new_job(max_attempts=2)
        made = ids(adapter.enqueue([often, often, once]))
        assert ids(adapter.claim(a_claim(limit=10, free_slots=2))) == made[:2]
        assert ids(adapter.claim(a_claim(limit=10, free_slots=2))) == made[2:]

    def test_a_retried_job_with_one_attempt_left_is_prefetched(self, adapter: Adapter) -> None:
        job = claim_new(adapter, new_job(max_attempts=2))
        settle_all(adapter, Retried(job, error="again"))
        assert ids(adapter.claim(a_claim(limit=5, free_slots=0))) == [job.id]

    @pytest.mark.parametrize("queues", NAMED_QUEUES)
    def test_no_more_is_prefetched_than_there_is_room_for(
        self, adapter: Adapter, queues: tuple[str, ...] | None
    ) -> None:
        large, small = json.dumps({"x": "x" * 99_991}), json.dumps({"x": "x" * 91})
        made = ids(
            adapter.enqueue(
                [new_job("Work", args, queue="a") for args in (small, large, large, small, large)]
            )
        )
        ours = partial(a_claim, "worker-1", limit=10, queues=queues)
        assert adapter.claim(ours(free_slots=0, most_bytes=99)) == []
        first = adapter.claim(ours(free_slots=0, most_bytes=200_099))
        assert ids(first) == made[:2]
        assert [record(adapter, job_id).attempts for job_id in made] == [1, 1, 0, 0, 0]
        second = adapter.claim(ours(free_slots=1, most_bytes=0))
        assert ids(second) == made[2:3]
        third = adapter.claim(ours(free_slots=1, most_bytes=100_100))
        assert ids(third) == made[3:]

    def test_the_size_of_arguments_is_that_of_their_text_in_utf_8(self, adapter: Adapter) -> None:
        made = ids(adapter.enqueue([new_job("Work", '{"x": "Grüße"}')] * 2))
        assert adapter.claim(a_claim(free_slots=0, most_bytes=15)) == []
        assert ids(adapter.claim(a_claim(free_slots=0, most_bytes=16))) == made[:1]

    @pytest.mark.parametrize("queues", NAMED_QUEUES)
    def test_meta_counts_for_what_there_is_room_for(
        self, adapter: Adapter, queues: tuple[str, ...] | None
    ) -> None:
        plain = new_job(queue="a")
        with_meta = replace(plain, meta=json.dumps({"note": "x" * 4_000}))
        made = ids(adapter.enqueue([plain, with_meta, with_meta, plain]))
        ours = partial(a_claim, limit=10, free_slots=0, queues=queues)
        assert ids(adapter.claim(ours(most_bytes=4_500))) == made[:2]
        assert ids(adapter.claim(ours(most_bytes=3_500))) == []
        assert ids(adapter.claim(ours(most_bytes=4_500))) == made[2:]

    @pytest.mark.parametrize("queues", NAMED_QUEUES)
    def test_two_workers_share_all_of_it(
        self, adapter: Adapter, queues: tuple[str, ...] | None
    ) -> None:
        made = adapter.enqueue([new_job(queue="a") for _ in range(400)])
        start = threading.Barrier(2)

        def work(worker_id: str) -> list[int]:
            start.wait()
            mine: list[int] = []
            while adapter.count_jobs(JobFilter(states=(JobState.READY,))):
                mine += ids(adapter.claim(a_claim(worker_id, limit=7, queues=queues)))
            return mine

        with ThreadPoolExecutor(2) as pool:
            taken = [job for jobs in pool.map(work, ("worker-1", "worker-2")) for job in jobs]
        assert Counter(taken) == Counter(ids(made))
