"""Flows: jobs that are stored together, and of which some wait for others."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.errors import InvalidArguments, StateConflict
from jobqueue.records import (
    Discarded,
    Failed,
    FlowControl,
    FlowKind,
    JobFilter,
    JobState,
    NewFlow,
    NewStep,
    Retried,
    StepRecord,
    Succeeded,
    member_of,
)
from jobqueue.retention import NOTHING
from jobqueue.stored import StoredJob
from jobqueue.testing.contract.base import (
    ContractBase,
    a_claim,
    at_once,
    ids,
    new_job,
    new_worker,
    record,
    settle_all,
)

DAY = timedelta(days=1)
BATCH = NewFlow(
    FlowKind.BATCH, on_success=new_job("Report"), on_finish=new_job("Log"), is_open=True
)


def steps(*after: tuple[int, ...]) -> list[NewStep]:
    """Steps that wait for others, given by their places."""
    return [NewStep(new_job("Step"), places) for places in after]


def started(adapter: Adapter, *after: tuple[int, ...]) -> tuple[int, list[StoredJob]]:
    """A flow of such steps."""
    flow_id, jobs = adapter.start_flow(NewFlow(FlowKind.FLOW), steps(*after))
    return flow_id, list(jobs)


def started_batch(adapter: Adapter, number: int = 2) -> tuple[int, list[StoredJob]]:
    """A batch of so many jobs, closed."""
    flow_id, _ = adapter.start_flow(BATCH, [])
    jobs = adapter.enqueue([member_of(new_job("Step"), flow_id) for _ in range(number)])
    adapter.close_flow(flow_id)
    return flow_id, list(jobs)


def states(adapter: Adapter, jobs: list[StoredJob]) -> list[str]:
    """Their states now."""
    return [record(adapter, job.id).state.value for job in jobs]


def succeed(adapter: Adapter, number: int = 1) -> list[str]:
    """Perform the next jobs; return their classes."""
    claimed = adapter.claim(a_claim(limit=number))
    settle_all(adapter, *(Succeeded(job) for job in claimed))
    return [job.handler for job in claimed]


def fail(adapter: Adapter) -> None:
    """Have the next job fail for good."""
    [job] = adapter.claim(a_claim(limit=1))
    settle_all(adapter, Failed(job, error="no"))


class FlowsContract(ContractBase):
    """Tests `start_flow`, `close_flow`, `advance_flows`, `flow`, `flows`, `steps_before`,
    `cancel_flow`, `retry_flow` and `prune_flows`.
    """

    # --- steps -----------------------------------------------------------------------------------

    def test_a_step_starts_when_all_before_it_have_succeeded(self, adapter: Adapter) -> None:
        flow_id, jobs = started(adapter, (), (), (0, 1), (2,))
        assert [job.state.value for job in jobs] == ["gated", "gated", "blocked", "blocked"]
        assert [(job.flow_id, job.flow_place) for job in jobs] == [(flow_id, n) for n in range(4)]
        assert jobs == [record(adapter, job.id) for job in jobs]
        succeed(adapter)
        assert states(adapter, jobs) == ["succeeded", "gated", "blocked", "blocked"]
        succeed(adapter)
        assert states(adapter, jobs) == ["succeeded", "succeeded", "gated", "blocked"]
        succeed(adapter)
        succeed(adapter)
        flow = adapter.flow(flow_id)
        assert flow is not None
        assert flow.jobs == {JobState.SUCCEEDED: 4}
        assert flow.succeeded_at is not None

    def test_it_is_due_when_it_can_start(self, adapter: Adapter, clock: ManualClock) -> None:
        _, (_, job) = started(adapter, (), (0,))
        clock.advance(100)
        succeed(adapter)
        assert record(adapter, job.id).run_at == clock.now()

    def test_its_time_to_expire_begins_then(self, adapter: Adapter, clock: ManualClock) -> None:
        expiring = replace(new_job("Step"), flow_control=FlowControl("x", expires_in=DAY))
        flow = NewFlow(FlowKind.CHAIN)
        _, jobs = adapter.start_flow(flow, [NewStep(new_job("Step")), NewStep(expiring, (0,))])
        clock.advance(3 * DAY.total_seconds())
        succeed(adapter)
        assert record(adapter, jobs[1].id).expires_at == clock.now() + DAY

    def test_a_retry_is_waited_for(self, adapter: Adapter) -> None:
        _, jobs = started(adapter, (), (0,))
        [job] = adapter.claim(a_claim())
        settle_all(adapter, Retried(job, error="later"))
        assert states(adapter, jobs) == ["gated", "blocked"]

    @pytest.mark.parametrize("end", [Failed, Discarded])
    @pytest.mark.parametrize("keep", [True, False])
    def test_what_waits_for_others_is_cancelled_with_them(
        self, adapter: Adapter, end: type[Failed], keep: bool
    ) -> None:
        flow_id, jobs = started(adapter, (), (0,), (1,), ())
        [job, *_] = adapter.claim(a_claim(limit=1))
        settle_all(adapter, end(job, keep=keep))
        assert states(adapter, jobs)[1:] == ["cancelled", "cancelled", "gated"]
        reasons = [record(adapter, job.id).last_error or "" for job in jobs[1:3]]
        assert [str(jobs[0].id) in reasons[0], str(jobs[1].id) in reasons[1]] == [True, True]
        flow = adapter.flow(flow_id)
        assert flow is not None
        assert flow.finished_at is None

    def test_a_step_that_runs_anyway(self, adapter: Adapter) -> None:
        after_all = NewStep(new_job("Step"), (0, 1), runs_anyway=True)
        _, jobs = adapter.start_flow(NewFlow(FlowKind.FLOW), [*steps((), ()), after_all])
        fail(adapter)
        assert states(adapter, list(jobs))[2] == "blocked"
        succeed(adapter)
        assert states(adapter, list(jobs))[2] == "gated"

    def test_a_retry_revives_what_was_cancelled_with_it(self, adapter: Adapter) -> None:
        flow_id, jobs = started(adapter, (), (0,), (1,))
        fail(adapter)
        assert adapter.retry(JobFilter(ids=(jobs[0].id,))) == 1
        succeed(adapter)
        assert states(adapter, jobs) == ["succeeded", "gated", "cancelled"]
        assert record(adapter, jobs[1].id).last_error is None
        succeed(adapter)
        succeed(adapter)
        assert states(adapter, jobs) == ["succeeded"] * 3
        flow = adapter.flow(flow_id)
        assert flow is not None
        assert flow.succeeded_at is not None

    def test_what_somebody_cancelled_is_not_revived(self, adapter: Adapter) -> None:
        _, jobs = started(adapter, (), (0,))
        assert adapter.cancel(JobFilter(ids=(jobs[1].id,)), "not today") == 1
        succeed(adapter)
        assert states(adapter, jobs) == ["succeeded", "cancelled"]

    # --- what nobody has settled -----------------------------------------------------------------

    def test_a_job_that_is_cancelled_deleted_or_lost(self, adapter: Adapter) -> None:
        flows = [started(adapter, (), (0,))[1] for _ in range(3)]
        adapter.cancel(JobFilter(ids=(flows[0][0].id,)), "no")
        adapter.delete(JobFilter(ids=(flows[1][0].id,)))
        adapter.register_worker(new_worker("lost"))
        [job] = adapter.claim(a_claim("lost", limit=1))
        adapter.retry(JobFilter(ids=(job.id,)))
        assert states(adapter, [jobs[1] for jobs in flows]) == ["blocked"] * 3
        assert adapter.advance_flows() == 2
        assert states(adapter, [jobs[1] for jobs in flows]) == ["cancelled"] * 2 + ["blocked"]
        assert adapter.advance_flows() == 0

    def test_flows_are_looked_at_in_turn(self, adapter: Adapter) -> None:
        flows = [started(adapter, (), (0,))[1] for _ in range(5)]
        adapter.cancel(JobFilter(ids=tuple(jobs[0].id for jobs in flows)), "no")
        for _ in range(4):
            adapter.advance_flows(2)
        assert states(adapter, [jobs[1] for jobs in flows]) == ["cancelled"] * 5

    # --- batches ---------------------------------------------------------------------------------

    def test_what_follows_a_batch(self, adapter: Adapter) -> None:
        flow_id, _ = started_batch(adapter)
        assert succeed(adapter, 9) == ["Step", "Step"]
        assert sorted(succeed(adapter, 9)) == ["Log", "Report"]
        assert succeed(adapter, 9) == []
        flow = adapter.flow(flow_id)
        assert flow is not None
        assert flow.finished_at == flow.succeeded_at is not None

    def test_it_does_not_end_before_it_is_closed(self, adapter: Adapter) -> None:
        flow_id, _ = adapter.start_flow(BATCH, [])
        adapter.enqueue([member_of(new_job("Step"), flow_id)])
        assert succeed(adapter, 9) == ["Step"]
        assert succeed(adapter, 9) == []
        adapter.close_flow(flow_id)
        assert sorted(succeed(adapter, 9)) == ["Log", "Report"]

    @pytest.mark.parametrize("is_open", [True, False])
    def test_an_empty_one_ends(self, adapter: Adapter, is_open: bool) -> None:
        new = NewFlow(FlowKind.MAP, on_success=new_job("Report"), is_open=is_open)
        flow_id, _ = adapter.start_flow(new, [])
        adapter.close_flow(flow_id)
        assert succeed(adapter, 9) == ["Report"]

    def test_what_follows_its_success_waits_for_a_retry(self, adapter: Adapter) -> None:
        flow_id, _ = started_batch(adapter)
        fail(adapter)
        assert succeed(adapter, 9) == ["Step"]
        assert succeed(adapter, 9) == ["Log"]
        assert adapter.retry_flow(flow_id) == 1
        assert succeed(adapter, 9) == ["Step"]
        assert succeed(adapter, 9) == ["Report"]
        assert succeed(adapter, 9) == []

    def test_it_follows_once_whoever_is_last(self, adapter: Adapter) -> None:
        for _ in range(5):
            started_batch(adapter, 4)
            workers = [adapter.claim(a_claim(f"w{n}", limit=1)) for n in range(4)]
            at_once(*(lambda job=job: settle_all(adapter, Succeeded(job)) for (job,) in workers))
            adapter.advance_flows()
            assert sorted(succeed(adapter, 9)) == ["Log", "Report"]

    def test_nothing_is_added_to_one_that_has_ended(self, adapter: Adapter) -> None:
        flow_id, _ = started_batch(adapter, 0)
        with pytest.raises(StateConflict, match=f"flow {flow_id} has ended"):
            adapter.enqueue([new_job("Other"), member_of(new_job("Step"), flow_id)])
        assert adapter.count_jobs(JobFilter(handlers=("Other",))) == 0

    # --- reading and keeping ---------------------------------------------------------------------

    def test_the_results_of_those_before(self, adapter: Adapter) -> None:
        flow_id, jobs = started(adapter, (), (), (1, 0))
        for result in ('{"n": 1}', None):
            [job] = adapter.claim(a_claim(limit=1))
            settle_all(adapter, Succeeded(job, result=result))
        assert adapter.steps_before(jobs[2].id) == [
            StepRecord(jobs[0].id, "Step", JobState.SUCCEEDED, {"n": 1}),
            StepRecord(jobs[1].id, "Step", JobState.SUCCEEDED, None),
        ]
        assert adapter.steps_before(jobs[0].id) == []
        assert adapter.steps_before(2**40) == []
        assert adapter.flow(flow_id) == adapter.flows(1)[0]

    def test_what_follows_a_flow_reads_all_of_it(self, adapter: Adapter) -> None:
        started_batch(adapter, 3)
        for n in range(3):
            [job] = adapter.claim(a_claim(limit=1))
            settle_all(adapter, Succeeded(job, result=str(n)))
        found = adapter.list_jobs(JobFilter(handlers=("Report",)), 1)
        assert [step.result for step in adapter.steps_before(found[0].id)] == [0, 1, 2]

    def test_flows_are_listed(self, adapter: Adapter) -> None:
        first, _ = started(adapter, ())
        second, _ = started_batch(adapter, 0)
        assert [flow.id for flow in adapter.flows(9)] == [second, first]
        assert [flow.id for flow in adapter.flows(9, going_on=True)] == [first]
        assert [flow.id for flow in adapter.flows(9, before_id=second)] == [first]
        assert adapter.flow(2**40) is None

    def test_its_rows_stay_until_it_is_forgotten(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        flow_id, jobs = started(adapter, (), (0,))
        succeed(adapter)
        assert adapter.prune(JobState.SUCCEEDED, ["Step"], NOTHING, 9) == 0
        succeed(adapter)
        clock.advance(60)
        assert adapter.prune_flows(DAY, 9) == 0
        assert adapter.prune(JobState.SUCCEEDED, ["Step"], NOTHING, 9) == 0
        assert states(adapter, jobs) == ["succeeded"] * 2
        clock.advance(DAY.total_seconds())
        assert adapter.prune_flows(DAY, 9) == 1
        assert adapter.flow(flow_id) is None
        assert adapter.prune(JobState.SUCCEEDED, ["Step"], NOTHING, 9) == 2

    def test_one_is_not_forgotten_before_what_follows_has_ended(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        started_batch(adapter, 0)
        clock.advance(2 * DAY.total_seconds())
        assert adapter.prune_flows(DAY, 9) == 0
        succeed(adapter, 9)
        assert adapter.prune_flows(DAY, 9) == 1

    # --- changing --------------------------------------------------------------------------------

    def test_a_flow_is_cancelled(self, adapter: Adapter) -> None:
        flow_id, jobs = started_batch(adapter, 3)
        [running] = adapter.claim(a_claim(limit=1))
        assert adapter.cancel_flow(flow_id, "no more") == 3
        assert states(adapter, jobs) == ["running", "cancelled", "cancelled"]
        assert record(adapter, running.id).cancel_requested_at is not None
        settle_all(adapter, Retried(running, error="it was interrupted"))
        assert succeed(adapter, 9) == ["Log"]
        flow = adapter.flow(flow_id)
        assert flow is not None
        assert flow.cancelled_at is not None
        assert adapter.cancel_flow(2**40, "no") == 0

    def test_a_flow_is_retried_in_its_order(self, adapter: Adapter) -> None:
        flow_id, jobs = started(adapter, (), (0,), (1,))
        succeed(adapter)
        adapter.cancel_flow(flow_id, "no")
        assert adapter.retry_flow(flow_id) == 2
        assert states(adapter, jobs) == ["succeeded", "gated", "blocked"]
        assert succeed(adapter, 9) == ["Step"]
        assert states(adapter, jobs) == ["succeeded", "succeeded", "gated"]
        assert adapter.retry_flow(flow_id) == 0

    def test_what_waits_for_a_job_that_is_gone_is_not_revived(self, adapter: Adapter) -> None:
        flow_id, jobs = started(adapter, (), (0,), (1,))
        fail(adapter)
        adapter.delete(JobFilter(ids=(jobs[0].id,)))
        adapter.retry_flow(flow_id)
        assert states(adapter, jobs[1:]) == ["cancelled", "cancelled"]

    def test_a_job_that_is_there_already_is_no_step(self, adapter: Adapter) -> None:
        unique = replace(new_job("Step"), flow_control=FlowControl(unique_key="x"))
        [there] = adapter.enqueue([unique])
        with pytest.raises(InvalidArguments, match=f"job {there.id}"):
            adapter.start_flow(NewFlow(FlowKind.FLOW), [NewStep(unique)])
        assert adapter.flows(9) == []
        assert ids(adapter.list_jobs(JobFilter(), 9)) == [there.id]
