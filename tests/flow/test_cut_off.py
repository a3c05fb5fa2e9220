"""A worker that is cut off ends what runs under a limit, before its lease ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import ClassVar, NoReturn

import pytest

from jobqueue import Job, JobQueue, JobState, Limit
from jobqueue.adapters import Adapter
from jobqueue.errors import DatabaseUnavailable

WaitFor = Callable[[Callable[[], bool], str], None]
LEASE = timedelta(seconds=4)


class Holding(Job):
    """A job that runs until it is told to end, or is interrupted."""

    leave: ClassVar[threading.Event]
    begun: ClassVar[dict[str, float]] = {}
    ended: ClassVar[dict[str, float]] = {}

    def perform(self) -> None:
        name = type(self).__name__
        self.begun[name] = time.monotonic()
        try:
            while not self.leave.is_set():
                time.sleep(0.01)
        finally:
            self.ended.setdefault(name, time.monotonic())


class Limited(Holding):
    limits = (Limit(1),)


class Unlimited(Holding):
    pass


@pytest.fixture(autouse=True)
def leave() -> Iterator[threading.Event]:
    Holding.leave = threading.Event()
    Holding.begun.clear()
    Holding.ended.clear()
    yield Holding.leave
    Holding.leave.set()


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("hangs", [False, True], ids=["refused", "silent"])
def test_what_runs_under_a_limit_is_given_back(
    adapter: Adapter,
    monkeypatch: pytest.MonkeyPatch,
    wait_for: WaitFor,
    leave: threading.Event,
    concurrency: int,
    hangs: bool,
) -> None:
    asked = threading.Event()

    def cut_off(_: str) -> NoReturn:
        asked.set()
        if hangs:
            leave.wait(60)
        raise DatabaseUnavailable("it is cut off")

    monkeypatch.setattr(adapter, "cancel_requests", cut_off)
    Limited.perform_later()
    queue = JobQueue(adapter, lease=LEASE, concurrency=concurrency)
    with queue.running(concurrency=concurrency):
        assert asked.wait(30)
        wait_for(lambda: "Limited" in Holding.ended, "the limited job to be interrupted")
        took = Holding.ended["Limited"] - Holding.begun["Limited"]
        assert took < LEASE.total_seconds()
        leave.set()


def test_what_runs_under_no_limit_goes_on(
    adapter: Adapter,
    monkeypatch: pytest.MonkeyPatch,
    wait_for: WaitFor,
    leave: threading.Event,
) -> None:
    def cut_off(_: str) -> NoReturn:
        raise DatabaseUnavailable("it is cut off")

    monkeypatch.setattr(adapter, "cancel_requests", cut_off)
    Limited.perform_later()
    job = Unlimited.perform_later()
    with JobQueue(adapter, lease=LEASE).running(concurrency=2):
        wait_for(lambda: "Unlimited" in Holding.begun, "the other job to begin")
        wait_for(lambda: "Limited" in Holding.ended, "the limited job to be interrupted")
        assert "Unlimited" not in Holding.ended
        assert job.refresh().state is JobState.RUNNING
        leave.set()
