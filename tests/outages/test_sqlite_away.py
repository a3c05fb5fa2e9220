"""A SQLite file that cannot be written to: locked by another program, full, or read-only."""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from sqlalchemy import event, make_url

from jobqueue import Job, JobQueue
from jobqueue.adapters import connect
from jobqueue.adapters.sqlite.adapter import SqliteAdapter
from jobqueue.errors import DatabaseUnavailable
from jobqueue.records import JobState
from tests.outages.conftest import Said
from tests.process.outage import locked_file
from tests.sample_jobs import Note, calls

WaitFor = Callable[[Callable[[], bool], str], None]
BUSY_TIMEOUT_SECONDS = 0.1


class FailsAtLength(Job):
    """Runs until the test lets go. What it fails with takes room to store."""

    max_attempts = 1
    entered: ClassVar[threading.Event]
    let_go: ClassVar[threading.Event]

    def perform(self) -> None:
        self.entered.set()
        self.let_go.wait(60)
        calls.append("failed")
        raise ValueError(secrets.token_hex(9000))


@pytest.fixture(autouse=True)
def fresh() -> None:
    calls.clear()
    FailsAtLength.entered, FailsAtLength.let_go = threading.Event(), threading.Event()


@pytest.fixture
def adapter(sqlite_url: str) -> Iterator[SqliteAdapter]:
    made = connect(f"{sqlite_url}?timeout={BUSY_TIMEOUT_SECONDS}")
    assert isinstance(made, SqliteAdapter)
    yield made
    made.close()


@contextmanager
def full(adapter: SqliteAdapter) -> Iterator[None]:
    """The file may not grow, as on a full disk: for each connection, what it has is all."""
    path = str(make_url(str(adapter.database.engine.url)).database)

    most_pages = 1  # or as many as it has by now

    def limit(connection: Any, *_: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {most_pages}")

    with sqlite3.connect(path, timeout=10) as other:
        other.execute("CREATE TABLE filler (text)")
        limit(other)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            _insert_for_ever(other)
    event.listen(adapter.database.engine, "checkout", limit)
    yield
    most_pages = 1_000_000
    with sqlite3.connect(path, timeout=10) as other:
        other.execute("DROP TABLE filler")
    other.close()


def _insert_for_ever(connection: sqlite3.Connection) -> None:
    while True:
        connection.execute("INSERT INTO filler VALUES (hex(randomblob(1000)))")


def locked(adapter: SqliteAdapter) -> Any:
    return locked_file(str(adapter.database.engine.url))


def _enqueue_many(queue: JobQueue) -> None:
    for _ in range(1000):
        queue.enqueue(Note, "in vain" * 100)


@pytest.mark.parametrize(
    ("away", "why"),
    [(locked, "is locked: a write transaction is kept open"), (full, "disk is full")],
    ids=["locked", "full"],
)
def test_a_worker_stays_and_settles_what_it_had_finished(
    adapter: SqliteAdapter,
    away: Callable[[SqliteAdapter], Any],
    why: str,
    wait_for: WaitFor,
    said: Said,
) -> None:
    with JobQueue(adapter, poll_interval=0.02, lease=0.5).running() as queue:
        queue.enqueue(FailsAtLength)
        assert FailsAtLength.entered.wait(20)
        with away(adapter):
            began = time.monotonic()
            with pytest.raises(DatabaseUnavailable, match=why):
                _enqueue_many(queue)
            assert time.monotonic() - began < 5
            FailsAtLength.let_go.set()
            wait_for(lambda: "failed" in calls, "the job to end meanwhile")
            wait_for(lambda: said.count("database_lost") > 0, "the worker to notice")
        queue.enqueue(Note, "after")
        wait_for(lambda: "after" in calls, "another job")
        only_failed = {JobState.FAILED: 1}
        wait_for(lambda: adapter.count_by_state() == only_failed, "all to be settled")
    assert calls.count("failed") == 1
    said_once = {"database_lost": 1, "database_back": 1, "job_rejected": 0, "jobs_rescued": 0}
    assert {event: said.count(event) for event in said_once} == said_once
    assert why in said.text_of("database_lost")
