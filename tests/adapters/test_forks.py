"""Processes that fork while their threads write, listen, or hold a lock."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest
from sqlalchemy import text

from jobqueue import JobQueue
from jobqueue.adapters import Adapter, connect
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.adapters.sqlite import forks
from jobqueue.defaults import default_configuration
from jobqueue.job import registry
from jobqueue.records import NewJob
from tests.sample_jobs import Note, calls

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

WaitFor = Callable[[Callable[[], bool], str], None]
CHILD_SECONDS = 20


def job(handler: str) -> list[NewJob]:
    return [NewJob(handler, "{}", "default", 50, 5)]


def in_child(work: Callable[[], object]) -> str:
    """Do something in a forked child, and return the error that it met, if it did."""
    receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)

    def run() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the parent looks at it
            sender.send(f"{type(error).__name__}: {error}")
        else:
            sender.send("")

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    try:
        assert receiver.poll(CHILD_SECONDS), "the child is stuck"
        return str(receiver.recv())
    finally:
        child.kill()
        child.join()


@contextmanager
def threads(*works: Callable[[], object]) -> Iterator[None]:
    """Threads that do something again and again during the block."""
    over, troubles = threading.Event(), []

    def repeat(work: Callable[[], object]) -> None:
        while not over.is_set():
            try:
                work()
            except Exception as error:  # noqa: BLE001 - shown below
                troubles.append(error)
                return

    started = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in started:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in started:
            thread.join()
    assert troubles == []


def test_a_child_enqueues_while_threads_of_its_parent_write(database_url: str) -> None:
    with closing(connect(database_url)) as adapter:
        assert isinstance(adapter, SqlAdapter)
        writing = threading.Event()

        def write() -> None:
            with open_transaction(adapter):
                writing.set()
                time.sleep(0.1)  # the process forks in the midst of it
                writing.clear()
            time.sleep(0.05)  # so that the child comes to write too

        with threads(write):
            for _ in range(3):
                assert writing.wait(20)
                assert in_child(lambda: adapter.enqueue(job("Child"))) == ""


def test_a_worker_in_the_parent_goes_on(database_url: str, wait_for: WaitFor) -> None:
    calls.clear()
    with closing(connect(database_url)) as adapter:
        queue = JobQueue(adapter, poll_interval=60)
        with queue.running():
            for number in range(3):
                assert in_child(lambda number=number: queue.enqueue(Note, str(number))) == ""  # type: ignore[misc]
                wait_for(lambda number=number: calls.count(str(number)) == 1, "the child's job")  # type: ignore[misc]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork waits only shortly for transactions that are open."""
    monkeypatch.setattr(forks, "BUSY_TIMEOUT_SECONDS", 0.1)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("is_own_thread", [True, False], ids=["own thread", "other thread"])
def test_a_transaction_that_is_open_all_the_while_is_an_error_in_the_child(
    sqlite_url: str, is_own_thread: bool
) -> None:
    """It is one at once: SQLite itself would say "database is locked" again and again."""
    with closing(connect(sqlite_url)) as adapter, ExitStack() as stack:
        assert isinstance(adapter, SqlAdapter)
        if is_own_thread:
            stack.enter_context(open_transaction(adapter))
        else:
            stack.enter_context(open_on_a_thread(adapter))
        began = time.monotonic()
        said = in_child(lambda: adapter.enqueue(job("Child")))
        assert said.startswith("DatabaseError: the database "), said
        assert "was forked while its parent had a transaction open" in said
        assert time.monotonic() - began < 3
        stack.close()
        adapter.enqueue(job("Parent"))
        assert in_child(lambda: adapter.enqueue(job("Child"))) == ""


@contextmanager
def open_transaction(adapter: SqlAdapter) -> Iterator[None]:
    with adapter.database.engine.connect() as connection:
        connection.execute(text("DELETE FROM background_tokens"))
        yield


@contextmanager
def open_on_a_thread(adapter: SqlAdapter) -> Iterator[None]:
    opened, over = threading.Event(), threading.Event()

    def hold() -> None:
        with open_transaction(adapter):
            opened.set()
            over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert opened.wait(20)
    yield
    over.set()
    thread.join()


def test_a_child_has_locks_that_nobody_holds(database_url: str) -> None:
    """Whatever of ours a thread was about while the process forked."""
    with closing(connect(database_url)) as adapter, ExitStack() as stack:
        for lock in locks_of(adapter):
            stack.enter_context(held_on_a_thread(lock))

        def enqueue() -> None:
            default_configuration.configure(adapter=adapter)
            registry.add(Note)
            Note.perform_later("in a child")

        assert in_child(enqueue) == ""


def locks_of(adapter: Adapter) -> list[Any]:
    found: list[Any] = [vars(default_configuration)["_lock"], vars(registry)["_lock"]]
    if isinstance(adapter, PostgresAdapter):
        found.append(vars(vars(vars(adapter.path)["announcer"])["_stream"])["_lock"])
    return found


def test_a_child_enqueues_in_its_own_memory() -> None:
    adapter = MemoryAdapter()
    listener: Any = adapter.listen()
    for lock in (vars(adapter.path)["_store"].lock, listener._changed):
        with held_on_a_thread(lock):
            assert in_child(lambda: adapter.enqueue(job("Child"))) == ""


@contextmanager
def held_on_a_thread(lock: Any) -> Iterator[None]:
    taken, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(20)
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_no_connection_of_a_parent_is_open_in_its_child(sqlite_url: str) -> None:
    """The child's own would take no lock that others see, and others would remove its log."""
    with closing(connect(sqlite_url)) as adapter, closing(adapter.listen()):
        adapter.ping()
        assert in_child(lambda: refuse_open_files(sqlite_url.removeprefix("sqlite:///"))) == ""
        adapter.ping()


def refuse_open_files(path: str) -> None:
    found = {os.readlink(entry.path) for entry in os.scandir("/proc/self/fd") if entry.is_symlink()}
    assert not [name for name in found if name.startswith(path)], found
