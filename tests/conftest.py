"""Databases to test against: memory, SQLite files, and a real PostgreSQL server.

All processes of a run share one server, in which each has databases of its own. With
TEST_DATABASE_URL set, that server is used instead (a role that may create databases).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from jobqueue import Job
from jobqueue.adapters import Adapter, connect
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.clock import ManualClock
from jobqueue.defaults import default_configuration
from jobqueue.job import registry
from tests import needs
from tests.forking import Forked, ForkServer, running_fork_server
from tests.postgres import new_folder, remove_server, started_server

PROJECT = Path(__file__).parents[1]
PATIENCE_SECONDS = 60  # a machine that has much else to do takes 20 s for what usually takes one
DATABASES = ("sqlite", "postgresql")
ADAPTERS = ("memory", *DATABASES)
# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")
TABLES = (
    "background_jobs, background_workers, background_queues, background_schedules, "
    "background_keys, background_stats, background_tokens, background_ended_workers, "
    "background_stacks"
)


# --- PostgreSQL ----------------------------------------------------------------------------------


POSTGRES_FOLDER = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Choose one folder for the server of this run, whichever process of it starts the server."""
    config.pluginmanager.register(needs)
    given = getattr(config, "workerinput", {}).get("postgres_folder")
    config.stash[POSTGRES_FOLDER] = Path(given) if given else new_folder()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the server is."""
    node.workerinput["postgres_folder"] = str(node.config.stash[POSTGRES_FOLDER])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server when every process is done with it."""
    if not hasattr(config, "workerinput"):
        remove_server(config.stash[POSTGRES_FOLDER])


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> str:
    """The URL of a PostgreSQL server, shared by the whole run, to create databases in."""
    given = os.environ.get("TEST_DATABASE_URL")
    return given or started_server(pytestconfig.stash[POSTGRES_FOLDER])


@contextlib.contextmanager
def new_postgres_database(server: str) -> Iterator[str]:
    """A database of its own on a server, dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: str) -> Iterator[str]:
    """A database with the tables, shared by the tests of this process."""
    with new_postgres_database(postgres_server) as url:
        adapter = connect(url)
        adapter.migrate()
        adapter.close()
        yield url


@pytest.fixture
def postgres_url(migrated_postgres: str) -> str:
    """A PostgreSQL database with the tables and nothing in them."""
    with psycopg.connect(migrated_postgres, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {TABLES} RESTART IDENTITY".encode())
    return migrated_postgres


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    """A PostgreSQL database without any tables."""
    with new_postgres_database(postgres_server) as url:
        yield url


# --- SQLite --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the tables, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.sqlite3"
    adapter = connect(f"sqlite:///{path}")
    adapter.migrate()
    adapter.close()
    return path


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """A SQLite database with the tables and nothing in them."""
    path = tmp_path / "jobs.sqlite3"
    shutil.copy(migrated_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'empty.sqlite3'}"


# --- either, and all adapters --------------------------------------------------------------------


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str:
    """A database with the tables and nothing in them: SQLite, then PostgreSQL."""
    name = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    return str(request.getfixturevalue(name))


@pytest.fixture(params=DATABASES)
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """A database without any tables: SQLite, then PostgreSQL."""
    name = {"sqlite": "empty_sqlite_url", "postgresql": "empty_postgres_url"}[request.param]
    return str(request.getfixturevalue(name))


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still until the test moves it."""
    return ManualClock()


def build_adapter(
    request: pytest.FixtureRequest, kind: str, clock: ManualClock | None = None
) -> Adapter:
    """An adapter of a kind, empty, on the database's own clock unless one is given."""
    if kind == "memory":
        return MemoryAdapter(clock=clock)
    if kind == "sqlite":
        from jobqueue.adapters.sqlite.adapter import SqliteAdapter

        return SqliteAdapter(request.getfixturevalue("sqlite_url"), clock=clock)
    from jobqueue.adapters.postgres.adapter import PostgresAdapter

    return PostgresAdapter(request.getfixturevalue("postgres_url"), clock=clock)


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> Iterator[Adapter]:
    """Each adapter in turn, empty, on its own clock, and the default one of every job."""
    made = build_adapter(request, request.param)
    Job.config(adapter=made)
    yield made
    made.close()
    default_configuration.reset()


@pytest.fixture(params=ADAPTERS)
def clocked_adapter(request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[Adapter]:
    """As `adapter`, but on the test's own `clock`."""
    made = build_adapter(request, request.param, clock)
    Job.config(adapter=made)
    yield made
    made.close()
    default_configuration.reset()


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in list(os.environ):
        if name.startswith("JOBS_") or name == "DATABASE_URL":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_more_plugins_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a pytest that a test starts: these two take two seconds to import, each time."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:schemathesis -p no:hypothesispytest")


@pytest.fixture
def forget_jobs() -> Iterator[None]:
    """Take what a test defines out of the registry: other tests' workers would enqueue it."""
    before = dict(registry._by_name)
    yield
    registry._by_name.clear()
    registry._by_name.update(before)


# --- the command line ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What a command printed and how it ended."""

    exit_code: int
    out: str
    err: str


@dataclass(frozen=True)
class Folder:
    """A folder in which Python is run as a user would run it."""

    folder: Path
    environment: Mapping[str, str]

    def python(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Run:
        """Run Python in the folder."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**self.environment, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        return Run(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Project(Folder):
    """A user's folder, in which `jobs` is run, forked off a Python that has the imports behind it.

    What depends on how Python starts, and on what it imports, is tested with `python`.
    """

    server: ForkServer
    streams: Path

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
        return path

    def jobs(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Run:
        """Run `jobs` in the folder, without a terminal."""
        given, out, err = (self.streams / name for name in ("stdin", "stdout", "stderr"))
        given.write_text(stdin)
        environment = {**self.environment, **(env or {})}
        forked = self.server.start(
            self.folder, environment, arguments, stdin=given, stdout=out, stderr=err
        )
        return Run(forked.wait(PATIENCE_SECONDS), out.read_text(), err.read_text())

    def start(self, *arguments: str, log: Path) -> Forked:
        """Start `jobs` in the folder and leave it running, its log in a file."""
        nowhere = Path(os.devnull)
        return self.server.start(
            self.folder, self.environment, arguments, stdin=nowhere, stdout=nowhere, stderr=log
        )


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """One for all tests of this process."""
    with running_fork_server(plain_environment()) as server:
        yield server


def plain_environment() -> dict[str, str]:
    """The environment without settings of jobqueue, and with a plain wide terminal."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JOBS_")}
    kept.pop("DATABASE_URL", None)
    kept.pop("FORCE_COLOR", None)
    shown = {"PYTHONWARNINGS": "default", **kept}
    return {**shown, "COLUMNS": "120", "NO_COLOR": "1"}


@pytest.fixture
def empty_project(tmp_path: Path, fork_server: ForkServer) -> Project:
    """An empty folder, where nothing is set up."""
    folder, streams = tmp_path / "project", tmp_path / "streams"
    folder.mkdir()
    streams.mkdir()
    return Project(folder, plain_environment(), fork_server, streams)


@pytest.fixture
def project(empty_project: Project, database_url: str) -> Project:
    """A folder with a small `jobs.py`, on a migrated database: SQLite, then PostgreSQL."""
    empty_project.write("jobs.py", JOBS)
    environment = {**empty_project.environment, "JOBS_DATABASE_URL": database_url}
    return replace(empty_project, environment=environment)


JOBS = """
    from pathlib import Path

    from jobqueue import Discard, Job, Retry


    class Greet(Job):
        def perform(self, name: str, times: int = 1) -> None:
            with Path("greetings.txt").open("a") as file:
                file.write(f"hello {name}\\n" * times)


    class Fail(Job):
        max_attempts = 2
        queue = "email"

        def perform(self, why: str = "because") -> None:
            raise ValueError(why)


    class Login(Job):
        redact = ("password",)

        def perform(self, user: str, password: str) -> None:
            self.progress(0.5, f"trying {password}")
            raise RuntimeError(f"{user} cannot log in with {password}")


    class GiveUp(Job):
        def perform(self) -> None:
            raise Discard("no longer wanted")


    class ComeBack(Job):
        def perform(self, seconds: float) -> None:
            raise Retry(in_=seconds)
"""


@pytest.fixture
def wait_for() -> Callable[[Callable[[], bool], str], None]:
    """Wait until something is so, watching it closely; fail when it is not in the end."""
    return wait_until


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """As `wait_for`, for fixtures that are shared by several tests."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE_SECONDS} s in vain for {what}")
        time.sleep(0.01)
