"""Flows under any calls in any order: each database does what memory does, and the rules hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobqueue.adapters import Adapter
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.clock import ManualClock
from jobqueue.errors import StateConflict
from jobqueue.records import (
    Discarded,
    Failed,
    FlowKind,
    JobFilter,
    JobState,
    NewFlow,
    NewJob,
    NewStep,
    Outcome,
    Retried,
    Succeeded,
    member_of,
)
from jobqueue.testing.contract.base import a_claim
from tests.conftest import build_adapter

JOB = NewJob("Work", "{}", "default", 50, 3)
ENDS: dict[str, Callable[[Any], Outcome]] = {
    "succeed": Succeeded,
    "fail": lambda job: Failed(job, error="no"),
    "retry": lambda job: Retried(job, error="later"),
    "discard": lambda job: Discarded(job, reason="unwanted"),
}
NUMBER = st.integers(0, 11)
CALLS = st.one_of(
    st.tuples(
        st.just("start"),
        st.lists(st.tuples(st.sets(st.integers(0, 4), max_size=3), st.booleans()), max_size=5),
        st.booleans(),
    ),
    st.tuples(st.just("open")),
    st.tuples(st.just("add"), NUMBER),
    st.tuples(st.just("close"), NUMBER),
    st.tuples(st.just("perform"), st.sampled_from(sorted(ENDS))),
    st.tuples(st.just("perform"), st.just("succeed")),
    st.tuples(st.just("retry one"), NUMBER),
    st.tuples(st.just("cancel one"), NUMBER),
    st.tuples(st.just("delete one"), NUMBER),
    st.tuples(st.just("cancel flow"), NUMBER),
    st.tuples(st.just("retry flow"), NUMBER),
    st.tuples(st.just("advance")),
)


@dataclass
class Flows:
    """Flows in one adapter, and what was called there."""

    adapter: Adapter
    clock: ManualClock
    flow_ids: list[int] = field(default_factory=list)
    job_ids: list[int] = field(default_factory=list)

    def call(self, name: str, *given: Any) -> Any:
        self.clock.advance(1)
        return getattr(self, "_" + name.replace(" ", "_"))(*given)

    def _start(self, steps: list[tuple[set[int], bool]], has_followers: bool) -> None:
        follower = JOB if has_followers else None
        new_steps = [
            NewStep(JOB, tuple(sorted(n for n in after if n < place)), runs_anyway)
            for place, (after, runs_anyway) in enumerate(steps)
        ]
        self._note(
            *self.adapter.start_flow(NewFlow(FlowKind.FLOW, None, follower, follower), new_steps)
        )

    def _open(self) -> None:
        new = NewFlow(FlowKind.BATCH, on_success=JOB, on_finish=JOB, is_open=True)
        self._note(*self.adapter.start_flow(new, []))

    def _note(self, flow_id: int, jobs: Any) -> None:
        self.flow_ids.append(flow_id)
        self.job_ids += [job.id for job in jobs]

    def _add(self, number: int) -> bool:
        if not self.flow_ids:
            return False
        with suppress(StateConflict):
            self.job_ids += [
                j.id for j in self.adapter.enqueue([member_of(JOB, self._flow(number))])
            ]
            return True
        return False

    def _close(self, number: int) -> None:
        if self.flow_ids:
            self.adapter.close_flow(self._flow(number))

    def _perform(self, end: str) -> list[int]:
        claimed = self.adapter.claim(a_claim(limit=1))
        self.adapter.settle([ENDS[end](job) for job in claimed])
        return [job.id for job in claimed]

    def _retry_one(self, number: int) -> int:
        return self.adapter.retry(self._job(number))

    def _cancel_one(self, number: int) -> int:
        return self.adapter.cancel(self._job(number), "no")

    def _delete_one(self, number: int) -> int:
        return self.adapter.delete(self._job(number))

    def _cancel_flow(self, number: int) -> int:
        return self.adapter.cancel_flow(self._flow(number), "no") if self.flow_ids else 0

    def _retry_flow(self, number: int) -> int:
        return self.adapter.retry_flow(self._flow(number)) if self.flow_ids else 0

    def _advance(self) -> None:
        self.adapter.advance_flows()

    def _flow(self, number: int) -> int:
        return self.flow_ids[number % len(self.flow_ids)]

    def _job(self, number: int) -> JobFilter:
        known = self.job_ids or [1]
        return JobFilter(ids=(known[number % len(known)],))

    def seen(self) -> list[Any]:
        """All that can be seen of jobs and flows."""
        self.adapter.advance_flows()
        jobs = sorted(self.adapter.list_jobs(JobFilter(), 1000), key=lambda job: job.id)
        flows = [self.adapter.flow(flow_id) for flow_id in self.flow_ids]
        return [
            *((j.id, j.state, j.attempts, j.run_at, j.last_error, j.flow_place) for j in jobs),
            *(
                (f.id, f.closed_at, f.finished_at, f.succeeded_at, f.cancelled_at, f.jobs)
                for f in flows
                if f
            ),
        ]


@pytest.fixture(params=["sqlite", "postgresql"])
def sql(request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[SqlAdapter]:
    made = build_adapter(request, request.param, clock)
    assert isinstance(made, SqlAdapter)
    yield made
    made.close()


def emptied(adapter: SqlAdapter) -> None:
    tables = ("jobs", "flows", "edges", "attempts")
    with adapter.database.engine.begin() as connection:
        for table in tables:
            connection.exec_driver_sql(f"DELETE FROM background_{table}")
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("DELETE FROM sqlite_sequence")
        else:
            for table in tables[:2]:
                connection.exec_driver_sql(f"ALTER TABLE background_{table} ALTER id RESTART")


@settings(
    deadline=None,
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(calls=st.lists(CALLS, min_size=3, max_size=25))
def test_each_database_does_what_memory_does(
    sql: SqlAdapter, clock: ManualClock, calls: list[tuple[Any, ...]]
) -> None:
    emptied(sql)
    own = ManualClock(clock.now())
    memory, database = Flows(MemoryAdapter(clock=own), own), Flows(sql, clock)
    for call in calls:
        assert database.call(*call) == memory.call(*call), call
        assert database.seen() == memory.seen(), call
        assert not broken_rules(memory.adapter)
    for _ in range(100):  # performed to the end, all of them end
        if not memory.call("perform", "succeed"):
            break
        database.call("perform", "succeed")
    assert database.seen() == memory.seen()
    states = {job.state for job in memory.adapter.list_jobs(JobFilter(), 1000)}
    has_open = any(not f.closed_at for f in memory.adapter.flows(100))
    assert has_open or JobState.BLOCKED not in states


def broken_rules(adapter: Adapter) -> list[str]:
    """Steps that are blocked though all before them have succeeded."""
    broken = []
    for job in adapter.list_jobs(JobFilter(states=(JobState.BLOCKED,)), 1000):
        before = adapter.steps_before(job.id)
        is_step = (job.flow_place or 0) >= 0
        if is_step and before and all(step.state is JobState.SUCCEEDED for step in before):
            broken.append(f"job {job.id} waits for nothing")
    return broken
