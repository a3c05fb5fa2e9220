"""A worker of which a part cannot be started stops the others again, and claims nothing."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from jobqueue import Every, Job, JobQueue
from jobqueue.adapters import Adapter
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.maintenance.rescuer import Rescuer
from jobqueue.records import JobFilter, JobState, NewWorker
from jobqueue.runner.groups import WorkerGroup
from jobqueue.runner.heartbeats import EndedWorker, WorkerHeartbeats
from jobqueue.runner.relay import Relay
from jobqueue.runner.supervisor import Supervisor
from tests.process.conftest import WaitFor
from tests.sample_jobs import Note, calls
from tests.test_working import Background

THREADS = (
    "jobqueue-heartbeat",
    "jobqueue-rescuer",
    "jobqueue-monitor",
    "jobqueue-stats",
    "jobqueue-pruner",
    "jobqueue-listener",
    "jobqueue-listener-asks",
    "jobqueue-ticker",
    "jobqueue-pump",
)


@pytest.fixture
def recurring(forget_jobs: None) -> type[Job]:
    """One that ticks every hour; the registry forgets it afterwards."""

    class Tick(Job):
        schedule = Every(seconds=3600)

        def perform(self) -> None:
            calls.append("tick")

    return Tick


@pytest.fixture
def refused_threads(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of threads that cannot be started, as when the machine allows no more of them."""
    start, names = threading.Thread.start, set[str]()

    def start_unless(thread: threading.Thread) -> None:
        if thread.name in names:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_unless)
    return names


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("name", THREADS)
def test_a_thread_cannot_be_started(
    adapter: Adapter,
    name: str,
    concurrency: int,
    recurring: type[Job],
    refused_threads: set[str],
) -> None:
    before = set(threading.enumerate())
    refused_threads.add(name)
    calls.clear()
    job = JobQueue(adapter).enqueue(Note)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        JobQueue(adapter, concurrency=concurrency).worker().run()
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in left if name.startswith("jobqueue")}
    assert adapter.workers() == []
    (record,) = adapter.list_jobs(JobFilter(ids=(job.id,)), 1)
    assert (record.state, record.attempts) == (JobState.READY, 0)
    assert calls == []


@pytest.mark.parametrize("name", ["jobqueue-relay", "jobqueue-listener"])
def test_a_supervisor_whose_listener_cannot_be_started(
    refused_threads: set[str], name: str, wait_for: WaitFor, caplog: pytest.LogCaptureFixture
) -> None:
    """It spawns nothing meanwhile, says so, and tries again."""
    memory = MemoryAdapter()
    spawned: list[str] = []
    before = set(threading.enumerate())
    refused_threads.add(name)
    log, second = logging.getLogger("jobqueue"), timedelta(seconds=1)

    def spawn(*_: Any, **__: Any) -> Any:
        spawned.append("worker")
        raise OSError("there is no room for a process")

    supervisor = Supervisor(
        [WorkerGroup("worker", None, 1)],
        spawn,
        memory,
        lease=second,
        grace=second,
        logger=log,
        relay=lambda workers: Relay(memory, None, workers, second, log),
    )
    running = threading.Thread(target=supervisor.run)
    running.start()
    wait_for(lambda: "can't start new thread" in caplog.text, "it to say so")
    assert not spawned
    refused_threads.clear()
    wait_for(lambda: bool(spawned), "it to go on")
    supervisor.stop("the test is over")
    running.join()
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in left if name.startswith("jobqueue")}


# --- the heartbeat -------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [DatabaseUnavailable, DatabaseError])
def test_a_beat_that_failed_is_tried_again_soon(
    adapter: Adapter,
    error: type[DatabaseError],
    wait_for: WaitFor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A quarter of the lease would be a minute and a half."""
    beat, beaten = adapter.beat, []

    def beat_at_the_fourth(worker_ids: Any) -> Any:
        beaten.append(time.monotonic())
        if len(beaten) < 4:
            raise error("not now")
        return beat(worker_ids)

    monkeypatch.setattr(adapter, "beat", beat_at_the_fourth)
    with Background(JobQueue(adapter, lease=360).worker()):
        wait_for(lambda: len(beaten) == 4, "four beats")
    said = [r for r in caplog.records if r.__dict__.get("event") == "lease_troubled"]
    assert len(said) == (error is DatabaseError)


def test_an_ended_worker_that_cannot_be_cleared_holds_up_neither_beats_nor_others(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    """As when a row of an ended worker's job is locked by a console that somebody left open."""
    beaten: list[str] = []
    cleared: list[str] = []
    beat, rescue = adapter.beat, adapter.rescue_crashed
    refused, is_locked = 0, True

    def note_beat(worker_ids: Any) -> Any:
        beaten.extend(worker_ids)
        return beat(worker_ids)

    def refuse_one(worker_id: str, performing: Any, why: str | None = None) -> Any:
        nonlocal refused
        if is_locked and worker_id == "stuck":
            refused += 1
            raise DatabaseError("a row is locked")
        return rescue(worker_id, performing, why)

    monkeypatch.setattr(adapter, "beat", note_beat)
    monkeypatch.setattr(adapter, "rescue_crashed", refuse_one)
    living = NewWorker("living", "w", "host", 1, None, 1, timedelta(seconds=60))
    adapter.register_worker(living)
    heartbeats = WorkerHeartbeats(
        adapter,
        Rescuer(adapter, timedelta(seconds=60)),
        0.4,
        lambda: [living],
        logging.getLogger("test"),
        on_cleared=cleared.append,
    )
    heartbeats.start()
    try:
        heartbeats.clear(EndedWorker("stuck"))
        heartbeats.clear(EndedWorker("other"))
        wait_for(lambda: cleared == ["other"], "the other worker to be cleared")
        wait_for(lambda: refused >= 2 and len(beaten) >= 3, "beats that go on")
    finally:
        is_locked = False
        heartbeats.stop(timeout_seconds=10)
    assert cleared == ["other", "stuck"]


def test_workers_that_are_gone_are_forgotten(adapter: Adapter) -> None:
    rescuer = Rescuer(adapter, timedelta(seconds=60))
    for worker_id in ("a", "b"):
        adapter.register_worker(
            NewWorker(worker_id, "w", "elsewhere", 1, None, 1, timedelta(seconds=60))
        )
        rescuer.rescue()
        adapter.unregister_worker(worker_id)
    rescuer.rescue()
    assert not rescuer._seen


# --- what a signal interrupts --------------------------------------------------------------------


class Interrupted(logging.Handler):
    """A stream in the middle of a line refuses another."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("reentrant call inside <_io.BufferedWriter>")


def test_a_worker_stops_though_a_line_of_the_log_is_being_written() -> None:
    logger = logging.getLogger("jobqueue.interrupted")
    logger.addHandler(Interrupted())
    worker = JobQueue(MemoryAdapter(), logger=logger).worker()
    worker.stop()
    worker.run()
