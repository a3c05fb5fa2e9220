"""Workers inside an application's own process: `JobQueue.running` and `JobQueue.lifespan`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

import jobqueue
from jobqueue import Job, JobQueue, JobState, MemoryAdapter
from jobqueue.adapters import Adapter, connect
from jobqueue.defaults import default_configuration
from jobqueue.errors import ConfigurationError, DatabaseError, SchemaError
from jobqueue.records import JobFilter
from tests.conftest import Project
from tests.sample_jobs import Note, calls

WaitFor = Callable[[Callable[[], bool], str], None]
LONG_ENOUGH = 60
QUICKLY = 0.2


class Meet(Job):
    """Succeeds when two are there at the same time."""

    barrier: ClassVar[threading.Barrier]

    def perform(self) -> None:
        self.barrier.wait(LONG_ENOUGH)
        calls.append(threading.current_thread())


class Hold(Job):
    """Runs until the test lets go, in a call that cannot be interrupted."""

    entered: ClassVar[threading.Event]
    let_go: ClassVar[threading.Event]

    def perform(self) -> None:
        self.entered.set()
        self.let_go.wait(LONG_ENOUGH)
        calls.append("held")


class HoldAsync(Job):
    entered: ClassVar[threading.Event]

    async def perform(self) -> None:
        self.entered.set()
        await asyncio.sleep(LONG_ENOUGH)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    calls.clear()
    Meet.barrier = threading.Barrier(2)
    Hold.entered, Hold.let_go = threading.Event(), threading.Event()
    HoldAsync.entered = threading.Event()
    yield
    Hold.let_go.set()


@pytest.fixture
def queue(adapter: Adapter) -> JobQueue:
    return JobQueue(adapter, poll_interval=0.02)


def end_what_was_left_behind() -> None:
    """Let go of it and wait for its threads, before the database is closed."""
    Hold.let_go.set()
    for thread in threading.enumerate():
        if thread.name.startswith("jobqueue"):
            thread.join(LONG_ENOUGH)


async def until(condition: Callable[[], bool]) -> None:
    """Wait in a coroutine until something is so."""
    async with asyncio.timeout(LONG_ENOUGH):
        while not condition():  # noqa: ASYNC110 - what it waits for happens on other threads
            await asyncio.sleep(0.01)


def test_jobs_are_performed_beside_the_application(queue: JobQueue, wait_for: WaitFor) -> None:
    with queue.running(concurrency=2) as running:
        assert running is queue
        queue.enqueue(Meet)
        Meet.perform_later()
        wait_for(lambda: len(calls) == 2, "both jobs")
        [worker] = queue.adapter.workers()
        assert worker.concurrency == 2
    assert threading.main_thread() not in calls
    assert queue.adapter.workers() == []
    assert queue.adapter.count_by_state() == {}


def test_in_a_coroutine(queue: JobQueue) -> None:
    async def application() -> None:
        async with queue.running() as running:
            running.enqueue(Note, "async")
            await until(lambda: calls == ["async"])
        assert queue.adapter.workers() == []

    asyncio.run(application())


def test_what_runs_is_finished_and_nothing_else_begins(
    queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    class LetGo(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.__dict__.get("event") == "worker_stopping":
                Hold.let_go.set()

    handler = LetGo()
    caplog.set_level(logging.INFO, "jobqueue")
    logging.getLogger("jobqueue").addHandler(handler)
    with queue.running():
        Hold.perform_later()
        Hold.entered.wait(LONG_ENOUGH)
        Note.perform_later("left")
    logging.getLogger("jobqueue").removeHandler(handler)
    assert calls == ["held"]
    assert queue.adapter.count_by_state() == {JobState.READY: 1}


def test_what_does_not_end_within_the_grace_is_given_back(queue: JobQueue) -> None:
    record = Hold.perform_later()
    with queue.running(grace=QUICKLY, concurrency=2):
        Hold.entered.wait(LONG_ENOUGH)
        assert jobqueue.get(record.id).attempts == 1
    given_back = jobqueue.get(record.id)
    assert (given_back.state, given_back.attempts) == (JobState.READY, 0)
    assert queue.adapter.workers() == []
    end_what_was_left_behind()


def test_given_back_also_where_only_one_job_runs_at_a_time(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue.runner.in_process.GIVE_BACK_SECONDS", QUICKLY)
    record = Hold.perform_later()
    with queue.running(grace=QUICKLY):
        Hold.entered.wait(LONG_ENOUGH)
    given_back = jobqueue.get(record.id)
    assert (given_back.state, given_back.attempts) == (JobState.READY, 0)
    end_what_was_left_behind()


def test_an_async_job_is_cancelled_and_given_back(queue: JobQueue) -> None:
    record = HoldAsync.perform_later()

    async def application() -> None:
        async with queue.running(grace=QUICKLY):
            await until(HoldAsync.entered.is_set)

    asyncio.run(application())
    given_back = jobqueue.get(record.id)
    assert (given_back.state, given_back.attempts) == (JobState.READY, 0)


def test_an_error_in_the_block_stops_the_worker(queue: JobQueue) -> None:
    with pytest.raises(KeyError), queue.running():
        raise KeyError("the application's own")
    assert queue.adapter.workers() == []


def test_only_some_queues(queue: JobQueue, wait_for: WaitFor) -> None:
    Note.set(queue="a").perform_later("a")
    Note.set(queue="b").perform_later("b")
    with queue.running(queues=["b"]):
        wait_for(lambda: calls == ["b"], "the job in b")
    assert queue.adapter.count_jobs(JobFilter(queues=("a",))) == 1


def test_the_lease_is_kept(adapter: Adapter, wait_for: WaitFor) -> None:
    queue = JobQueue(adapter, poll_interval=0.02, lease=0.4)
    with queue.running():
        wait_for(lambda: len(queue.adapter.workers()) == 1, "the worker to be registered")
        [first] = queue.adapter.workers()

        def has_beaten() -> bool:
            return queue.adapter.workers()[0].heartbeat_at > first.heartbeat_at

        wait_for(has_beaten, "a heartbeat")
        assert [worker.id for worker in queue.adapter.workers()] == [first.id]


def test_a_block_runs_once(queue: JobQueue) -> None:
    running = queue.running()
    with running:
        pass
    with pytest.raises(ConfigurationError, match=r"queue\.running\(\)"), running:
        pass


def test_wrong_values_are_refused(queue: JobQueue) -> None:
    with pytest.raises(ConfigurationError, match="concurrency"):
        queue.running(concurrency=0)
    with pytest.raises(ConfigurationError, match="grace"):
        queue.running(grace=-1)


def test_a_database_without_tables_is_an_error_on_entering(empty_database_url: str) -> None:
    queue = JobQueue(database_url=empty_database_url)
    with pytest.raises(SchemaError, match="run `jobqueue"), queue.running():
        pytest.fail("the block was entered")

    async def application() -> None:
        async with queue.running():
            pytest.fail("the block was entered")

    with pytest.raises(SchemaError, match="run `jobqueue"):
        asyncio.run(application())
    queue.adapter.close()


def test_a_worker_that_ends_by_an_error_is_heard_of(
    caplog: pytest.LogCaptureFixture, wait_for: WaitFor
) -> None:
    class Broken(MemoryAdapter):
        def claim(self, claim: Any) -> Any:
            raise DatabaseError("this cannot be claimed from")

    with (
        caplog.at_level(logging.ERROR, "jobqueue"),
        pytest.raises(DatabaseError, match="claimed"),
        JobQueue(Broken()).running(),
    ):
        wait_for(lambda: "this cannot be claimed from" in caplog.text, "the error in the log")


def test_settings_alone_leave_the_default_adapter() -> None:
    mine = MemoryAdapter()
    queue = JobQueue(concurrency=4)
    Job.config(adapter=mine)
    assert queue.adapter is mine
    default_configuration.reset()


# --- ASGI ----------------------------------------------------------------------------------------


def test_as_the_lifespan_of_an_application(queue: JobQueue) -> None:
    async def serve() -> None:
        async with queue.lifespan(object()) as state:
            assert state is None
            Note.perform_later("served")
            await until(lambda: calls == ["served"])

    asyncio.run(serve())
    assert queue.adapter.workers() == []


def test_within_a_lifespan_of_ones_own(queue: JobQueue) -> None:
    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[dict[str, str]]:
        async with queue.lifespan():
            yield {"pool": "connections"}

    async def serve() -> None:
        async with lifespan(object()) as state:
            assert state == {"pool": "connections"}
            Note.perform_later("served")
            await until(lambda: calls == ["served"])

    asyncio.run(serve())


def test_signals_are_the_servers(queue: JobQueue) -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def serve() -> None:
        async with queue.lifespan():
            assert signal.getsignal(signal.SIGTERM) is before

    asyncio.run(serve())


# --- signals -------------------------------------------------------------------------------------


def test_signals_are_left_alone_where_they_are_handled(queue: JobQueue) -> None:
    def own(number: int, frame: Any) -> None: ...

    before = signal.signal(signal.SIGTERM, own)
    try:
        with queue.running():
            assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def test_on_another_thread_no_signal_is_touched(queue: JobQueue) -> None:
    handlers: list[Any] = []

    def application() -> None:
        with queue.running():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=application)
    thread.start()
    thread.join()
    assert handlers == [signal.SIG_DFL]


APPLICATION = """
    import asyncio, logging, signal, sys, threading
    from pathlib import Path
    from jobqueue import JobQueue
    from slow import Slow

    class Watch(logging.Handler):
        def emit(self, record):
            if record.event == "worker_stopping":
                Path("stopping").touch()
                if sys.argv[1] == "interrupted":
                    signal.raise_signal(signal.SIGTERM)

    logging.basicConfig(level="INFO", handlers=[Watch()])
    queue = JobQueue(poll_interval=0.02)

    def application():
        with queue.running():
            Slow.perform_later()
            threading.Event().wait()

    async def application_async():
        async with queue.running():
            Slow.perform_later()
            await asyncio.Event().wait()

    if sys.argv[1] == "async":
        asyncio.run(application_async())
    else:
        application()
"""
SLOW = """
    from pathlib import Path
    from threading import Event
    from jobqueue import Job

    class Slow(Job):
        def perform(self) -> None:
            Path("began").touch()
            for _ in range(2000):
                if Path("go").exists():
                    Path("done").touch()
                    return
                Event().wait(0.01)
"""


@contextlib.contextmanager
def started(project: Project, kind: str) -> Iterator[subprocess.Popen[bytes]]:
    """An application that runs one slow job in its own process."""
    project.write("slow.py", SLOW)
    project.write("application.py", APPLICATION)
    process = subprocess.Popen(
        [sys.executable, "application.py", kind],
        cwd=project.folder,
        env=dict(project.environment),
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def jobs_of(project: Project) -> Mapping[JobState, int]:
    adapter = connect(project.environment["JOBS_DATABASE_URL"])
    counts = adapter.count_by_state()
    adapter.close()
    return counts


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -2)])
def test_a_signal_ends_the_block_gracefully(
    project: Project, wait_for: WaitFor, kind: str, number: int, code: int
) -> None:
    with started(project, kind) as process:
        wait_for((project.folder / "began").exists, "the job")
        process.send_signal(number)
        (project.folder / "go").touch()
        _, errors = process.communicate(timeout=LONG_ENOUGH)
        assert process.returncode == code, errors.decode()
    assert (project.folder / "done").exists()
    assert jobs_of(project) == {}


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_second_signal_gives_the_job_back(project: Project, wait_for: WaitFor, kind: str) -> None:
    with started(project, kind) as process:
        wait_for((project.folder / "began").exists, "the job")
        process.send_signal(signal.SIGTERM)
        wait_for((project.folder / "stopping").exists, "the block to end")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=LONG_ENOUGH)
        assert process.returncode == 143, errors.decode()
    assert not (project.folder / "done").exists()
    assert jobs_of(project) == {"ready": 1}
