"""The transactions of jobs, at their edges: lost answers, many at once, and SQLite's one writer."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from jobqueue import (
    ConfigurationError,
    Job,
    JobQueue,
    JobState,
    MemoryAdapter,
    TransactionOpen,
    begin_immediate,
)
from jobqueue.adapters import Adapter
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.adapters.sqlite import database as sqlite_database
from jobqueue.adapters.sqlite.adapter import SqliteAdapter
from jobqueue.defaults import default_configuration
from jobqueue.records import JobFilter
from jobqueue.worker.reporter import Tally
from tests.conftest import DATABASES, build_adapter
from tests.process.outage import outage

WaitFor = Callable[[Callable[[], bool], str], None]
INSERT = text("INSERT INTO effects (job_id) VALUES (:job_id)")


def with_effects(request: pytest.FixtureRequest, kind: str) -> Iterator[SqlAdapter]:
    made = build_adapter(request, kind)
    assert isinstance(made, SqlAdapter)
    Job.config(adapter=made)
    with made.database.engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS effects"))
        connection.execute(text("CREATE TABLE effects (job_id bigint)"))
    yield made
    with made.database.engine.begin() as connection:
        connection.execute(text("DROP TABLE effects"))
    made.close()
    default_configuration.reset()


@pytest.fixture(params=DATABASES)
def adapter(request: pytest.FixtureRequest) -> Iterator[SqlAdapter]:
    yield from with_effects(request, request.param)


@pytest.fixture
def postgres(request: pytest.FixtureRequest) -> Iterator[SqlAdapter]:
    yield from with_effects(request, "postgresql")


@pytest.fixture
def sqlite(request: pytest.FixtureRequest) -> Iterator[SqlAdapter]:
    yield from with_effects(request, "sqlite")


def effects(adapter: SqlAdapter) -> list[int]:
    query = text("SELECT job_id FROM effects ORDER BY job_id")
    return list(adapter.database.read(lambda c: c.execute(query).scalars().all()))


def work_off(adapter: Adapter, **settings: Any) -> Tally:
    return JobQueue(adapter, poll_interval=0.01, **settings).work_off()


class Act(Job):
    """Has an effect, and does something in the transaction."""

    within: ClassVar[Callable[[Act, Session], object]]
    sessions: ClassVar[Callable[[], Any] | None] = None

    def perform(self) -> None:
        with self.transaction(type(self).sessions) as session:
            session.execute(INSERT, {"job_id": self.context.job_id})
            type(self).within(self, session)


class ActAsync(Job):
    within: ClassVar[Callable[[ActAsync, Any], Any]]
    sessions: ClassVar[Callable[[], Any] | None] = None

    async def perform(self) -> None:
        async with self.transaction(type(self).sessions) as session:
            await session.execute(INSERT, {"job_id": self.context.job_id})
            await type(self).within(self, session)


async def nothing(job: Any, session: Any) -> None:
    """Within an async transaction."""


@pytest.fixture(autouse=True)
def nothing_within() -> None:
    Act.within = staticmethod(lambda job, session: None)
    ActAsync.within = staticmethod(nothing)
    Act.sessions = ActAsync.sessions = None


def sync_of(session: Any) -> Session:
    found: Session = getattr(session, "sync_session", session)
    return found


# --- an answer to COMMIT that does not come ------------------------------------------------------


def lose_the_answer(job: Any, session: Any) -> None:
    """The commit takes place, and whoever waits for it hears of a broken connection."""

    def fail(_: Session) -> None:
        raise OperationalError("COMMIT", {}, Exception("server closed the connection"))

    event.listen(sync_of(session), "after_commit", fail)


async def lose_the_answer_async(job: Any, session: Any) -> None:
    lose_the_answer(job, session)


@pytest.mark.parametrize("job_class", [Act, ActAsync])
@pytest.mark.parametrize("keep", [True, False])
def test_a_lost_answer_is_found_out(
    adapter: SqlAdapter, job_class: Any, keep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_class, "keep_succeeded", keep)
    Act.within = staticmethod(lose_the_answer)
    ActAsync.within = staticmethod(lose_the_answer_async)
    stored = job_class.perform_later()
    assert work_off(adapter) == Tally(succeeded=1)
    assert effects(adapter) == [stored.id]
    record = adapter.get(stored.id)
    assert (record is not None) is keep
    assert record is None or record.state is JobState.SUCCEEDED


def end_the_connection(job: Any, session: Session) -> None:
    """The server hangs up when everything is sent but the COMMIT."""

    def kill(_: Session) -> None:
        connection = session.connection()
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with job.adapter.database.engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})

    event.listen(session, "before_commit", kill)


def test_a_commit_that_never_reached_the_server_is_no_commit(postgres: SqlAdapter) -> None:
    Act.within = staticmethod(end_the_connection)
    stored = Act.perform_later()
    assert work_off(postgres) == Tally(retried=1)
    assert effects(postgres) == []
    Act.within = staticmethod(lambda job, session: None)
    stored.retry()
    assert work_off(postgres) == Tally(succeeded=1)
    assert effects(postgres) == [stored.id]


def test_a_database_that_is_away_after_the_commit_is_waited_for(
    postgres: SqlAdapter, postgres_url: str, caplog: pytest.LogCaptureFixture, wait_for: WaitFor
) -> None:
    away, back = threading.Event(), threading.Event()

    def take_away(_: Session) -> None:
        threading.Thread(target=keep_away).start()
        away.wait()
        raise OperationalError("COMMIT", {}, Exception("server closed the connection"))

    def keep_away() -> None:
        with outage(postgres_url):
            away.set()
            back.wait()

    Act.within = staticmethod(lambda job, session: event.listen(session, "after_commit", take_away))
    stored = Act.perform_later()
    tallies: list[Tally] = []
    worker = threading.Thread(target=lambda: tallies.append(work_off(postgres)))
    worker.start()
    wait_for(lambda: "is not known" in caplog.text, "the worker to say so")
    back.set()
    worker.join()
    assert tallies == [Tally(succeeded=1)]
    assert effects(postgres) == [stored.id]


def test_a_connection_that_was_cut_before_costs_no_attempt(postgres: SqlAdapter) -> None:
    Act.perform_later()
    assert work_off(postgres) == Tally(succeeded=1)
    with postgres.database.engine.connect() as connection:
        others = text(
            "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert connection.execute(others).scalar_one() > 0
    Act.perform_later()
    assert work_off(postgres) == Tally(succeeded=1)


# --- several at once -----------------------------------------------------------------------------


def test_more_blocks_than_a_pool_has_connections(postgres: SqlAdapter) -> None:
    """All are open at once, and the pump goes on: one of the jobs comes when the others wait."""
    barrier = threading.Barrier(25)
    Act.within = staticmethod(lambda job, session: barrier.wait(20))
    for _ in range(25):
        Act.perform_later()
    # Some go back and come again, where the machine takes long to start 25 threads.
    assert replace(work_off(postgres, concurrency=25), released=0) == Tally(succeeded=25)
    assert len(effects(postgres)) == 25


def test_many_async_blocks_at_once(postgres: SqlAdapter) -> None:
    meeting = asyncio.Barrier(20)

    async def meet(job: Any, session: Any) -> None:
        await meeting.wait()

    ActAsync.within = staticmethod(meet)
    ActAsync.perform_all_later([()] * 20)
    assert work_off(postgres, concurrency=20) == Tally(succeeded=20)
    assert len(effects(postgres)) == 20


def test_blocks_of_threads_and_of_an_event_loop_take_turns(sqlite: SqlAdapter) -> None:
    open_now: list[int] = []

    def be_alone(job: Job, session: Session) -> None:
        open_now.append(1)
        assert open_now == [1]
        time.sleep(0.002)
        open_now.pop()

    async def be_alone_too(job: Any, session: Any) -> None:
        open_now.append(1)
        assert open_now == [1]
        await asyncio.sleep(0.002)
        open_now.pop()

    Act.within = staticmethod(be_alone)
    ActAsync.within = staticmethod(be_alone_too)
    for job_class in (Act, ActAsync):
        job_class.perform_all_later([()] * 20)
    # On a slow machine they take so long that some go back unstarted, to be claimed again.
    assert replace(work_off(sqlite, concurrency=8), released=0) == Tally(succeeded=40)
    assert len(effects(sqlite)) == 40


# --- SQLite's one writer -------------------------------------------------------------------------


def test_the_rest_of_the_process_waits_without_an_error(
    sqlite: SqlAdapter, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block outlasts the time after which anybody else gets an error."""
    monkeypatch.setattr(sqlite_database, "BUSY_TIMEOUT_SECONDS", 0.1)
    other_is_done = threading.Event()

    class Other(Job):
        def perform(self) -> None:
            self.progress(0.5)
            other_is_done.set()

    def outlast(job: Any, session: Session) -> None:
        assert other_is_done.wait(10)
        time.sleep(0.7)

    Act.within = staticmethod(outlast)
    Act.perform_later()
    Other.perform_later()
    queue = JobQueue(sqlite, poll_interval=0.01, concurrency=2, lease=0.2)
    assert queue.work_off() == Tally(succeeded=2)
    assert len(effects(sqlite)) == 1
    assert [r for r in caplog.records if r.levelname in {"WARNING", "ERROR"}] == []


def test_a_process_can_be_stopped_between_its_writes(sqlite: SqlAdapter) -> None:
    """Others can write whenever it is: no thread of it has the lock of the file."""
    is_over = threading.Event()

    def write_all_the_time() -> None:
        while not is_over.is_set():
            Act.perform_later()

    writing = [threading.Thread(target=write_all_the_time) for _ in range(3)]
    for thread in writing:
        thread.start()
    path = sqlite.database.engine.url.database
    assert path is not None
    try:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
            for _ in range(50):
                with sqlite.between_writes():
                    other.execute("BEGIN IMMEDIATE")
                    other.execute("ROLLBACK")
    finally:
        is_over.set()
        for thread in writing:
            thread.join()


def test_a_write_on_the_very_thread_is_refused_at_once(sqlite: SqlAdapter) -> None:
    waiting = Act.perform_later()
    waiting.cancel()

    def steer(job: Any, session: Session) -> None:
        begun = time.monotonic()
        with pytest.raises(TransactionOpen, match="on this very thread"):
            waiting.retry()
        assert time.monotonic() - begun < 1
        assert waiting.refresh().state is JobState.CANCELLED

    Act.within = staticmethod(steer)
    Act.perform_later()
    assert work_off(sqlite) == Tally(succeeded=1)


def test_a_write_of_another_thread_gets_an_error_after_a_while(
    sqlite: SqlAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_database, "BUSY_TIMEOUT_SECONDS", 0.1)
    errors: list[BaseException] = []

    def enqueue() -> None:
        try:
            ActAsync.perform_later()
        except TransactionOpen as error:
            errors.append(error)

    def have_another_write(job: Any, session: Session) -> None:
        thread = threading.Thread(target=enqueue)
        thread.start()
        thread.join()

    Act.within = staticmethod(have_another_write)
    Act.perform_later()
    assert work_off(sqlite) == Tally(succeeded=1)
    assert "keep such blocks short" in str(errors[0])


def test_a_turn_that_is_never_given_up_ends_with_its_transaction(sqlite: SqlAdapter) -> None:
    assert isinstance(sqlite, SqliteAdapter)
    lost = sqlite.transaction()
    assert lost.take_turn(0)
    assert isinstance(sqlite.database, sqlite_database.SqliteDatabase)
    assert sqlite.database.writer.transaction() is lost
    del lost
    Act.perform_later()
    assert work_off(sqlite) == Tally(succeeded=1)


# --- sessions of the application -----------------------------------------------------------------


def test_the_application_s_own_sessions(adapter: SqlAdapter) -> None:
    engine = create_engine(adapter.database.engine.url)
    if engine.dialect.name == "sqlite":
        begin_immediate(engine)
    own = sessionmaker(engine, info={"whose": "the application's"})
    Act.sessions = staticmethod(own)
    seen: list[Any] = []
    Act.within = staticmethod(lambda job, session: seen.append(session.info["whose"]))
    stored = Act.perform_later()
    assert work_off(adapter) == Tally(succeeded=1)
    assert seen == ["the application's"]
    assert effects(adapter) == [stored.id]
    engine.dispose()


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_the_application_s_own_async_sessions(postgres: SqlAdapter, driver: str) -> None:
    url = postgres.database.engine.url.set(drivername=f"postgresql+{driver}")
    if driver == "asyncpg":
        url = url.set(query={"host": url.query["host"]})
    engine = create_async_engine(url, pool_size=1)
    ActAsync.sessions = staticmethod(async_sessionmaker(engine))

    async def note(job: Any, session: Any) -> None:
        job.progress(0.5)
        await ActAsync.set(wait=600).perform_later_async()

    ActAsync.within = staticmethod(note)

    class Closes(Job):
        async def perform(self) -> None:
            await engine.dispose()

    stored = ActAsync.perform_later()
    Closes.perform_later()
    assert work_off(postgres) == Tally(succeeded=2)
    assert effects(postgres) == [stored.id]
    assert postgres.count_jobs(JobFilter()) == 1


def test_sessions_of_another_database_complete_nothing(
    sqlite: SqlAdapter, migrated_sqlite: Any, tmp_path: Any
) -> None:
    for name in ("empty", "other"):
        path = tmp_path / f"{name}.sqlite3"
        path.write_bytes(migrated_sqlite.read_bytes() if name == "other" else b"")
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE effects (job_id bigint)"))
        Act.sessions = staticmethod(sessionmaker(engine))
        stored = Act.perform_later()
        assert work_off(sqlite) == Tally(retried=1)
        assert "transaction cannot span two databases" in str(stored.refresh().last_error)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM effects")).scalar_one() == 0
        engine.dispose()
        stored.delete()


def test_what_makes_no_session_is_refused(adapter: SqlAdapter) -> None:
    Act.sessions = staticmethod(lambda: "a string")
    stored = Act.perform_later()
    assert work_off(adapter) == Tally(retried=1)
    assert "expected a sessionmaker" in str(stored.refresh().last_error)


def test_a_session_in_use_is_refused(adapter: SqlAdapter) -> None:
    with Session(adapter.database.engine) as used:
        used.begin()
        Act.sessions = staticmethod(lambda: used)
        stored = Act.perform_later()
        assert work_off(adapter) == Tally(retried=1)
        assert "open already" in str(stored.refresh().last_error)


def test_memory_says_what_it_lacks() -> None:
    with pytest.raises(ConfigurationError, match="needs a database to write in"):
        MemoryAdapter().transaction()
    with pytest.raises(ConfigurationError, match="needs a database to write in"):
        MemoryAdapter().transaction_async()
