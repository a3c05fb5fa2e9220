"""What is wrong, in sentences: each trouble by itself, and that it is gone when it is mended."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.clock import ManualClock
from jobqueue.errors import DatabaseUnavailable
from jobqueue.fingerprints import group_of
from jobqueue.records import (
    Ailment,
    ErrorState,
    Health,
    Histogram,
    NewErrors,
    NewJob,
    NewSchedule,
    Pause,
    SchemaStatus,
    Stat,
    Succeeded,
)
from jobqueue.testing.contract.base import a_claim, new_worker
from jobqueue.views.overview import overview_of
from jobqueue.views.timelines import timeline_of
from jobqueue.views.troubles import Trouble, TroubleKind

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2030, 1, 1, 12, tzinfo=UTC))


@pytest.fixture
def adapter(clock: ManualClock) -> MemoryAdapter:
    return MemoryAdapter(clock=clock)


def work(adapter: MemoryAdapter, number: int = 1, queue: str = "email") -> None:
    adapter.enqueue([NewJob("Work", "{}", queue, 50, 5)] * number)


def a_worker(adapter: MemoryAdapter, *queues: str, lease: timedelta = 1000 * MINUTE) -> None:
    adapter.register_worker(replace(new_worker(), queues=queues or None, lease=lease))


def wrong(adapter: MemoryAdapter) -> list[Trouble]:
    return list(overview_of(adapter, 10_000).troubles)


def the_trouble(adapter: MemoryAdapter, kind: TroubleKind) -> Trouble:
    [trouble] = wrong(adapter)
    assert trouble.kind is kind
    return trouble


def test_nothing_is_wrong(adapter: MemoryAdapter) -> None:
    a_worker(adapter)
    work(adapter)
    assert wrong(adapter) == []


def test_no_worker_is_alive(adapter: MemoryAdapter, clock: ManualClock) -> None:
    work(adapter, 3)
    clock.advance(2 * MINUTE)
    trouble = the_trouble(adapter, TroubleKind.NO_WORKER)
    assert trouble.what == "No worker is alive, and 3 jobs are due."
    assert trouble.since == clock.now() - 2 * MINUTE
    assert trouble.command == "jobqueue work"
    a_worker(adapter)
    assert wrong(adapter) == []


def test_a_queue_without_a_worker(adapter: MemoryAdapter) -> None:
    a_worker(adapter, "default")
    work(adapter)
    trouble = the_trouble(adapter, TroubleKind.UNATTENDED_QUEUE)
    assert trouble.what == "No living worker takes from the queue email, where 1 job is due."
    assert trouble.target == "email"
    assert trouble.command == "jobqueue work -n email:1"


def test_a_lost_worker(adapter: MemoryAdapter, clock: ManualClock) -> None:
    a_worker(adapter, lease=30 * SECOND)
    clock.advance(5 * MINUTE)
    trouble = the_trouble(adapter, TroubleKind.LOST_WORKER)
    assert "is lost: it has been silent for 5 min." in trouble.what
    assert trouble.target == new_worker().id


def test_a_paused_queue_with_jobs(adapter: MemoryAdapter) -> None:
    a_worker(adapter)
    adapter.pause_queues(["email"], Pause(None, "ann", "the server is away"))
    assert wrong(adapter) == []
    work(adapter, 2)
    trouble = the_trouble(adapter, TroubleKind.PAUSED_QUEUE)
    assert trouble.what == ("The queue email is paused by ann: the server is away. 2 jobs are due.")
    adapter.resume_queues(["email"])
    assert wrong(adapter) == []


def test_a_job_that_runs_much_longer_than_its_class(
    adapter: MemoryAdapter, clock: ManualClock
) -> None:
    a_worker(adapter)
    work(adapter)
    adapter.claim(a_claim(new_worker().id))
    clock.advance(40 * MINUTE)
    assert wrong(adapter) == []  # nobody knows how long others take
    ran = Histogram.of([SECOND] * 20)
    adapter.add_stats("w", [Stat("Work", "email", 20, longest=SECOND, ran=ran)])
    trouble = the_trouble(adapter, TroubleKind.STUCK_JOB)
    assert trouble.what.startswith("Work #1 has run for 40 min; 95 % of its class take at most")
    assert (trouble.target, trouble.worker_id) == ("1", new_worker().id)


def test_a_schedule_that_did_not_run(adapter: MemoryAdapter, clock: ManualClock) -> None:
    rule = {"every_seconds": 60.0}
    a_worker(adapter)
    adapter.declare_schedules("a", [NewSchedule("r", "R", "{}", rule, False, "default", 50, 5)])
    clock.advance(2 * MINUTE)
    adapter.renew_schedules("a", ["r"])
    assert wrong(adapter) == []
    clock.advance(10 * MINUTE)
    adapter.renew_schedules("a", ["r"])
    trouble = the_trouble(adapter, TroubleKind.MISSED_SCHEDULE)
    assert trouble.what == "The schedule r did not run: it was due 11 min ago."
    assert (trouble.target, trouble.app) == ("r", "a")
    adapter.pause_schedule("a", "r")
    assert wrong(adapter) == []


def test_a_class_that_fails_since_a_release(adapter: MemoryAdapter, clock: ManualClock) -> None:
    group = group_of("Work", "ValueError", "a.py:f", "no")
    adapter.add_errors([NewErrors(group, 12, "no", 1)], "2.0")
    trouble = the_trouble(adapter, TroubleKind.NEW_ERROR)
    assert trouble.what == "Work fails with ValueError (new with release 2.0): 12 times in 24 h."
    assert trouble.target == group.key
    adapter.set_error_state(group.key, ErrorState.RESOLVED, "ann")
    assert wrong(adapter) == []
    clock.advance(MINUTE)
    adapter.add_errors([NewErrors(group, 1, "no", 1)], "2.1")
    again = the_trouble(adapter, TroubleKind.NEW_ERROR)
    assert "(again, after it was resolved)" in again.what
    adapter.set_error_state(group.key, ErrorState.MUTED, "ann")
    assert wrong(adapter) == []


def test_a_database_that_is_ill(
    adapter: MemoryAdapter, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = clock.now() - MINUTE
    snapshot = Ailment("old_snapshot", "session 7 holds it", "end it", since)
    unseen = Ailment("unseen_sessions", "some cannot be seen", "grant it")
    monkeypatch.setattr(adapter, "health", lambda: Health({}, [snapshot, unseen]))
    trouble = the_trouble(adapter, TroubleKind.DATABASE)
    assert trouble.what == "The database is ill: session 7 holds it."
    assert (trouble.command, trouble.since) == ("end it", since)


def test_the_rest_is_said_when_the_database_cannot_be_examined(
    adapter: MemoryAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unanswered() -> SchemaStatus:
        raise DatabaseUnavailable("it takes too long")

    monkeypatch.setattr(adapter, "schema_status", unanswered)
    work(adapter)
    assert the_trouble(adapter, TroubleKind.NO_WORKER).what.startswith("No worker is alive")


def test_a_late_queue(adapter: MemoryAdapter, clock: ManualClock) -> None:
    a_worker(adapter)
    work(adapter)
    clock.advance(6 * MINUTE)
    trouble = the_trouble(adapter, TroubleKind.LATE_QUEUE)
    assert trouble.what == "The queue email is late: its oldest due job has waited for 6 min."


def test_the_queue_with_the_oldest_due_job_comes_first(
    adapter: MemoryAdapter, clock: ManualClock
) -> None:
    for queue in ("b", "c", "a"):
        work(adapter, 1, queue)
        clock.advance(SECOND)
    overview = overview_of(adapter, 10_000)
    assert [line.depth.queue for line in overview.queues] == ["b", "c", "a"]


def test_a_timeline_has_what_runs_and_what_ended(
    adapter: MemoryAdapter, clock: ManualClock
) -> None:
    a_worker(adapter)
    work(adapter)
    [claimed] = adapter.claim(a_claim(new_worker().id))
    clock.advance(MINUTE)
    record = adapter.get(claimed.id)
    assert record is not None
    [step] = timeline_of(record, adapter.attempts(record.id), clock.now()).steps
    assert (step.outcome, step.took, step.ended_at) == ("running", MINUTE, None)
    adapter.settle([Succeeded(claimed, SECOND, keep=True, result=json.dumps(1))])
    record = adapter.get(claimed.id)
    assert record is not None
    timeline = timeline_of(record, adapter.attempts(record.id), clock.now())
    [step] = timeline.steps
    assert (step.outcome, step.took, timeline.missing) == ("succeeded", SECOND, 0)
    lost = timeline_of(replace(record, attempts=5), (), clock.now())
    assert lost.missing == 4
