"""Flow control as newcomers meet it: in sessions, in bulk, on a schedule, by hand."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

import jobqueue
from jobqueue import (
    Debounce,
    Every,
    Job,
    JobQueue,
    JobState,
    Limit,
    Ordered,
    StateConflict,
    Unique,
)
from jobqueue.adapters import Adapter, connect
from jobqueue.clock import ManualClock
from jobqueue.job import registry
from jobqueue.maintenance.ticker import Ticks, schedules_in
from jobqueue.records import JobFilter
from jobqueue.views.lateness import why_job_is_late

performed: list[Any] = []


class Nightly(Job):
    limits = (Limit(1, name="nightly"),)

    def perform(self, of: str) -> None:
        performed.append(of)


class Hourly(Job):
    unique = Unique()

    def perform(self) -> None:
        performed.append("hourly")


class Held(Job):
    unique = Unique(by="number", within=60)

    def perform(self, number: int) -> None:
        performed.append(number)


class Bill(Job):
    unique = Unique(by="number")
    max_attempts = 1

    def perform(self, number: int, fails: bool = False) -> None:
        if fails:
            raise ValueError("no")
        performed.append(number)


class Index(Job):
    debounce = Debounce(5, max_wait=60)
    expires_in = 3

    def perform(self, version: int) -> None:
        performed.append(version)


class Flaky(Job):
    expires_in = 5
    max_attempts = 9

    def perform(self) -> None:
        raise ValueError("the phone is off")


class Plain(Job):
    name = "a plain newcomer"

    def perform(self, number: int) -> None:
        performed.append(number)


class Step(Job):
    ordered = Ordered()

    def perform(self, number: int) -> None:
        performed.append(number)


@pytest.fixture(autouse=True)
def nothing_performed() -> Iterator[None]:
    performed.clear()
    yield
    performed.clear()


@pytest.fixture
def queue(clocked_adapter: Adapter) -> JobQueue:
    return JobQueue(clocked_adapter)


def ticks_of(adapter: Adapter, *classes: type[Job]) -> Ticks:
    """Recurring jobs of these classes, and of no others that the tests define."""
    ticks = Ticks(adapter, "jobs", logging.getLogger("newcomers"), monotonic=lambda: 0.0)
    names = {job_class.name for job_class in classes}
    ticks.take([each for each in schedules_in(registry, adapter) if each.handler in names])
    return ticks


# --- schedules -----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def schedules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedules for these tests alone: the workers of others would enqueue their jobs, too."""
    nightly = Every(minutes=1, args={"of": "sales"}, catch_up="all")
    monkeypatch.setattr(Nightly, "schedule", nightly)
    monkeypatch.setattr(Hourly, "schedule", Every(minutes=1, catch_up="all"))


def test_a_recurring_job_has_the_limits_of_its_class(
    clocked_adapter: Adapter, clock: ManualClock
) -> None:
    ticks = ticks_of(clocked_adapter, Nightly)
    ticks.look()
    clock.advance(180)
    ticks.look()
    jobs = clocked_adapter.list_jobs(JobFilter(), 10)
    assert len(jobs) == 3
    assert {(job.state, job.line) for job in jobs} == {(JobState.GATED, "nightly")}


def test_a_tick_while_its_job_is_there_enqueues_no_other(
    clocked_adapter: Adapter, clock: ManualClock
) -> None:
    ticks = ticks_of(clocked_adapter, Hourly)
    ticks.look()
    for _ in range(3):
        clock.advance(60)
        ticks.look()
    (job,) = clocked_adapter.list_jobs(JobFilter(), 10)
    (schedule,) = clocked_adapter.schedules()
    assert [tick.job_id for tick in schedule.last_jobs] == [job.id]
    JobQueue(clocked_adapter).work_off()
    clock.advance(60)
    ticks.look()
    assert clocked_adapter.count_by_state() == {JobState.READY: 1}


# --- in bulk, and in sessions --------------------------------------------------------------------


def test_calls_in_bulk_of_a_key_that_is_held(queue: JobQueue, clock: ManualClock) -> None:
    records = Held.perform_all_later([(1,), (1,), (2,), (1,)])
    assert [record.is_duplicate for record in records] == [False, True, False, True]
    assert records[1].id == records[3].id == records[0].id
    assert {record.state for record in records} == {JobState.READY}
    assert Held.perform_later(2).id == records[2].id
    queue.work_off()
    assert sorted(performed) == [1, 2]
    clock.advance(61)
    assert not Held.perform_later(1).is_duplicate


def test_a_transaction_that_is_rolled_back_leaves_no_key(database_url: str) -> None:
    adapter = connect(database_url)
    Job.config(adapter=adapter)
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with Session(engine) as session:
            made = [c.set(session=session).perform_later(7) for c in (Bill, Held, Bill, Held)]
            assert [record.is_duplicate for record in made] == [False, False, True, True]
            session.rollback()
        assert adapter.count_by_state() == {}
        assert not Bill.perform_later(7).is_duplicate
        assert not Held.perform_later(7).is_duplicate
        with Session(engine) as session:
            assert Bill.set(session=session).perform_later(7).is_duplicate
            session.commit()
        assert adapter.count_by_state() == {JobState.READY: 2}
    finally:
        engine.dispose()
        adapter.close()


IN_TRANSACTION = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND state LIKE 'idle in transaction%'"
)


def test_no_transaction_is_open_while_jobs_are_made(postgres_url: str) -> None:
    """Many take longer than the server lets a transaction do nothing."""
    adapter = connect(postgres_url)
    Job.config(adapter=adapter)
    seen: list[object] = []

    def key(number: int) -> int:
        with psycopg.connect(postgres_url) as connection:
            seen.append(connection.execute(IN_TRANSACTION).fetchone())
        return number

    try:
        Plain.set(limits=(Limit(1, key=key),)).perform_all_later([(1,), (2,), (3,)])
        assert seen == [(0,)] * len(seen)
        assert len(seen) >= 3
    finally:
        adapter.close()


# --- by hand -------------------------------------------------------------------------------------


def test_a_retry_says_that_another_is_on_its_way(queue: JobQueue) -> None:
    failed = Bill.perform_later(1, fails=True)
    queue.work_off()
    other = Bill.perform_later(1)
    assert not other.is_duplicate
    for args in (None, {"fails": False}):
        with pytest.raises(StateConflict, match="another one with the same key is on its way"):
            jobqueue.get(failed.id).retry(args=args)
        assert jobqueue.get(failed.id).args == {"number": 1, "fails": True}
    queue.work_off()
    jobqueue.get(failed.id).retry(args={"fails": False})
    queue.work_off()
    assert performed == [1, 1]


def test_a_debounced_job_has_its_whole_time_after_each_call(
    queue: JobQueue, clock: ManualClock
) -> None:
    for version in range(4):
        made = Index.perform_later(version)
        clock.advance(4)
    assert made.expires_at == made.run_at + timedelta(seconds=3)
    assert jobqueue.get(made.id).expires_at == made.expires_at
    clock.advance(2)
    assert queue.work_off().succeeded == 1
    assert performed == [3]


def test_a_retry_after_its_time_says_that_it_is_over(queue: JobQueue, clock: ManualClock) -> None:
    made = Flaky.perform_later()
    queue.work_off()
    clock.advance(60)
    assert queue.work_off().discarded == 1
    record = jobqueue.get(made.id)
    assert record.state is JobState.CANCELLED
    assert "the time in which it may start is over" in (record.last_error or "")
    assert "not started" not in (record.last_error or "")


def test_a_limit_that_only_a_call_has(queue: JobQueue) -> None:
    waiting = Plain.set(limits=(Limit(0, name="nobody"),)).perform_later(1)
    assert Plain.set(limits=(Limit(0, name="nobody"),)).set(limits=()).perform_later(2).line is None
    queue.work_off()
    assert performed == [2]
    late = why_job_is_late(queue.adapter, jobqueue.get(waiting.id))
    (reason,) = [each for each in late.holding if each.kind == "limit"]
    assert reason.command is None
    assert "No class declares it" in reason.mending


def test_a_number_that_a_call_gives_is_not_that_of_the_class(queue: JobQueue) -> None:
    """The limit is one, and so is its number."""
    queue.work_off()
    for number in range(3):
        Plain.set(limits=(Limit(3, name="nightly"),)).perform_later(number)
    (line,) = queue.adapter.gated_lines(10)
    (use,) = queue.adapter.uses_of_gates(line.terms.gates)
    assert use.gate.number == 1


def test_cancelled_and_deleted_ones_hold_up_no_order(queue: JobQueue) -> None:
    made = Step.perform_all_later([(number,) for number in range(4)])
    jobqueue.get(made[0].id).cancel()
    jobqueue.get(made[1].id).delete()
    later = Step.set(wait=60).perform_later(9)
    Step.perform_later(10)
    queue.work_off()
    assert performed == [2, 3]
    jobqueue.get(later.id).retry()
    queue.work_off()
    assert performed == [2, 3, 9, 10]
