"""Jobs with limits, orders, turns and keys, enqueued and performed as users do it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

import pytest

import jobqueue
from jobqueue import (
    Debounce,
    Fair,
    Job,
    JobQueue,
    JobState,
    Limit,
    Ordered,
    Rate,
    Unique,
)
from jobqueue.adapters import Adapter
from jobqueue.clock import ManualClock
from jobqueue.views.lateness import why_job_is_late
from jobqueue.views.reasons import ReasonKind

calls: list[Any] = []


class Seen:
    """How many jobs run at once, by their own account."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: dict[object, int] = {}
        self.most: dict[object, int] = {}

    def enter(self, key: object) -> None:
        with self._lock:
            self._now[key] = self._now.get(key, 0) + 1
            self.most[key] = max(self.most.get(key, 0), self._now[key])

    def leave(self, key: object) -> None:
        with self._lock:
            self._now[key] -= 1


seen = Seen()


class Charge(Job):
    limits = (Limit(2, name="charges"), Limit(1, key="account"))

    def perform(self, account: str, number: int = 0) -> None:
        seen.enter("all")
        seen.enter(account)
        threading.Event().wait(0.05)  # so long that two meet
        seen.leave(account)
        seen.leave("all")
        calls.append((account, number))


class Call(Job):
    limits = (Rate(3, per=10),)

    def perform(self) -> None:
        calls.append("call")


class Sync(Job):
    ordered = Ordered(key="doc")
    max_attempts = 1

    def perform(self, doc: str, number: int, fails: bool = False) -> None:
        if fails:
            raise ValueError("no")
        calls.append((doc, number))


class SyncOn(Sync):
    ordered = Ordered(key="doc", on_failed="go_on")


class Mail(Job):
    fair = Fair(key="tenant")

    def perform(self, tenant: str) -> None:
        calls.append(tenant)


class Invoice(Job):
    unique = Unique(by="number")

    def perform(self, number: int, text: str = "") -> None:
        calls.append((number, text))


class Refresh(Job):
    unique = Unique(until="start")

    def perform(self) -> None:
        if not calls:
            calls.extend(Refresh.perform_later().is_duplicate for _ in range(2))


class Digest(Job):
    unique = Unique(within=timedelta(hours=1))

    def perform(self) -> None:
        calls.append("digest")


class Index(Job):
    debounce = Debounce(5, max_wait=12, key="doc")

    def perform(self, doc: str, version: int) -> None:
        calls.append((doc, version))


class Urgent(Job):
    expires_in = timedelta(minutes=1)

    def perform(self) -> None:
        calls.append("urgent")


class Free(Job):
    def perform(self) -> None:
        calls.append("free")


class Sorted(Job):
    limits: ClassVar = (Limit(1),)

    def perform(self, number: int) -> None:
        calls.append(number)


@pytest.fixture(autouse=True)
def nothing_seen() -> Iterator[None]:
    calls.clear()
    seen.most.clear()
    yield
    calls.clear()


@pytest.fixture
def queue(clocked_adapter: Adapter) -> JobQueue:
    return JobQueue(clocked_adapter)


def test_limits_hold_for_jobs_of_several_threads(clocked_adapter: Adapter) -> None:
    for number in range(12):
        Charge.perform_later("abc"[number % 3], number)
    JobQueue(clocked_adapter, concurrency=6).work_off()
    assert len(calls) == 12
    assert seen.most == {"all": 2, "a": 1, "b": 1, "c": 1}
    assert clocked_adapter.count_by_state() == {}


def test_a_worker_declares_the_limits_of_its_classes(queue: JobQueue) -> None:
    queue.work_off()
    declared = {limit.name: (limit.number, limit.per) for limit in queue.adapter.limits()}
    assert declared["charges"] == (2, None)
    assert declared[f"{Charge.name}/account"] == (1, None)
    assert declared[f"{Call.name}/rate"] == (3, timedelta(seconds=10))


def test_a_rate_leaves_the_others_for_later(queue: JobQueue, clock: ManualClock) -> None:
    for _ in range(7):
        Call.perform_later()
    Free.perform_later()
    assert queue.work_off().succeeded == 4
    assert sorted(calls) == ["call", "call", "call", "free"]
    clock.advance(11)
    assert queue.work_off().succeeded == 3
    clock.advance(11)
    assert queue.work_off().succeeded == 1


def test_in_the_order_of_their_enqueueing(queue: JobQueue) -> None:
    for number in range(4):
        Sync.set(priority=9 - number).perform_later("x", number)
        Sync.perform_later("y", number)
    queue.work_off()
    for doc in "xy":
        assert [number for each, number in calls if each == doc] == [0, 1, 2, 3]


def test_one_that_failed_stops_its_order_until_it_is_retried(queue: JobQueue) -> None:
    failing = Sync.perform_later("x", 0, fails=True)
    Sync.perform_later("x", 1)
    Sync.perform_later("y", 2)
    queue.work_off()
    assert calls == [("y", 2)]
    jobqueue.get(failing.id).retry(args={"fails": False})
    queue.work_off()
    assert calls == [("y", 2), ("x", 0), ("x", 1)]


def test_one_that_failed_is_passed_over(queue: JobQueue) -> None:
    SyncOn.perform_later("x", 0, fails=True)
    SyncOn.perform_later("x", 1)
    tally = queue.work_off()
    assert (tally.failed, calls) == (1, [("x", 1)])


def test_tenants_take_turns(queue: JobQueue) -> None:
    for tenant in "aaaaaaaab":
        Mail.perform_later(tenant)
    queue.work_off()
    assert len(calls) == 9
    assert calls.index("b") < 4


def test_a_second_call_means_the_same_job(queue: JobQueue) -> None:
    first, again = Invoice.perform_later(1, "one"), Invoice.perform_later(1, "other")
    assert (first.is_duplicate, again.is_duplicate) == (False, True)
    assert again.id == first.id
    assert not Invoice.perform_later(2).is_duplicate
    queue.work_off()
    assert sorted(calls) == [(1, "one"), (2, "")]
    assert not Invoice.perform_later(1).is_duplicate


def test_it_is_unique_until_it_starts(queue: JobQueue) -> None:
    Refresh.perform_later()
    assert Refresh.perform_later().is_duplicate
    JobQueue(queue.adapter).work_off()
    assert calls == [False, True]


def test_it_is_unique_for_an_hour(queue: JobQueue, clock: ManualClock) -> None:
    Digest.perform_later()
    queue.work_off()
    assert Digest.perform_later().is_duplicate
    clock.advance(3601)
    assert not Digest.perform_later().is_duplicate


def test_the_last_call_counts(queue: JobQueue, clock: ManualClock) -> None:
    Index.perform_later("x", 1)
    clock.advance(4)
    Index.perform_later("x", 2)
    clock.advance(4)
    assert queue.work_off().performed == 0
    Index.perform_later("x", 3)
    clock.advance(4.5)  # the longest wait is over
    queue.work_off()
    assert calls == [("x", 3)]


def test_an_expired_job_is_cancelled(queue: JobQueue, clock: ManualClock) -> None:
    late = Urgent.perform_later()
    clock.advance(61)
    assert queue.work_off().discarded == 1
    record = jobqueue.get(late.id)
    assert (record.state, calls) == (JobState.CANCELLED, [])
    assert "expires_in" in (record.last_error or "")
    record.retry()
    queue.work_off()
    assert calls == ["urgent"]


def test_a_limit_that_is_set_counts_at_once(queue: JobQueue) -> None:
    queue.work_off()
    for number in range(3):
        Sorted.perform_later(number)
    queue.adapter.set_limit(jobqueue.records.NewLimit(Sorted.name, 0, "ann"))
    assert queue.work_off().performed == 0
    queue.adapter.set_limit(jobqueue.records.NewLimit(Sorted.name, None, "ann"))
    queue.work_off()
    assert calls == [0, 1, 2]


def test_why_a_job_waits(queue: JobQueue, clock: ManualClock) -> None:
    adapter = queue.adapter
    calls_made = [Call.perform_later() for _ in range(4)]
    queue.work_off()
    failing, behind = Sync.perform_later("x", 0, fails=True), Sync.perform_later("x", 1)
    waiting = why_job_is_late(adapter, jobqueue.get(behind.id))
    assert f"Job {failing.id} is before it in its order, and waits too." in waiting.verdict
    queue.work_off()
    stopped = why_job_is_late(adapter, jobqueue.get(behind.id))
    assert "has failed, and stops all behind it" in stopped.verdict
    assert stopped.holding[0].command == f"jobqueue retry {failing.id}"
    rated = why_job_is_late(adapter, jobqueue.get(calls_made[3].id))
    assert "lets 3 start in 10 s: 3 have started, and the next may start in" in rated.verdict
    clock.advance(11)
    free = why_job_is_late(adapter, jobqueue.get(calls_made[3].id))
    assert ReasonKind.LIMIT not in {reason.kind for reason in free.holding}
