"""Limits: what classes declare, what somebody sets, and who waits at which gate."""

from __future__ import annotations

from datetime import timedelta

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    AfterFailure,
    DeclaredLimit,
    Failed,
    Gate,
    GateUse,
    JobFilter,
    JobRecord,
    LimitRecord,
    NewLimit,
    Succeeded,
)
from jobqueue.testing.contract.base import ContractBase, a_claim, settle_all
from jobqueue.testing.contract.path.gates import at_gates, claimed_ids, limited, ordered

MINUTE = timedelta(minutes=1)
CALLS = DeclaredLimit("calls", 2)


class LimitsContract(ContractBase):
    """Tests `declare_limits`, `limits`, `set_limit`, `gated_lines` and `uses_of_gates`."""

    def test_what_is_declared_last_holds(self, adapter: Adapter, clock: ManualClock) -> None:
        adapter.declare_limits([CALLS, DeclaredLimit("bank", 90, MINUTE)])
        first = clock.now()
        clock.advance(1)
        adapter.declare_limits([DeclaredLimit("calls", 3)])
        adapter.declare_limits([])
        assert adapter.limits() == [
            LimitRecord("bank", 90, MINUTE, first),
            LimitRecord("calls", 3, None, clock.now()),
        ]

    def test_the_declared_number_holds_for_jobs_of_any_release(self, adapter: Adapter) -> None:
        adapter.declare_limits([CALLS])
        adapter.enqueue([limited(50) for _ in range(5)])
        assert len(claimed_ids(adapter)) == 2

    def test_what_is_set_holds_until_it_is_taken_back(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        adapter.declare_limits([CALLS])
        adapter.enqueue([limited(2) for _ in range(9)])
        assert adapter.set_limit(NewLimit("calls", 5, "ann", "the bank allows more today"))
        [limit] = adapter.limits()
        assert (limit.number, limit.declared, limit.set_by) == (5, 2, "ann")
        assert (limit.set_at, limit.reason) == (clock.now(), "the bank allows more today")
        adapter.declare_limits([CALLS])
        claimed = adapter.claim(a_claim())
        assert len(claimed) == 5
        assert adapter.set_limit(NewLimit("calls", None, "ann"))
        [limit] = adapter.limits()
        assert limit == LimitRecord("calls", 2, None, clock.now())
        settle_all(adapter, *(Succeeded(job) for job in claimed[:4]))
        assert len(claimed_ids(adapter)) == 1

    def test_a_limit_of_zero_stops_it(self, adapter: Adapter) -> None:
        adapter.declare_limits([CALLS])
        adapter.enqueue([limited(2) for _ in range(3)])
        adapter.set_limit(NewLimit("calls", 0, "ann"))
        assert claimed_ids(adapter) == []

    def test_one_that_nobody_declares_cannot_be_set(self, adapter: Adapter) -> None:
        assert not adapter.set_limit(NewLimit("unknown", 5, "ann"))
        assert adapter.limits() == []

    def test_the_lines_that_wait(self, adapter: Adapter, clock: ManualClock) -> None:
        assert adapter.gated_lines(10) == []
        adapter.enqueue([limited(1, "a"), limited(1, "b"), limited(1, "b", queue="other")])
        clock.advance(5)
        adapter.enqueue([limited(1, "a")])
        lines = adapter.gated_lines(10)
        assert [(line.queue, line.line, line.waiting) for line in lines] == [
            ("default", "calls=a", 2),
            ("default", "calls=b", 1),
            ("other", "calls=b", 1),
        ]
        assert lines[0].first_run_at == clock.now() - timedelta(seconds=5)
        assert lines[0].terms.gates[0].name == "calls=a"
        assert [line.queue for line in adapter.gated_lines(10, "other")] == ["other"]
        assert len(adapter.gated_lines(2)) == 2
        adapter.pause_queues(["other"])
        assert len(adapter.gated_lines(10)) == 3

    def test_who_holds_slots(self, adapter: Adapter) -> None:
        adapter.enqueue([limited(2, "a") for _ in range(3)])
        first, _ = adapter.claim(a_claim())
        a, b = Gate("calls", "a", 2), Gate("calls", "b", 2)
        assert adapter.uses_of_gates([b, a]) == [GateUse(b, 0), GateUse(a, 2)]
        settle_all(adapter, Succeeded(first))
        assert adapter.uses_of_gates([a]) == [GateUse(a, 1)]
        assert adapter.uses_of_gates([]) == []

    def test_how_much_of_a_rate_is_used(self, adapter: Adapter, clock: ManualClock) -> None:
        rate = Gate("bank", None, 3, MINUTE)
        adapter.enqueue([at_gates(rate) for _ in range(5)])
        assert adapter.uses_of_gates([rate]) == [GateUse(rate, 0)]
        adapter.claim(a_claim(limit=2))
        assert adapter.uses_of_gates([rate]) == [GateUse(rate, 2)]
        settle_all(adapter, *map(Succeeded, adapter.claim(a_claim())))
        [used] = adapter.uses_of_gates([rate])
        assert used.held == 3
        assert used.free_in is not None
        assert MINUTE <= used.free_in <= MINUTE * 1.05
        clock.advance(used.free_in.total_seconds())
        assert adapter.uses_of_gates([rate]) == [GateUse(rate, 0)]

    def test_the_number_that_is_set_is_shown_at_gates(self, adapter: Adapter) -> None:
        adapter.declare_limits([CALLS])
        adapter.set_limit(NewLimit("calls", 9, "ann"))
        assert adapter.uses_of_gates([Gate("calls", "a", 2)]) == [GateUse(Gate("calls", "a", 9), 0)]

    def test_the_job_before_in_an_order(self, adapter: Adapter) -> None:
        first, other, second, third = adapter.enqueue(
            [ordered("a"), ordered("b"), ordered("a"), ordered("a")]
        )
        assert adapter.before_in_order(first) is None
        assert adapter.before_in_order(other) is None
        assert before(adapter, third) == first.id
        claimed, _ = adapter.claim(a_claim())
        assert before(adapter, second) == first.id
        settle_all(adapter, Failed(claimed, error="no"))
        assert before(adapter, third) == first.id
        adapter.delete(JobFilter(ids=(first.id,)))
        assert adapter.before_in_order(second) is None
        assert before(adapter, third) == second.id

    def test_a_failed_job_is_before_nobody_in_an_order_that_goes_on(self, adapter: Adapter) -> None:
        made = adapter.enqueue([ordered("a", AfterFailure.GO_ON) for _ in range(2)])
        [claimed] = adapter.claim(a_claim())
        settle_all(adapter, Failed(claimed, error="no"))
        assert adapter.before_in_order(made[1]) is None


def before(adapter: Adapter, job: JobRecord) -> int | None:
    """The id of the job that another waits for."""
    found = adapter.before_in_order(job)
    return None if found is None else found.id
