"""What adapters raise when the database is away, wrong, locked or refuses, in our own words."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from jobqueue.adapters import Adapter, connect
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.adapters.sql.database import translated
from jobqueue.errors import (
    DatabaseError,
    DatabaseRefused,
    DatabaseUnavailable,
    InvalidDatabaseUrl,
    SchemaError,
)
from jobqueue.records import (
    NO_DELAY,
    Claim,
    Failed,
    JobFilter,
    JobState,
    NewJob,
    NewWorker,
    Released,
    Succeeded,
)
from tests.conftest import new_postgres_database

EMOJI = "\U0001f600"
JOB = NewJob("Work", "{}", "default", 50, 5)
CLAIM = Claim("w", 7, 10, 10)
SECRET = "hunter2"

CALLS: dict[str, Callable[[Adapter], Any]] = {
    "enqueue": lambda adapter: adapter.enqueue([JOB]),
    "claim": lambda adapter: adapter.claim(CLAIM),
    "turn": lambda adapter: adapter.turn([], CLAIM),
    "register": lambda adapter: adapter.register_worker(
        NewWorker("w", "w", "h", 1, None, 1, NO_DELAY)
    ),
    "beat": lambda adapter: adapter.beat(["w"]),
    "unregister": lambda adapter: adapter.unregister_worker("w"),
    "workers": lambda adapter: adapter.workers(),
    "orphans": lambda adapter: adapter.orphaned_workers(),
    "get": lambda adapter: adapter.get(1),
    "list": lambda adapter: adapter.list_jobs(JobFilter(), 10),
    "count": lambda adapter: adapter.count_by_state(),
    "paused": lambda adapter: adapter.paused_queues(),
    "retry": lambda adapter: adapter.retry(JobFilter()),
    "cancel": lambda adapter: adapter.cancel(JobFilter(), "no"),
    "delete": lambda adapter: adapter.delete(JobFilter()),
    "ping": lambda adapter: adapter.ping(),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@contextlib.contextmanager
def adapter_for(url: str) -> Iterator[Adapter]:
    adapter = connect(url)
    try:
        yield adapter
    finally:
        adapter.close()


# --- no tables -----------------------------------------------------------------------------------


@every_call
def test_missing_tables(empty_postgres: str, call: Callable[[Adapter], Any]) -> None:
    with (
        adapter_for(empty_postgres) as adapter,
        pytest.raises(SchemaError, match="jobqueue migrate"),
    ):
        call(adapter)


@every_call
def test_missing_tables_in_a_file(tmp_path: Path, call: Callable[[Adapter], Any]) -> None:
    path = tmp_path / "empty.sqlite3"
    path.touch()
    with (
        adapter_for(f"sqlite:///{path}") as adapter,
        pytest.raises(SchemaError, match="jobqueue migrate"),
    ):
        call(adapter)


@every_call
def test_a_missing_file(tmp_path: Path, call: Callable[[Adapter], Any]) -> None:
    path = tmp_path / "missing.sqlite3"
    with adapter_for(f"sqlite:///{path}") as adapter, pytest.raises(SchemaError) as caught:
        call(adapter)
    assert "missing.sqlite3 does not exist" in str(caught.value)
    assert "jobqueue setup" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def empty_postgres(postgres_server: str) -> Iterator[str]:
    with new_postgres_database(postgres_server) as url:
        yield url


def test_status_of_a_database_without_tables(empty_database_url: str, tmp_path: Path) -> None:
    if empty_database_url.startswith("sqlite"):
        (tmp_path / "empty.sqlite3").touch()
    with adapter_for(empty_database_url) as adapter:
        status = adapter.schema_status()
    assert status.current is None
    assert status.head
    assert status.server.startswith(("SQLite 3", "PostgreSQL "))


# --- no server, or none that lets us in ----------------------------------------------------------


@every_call
def test_no_server(call: Callable[[Adapter], Any]) -> None:
    with (
        adapter_for("postgresql://127.0.0.1:1/none?connect_timeout=2") as adapter,
        pytest.raises(DatabaseUnavailable, match="does not answer") as caught,
    ):
        call(adapter)
    assert "jobqueue doctor" in str(caught.value)


def test_a_database_that_does_not_exist(postgres_url: str) -> None:
    url = make_url(postgres_url).set(database="no_such_database")
    with (
        adapter_for(url.render_as_string(hide_password=False)) as adapter,
        pytest.raises(DatabaseUnavailable, match="no_such_database"),
    ):
        adapter.ping()


def test_a_role_that_does_not_exist(postgres_url: str) -> None:
    url = make_url(postgres_url).set(username="nobody_at_all", password=SECRET)
    with (
        adapter_for(url.render_as_string(hide_password=False)) as adapter,
        pytest.raises(DatabaseUnavailable, match="nobody_at_all") as caught,
    ):
        adapter.ping()
    assert SECRET not in _everything_said(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{SECRET}@127.0.0.1:1/none",
        f"postgresql://127.0.0.1:1/none?user=user&password={SECRET}",
        f"postgresql+asyncpg://user:{SECRET}@127.0.0.1:1/none",
    ],
)
def test_passwords_are_not_told(url: str) -> None:
    with adapter_for(url) as adapter, pytest.raises(DatabaseUnavailable) as caught:
        adapter.ping()
    assert SECRET not in _everything_said(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://user:{SECRET}@host/name",
        f"postgresql://user:{SECRET}@host:port/name",
        f"nonsense://user:{SECRET}@host",
        f"//user:{SECRET}@host",
        f"postgresql://user:half@{SECRET}@127.0.0.1:1/none",
    ],
)
def test_passwords_of_urls_that_are_none_are_not_told(url: str) -> None:
    with pytest.raises(InvalidDatabaseUrl) as caught:
        connect(url)
    assert SECRET not in str(caught.value)


def test_arguments_are_not_told(database_url: str) -> None:
    nameless = NewJob("Work", f'{{"password": "{SECRET}"}}', None, 50, 5)  # type: ignore[arg-type]
    with adapter_for(database_url) as adapter:
        with pytest.raises(DatabaseRefused) as caught:
            adapter.enqueue([JOB, nameless])
        assert adapter.count_jobs(JobFilter()) == 0
    # PostgreSQL quotes the row in the DETAIL of its message.
    assert SECRET not in _everything_said(caught.value).replace("\n", " ").partition("DETAIL")[0]


def _everything_said(error: BaseException | None) -> str:
    said = []
    while error is not None:
        said.append(str(error))
        error = error.__cause__
    return "\n".join(said)


# --- URLs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "POSTGRES"])
def test_every_spelling_of_postgresql(postgres_url: str, scheme: str) -> None:
    with adapter_for(postgres_url.replace("postgresql", scheme, 1)) as adapter:
        adapter.ping()


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true", "sqlite:///"],
)
def test_the_memory_of_sqlite_is_refused(url: str) -> None:
    with pytest.raises(InvalidDatabaseUrl, match="memory://"):
        connect(url)


@pytest.mark.parametrize("url", ["memory://", "memory:", "MEMORY://x"])
def test_memory(url: str) -> None:
    assert isinstance(connect(url), MemoryAdapter)


@pytest.mark.parametrize("url", ["", "jobs.sqlite3", "mysql://host/name", "redis://host"])
def test_what_is_no_url_of_ours(url: str) -> None:
    with pytest.raises(InvalidDatabaseUrl, match=r"sqlite:///jobs\.sqlite3"):
        connect(url)


# --- locked, read-only, gone ---------------------------------------------------------------------


def test_a_file_that_is_locked_for_too_long(sqlite_url: str) -> None:
    other = sqlite3.connect(make_url(sqlite_url).database or "", isolation_level=None)
    with adapter_for(f"{sqlite_url}?timeout=0.05") as adapter:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable, match="locked"):
            adapter.enqueue([JOB])
        assert adapter.count_jobs(JobFilter()) == 0
        other.execute("ROLLBACK")
        adapter.enqueue([JOB])
    other.close()


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with (
        adapter_for(f"sqlite:///{tmp_path}/none/jobs.sqlite3") as adapter,
        pytest.raises(DatabaseUnavailable, match="none"),
    ):
        adapter.migrate()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    path.write_bytes(b"this is no database at all " * 100)
    with adapter_for(f"sqlite:///{path}") as adapter:
        for attempt in (adapter.ping, adapter.migrate):
            with pytest.raises(DatabaseError, match="not a database; check the URL"):
                attempt()
    assert path.read_bytes().startswith(b"this is no database")


def test_a_read_only_server(postgres_url: str) -> None:
    read_only = f"{postgres_url}{'&' if '?' in postgres_url else '?'}"
    read_only += "options=-c%20default_transaction_read_only%3Don"
    with adapter_for(postgres_url) as adapter:
        adapter.enqueue([JOB])
    with adapter_for(read_only) as adapter:
        adapter.ping()
        for call in (CALLS["enqueue"], CALLS["claim"]):
            with pytest.raises(DatabaseUnavailable, match="read-only"):
                call(adapter)


@every_call
def test_a_connection_that_was_cut_is_replaced(
    postgres_url: str, call: Callable[[Adapter], Any]
) -> None:
    with adapter_for(postgres_url) as adapter:
        adapter.enqueue([JOB])
        cut_connections(postgres_url)
        call(adapter)
        adapter.ping()


def cut_connections(url: str) -> None:
    """Every connection to the database is gone when this returns."""
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
        assert ended
        assert all(gone for (gone,) in ended)


def test_a_connection_cut_within_a_transaction_of_the_caller(postgres_url: str) -> None:
    with adapter_for(postgres_url) as adapter, psycopg.connect(postgres_url) as connection:
        adapter.enqueue([JOB], session=connection)
        cut_connections(postgres_url)
        with pytest.raises(DatabaseUnavailable):
            adapter.enqueue([JOB], session=connection)
        assert adapter.count_jobs(JobFilter()) == 0


# --- forks ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(database_url: str) -> None:
    with adapter_for(database_url) as adapter:
        adapter.enqueue([JOB])
        child = multiprocessing.get_context("fork").Process(
            target=_enqueue_many, args=(adapter, "Child")
        )
        child.start()
        _enqueue_many(adapter, "Parent")
        child.join()
        assert child.exitcode == os.EX_OK
        adapter.ping()
        counts = [adapter.count_jobs(JobFilter(handlers=(name,))) for name in ("Child", "Parent")]
        assert counts == [20, 20]


def _enqueue_many(adapter: Adapter, handler: str) -> None:
    for _ in range(20):
        adapter.enqueue([NewJob(handler, "{}", "default", 50, 5)])


# --- what the database refuses -------------------------------------------------------------------


@pytest.fixture(params=["LATIN1", "SQL_ASCII"])
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def odd_database(postgres_server: str, encoding: str) -> Iterator[str]:
    """A database that is not in UTF-8."""
    name = f"test_odd_{encoding.lower()}_{os.getpid()}"
    create = sql.SQL(
        "CREATE DATABASE {} ENCODING {} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    ).format(sql.Identifier(name), sql.Literal(encoding))
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(create)
    url = make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
    try:
        with adapter_for(url) as adapter:
            adapter.migrate()
        yield url
    finally:
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


@pytest.mark.parametrize("encoding", ["LATIN1"], indirect=True)
def test_one_refused_outcome_settles_alone(odd_database: str) -> None:
    with adapter_for(odd_database) as adapter:
        adapter.enqueue([JOB] * 7)
        jobs = adapter.claim(CLAIM)
        assert (
            adapter.settle(
                [
                    Failed(jobs[0], error="caf\u00e9"),
                    Failed(jobs[1], error=f"smile {EMOJI}"),
                    Released(jobs[2]),
                    Succeeded(jobs[3]),
                    Succeeded(jobs[4], keep=True, result=f'"{EMOJI}"'),
                    Succeeded(jobs[5], keep=True, result='"plain"'),
                    Failed(jobs[6], error="plain"),
                ]
            )
            == []
        )
        rows = {job.id: job for job in adapter.list_jobs(JobFilter(), 10)}
        assert rows[jobs[0].id].last_error == "caf\u00e9"
        assert rows[jobs[1].id].last_error == r"smile \U0001f600"
        assert rows[jobs[2].id].state is JobState.READY
        assert jobs[3].id not in rows
        assert rows[jobs[4].id].state is JobState.SUCCEEDED
        assert "could not be stored" in str(rows[jobs[4].id].last_error)
        assert rows[jobs[5].id].result == "plain"
        assert rows[jobs[6].id].last_error == "plain"


@pytest.mark.parametrize("encoding", ["LATIN1"], indirect=True)
def test_a_refused_job_is_an_error_of_its_own(odd_database: str) -> None:
    with adapter_for(odd_database) as adapter:
        smiling = NewJob("Work", f'{{"text": "{EMOJI}"}}', "default", 50, 5)
        with pytest.raises(DatabaseRefused, match="LATIN1"):
            adapter.enqueue([JOB, smiling])
        with psycopg.connect(odd_database) as connection, pytest.raises(DatabaseRefused):
            adapter.enqueue([smiling], session=connection)
        assert adapter.count_jobs(JobFilter()) == 0
        adapter.enqueue([NewJob("Work", '{"text": "\\ud83d\\ude00"}', "default", 50, 5)])
        assert adapter.claim(CLAIM)[0].args == '{"text": "\\ud83d\\ude00"}'


def test_a_database_in_another_encoding_works(odd_database: str) -> None:
    with adapter_for(odd_database) as adapter:
        adapter.enqueue([NewJob("Work", '{"text": "caf\u00e9"}', "default", 50, 5)])
        (job,) = adapter.claim(CLAIM)
        assert (job.handler, job.args) == ("Work", '{"text": "caf\u00e9"}')
        assert adapter.settle([Failed(job, error="na\u00efve")]) == []
        row = adapter.get(job.id)
        assert row is not None
        assert (row.args, row.last_error) == ({"text": "caf\u00e9"}, "na\u00efve")


# --- a row that somebody wrote by hand -----------------------------------------------------------


def test_a_row_that_is_no_utf8_does_not_spoil_its_batch(sqlite_url: str) -> None:
    with adapter_for(sqlite_url) as adapter:
        first, broken, last = adapter.enqueue([JOB, JOB, JOB])
        with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as by_hand:
            by_hand.execute(
                "UPDATE background_jobs SET args = ?, last_error = ? WHERE id = ?",
                (b'{"name": "\xff"}', b"\xff", broken.id),
            )
            by_hand.commit()
        assert [job.id for job in adapter.list_jobs(JobFilter(), 10)] == [
            last.id,
            broken.id,
            first.id,
        ]
        args = {job.id: job.args for job in adapter.claim(CLAIM)}
    assert args == {first.id: "{}", broken.id: r'{"name": "\xff"}', last.id: "{}"}


def test_a_pooler_that_goes_down_with_an_answer_on_its_lips_is_away() -> None:
    """What psycopg raised when PgBouncer lost its server just after a COMMIT, in a chaos run."""
    confused = psycopg.InternalError("received 2 results from command 'COMMIT'")
    assert isinstance(translated(confused, "the database"), DatabaseUnavailable)
