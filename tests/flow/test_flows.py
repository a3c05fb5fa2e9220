"""Batches, chains, flows and maps, started and performed as users do it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from jobqueue import (
    Batch,
    Chain,
    Flow,
    InvalidArguments,
    Job,
    JobQueue,
    JobState,
    StateConflict,
    Unique,
)
from jobqueue.adapters import Adapter
from jobqueue.records import JobFilter

calls: list[Any] = []


class Make(Job):
    max_attempts = 1
    broken: ClassVar[set[str]] = set()

    def perform(self, name: str) -> str:
        calls.append(name)
        if name in self.broken:
            raise ValueError(name)
        return name.upper()


class Gather(Job):
    def perform(self, name: str = "gather") -> list[str]:
        calls.append((name, self.results))
        return self.results_of(Make)


class Grow(Job):
    def perform(self, more: int) -> None:
        calls.append(more)
        if more:
            Grow.set(batch=self.batch).perform_later(more - 1)


class Lone(Job):
    unique = Unique()

    def perform(self) -> None:
        calls.append("lone")


@pytest.fixture(autouse=True)
def nothing_called() -> Iterator[None]:
    calls.clear()
    Make.broken = set()
    yield
    calls.clear()


@pytest.fixture
def queue(adapter: Adapter) -> JobQueue:
    return JobQueue(adapter)


def states_of(adapter: Adapter, flow_id: int) -> list[str]:
    found = adapter.list_jobs(JobFilter(flows=(flow_id,)), 100)
    return [job.state.value for job in sorted(found, key=lambda each: each.id)]


# --- batches -------------------------------------------------------------------------------------


def test_what_follows_a_batch_starts_when_all_have_succeeded(queue: JobQueue) -> None:
    with Batch(on_success=Gather.step("all"), on_finish=Make.step("end")) as batch:
        Make.set(batch=batch).perform_all_later([("a",), ("b",), ("c",)])
        assert queue.work_off().performed == 3
    assert calls == ["a", "b", "c"]
    queue.work_off()
    assert sorted(calls[3:], key=str) == [("all", ["A", "B", "C"]), "end"]
    flow = queue.adapter.flow(batch.id)
    assert flow is not None
    assert flow.jobs == {JobState.SUCCEEDED: 3}
    assert flow.succeeded_at == flow.finished_at is not None


def test_a_batch_with_a_failure_ends_and_succeeds_after_a_retry(queue: JobQueue) -> None:
    Make.broken = {"b"}
    with Batch(on_success=Gather.step("all"), on_finish=Make.step("end")) as batch:
        Make.set(batch=batch).perform_all_later([("a",), ("b",)])
    queue.work_off()
    assert calls == ["a", "b", "end"]
    assert states_of(queue.adapter, batch.id) == ["cancelled", "succeeded", "succeeded", "failed"]
    Make.broken = set()
    assert queue.adapter.retry_flow(batch.id) == 1
    queue.work_off()
    assert calls[3:] == ["b", ("all", ["A", "B"])]
    queue.work_off()
    assert len(calls) == 5


def test_an_empty_batch_ends(queue: JobQueue) -> None:
    with Batch(on_success=Gather.step("all"), on_finish=Make.step("end")) as batch:
        pass
    queue.work_off()
    assert sorted(calls, key=str) == [("all", []), "end"]
    assert batch.id


def test_jobs_of_a_batch_add_others(queue: JobQueue) -> None:
    with Batch(on_success=Make.step("end")) as batch:
        Grow.set(batch=batch).perform_later(3)
    queue.work_off()
    assert calls == [3, 2, 1, 0, "end"]


def test_nothing_is_added_after_the_block(queue: JobQueue) -> None:
    with Batch() as batch:
        pass
    with pytest.raises(InvalidArguments, match="nothing can be added after its block"):
        Grow.set(batch=batch).perform_later(3)
    with pytest.raises(InvalidArguments, match="within its block"):
        Grow.set(batch=Batch()).perform_later(3)
    assert queue.adapter.count_jobs(JobFilter()) == 0


def test_a_block_that_raises_has_no_jobs(queue: JobQueue) -> None:
    batch = Batch(on_success=Make.step("end"))

    def fill() -> None:
        with batch:
            Grow.set(batch=batch).perform_later(3)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fill()
    queue.work_off()
    assert calls == []
    assert states_of(queue.adapter, batch.id) == ["cancelled", "cancelled"]


# --- chains, flows, maps -------------------------------------------------------------------------


def test_a_chain_is_performed_in_its_order(queue: JobQueue) -> None:
    chain = Chain(Make.step("a"), Make.step("b"), Gather.step()).start()
    assert [job.state for job in chain.jobs] == ["gated", "blocked", "blocked"]
    queue.work_off()
    assert calls == ["a", "b", ("gather", ["B"])]


def test_a_chain_stops_at_a_failure_and_goes_on_after_a_retry(queue: JobQueue) -> None:
    Make.broken = {"b"}
    chain = Chain(*map(Make.step, "abcd")).start()
    queue.work_off()
    assert calls == ["a", "b"]
    assert states_of(queue.adapter, chain.id) == ["succeeded", "failed", "cancelled", "cancelled"]
    reason = chain.jobs[2].refresh().last_error
    assert reason == f"it waits for job {chain.jobs[1].id}, which has not succeeded"
    Make.broken = set()
    chain.jobs[1].refresh().retry()
    queue.work_off()
    assert calls[2:] == ["b", "c", "d"]


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_what_waits_for_a_job_that_is_cancelled_or_deleted(queue: JobQueue, end: str) -> None:
    chain = Chain(*map(Make.step, "abc")).start()
    getattr(chain.jobs[0], end)()
    queue.work_off()
    assert calls == []
    assert states_of(queue.adapter, chain.id)[-2:] == ["cancelled", "cancelled"]


def test_a_diamond(queue: JobQueue) -> None:
    flow = Flow("diamond")
    first = flow.add(Make.step("first"))
    sides = [flow.add(Make.step(name), after=[first]) for name in ("left", "right")]
    flow.add(Gather.step("last"), after=sides)
    started = flow.start()
    queue.work_off()
    assert calls == ["first", "left", "right", ("last", ["LEFT", "RIGHT"])]
    record = queue.adapter.flow(started.id)
    assert record is not None
    assert (record.name, record.kind) == ("diamond", "flow")
    assert record.succeeded_at is not None


def test_one_that_runs_however_others_end(queue: JobQueue) -> None:
    Make.broken = {"a"}
    flow = Flow()
    steps = [flow.add(Make.step(name)) for name in "ab"]
    flow.add(Gather.step("tidy"), after=steps, on_failed="run")
    flow.start()
    queue.work_off()
    assert calls == ["a", "b", ("tidy", [None, "B"])]


def test_a_map(queue: JobQueue) -> None:
    Make.map([(str(n),) for n in range(5)], then=Gather.step("sum"))
    queue.work_off()
    assert calls == ["0", "1", "2", "3", "4", ("sum", ["0", "1", "2", "3", "4"])]


def test_a_flow_is_cancelled_and_retried_as_a_whole(queue: JobQueue) -> None:
    chain = Chain(*map(Make.step, "abc")).start()
    assert queue.adapter.cancel_flow(chain.id, "no") == 3
    queue.work_off()
    assert calls == []
    assert queue.adapter.retry_flow(chain.id) == 3
    assert states_of(queue.adapter, chain.id) == ["gated", "blocked", "blocked"]
    queue.work_off()
    assert calls == ["a", "b", "c"]


def test_a_job_that_is_on_its_way_is_no_step(queue: JobQueue) -> None:
    there = Lone.perform_later()
    with pytest.raises(InvalidArguments, match=f"on its way already, as job {there.id}"):
        Chain(Lone.step(), Make.step("a")).start()
    assert queue.adapter.count_jobs(JobFilter()) == 1
    assert queue.adapter.flows(10) == []


def test_a_job_of_no_flow_has_no_batch_and_no_results(queue: JobQueue) -> None:
    Grow.perform_later(1)
    Gather.perform_later()
    tally = queue.work_off()
    assert calls == [1, ("gather", [])]
    assert (tally.succeeded, tally.performed) == (1, 2)
    error = queue.adapter.list_jobs(JobFilter(states=(JobState.READY,)), 1)[0].last_error or ""
    assert StateConflict.__name__ in error
