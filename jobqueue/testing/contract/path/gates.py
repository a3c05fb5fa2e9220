"""Jobs with flow control: they wait at gates and in lines, and calls may mean the same job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    AfterFailure,
    ClaimedJob,
    Debounced,
    DeclaredLimit,
    Discarded,
    Failed,
    FlowControl,
    Gate,
    JobFilter,
    JobState,
    NewJob,
    Released,
    Retried,
    Succeeded,
    Terms,
    Turn,
)
from jobqueue.stored import StoredJob
from jobqueue.testing.contract.base import (
    ContractBase,
    a_claim,
    at_once,
    enqueue_one,
    ids,
    new_job,
    new_worker,
    record,
    settle_all,
)

TEN_SECONDS = timedelta(seconds=10)


def limited(
    number: int = 1, key: str | None = None, *, limit: str = "calls", queue: str = "default"
) -> NewJob:
    """A job behind a limit."""
    return at_gates(Gate(limit, key, number), queue=queue)


def at_gates(*gates: Gate, queue: str = "default", line: str | None = None) -> NewJob:
    """A job at some gates."""
    line = line or " & ".join(gate.name for gate in gates)
    return controlled(FlowControl(line, Terms(gates)), queue=queue)


def controlled(control: FlowControl, *, queue: str = "default", priority: int = 50) -> NewJob:
    """A job with flow control."""
    return replace(new_job(queue=queue, priority=priority), flow_control=control)


def ordered(key: str = "a", on_failed: AfterFailure = AfterFailure.STOP) -> NewJob:
    """A job of an order."""
    return controlled(FlowControl(f"order of {key}", Terms(ordered=on_failed)))


def in_turn(tenant: str, *gates: Gate) -> NewJob:
    """A job of a tenant, who takes turns with others."""
    return controlled(FlowControl(f"turn of {tenant}", Terms(gates, takes_turns=True)))


def claimed_ids(adapter: Adapter, limit: int = 100) -> list[int]:
    """Claim jobs; return their ids in the order of the claim."""
    return ids(adapter.claim(a_claim(limit=limit)))


class GatesContract(ContractBase):
    """Tests `enqueue`, `claim`, `settle` and `turn` of jobs that have flow control."""

    # --- limits ----------------------------------------------------------------------------------

    def test_a_job_behind_a_limit_is_gated(self, adapter: Adapter) -> None:
        made = enqueue_one(adapter, limited(3, "7"))
        assert made.state is JobState.GATED
        assert made.line == "calls=7"
        assert made.terms == Terms((Gate("calls", "7", 3),))
        assert adapter.get(made.id) == made
        assert not made.is_duplicate

    def test_no_more_run_at_once_than_the_limit(self, adapter: Adapter) -> None:
        made = adapter.enqueue([limited(3) for _ in range(10)])
        first = adapter.claim(a_claim())
        assert ids(first) == ids(made)[:3]
        assert claimed_ids(adapter) == []
        assert record(adapter, first[0].id).state is JobState.RUNNING
        settle_all(adapter, Succeeded(first[0]))
        assert claimed_ids(adapter) == [made[3].id]

    def test_jobs_without_a_limit_are_claimed_beside_them(self, adapter: Adapter) -> None:
        gated = adapter.enqueue([limited(1), limited(1)])
        others = adapter.enqueue([new_job(), new_job()])
        assert set(claimed_ids(adapter)) == {gated[0].id, *ids(others)}

    def test_each_key_has_slots_of_its_own(self, adapter: Adapter) -> None:
        made = adapter.enqueue([limited(2, key) for key in "aaabbbccc"])
        places = {job.id: place for place, job in enumerate(made)}
        assert {places[job_id] for job_id in claimed_ids(adapter)} == {0, 1, 3, 4, 6, 7}

    def test_a_job_may_count_against_several_limits(self, adapter: Adapter) -> None:
        everything = Gate("all", None, 3)
        made = adapter.enqueue(
            [at_gates(everything, Gate("key", key, 2)) for key in ("a", "a", "a", "b", "b")]
        )
        claimed = adapter.claim(a_claim())
        assert ids(claimed) == [made[0].id, made[1].id, made[3].id]
        settle_all(adapter, Succeeded(claimed[2]))
        assert claimed_ids(adapter) == [made[4].id]

    def test_a_limit_of_the_same_name_counts_across_lines(self, adapter: Adapter) -> None:
        shared = Gate("shared", None, 2)
        adapter.enqueue([at_gates(shared, line=line) for line in ("one", "two", "three")])
        assert len(claimed_ids(adapter)) == 2

    @pytest.mark.parametrize(
        "end", ["succeeded", "kept", "failed", "discarded", "retried", "released"]
    )
    def test_every_end_frees_the_slot(self, adapter: Adapter, end: str) -> None:
        first, second = adapter.enqueue([limited(1), limited(1)])
        (job,) = adapter.claim(a_claim())
        assert job.id == first.id
        outcome = {
            "succeeded": Succeeded(job),
            "kept": Succeeded(job, keep=True),
            "failed": Failed(job, error="broken"),
            "discarded": Discarded(job, reason="unwanted"),
            "retried": Retried(job, error="broken", delay=TEN_SECONDS),
            "released": Released(job, delay=TEN_SECONDS),
        }[end]
        settle_all(adapter, outcome)
        assert claimed_ids(adapter) == [second.id]

    def test_a_job_that_is_tried_again_waits_at_its_gate(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        enqueue_one(adapter, limited(1))
        (job,) = adapter.claim(a_claim())
        settle_all(adapter, Retried(job, error="broken", delay=TEN_SECONDS))
        assert record(adapter, job.id).state is JobState.GATED
        other = enqueue_one(adapter, limited(1))
        assert claimed_ids(adapter) == [other.id]
        clock.advance(11)
        assert claimed_ids(adapter) == []

    def test_a_lost_worker_frees_its_slots(self, adapter: Adapter, clock: ManualClock) -> None:
        adapter.register_worker(new_worker("lost"))
        enqueue_one(adapter, limited(1))
        (job,) = adapter.claim(a_claim("lost"))
        clock.advance(60)
        (seen,) = [worker for worker in adapter.workers() if worker.id == "lost"]
        rescue = adapter.rescue(seen, "lost")
        assert rescue is not None
        assert record(adapter, job.id).state is JobState.GATED
        assert claimed_ids(adapter) == [job.id]

    def test_a_job_that_is_removed_while_it_runs_frees_its_slot(self, adapter: Adapter) -> None:
        first, second = adapter.enqueue([limited(1), limited(1)])
        assert claimed_ids(adapter) == [first.id]
        adapter.delete(JobFilter(ids=(first.id,)), include_running=True)
        assert claimed_ids(adapter) == [second.id]

    def test_a_limit_of_zero_lets_nobody_pass(self, adapter: Adapter) -> None:
        enqueue_one(adapter, limited(0))
        assert claimed_ids(adapter) == []

    def test_a_full_key_holds_up_no_other(self, adapter: Adapter) -> None:
        adapter.enqueue([limited(1, "busy") for _ in range(300)])
        others = adapter.enqueue([limited(1, f"k{n:03}") for n in range(250)])
        assert len(claimed_ids(adapter, 1)) == 1
        found = set()
        for _ in range(20):
            found |= set(claimed_ids(adapter, 100))
        assert set(ids(others)) <= found
        assert len(found) <= 251

    def test_the_limit_holds_when_many_claim_at_once(self, adapter: Adapter) -> None:
        adapter.enqueue([limited(5) for _ in range(60)])
        claimed: list[ClaimedJob] = []

        def work(worker: str) -> None:
            for _ in range(5):
                claimed.extend(adapter.claim(a_claim(worker, limit=3)))

        at_once(*(lambda n=n: work(f"worker-{n}") for n in range(4)))
        assert len({job.id for job in claimed}) == len(claimed) == 5

    def test_a_paused_queue_and_other_queues(self, adapter: Adapter) -> None:
        paused, other = adapter.enqueue([limited(2, queue="paused"), limited(2, queue="other")])
        adapter.pause_queues(["paused"])
        assert ids(adapter.claim(a_claim(queues=("paused",)))) == []
        assert ids(adapter.claim(a_claim(queues=("nowhere",)))) == []
        assert claimed_ids(adapter) == [other.id]
        adapter.resume_queues(["paused"])
        assert claimed_ids(adapter) == [paused.id]

    def test_handlers_that_are_passed_over(self, adapter: Adapter) -> None:
        enqueue_one(adapter, limited(2))
        assert adapter.claim(a_claim(passing_over=("Work",))) == []
        assert len(claimed_ids(adapter)) == 1

    def test_priorities_count_among_those_that_wait(self, adapter: Adapter) -> None:
        gate = (Gate("calls", None, 1),)
        late = enqueue_one(adapter, controlled(FlowControl("calls", Terms(gate)), priority=60))
        soon = enqueue_one(adapter, controlled(FlowControl("calls", Terms(gate)), priority=40))
        (job,) = adapter.claim(a_claim())
        assert job.id == soon.id
        settle_all(adapter, Succeeded(job))
        assert claimed_ids(adapter) == [late.id]

    def test_a_turn_refills_what_it_frees(self, adapter: Adapter) -> None:
        made = adapter.enqueue([limited(2) for _ in range(6)])
        turn = adapter.turn([], a_claim())
        seen: list[int] = []
        while turn.claimed:
            assert len(turn.claimed) == 2
            seen += ids(turn.claimed)
            turn = adapter.turn([Succeeded(job) for job in turn.claimed], a_claim())
        assert seen == ids(made)

    def test_both_kinds_share_the_room_of_a_worker(self, adapter: Adapter) -> None:
        adapter.enqueue([limited(50) for _ in range(20)])
        adapter.enqueue([new_job() for _ in range(20)])
        kinds = {True: 0, False: 0}
        turn: Turn = adapter.turn([], a_claim(limit=1))
        for _ in range(12):
            for job in turn.claimed:
                kinds[job.line is None] += 1
            turn = adapter.turn([Succeeded(job) for job in turn.claimed], a_claim(limit=1))
        assert min(kinds.values()) >= 3

    def test_what_is_declared_counts_for_jobs_of_another_release(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        """The number and the period; what their own terms say does not count any more."""
        adapter.enqueue([at_gates(Gate("calls", None, 3, timedelta(seconds=1))) for _ in range(6)])
        adapter.declare_limits([DeclaredLimit("calls", 2, TEN_SECONDS)])
        assert len(claimed_ids(adapter)) == 2
        clock.advance(5)
        assert claimed_ids(adapter) == []
        clock.advance(6)
        assert len(claimed_ids(adapter)) == 2

    def test_a_rate_may_become_a_limit_and_a_limit_a_rate(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        adapter.enqueue([at_gates(Gate("calls", None, 3, TEN_SECONDS)) for _ in range(3)])
        adapter.declare_limits([DeclaredLimit("calls", 1)])
        (job,) = adapter.claim(a_claim())
        clock.advance(60)
        assert claimed_ids(adapter) == []
        settle_all(adapter, Succeeded(job))
        (job,) = adapter.claim(a_claim())
        settle_all(adapter, Succeeded(job))
        adapter.enqueue([limited(1) for _ in range(3)])
        adapter.declare_limits([DeclaredLimit("calls", 2, TEN_SECONDS)])
        for _ in range(2):
            claimed = adapter.claim(a_claim(limit=1))
            assert len(claimed) == 1
            settle_all(adapter, *(Succeeded(job) for job in claimed))
        assert claimed_ids(adapter) == []
        clock.advance(11)
        assert len(claimed_ids(adapter)) == 2

    # --- rates -----------------------------------------------------------------------------------

    def test_no_more_start_in_a_period_than_the_rate(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        rate = Gate("calls", None, 3, TEN_SECONDS)
        adapter.enqueue([at_gates(rate) for _ in range(12)])
        starts: list[float] = []
        for _ in range(400):
            claimed = adapter.claim(a_claim())
            starts += [clock.now().timestamp()] * len(claimed)
            settle_all(adapter, *(Succeeded(job) for job in claimed))
            clock.advance(0.1)
        assert len(starts) == 12
        for place in range(len(starts) - 3):
            assert starts[place + 3] - starts[place] > 10
        assert starts[-1] - starts[0] <= 3 * 10 * 1.05 + 0.5

    def test_a_turn_tells_when_a_rate_lets_another_start(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        adapter.enqueue([at_gates(Gate("calls", None, 1, TEN_SECONDS)) for _ in range(2)])
        assert len(adapter.turn([], a_claim()).claimed) == 1
        turn = adapter.turn([], a_claim())
        assert turn.claimed == ()
        assert turn.look_again_in is not None
        assert timedelta(seconds=9) < turn.look_again_in <= timedelta(seconds=10.6)
        clock.advance(turn.look_again_in.total_seconds() + 0.01)
        assert len(adapter.turn([], a_claim()).claimed) == 1

    def test_rates_of_keys_are_apart(self, adapter: Adapter) -> None:
        made = adapter.enqueue(
            [at_gates(Gate("calls", key, 1, TEN_SECONDS)) for key in ("a", "a", "b")]
        )
        assert set(claimed_ids(adapter)) == {made[0].id, made[2].id}

    # --- order -----------------------------------------------------------------------------------

    def test_jobs_of_an_order_are_performed_one_at_a_time(self, adapter: Adapter) -> None:
        made = adapter.enqueue([ordered(), ordered("b"), ordered(), ordered()])
        first = adapter.claim(a_claim())
        assert set(ids(first)) == {made[0].id, made[1].id}
        settle_all(adapter, *(Succeeded(job) for job in first))
        (second,) = adapter.claim(a_claim())
        assert second.id == made[2].id

    def test_one_that_is_tried_again_keeps_its_place(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        first, second = adapter.enqueue([ordered(), ordered()])
        (job,) = adapter.claim(a_claim())
        settle_all(adapter, Retried(job, error="broken", delay=TEN_SECONDS))
        assert claimed_ids(adapter) == []
        clock.advance(11)
        (again,) = adapter.claim(a_claim())
        assert again.id == first.id
        settle_all(adapter, Succeeded(again))
        assert claimed_ids(adapter) == [second.id]

    def test_one_that_failed_stops_those_behind_it(self, adapter: Adapter) -> None:
        _, second = adapter.enqueue([ordered(), ordered()])
        (job,) = adapter.claim(a_claim())
        settle_all(adapter, Failed(job, error="broken"))
        assert claimed_ids(adapter) == []
        adapter.retry(JobFilter(ids=(job.id,)))
        (again,) = adapter.claim(a_claim())
        assert again.id == job.id
        settle_all(adapter, Succeeded(again))
        assert claimed_ids(adapter) == [second.id]

    def test_one_that_was_deleted_stops_nobody(self, adapter: Adapter) -> None:
        _, second = adapter.enqueue([ordered(), ordered()])
        (job,) = adapter.claim(a_claim())
        settle_all(adapter, Failed(job, error="broken"))
        adapter.delete(JobFilter(ids=(job.id,)))
        assert claimed_ids(adapter) == [second.id]

    def test_one_that_failed_is_passed_over_if_they_may_go_on(self, adapter: Adapter) -> None:
        _, second = adapter.enqueue([ordered(on_failed=AfterFailure.GO_ON) for _ in range(2)])
        (job,) = adapter.claim(a_claim())
        settle_all(adapter, Failed(job, error="broken"))
        assert claimed_ids(adapter) == [second.id]

    # --- turns -----------------------------------------------------------------------------------

    def test_tenants_take_turns(self, adapter: Adapter) -> None:
        adapter.enqueue([in_turn("large") for _ in range(50)])
        small = adapter.enqueue([in_turn("small"), in_turn("tiny")])
        turn, seen = adapter.turn([], a_claim(limit=1)), list[int]()
        while turn.claimed and len(seen) < 6:
            seen += ids(turn.claimed)
            turn = adapter.turn([Succeeded(job) for job in turn.claimed], a_claim(limit=1))
        assert set(ids(small)) <= set(seen)

    def test_tenants_share_a_claim(self, adapter: Adapter) -> None:
        large = adapter.enqueue([in_turn("large") for _ in range(10)])
        small = adapter.enqueue([in_turn("small") for _ in range(2)])
        assert set(claimed_ids(adapter, 4)) == {*ids(large)[:2], *ids(small)}

    # --- expiry ----------------------------------------------------------------------------------

    def test_one_that_waited_for_too_long_is_claimed_as_expired(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        control = FlowControl("at any time", expires_in=TEN_SECONDS)
        made = enqueue_one(adapter, controlled(control))
        assert made.expires_at == clock.now() + TEN_SECONDS
        assert adapter.get(made.id) == made
        clock.advance(11)
        (job,) = adapter.claim(a_claim())
        assert job.is_expired
        assert job.attempts == 0
        settle_all(adapter, Discarded(job, reason="expired"))
        assert record(adapter, made.id).state is JobState.CANCELLED

    def test_one_in_time_is_claimed_as_others_are(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        enqueue_one(adapter, controlled(FlowControl("at any time", expires_in=TEN_SECONDS)))
        clock.advance(9)
        (job,) = adapter.claim(a_claim())
        assert not job.is_expired

    def test_an_expired_one_waits_at_no_gate(self, adapter: Adapter, clock: ManualClock) -> None:
        terms = Terms((Gate("calls", None, 1),))
        enqueue_one(adapter, limited(1))
        assert len(claimed_ids(adapter)) == 1
        late = controlled(FlowControl("calls", terms, expires_in=TEN_SECONDS))
        made = enqueue_one(adapter, late)
        clock.advance(11)
        (job,) = adapter.claim(a_claim())
        assert (job.id, job.is_expired) == (made.id, True)

    def test_retried_by_hand_it_has_time_again(self, adapter: Adapter, clock: ManualClock) -> None:
        control = FlowControl("at any time", expires_in=TEN_SECONDS)
        made = enqueue_one(adapter, controlled(control))
        clock.advance(11)
        (job,) = adapter.claim(a_claim())
        settle_all(adapter, Discarded(job, reason="expired"))
        assert adapter.retry(JobFilter(ids=(made.id,))) == 1
        (job,) = adapter.claim(a_claim())
        assert not job.is_expired

    # --- keys ------------------------------------------------------------------------------------

    def test_a_unique_key_until_the_end(self, adapter: Adapter) -> None:
        made = enqueue_one(adapter, unique())
        assert made.state is JobState.READY
        assert_duplicate(adapter, unique(), made)
        (job,) = adapter.claim(a_claim())
        assert_duplicate(adapter, unique(), made)
        settle_all(adapter, Retried(job, error="broken"))
        assert_duplicate(adapter, unique(), made)
        (job,) = adapter.claim(a_claim())
        settle_all(adapter, Succeeded(job))
        another = enqueue_one(adapter, unique())
        assert another.id != made.id
        assert not another.is_duplicate

    def test_other_keys_are_other_jobs(self, adapter: Adapter) -> None:
        made = adapter.enqueue([unique("a"), unique("b"), new_job()])
        assert len(set(ids(made))) == 3
        assert not any(job.is_duplicate for job in made)

    def test_duplicates_in_one_call(self, adapter: Adapter) -> None:
        made = adapter.enqueue([unique("a"), new_job(), unique("a"), unique("b"), unique("a")])
        assert [job.is_duplicate for job in made] == [False, False, True, False, True]
        assert made[0].id == made[2].id == made[4].id
        assert adapter.count_jobs(JobFilter()) == 3

    def test_a_key_until_the_start(self, adapter: Adapter) -> None:
        made = enqueue_one(adapter, waiting())
        assert_duplicate(adapter, waiting(), made)
        (job,) = adapter.claim(a_claim())
        another = enqueue_one(adapter, waiting())
        assert not another.is_duplicate
        settle_all(adapter, Retried(job, error="broken"))
        assert record(adapter, job.id).state is JobState.GATED
        assert {job.id, another.id} == set(claimed_ids(adapter))

    def test_one_of_many_callers_stores_it(self, adapter: Adapter) -> None:
        made: list[StoredJob] = []
        at_once(*(lambda: made.extend(adapter.enqueue([unique()])) for _ in range(6)))
        assert len(set(ids(made))) == 1
        assert sorted(job.is_duplicate for job in made) == [False] + [True] * 5

    def test_a_retry_leaves_out_what_is_on_its_way_again(self, adapter: Adapter) -> None:
        enqueue_one(adapter, unique())
        (job,) = adapter.claim(a_claim())
        settle_all(adapter, Failed(job, error="broken"))
        another = enqueue_one(adapter, unique())
        assert adapter.retry(JobFilter(ids=(job.id,))) == 0
        assert record(adapter, job.id).state is JobState.FAILED
        adapter.cancel(JobFilter(ids=(another.id,)), "not now")
        assert adapter.retry(JobFilter(ids=(job.id,))) == 1

    def test_of_several_that_failed_with_a_key_one_is_retried(self, adapter: Adapter) -> None:
        for _ in range(3):
            enqueue_one(adapter, unique())
            (job,) = adapter.claim(a_claim())
            settle_all(adapter, Failed(job, error="broken"))
        assert adapter.retry(JobFilter()) == 1
        assert record(adapter, job.id).state is JobState.READY

    def test_the_last_call_counts(self, adapter: Adapter, clock: ManualClock) -> None:
        made = enqueue_one(adapter, debounced('{"n": 1}'))
        clock.advance(3)
        again = enqueue_one(adapter, debounced('{"n": 2}'))
        assert (again.id, again.is_duplicate, again.args) == (made.id, True, {"n": 2})
        clock.advance(3)
        assert claimed_ids(adapter) == []
        clock.advance(3)
        (job,) = adapter.claim(a_claim())
        assert job.args == '{"n": 2}'
        assert not enqueue_one(adapter, debounced('{"n": 3}')).is_duplicate

    def test_calls_without_end_are_put_off_for_so_long(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        enqueue_one(adapter, debounced('{"n": 0}', max_wait=12))
        for number in range(1, 4):
            clock.advance(4)
            enqueue_one(adapter, debounced(f'{{"n": {number}}}', max_wait=12))
        clock.advance(0.01)
        (job,) = adapter.claim(a_claim())
        assert job.args == '{"n": 3}'

    def test_a_key_that_is_held_for_a_time(self, adapter: Adapter, clock: ManualClock) -> None:
        made = enqueue_one(adapter, held())
        (job,) = adapter.claim(a_claim())
        settle_all(adapter, Succeeded(job))
        again = enqueue_one(adapter, held())
        assert (again.id, again.is_duplicate) == (made.id, True)
        clock.advance(11)
        another = enqueue_one(adapter, held())
        assert not another.is_duplicate
        assert_duplicate(adapter, held(), another)

    # --- wake-ups --------------------------------------------------------------------------------

    def test_when_the_next_is_due(self, adapter: Adapter, clock: ManualClock) -> None:
        """One that is due already waits for something else."""
        enqueue_one(adapter, limited(0))
        assert adapter.due_in() is None
        enqueue_one(adapter, replace(limited(0), delay=TEN_SECONDS))
        assert adapter.due_in() == TEN_SECONDS
        clock.advance(4)
        assert adapter.due_in() == timedelta(seconds=6)
        clock.advance(7)
        assert adapter.due_in() is None

    def test_listeners_hear_of_them(self, adapter: Adapter) -> None:
        listener = adapter.listen()
        try:
            enqueue_one(adapter, limited(1))
            heard = listener.wait(10)
            assert heard is not None
            assert heard.may_be_gated
        finally:
            listener.close()

    # --- people ----------------------------------------------------------------------------------

    def test_one_that_waits_can_be_cancelled_changed_and_deleted(self, adapter: Adapter) -> None:
        made = adapter.enqueue([limited(0) for _ in range(4)])
        assert adapter.update_args(made[0].id, '{"n": 1}')
        assert record(adapter, made[0].id).args == {"n": 1}
        assert adapter.cancel(JobFilter(ids=(made[0].id,)), "unwanted") == 1
        asked = adapter.request_cancel(made[1].id, "unwanted")
        assert asked is not None
        assert asked.state is JobState.CANCELLED
        assert ids(adapter.delete_each(JobFilter(ids=(made[2].id,)))) == [made[2].id]
        assert adapter.retry(JobFilter(ids=(made[0].id, made[3].id))) == 2
        assert record(adapter, made[0].id).state is JobState.GATED
        assert adapter.count_by_state() == {JobState.GATED: 2, JobState.CANCELLED: 1}


def unique(key: str = "a") -> NewJob:
    """A job that is unique until it ends."""
    return controlled(FlowControl(unique_key=f"key {key}"))


def waiting(key: str = "a") -> NewJob:
    """A job that is unique until it starts."""
    return controlled(FlowControl("at any time", waiting_key=f"key {key}"))


def debounced(args: str, max_wait: float | None = None) -> NewJob:
    """A job that waits 5 s for other calls."""
    most = None if max_wait is None else timedelta(seconds=max_wait)
    wait = timedelta(seconds=5)
    control = FlowControl("at any time", waiting_key="key", debounced=Debounced(wait, most))
    return replace(new_job(args=args, delay=wait), flow_control=control)


def held() -> NewJob:
    """A job whose key is held for ten seconds."""
    return controlled(FlowControl(held_key="held", held_for=TEN_SECONDS))


def assert_duplicate(adapter: Adapter, job: NewJob, of: StoredJob) -> None:
    """Fail unless a job is not stored, since another one is there."""
    made: Sequence[StoredJob] = adapter.enqueue([job])
    assert [(each.id, each.is_duplicate) for each in made] == [(of.id, True)]
