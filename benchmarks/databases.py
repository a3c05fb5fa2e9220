"""The databases that are measured: scratch ones, made for it and gone at the end."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import psycopg

from benchmarks.loads import Load
from benchmarks.scratch import (
    MemoryScratch,
    PostgresScratch,
    Scratch,
    SqliteScratch,
    dropped_at_the_end,
    inside_schema,
)
from jobqueue.adapters import connect
from tests.postgres import private_server

POSTGRES_SETTINGS = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
)
SYNCHRONOUS = {0: "off", 1: "normal", 2: "full", 3: "extra"}


class Databases(Protocol):
    """Where scratch databases of one adapter come from."""

    adapter: str
    version: str
    settings: dict[str, str]

    def new_scratch(self, loads: Sequence[Load] = ()) -> Scratch:
        """One more, with some rows in it that stay. It is gone when the run ends."""
        ...


class MemoryDatabases:
    """Memory: each process has its own."""

    adapter = "memory"
    version = ""

    def __init__(self) -> None:
        self.settings: dict[str, str] = {}

    def new_scratch(self, loads: Sequence[Load] = ()) -> Scratch:  # noqa: ARG002 - see Databases
        return MemoryScratch()


class SqliteDatabases:
    """Files in a folder."""

    adapter = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0
        scratch = self.new_scratch()
        self.version = _version_of(scratch.url)
        self.settings = {**_sqlite_settings(scratch.url), "file_system": file_system_of(folder)}

    def new_scratch(self, loads: Sequence[Load] = ()) -> Scratch:
        self._made += 1
        names = (f"ours-{self._made}.sqlite3", f"bare-{self._made}.sqlite3")
        scratch = SqliteScratch(*(f"sqlite:///{self._folder / name}" for name in names))
        _migrate(scratch.url)
        scratch.load(loads)
        return scratch


class PostgresDatabases:
    """Schemas of a database, dropped at the end."""

    adapter = "postgresql"

    def __init__(self, url: str, stack: ExitStack, *, is_private: bool) -> None:
        self.url, self.is_private = url, is_private
        self._stack = stack
        with psycopg.connect(url, autocommit=True) as connection:
            self.settings = {s: _setting(connection, s) for s in POSTGRES_SETTINGS}
            self.version = f"PostgreSQL {_setting(connection, 'server_version')}"

    def new_scratch(self, loads: Sequence[Load] = ()) -> Scratch:
        schema = f"jobqueue_benchmark_{secrets.token_hex(4)}"
        self._stack.enter_context(dropped_at_the_end(self.url, schema))
        scratch = PostgresScratch(inside_schema(self.url, schema), self.is_private)
        _migrate(scratch.url)
        scratch.load(loads)
        return scratch


@contextmanager
def databases(
    adapters: Sequence[str], database_url: str | None, folder: Path
) -> Iterator[list[Databases]]:
    """Where to make scratch databases for each adapter that is named.

    Args:
        adapters: `memory`, `sqlite` and `postgresql`.
        database_url: a PostgreSQL database to make schemas in; a private server if None.
        folder: where files go.
    """
    with ExitStack() as stack:
        found: list[Databases] = []
        if "memory" in adapters:
            found.append(MemoryDatabases())
        if "sqlite" in adapters:
            found.append(SqliteDatabases(folder))
        if "postgresql" in adapters:
            # With the settings it comes with: fsync is on.
            url = database_url or stack.enter_context(private_server(settings={}))
            found.append(PostgresDatabases(url, stack, is_private=database_url is None))
        yield found


def _migrate(url: str) -> None:
    adapter = connect(url)
    adapter.migrate()
    adapter.close()


def _version_of(url: str) -> str:
    adapter = connect(url)
    version = adapter.schema_status().server
    adapter.close()
    return version


def _sqlite_settings(url: str) -> dict[str, str]:
    """The settings of a connection that the adapter makes."""
    from jobqueue.adapters.sqlite.adapter import SqliteAdapter

    adapter = SqliteAdapter(url)

    def pragma(name: str) -> int | str:
        value: int | str = adapter.database.read(
            lambda c: c.exec_driver_sql(f"PRAGMA {name}").scalar_one()
        )
        return value

    settings = {
        "journal_mode": str(pragma("journal_mode")),
        "synchronous": SYNCHRONOUS[int(pragma("synchronous"))],
    }
    adapter.close()
    return settings


def _setting(connection: psycopg.Connection, name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return str(row[0]) if row else ""


def file_system_of(folder: Path) -> str:
    """The kind of file system a folder is on: on tmpfs, syncing to the disk costs nothing."""
    from benchmarks.machine import output_of

    return output_of("stat", "--file-system", "--format=%T", str(folder)) or "unknown"
