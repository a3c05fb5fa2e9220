"""A backend that is killed in the middle is told of in our words, one line, and nowhere else.

Neither SQLAlchemy nor psycopg log what they meet when they tidy up after it.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import psycopg
import pytest
from sqlalchemy import text

from jobqueue import Job, JobQueue
from jobqueue.adapters import connect
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.postgres.connection import PatientConnection
from jobqueue.errors import DatabaseUnavailable
from jobqueue.records import Claim, JobFilter, NewJob, NewWorker, Succeeded
from tests.outages.conftest import Said
from tests.sample_jobs import Note, calls
from tests.test_working import Background

WaitFor = Callable[[Callable[[], bool], str], None]
WAITING = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND datname = current_database()
"""
# Of the job alone: services of the worker may be in the middle of a transaction, too.
IDLE_IN_JOB = "state = 'idle in transaction' AND query = 'SELECT 1'"
ASLEEP = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE wait_event = 'PgSleep' AND datname = current_database()
"""


EVERY_BACKEND = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database()
"""
STORE_MANY = """
INSERT INTO background_jobs
    (handler, args, queue, priority, state, max_attempts, run_at, created_at, updated_at)
SELECT %(handler)s, '{}', 'default', 50, 'ready', 24, now(), now(), now()
FROM generate_series(1, 2000)
"""


class Sleeper(Job):
    """Is in the middle of a statement of its own transaction."""

    max_attempts = 1

    def perform(self) -> None:
        with self.transaction() as session:
            session.execute(text("SELECT pg_sleep(60)"))


class AsyncSleeper(Job):
    max_attempts = 1

    async def perform(self) -> None:
        async with self.transaction() as session:
            await session.execute(text("SELECT pg_sleep(60)"))


class Slumberer(Job):
    """Is between two statements, and swallows what it meets."""

    max_attempts = 1
    entered = threading.Event()
    go_on = threading.Event()

    def perform(self) -> None:
        with self.transaction() as session:
            session.execute(text("SELECT 1"))
            self.entered.set()
            self.go_on.wait(60)
            raise ValueError("it was killed meanwhile")


@pytest.fixture
def adapter(postgres_url: str) -> Iterator[PostgresAdapter]:
    made = connect(postgres_url)
    assert isinstance(made, PostgresAdapter)
    calls.clear()
    yield made
    made.close()


@contextmanager
def locked(url: str, table: str) -> Iterator[None]:
    """Whoever wants a table waits."""
    with psycopg.connect(url) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield


def kill(url: str, which: str, wait_for: WaitFor) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        wait_for(lambda: connection.execute(which.encode()).rowcount > 0, "a backend to kill")


def is_said(said: Said, event: str, times: int) -> bool:
    return said.count(event) == times


def has_done(number: int) -> bool:
    return len(calls) >= number


def foreign(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What others than we have logged, and what we have with a traceback."""
    return [
        f"{record.name}: {record.getMessage()}"
        for record in caplog.records
        if record.levelno >= logging.WARNING
        and (record.exc_info or not record.name.startswith("jobqueue"))
    ]


def test_in_the_middle_of_a_turn(
    adapter: PostgresAdapter,
    postgres_url: str,
    wait_for: WaitFor,
    said: Said,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Background(JobQueue(adapter, poll_interval=0.05).worker()) as background:
        wait_for(lambda: bool(adapter.workers()), "the worker")
        for number in range(1, 4):
            with locked(postgres_url, "background_jobs"):
                background.worker.rely_on_wakeups(False)
                kill(postgres_url, WAITING, wait_for)
                wait_for(partial(is_said, said, "database_lost", number), "it to notice")
            wait_for(partial(is_said, said, "database_back", number), "it to be back")
    assert foreign(caplog) == []
    assert said.count("database_lost") == said.count("database_back") == 3


def test_in_a_stream_of_turns(
    adapter: PostgresAdapter,
    postgres_url: str,
    wait_for: WaitFor,
    said: Said,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At any moment of a turn, the sending of a large one among them."""
    queue, times = JobQueue(adapter, poll_interval=0.05), 30
    with Background(queue.worker()), psycopg.connect(postgres_url, autocommit=True) as control:
        # It has nobody to wait for while it registers: a worker that cannot do that ends.
        wait_for(lambda: bool(adapter.workers()), "the worker")
        for number in range(times):
            enough = len(calls) + 40 * number
            control.execute(STORE_MANY, {"handler": Note.name})
            wait_for(partial(has_done, enough), "it to be under way")
            control.execute(EVERY_BACKEND)
        wait_for(lambda: adapter.count_by_state() == {}, "all jobs to be settled")
    assert said.count("database_lost") > 0
    assert foreign(caplog) == []


@pytest.mark.parametrize(
    "do",
    [
        lambda a, job: a.turn([Succeeded(job)], Claim("me", 2, 1, 1)),
        lambda a, job: a.turn([Succeeded(job)], None),
        lambda a, _: a.enqueue([NewJob("job", "{}", "default", 50, 1)]),
        lambda a, _: a.enqueue([NewJob("job", "{}", "default", 50, 1)] * 2000),
        lambda a, _: a.count_by_state(),
        lambda a, _: a.get(1),
        lambda a, _: a.due_in(),
        lambda a, _: a.release_strays("me", set()),
        lambda a, job: a.report_progress({(job.id, job.token): "1"}),
    ],
    ids=["turn", "settle", "enqueue", "many", "count", "get", "due", "strays", "progress"],
)
def test_in_the_middle_of_a_statement(
    do: Callable[[PostgresAdapter, object], object],
    adapter: PostgresAdapter,
    postgres_url: str,
    wait_for: WaitFor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    adapter.enqueue([NewJob("job", "{}", "default", 50, 5)])
    (job,) = adapter.claim(Claim("me", 1, 1, 1))
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            do(adapter, job)
        except DatabaseUnavailable as error:
            raised.append(error)

    with locked(postgres_url, "background_jobs"):
        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():  # what has done nothing yet is tried again, once
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                connection.execute(WAITING.encode())
            thread.join(0.01)
    adapter.ping()
    assert [type(error) for error in raised] == [DatabaseUnavailable]
    assert foreign(caplog) == []


def test_in_the_middle_of_a_heartbeat(
    adapter: PostgresAdapter,
    postgres_url: str,
    wait_for: WaitFor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = NewWorker("me", "worker", "host", 1, None, 1, timedelta(seconds=30))
    adapter.register_worker(worker)
    for beat in (lambda: adapter.beat(["me"]), adapter.workers):
        with locked(postgres_url, "background_workers"):
            killing = threading.Thread(target=lambda: _kill_twice(postgres_url, wait_for))
            killing.start()
            with pytest.raises(DatabaseUnavailable):
                beat()
            killing.join()
    assert adapter.beat(["me"]) == {"me"}
    assert foreign(caplog) == []


def test_as_soon_as_it_has_let_us_in(
    adapter: PostgresAdapter, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when all connections are ended while one is being made. It is made once more."""
    get_to_know, times = PatientConnection.get_to_know, itertools.count()

    def get_to_know_when_ended(connection: PatientConnection) -> None:
        if next(times) == 0:
            with psycopg.connect(postgres_url, autocommit=True) as control:
                pid = connection.info.backend_pid
                control.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        get_to_know(connection)

    monkeypatch.setattr(PatientConnection, "get_to_know", get_to_know_when_ended)
    worker = NewWorker("me", "worker", "host", 1, None, 1, timedelta(seconds=30))
    adapter.register_worker(worker)
    # Its answer might have been lost.
    adapter.register_worker(worker)
    assert [found.id for found in adapter.workers()] == ["me"]


def _kill_twice(url: str, wait_for: WaitFor) -> None:
    for _ in range(2):
        kill(url, WAITING, wait_for)


@pytest.mark.parametrize("job", [Sleeper, AsyncSleeper])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_in_the_middle_of_a_jobs_own_statement(
    job: type[Job],
    concurrency: int,
    adapter: PostgresAdapter,
    postgres_url: str,
    wait_for: WaitFor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = JobQueue(adapter, poll_interval=0.05, concurrency=concurrency)
    record = queue.enqueue(job)
    with Background(queue.worker()):
        kill(postgres_url, ASLEEP, wait_for)
        wait_for(
            lambda: adapter.list_jobs(JobFilter(ids=(record.id,)), 1)[0].state.value == "failed",
            "the job to fail",
        )
    assert foreign(caplog) == []


def test_between_a_jobs_own_statements(
    adapter: PostgresAdapter,
    postgres_url: str,
    wait_for: WaitFor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = JobQueue(adapter, poll_interval=0.05)
    record = queue.enqueue(Slumberer)
    with Background(queue.worker()):
        assert Slumberer.entered.wait(60)
        idle = WAITING.replace("wait_event_type = 'Lock'", IDLE_IN_JOB)
        kill(postgres_url, idle, wait_for)
        Slumberer.go_on.set()
        wait_for(
            lambda: adapter.list_jobs(JobFilter(ids=(record.id,)), 1)[0].state.value == "failed",
            "the job to fail",
        )
    assert "it was killed meanwhile" in (
        adapter.list_jobs(JobFilter(ids=(record.id,)), 1)[0].last_error or ""
    )
    assert foreign(caplog) == []
