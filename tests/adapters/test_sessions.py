"""Enqueueing in the caller's own transaction: `session=`."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from jobqueue import Job
from jobqueue.adapters import Adapter, connect
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.postgres.sessions import PostgresSessions
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.adapters.sqlite.database import begin_immediate
from jobqueue.defaults import default_configuration
from jobqueue.errors import ConfigurationError, DatabaseError, SchemaError
from jobqueue.records import JobFilter, Succeeded
from jobqueue.testing.contract.base import a_claim
from tests.conftest import PATIENCE_SECONDS, new_postgres_database

Kept = list[int]


class SessionJob(Job):
    def perform(self, n: int) -> None:
        pass


class Open(Protocol):
    """Opens a transaction of one kind, which commits unless it is left by an error."""

    def __call__(self, engine: Engine) -> AbstractContextManager[Any]: ...


@contextmanager
def in_session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session, session.begin():
        yield session


def in_connection(engine: Engine) -> AbstractContextManager[Any]:
    return engine.begin()


@contextmanager
def in_scoped_session(engine: Engine) -> Iterator[Any]:
    session = scoped_session(sessionmaker(engine))
    try:
        yield session
        session.commit()
    finally:
        session.remove()


@contextmanager
def in_driver(engine: Engine) -> Iterator[Any]:
    """A connection of the driver's own."""
    with engine.connect() as connection:
        yield connection.connection.driver_connection


on_databases = pytest.mark.parametrize("adapter", ["sqlite", "postgresql"], indirect=True)

SQLALCHEMY: dict[str, Open] = {
    "Session": in_session,
    "Connection": in_connection,
    "scoped_session": in_scoped_session,
}
with_sqlalchemy = pytest.mark.parametrize("opened", SQLALCHEMY.values(), ids=SQLALCHEMY.keys())


class Stop(Exception):
    """Leaves a transaction."""


@contextmanager
def undone(transaction: AbstractContextManager[Any]) -> Iterator[Any]:
    """Something that goes wrong at the end of a transaction's block."""
    with contextlib.suppress(Stop), transaction as joined:
        yield joined
        raise Stop


def kept() -> Kept:
    """The arguments of the jobs that exist, as a transaction of its own sees them."""
    return [job.args["n"] for job in reversed(Job.adapter.list_jobs(JobFilter(), 100))]


def later(session: Any, n: int) -> None:
    SessionJob.set(session=session).perform_later(n)


@pytest.fixture
def engine(adapter: Adapter, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The application's engine: in the adapter's database, or, for memory, in any."""
    kind = request.node.callspec.params["adapter"]
    if kind == "postgresql":
        made = create_engine(
            make_url(request.getfixturevalue("postgres_url")).set(drivername="postgresql+psycopg")
        )
    else:
        made = begin_immediate(create_engine(request.getfixturevalue("sqlite_url")))
    yield made
    made.dispose()


# --- SQLAlchemy ----------------------------------------------------------------------------------


@with_sqlalchemy
def test_a_job_exists_when_its_transaction_commits(engine: Engine, opened: Open) -> None:
    with opened(engine) as session:
        later(session, 1)
        later(session, 2)
        assert kept() == []
    assert kept() == [1, 2]


@with_sqlalchemy
def test_a_job_never_exists_when_it_rolls_back(engine: Engine, opened: Open) -> None:
    with undone(opened(engine)) as session:
        later(session, 1)
    assert kept() == []
    with opened(engine) as session:
        later(session, 2)
    assert kept() == [2]


@pytest.mark.parametrize(
    "make", [Session, Engine.connect, lambda e: scoped_session(sessionmaker(e))]
)
def test_one_transaction_after_another(engine: Engine, make: Callable[[Engine], Any]) -> None:
    session = make(engine)
    for n in range(4):
        later(session, n)
        if n % 2:
            session.rollback()
        else:
            session.commit()
    session.close()
    assert kept() == [0, 2]


def test_a_closed_session_has_committed_nothing(engine: Engine) -> None:
    session = Session(engine)
    later(session, 1)
    session.close()
    assert kept() == []
    later(session, 2)
    session.commit()
    session.close()
    assert kept() == [2]


def test_a_closed_connection_has_committed_nothing(engine: Engine) -> None:
    with engine.connect() as connection:
        later(connection, 1)
    assert kept() == []


@pytest.mark.parametrize("opened", [in_session, in_connection])
def test_savepoints(engine: Engine, opened: Open) -> None:
    with opened(engine) as session:
        later(session, 1)
        with session.begin_nested():
            later(session, 2)
        assert kept() == []
        with undone(session.begin_nested()):
            later(session, 3)
        with undone(session.begin_nested()), session.begin_nested():
            later(session, 4)
        with session.begin_nested():
            later(session, 5)
            with undone(session.begin_nested()):
                later(session, 6)
            later(session, 7)
        later(session, 8)
    assert kept() == [1, 2, 5, 7, 8]


@pytest.mark.parametrize("opened", [in_session, in_connection])
def test_the_first_job_inside_a_savepoint(engine: Engine, opened: Open) -> None:
    with opened(engine) as session:
        with undone(session.begin_nested()):
            later(session, 1)
        later(session, 2)
        with session.begin_nested():
            later(session, 3)
    assert kept() == [2, 3]


@with_sqlalchemy
def test_the_job_and_the_rows_of_the_application_go_together(engine: Engine, opened: Open) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS session_users"))
        connection.execute(text("CREATE TABLE session_users (n integer)"))
    for n, transaction in ((1, opened(engine)), (2, undone(opened(engine)))):
        with transaction as session:
            session.execute(text("INSERT INTO session_users VALUES (:n)"), {"n": n})
            later(session, n)
    with engine.begin() as connection:
        users = connection.execute(text("SELECT n FROM session_users")).scalars().all()
        connection.execute(text("DROP TABLE session_users"))
    assert users == kept() == [1]


def test_a_whole_batch_joins(engine: Engine) -> None:
    with Session(engine) as session:
        records = SessionJob.set(session=session).perform_all_later([(1,), (2,), (3,)])
        assert kept() == []
        session.commit()
    assert kept() == [1, 2, 3]
    assert [record.args["n"] for record in records] == [1, 2, 3]


def test_enqueueing_joins_a_transaction_that_began_before(engine: Engine) -> None:
    with Session(engine) as session:
        session.execute(text("SELECT 1"))
        later(session, 1)
        assert kept() == []
        session.commit()
    assert kept() == [1]


# --- what is refused -----------------------------------------------------------------------------


def test_what_is_no_session_is_refused(adapter: Adapter, engine: Engine) -> None:
    for wrong in (engine, object(), sessionmaker(engine), "session"):
        with pytest.raises(ConfigurationError, match="Session"):
            later(wrong, 1)
    assert kept() == []


class AsyncSession:
    """As SQLAlchemy's: no subclass of `Session`. (The real one needs greenlet to be imported.)"""


@pytest.mark.parametrize("adapter", ["sqlite", "postgresql"], indirect=True)
def test_an_async_session_is_refused_with_the_way_round(adapter: Adapter) -> None:
    with pytest.raises(ConfigurationError, match=r"AsyncSession.*perform_later_async"):
        later(AsyncSession(), 1)


def test_a_session_in_another_kind_of_database_is_refused(
    sqlite_url: str, postgres_url: str
) -> None:
    urls = {"sqlite": sqlite_url, "postgresql": postgres_url.replace("://", "+psycopg://")}
    for kept_in, other in (("sqlite", "postgresql"), ("postgresql", "sqlite")):
        adapter, engine = connect(urls[kept_in]), create_engine(urls[other])
        Job.config(adapter=adapter)
        with (
            Session(engine) as session,
            pytest.raises(ConfigurationError, match=f"in {other}, but this job is kept in"),
        ):
            later(session, 1)
        assert kept() == []
        adapter.close()
        engine.dispose()
    default_configuration.reset()


@pytest.mark.parametrize("adapter", ["sqlite", "postgresql"], indirect=True)
def test_a_session_without_an_engine_is_refused(adapter: Adapter) -> None:
    with pytest.raises(ConfigurationError, match="bound to no engine"):
        later(Session(), 1)


def test_memory_needs_no_engine_in_the_session() -> None:
    Job.config(adapter=MemoryAdapter())
    session = Session()
    later(session, 1)
    assert kept() == []
    session.commit()
    assert kept() == [1]
    default_configuration.reset()


# --- the drivers' own connections ----------------------------------------------------------------


@pytest.mark.parametrize("adapter", ["postgresql"], indirect=True)
@pytest.mark.parametrize("options", [{}, {"row_factory": dict_row}], ids=["tuples", "dicts"])
def test_a_psycopg_connection(adapter: Adapter, postgres_url: str, options: Any) -> None:
    with psycopg.connect(postgres_url, **options) as connection:
        later(connection, 1)
        assert kept() == []
        connection.commit()
        assert kept() == [1]
        later(connection, 2)
        connection.rollback()
        with undone(connection.transaction()):
            later(connection, 3)
        with connection.transaction():
            later(connection, 4)
    assert kept() == [1, 4]


@pytest.mark.parametrize("adapter", ["postgresql"], indirect=True)
@pytest.mark.parametrize("factory", [psycopg.ClientCursor, psycopg.RawCursor])
def test_a_psycopg_connection_in_autocommit(
    adapter: Adapter, postgres_url: str, factory: Any
) -> None:
    with psycopg.connect(postgres_url, autocommit=True, cursor_factory=factory) as connection:
        later(connection, 1)
        assert kept() == [1]
        with undone(connection.transaction()):
            later(connection, 2)
    assert kept() == [1]


@pytest.mark.parametrize("adapter", ["postgresql"], indirect=True)
def test_an_asynchronous_psycopg_connection_is_refused(adapter: Adapter, postgres_url: str) -> None:
    async def attempt() -> None:
        async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
            with pytest.raises(ConfigurationError, match="asynchronous"):
                later(connection, 1)

    asyncio.run(attempt())
    assert kept() == []


@pytest.mark.parametrize("adapter", ["sqlite"], indirect=True)
@pytest.mark.parametrize("row_factory", [None, sqlite3.Row, lambda _, row: list(row)])
def test_a_sqlite3_connection(adapter: Adapter, sqlite_url: str, row_factory: Any) -> None:
    connection = sqlite3.connect(make_url(sqlite_url).database or "")
    connection.row_factory = row_factory
    later(connection, 1)
    assert kept() == []
    connection.commit()
    assert kept() == [1]
    later(connection, 2)
    connection.rollback()
    with connection:
        later(connection, 3)
    later(connection, 4)
    connection.close()
    assert kept() == [1, 3]


@pytest.mark.parametrize("adapter", ["sqlite"], indirect=True)
def test_a_sqlite3_connection_in_autocommit(adapter: Adapter, sqlite_url: str) -> None:
    connection = sqlite3.connect(make_url(sqlite_url).database or "", isolation_level=None)
    later(connection, 1)
    connection.close()
    assert kept() == [1]


@pytest.mark.parametrize("adapter", ["sqlite"], indirect=True)
def test_a_connection_of_the_other_driver_is_refused(adapter: Adapter, postgres_url: str) -> None:
    with (
        psycopg.connect(postgres_url) as connection,
        pytest.raises(ConfigurationError, match="psycopg"),
    ):
        later(connection, 1)


def test_a_drivers_errors_are_put_in_our_words(empty_postgres_url: str) -> None:
    adapter = connect(empty_postgres_url)
    Job.config(adapter=adapter)
    with psycopg.connect(empty_postgres_url) as connection:
        with pytest.raises(SchemaError, match="jobqueue migrate"):
            later(connection, 1)
        with pytest.raises(DatabaseError, match="transaction is aborted"):
            later(connection, 1)
    elsewhere = sqlite3.connect(":memory:")
    lite = connect("sqlite:///unused.sqlite3")
    Job.config(adapter=lite)
    with pytest.raises(SchemaError, match="jobqueue migrate"):
        later(elsewhere, 1)
    elsewhere.close()
    for made in (adapter, lite):
        made.close()
    default_configuration.reset()


# --- the recipe for SQLite -----------------------------------------------------------------------


@pytest.mark.parametrize("adapter", ["sqlite"], indirect=True)
def test_without_the_recipe_reading_and_then_enqueueing_fails(
    adapter: Adapter, sqlite_url: str
) -> None:
    engine = create_engine(sqlite_url, connect_args={"timeout": 60})
    with Session(engine) as session:
        # Python's sqlite3 begins at the first write; this puts the reads in the transaction too.
        session.execute(text("BEGIN"))
        session.execute(text("SELECT count(*) FROM background_jobs")).scalar_one()
        SessionJob.perform_later(0)
        with pytest.raises(DatabaseError, match="locked") as caught:
            later(session, 1)
    assert isinstance(caught.value.__cause__, OperationalError)
    engine.dispose()
    assert kept() == [0]


@pytest.mark.parametrize("adapter", ["sqlite"], indirect=True)
def test_with_the_recipe_it_waits_and_works(adapter: Adapter, sqlite_url: str) -> None:
    engine = begin_immediate(create_engine(sqlite_url))
    other = threading.Thread(target=SessionJob.perform_later, args=(0,))
    with Session(engine) as session:
        session.execute(text("SELECT count(*) FROM background_jobs")).scalar_one()
        other.start()
        later(session, 1)
        session.commit()
    other.join()
    assert kept() == [1, 0]
    engine.dispose()


# --- another database of the same kind -----------------------------------------------------------


@pytest.fixture
def other_engine(
    adapter: Adapter, request: pytest.FixtureRequest, tmp_path: Path, postgres_server: str
) -> Iterator[Engine]:
    """A database that has the tables as well: what is stored there by mistake is never found."""
    with contextlib.ExitStack() as opened:
        if isinstance(adapter, PostgresAdapter):
            url = opened.enter_context(new_postgres_database(postgres_server))
        else:
            (tmp_path / "instance").mkdir()
            url = f"sqlite:///{tmp_path}/instance/shop.sqlite3"
        other = connect(url)
        opened.callback(other.close)
        other.migrate()
        made = create_engine(make_url(url).set(drivername=DRIVERS[make_url(url).drivername]))
        opened.callback(made.dispose)
        yield made


DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}


@on_databases
@pytest.mark.parametrize("opened", [in_session, in_connection, in_driver])
def test_another_database_is_refused(adapter: Adapter, other_engine: Engine, opened: Open) -> None:
    with opened(other_engine) as session:
        with pytest.raises(ConfigurationError) as refused:
            later(session, 1)
        name = str(other_engine.url.database)
        said = str(refused.value)
        assert said.startswith(f"session= is a transaction in {other_engine.dialect.name}://")
        assert name in said.partition("but this job is kept in")[0]
        assert isinstance(adapter, SqlAdapter)
        assert (
            str(adapter.database.engine.url.database)
            in said.partition("but this job is kept in")[2]
        )
        assert "JOBS_DATABASE_URL" in said
    with other_engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM background_jobs")).scalar() == 0
    assert kept() == []


@on_databases
def test_the_transaction_of_a_job_in_another_database_is_refused(
    adapter: Adapter, other_engine: Engine
) -> None:
    later(None, 1)
    (job,) = adapter.claim(a_claim())
    transaction = adapter.transaction(sessionmaker(other_engine))
    assert transaction.take_turn(PATIENCE_SECONDS)
    try:
        transaction.begin()
        with pytest.raises(ConfigurationError, match="but this job is kept in"):
            transaction.commit(Succeeded(job))
    finally:
        transaction.end()
    assert adapter.settle([Succeeded(job)]) == []


@pytest.mark.parametrize("adapter", ["postgresql"], indirect=True)
def test_the_same_database_by_another_way_is_none(adapter: Adapter, postgres_url: str) -> None:
    url = make_url(postgres_url).set(drivername="postgresql+psycopg")
    engine = create_engine(url.update_query_dict({"options": "-c statement_timeout=10s"}))
    with Session(engine) as session, session.begin():
        later(session, 1)
    engine.dispose()
    with psycopg.connect(postgres_url, application_name="else", options="-c jit=off") as connection:
        later(connection, 2)
    assert kept() == [1, 2]


@pytest.mark.parametrize("adapter", ["postgresql"], indirect=True)
def test_another_search_path_is_no_matter(adapter: Adapter, postgres_url: str) -> None:
    """The statements name the schema of the jobs' tables."""
    with psycopg.connect(postgres_url, options="-c search_path=pg_catalog") as connection:
        later(connection, 1)
    url = make_url(postgres_url).set(drivername="postgresql+psycopg")
    engine = create_engine(url.update_query_dict({"options": "-c search_path=pg_catalog"}))
    with Session(engine) as session, session.begin():
        later(session, 2)
    engine.dispose()
    assert kept() == [1, 2]


@pytest.mark.parametrize("adapter", ["sqlite"], indirect=True)
def test_the_same_file_by_another_name_is_none(
    adapter: Adapter, sqlite_url: str, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    engine = create_engine(sqlite_url.replace("jobs.sqlite3", "link/jobs.sqlite3"))
    with Session(engine) as session, session.begin():
        later(session, 1)
    engine.dispose()
    assert kept() == [1]


@pytest.mark.parametrize("adapter", ["sqlite"], indirect=True)
def test_a_database_in_memory_is_refused(adapter: Adapter) -> None:
    with (
        sqlite3.connect(":memory:") as connection,
        pytest.raises(ConfigurationError, match="a SQLite database in memory"),
    ):
        later(connection, 1)


@pytest.mark.parametrize("adapter", ["postgresql"], indirect=True)
def test_a_connection_made_as_ours_are_costs_no_question(
    adapter: Adapter, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a pooler with one connection, which the session has, it would not be answered."""
    assert isinstance(adapter, PostgresAdapter)
    asked: list[None] = []
    monkeypatch.setattr(PostgresSessions, "_own_destination", lambda _: asked.append(None))
    url = make_url(postgres_url)
    sync, own = create_engine(url.set(drivername="postgresql+psycopg")), adapter.transaction()
    with Session(sync) as session, session.begin(), own.session as mine, mine.begin():
        later(session, 1)
        later(mine, 2)
    with psycopg.connect(postgres_url) as connection:
        later(connection, 3)
    sync.dispose()
    asyncio.run(in_async_sessions(postgres_url, adapter))
    assert sorted(kept()) == [1, 2, 3, 4, 4, 5]
    assert asked == []


async def in_async_sessions(url: str, adapter: PostgresAdapter) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession as RealAsyncSession
    from sqlalchemy.ext.asyncio import create_async_engine

    for driver in ("psycopg", "asyncpg"):
        engine = create_async_engine(make_url(url).set(drivername=f"postgresql+{driver}"))
        async with RealAsyncSession(engine) as session, session.begin():
            await SessionJob.set(session=session).perform_later_async(4)
        await engine.dispose()
    async with adapter.transaction_async().session as session, session.begin():
        await SessionJob.set(session=session).perform_later_async(5)
