"""When a worker is lost or resting, seen from its own machine and from another."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.clock import ManualClock
from jobqueue.testing.contract.base import LEASE, a_claim, new_job, new_worker
from jobqueue.views.workers import WorkerView, all_workers, living_among

SECOND = timedelta(seconds=1)

WaitFor = Callable[[Callable[[], bool], str], None]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2030, 1, 1, tzinfo=UTC))


@pytest.fixture
def adapter(clock: ManualClock) -> MemoryAdapter:
    return MemoryAdapter(clock=clock)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process of this machine."""
    started = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield started
    started.kill()
    started.wait()
    started.communicate()


def here(pid: int) -> MemoryAdapter:
    """An adapter where a process of this machine is registered."""
    adapter = MemoryAdapter()
    adapter.register_worker(replace(new_worker(), host=socket.gethostname(), pid=pid))
    return adapter


def seen(adapter: MemoryAdapter) -> WorkerView:
    [worker] = all_workers(adapter)
    is_living = bool(living_among(adapter, adapter.workers(), adapter.now()))
    assert is_living is not worker.lost
    return worker


def test_a_worker_of_another_machine(adapter: MemoryAdapter, clock: ManualClock) -> None:
    adapter.register_worker(new_worker())
    [job] = adapter.enqueue([new_job()])
    adapter.claim(a_claim())
    clock.advance(LEASE)
    worker = seen(adapter)
    assert (worker.up, worker.silent, worker.memory_bytes) == (LEASE, LEASE, None)
    assert (worker.lost, worker.resting) == (False, False)
    assert [one.id for one in worker.jobs] == [job.id]
    clock.advance(SECOND)
    assert seen(adapter).lost


def test_a_clock_that_was_set_back(adapter: MemoryAdapter, clock: ManualClock) -> None:
    adapter.register_worker(new_worker())
    clock.advance(-SECOND)
    assert (seen(adapter).up, seen(adapter).silent) == (timedelta(0), timedelta(0))


def test_a_process_that_ends_and_is_not_waited_for(
    process: subprocess.Popen[bytes], wait_for: WaitFor
) -> None:
    adapter = here(process.pid)
    assert (seen(adapter).lost, seen(adapter).resting) == (False, False)
    assert seen(adapter).memory_bytes
    process.kill()
    wait_for(lambda: seen(adapter).lost, "the zombie to count as lost")
    assert seen(adapter).memory_bytes is None
    process.wait()
    assert seen(adapter).lost


def test_a_process_that_is_stopped(process: subprocess.Popen[bytes], wait_for: WaitFor) -> None:
    adapter = here(process.pid)
    os.kill(process.pid, signal.SIGSTOP)
    wait_for(lambda: seen(adapter).resting, "the process to rest")
    assert not seen(adapter).lost


def test_a_process_that_may_not_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS refuses this for processes of others; the heartbeat decides then."""

    def refuse(_: object) -> str:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "memory_info", refuse)
    worker = seen(here(os.getpid()))
    assert (worker.lost, worker.resting, worker.memory_bytes) == (False, False, None)
