"""A SQLite file that is deleted, or replaced by another, under those who have it open."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from jobqueue import JobQueue
from jobqueue.adapters import Adapter, connect
from jobqueue.adapters.sqlite import watched_file
from jobqueue.errors import DatabaseUnavailable, SchemaError
from jobqueue.records import NewJob
from tests.outages.conftest import Said
from tests.sample_jobs import Note, calls

WaitFor = Callable[[Callable[[], bool], str], None]
JOB = NewJob("Work", "{}", "default", 50, 5)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    calls.clear()
    monkeypatch.setattr(watched_file, "LOOK_SECONDS", 0.0)


@pytest.fixture
def path(sqlite_url: str) -> Path:
    return Path(str(make_url(sqlite_url).database))


@pytest.fixture
def adapter(sqlite_url: str) -> Iterator[Adapter]:
    made = connect(sqlite_url)
    yield made
    made.close()


def delete(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def number_of_jobs_in(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        (number,) = connection.execute("SELECT count(*) FROM background_jobs").fetchone()
        return int(number)
    finally:
        connection.close()


def test_a_worker_goes_on_with_the_new_file(
    adapter: Adapter, path: Path, sqlite_url: str, wait_for: WaitFor, said: Said
) -> None:
    with JobQueue(adapter, poll_interval=0.02, lease=0.5).running() as queue:
        queue.enqueue(Note, "before")
        wait_for(lambda: "before" in calls, "a job of the old file")
        delete(path)
        wait_for(lambda: said.count("database_lost") == 1, "the worker to notice")
        path.touch()
        with pytest.raises(DatabaseUnavailable, match="has no tables"):
            adapter.enqueue([JOB])
        other = connect(sqlite_url)
        other.migrate()
        JobQueue(other).enqueue(Note, "after")
        wait_for(lambda: "after" in calls, "a job of the new file")
        wait_for(lambda: len(other.workers()) == 1, "the worker to be registered there")
        other.close()
    assert "was deleted while it was in use" in said.text_of("database_lost")
    assert str(path) in said.text_of("database_replaced")
    assert [said.count(event) for event in ("database_lost", "database_replaced")] == [1, 1]
    assert said.count("database_back") == 1


def test_what_is_enqueued_goes_to_the_new_file(
    adapter: Adapter, path: Path, sqlite_url: str, said: Said
) -> None:
    adapter.enqueue([JOB])
    delete(path)
    with pytest.raises(DatabaseUnavailable, match="was deleted while it was in use"):
        adapter.enqueue([JOB])
    other = connect(sqlite_url)
    with pytest.raises(SchemaError, match="does not exist; run"):
        other.ping()
    other.migrate()
    other.close()
    adapter.enqueue([JOB, JOB])
    assert number_of_jobs_in(path) == 2
    assert said.count("database_replaced") == 1


def test_an_adapter_can_make_its_file_anew(adapter: Adapter, path: Path, said: Said) -> None:
    adapter.enqueue([JOB])
    delete(path)
    adapter.migrate()
    adapter.enqueue([JOB])
    assert number_of_jobs_in(path) == 1
    assert said.events() == []


def test_a_listener_does_not_watch_a_file_that_is_gone(adapter: Adapter, path: Path) -> None:
    listener = adapter.listen()
    assert listener.wait(0.0) is None
    delete(path)
    with pytest.raises(DatabaseUnavailable, match="another file than before"):
        listener.wait(0.0)
    listener.close()
