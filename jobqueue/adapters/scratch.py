"""An empty database beside another, for measuring: a schema or a file of its own, gone afterwards.

One whose process was killed outright is removed by the next that is made there.
"""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import singledispatch
from pathlib import Path

from sqlalchemy import URL, Connection

from jobqueue.adapters.base import Adapter
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.sqlite.adapter import SqliteAdapter
from jobqueue.errors import ConfigurationError

SCHEMA_PREFIX = "jobqueue_bench_"
FILE_SUFFIX = ".bench-"
SQLITE_FILES = ("", "-wal", "-shm", "-journal")

# A schema's lock is held by the process that uses it, and taken before the schema is there.
LOCK = "hashtextextended(%s, 0)"
ABANDONED = f"""
SELECT nspname FROM pg_namespace
WHERE starts_with(nspname, %s) AND pg_get_userbyid(nspowner) = current_user
  AND pg_try_advisory_lock({LOCK.replace("%s", "nspname")})
"""  # noqa: S608 - composed of constants


@singledispatch
def scratch_beside(adapter: Adapter) -> AbstractContextManager[Adapter]:
    """An adapter with empty tables on the same server or disk as another, which is not touched.

    Raises:
        ConfigurationError: nothing can be made beside this one.
        DatabaseError: the database does not answer, or does not allow it.
    """
    raise ConfigurationError(
        f"nothing can be made beside a {type(adapter).__name__}; name a SQLite or PostgreSQL "
        "database with --database-url"
    )


@scratch_beside.register(PostgresAdapter)
@contextmanager
def _scratch_schema(adapter: PostgresAdapter) -> Iterator[Adapter]:
    schema = f"{SCHEMA_PREFIX}{secrets.token_hex(4)}"
    with _session(adapter) as connection:
        _remove_abandoned_schemas(connection)
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({LOCK})", (schema,))
        try:
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
            with _migrated(PostgresAdapter(_text(_url_within(adapter, schema))), schema) as scratch:
                yield scratch
        finally:
            _drop(connection, schema)


@contextmanager
def _session(adapter: PostgresAdapter) -> Iterator[Connection]:
    """A connection outside of any transaction, whose locks do not stay with the pool."""
    engine = adapter.database.engine.execution_options(isolation_level="AUTOCOMMIT")
    with adapter.database.errors_translated(), engine.connect() as connection:
        try:
            yield connection
        finally:
            connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")


def _remove_abandoned_schemas(connection: Connection) -> None:
    for schema in connection.exec_driver_sql(ABANDONED, (SCHEMA_PREFIX,)).scalars().all():
        _drop(connection, schema)


def _drop(connection: Connection, schema: str) -> None:
    connection.exec_driver_sql(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


def _url_within(adapter: PostgresAdapter, schema: str) -> URL:
    url = adapter.database.engine.url
    options = f"{url.query.get('options', '')} -csearch_path={schema}".strip()
    return url.update_query_dict({"options": options})


@contextmanager
def _migrated(adapter: PostgresAdapter, schema: str) -> Iterator[Adapter]:
    try:
        current = adapter.database.read(
            lambda c: c.exec_driver_sql("SELECT current_schema()").scalar()
        )
        if current != schema:
            raise ConfigurationError(
                f"connections to {adapter.database.name} cannot be given a schema of their own, "
                "as through a pooler; name the server itself with --database-url"
            )
        adapter.migrate()
        yield adapter
    finally:
        adapter.close()


@scratch_beside.register(SqliteAdapter)
@contextmanager
def _scratch_file(adapter: SqliteAdapter) -> Iterator[Adapter]:
    url = adapter.database.engine.url
    beside = Path(str(url.database))
    _remove_abandoned_files(beside)
    path = beside.with_name(f"{beside.name}{FILE_SUFFIX}{os.getpid()}")
    scratch = SqliteAdapter(_text(url.set(database=str(path))))
    try:
        scratch.migrate()
        yield scratch
    finally:
        scratch.close()
        _remove(path)


def _remove_abandoned_files(beside: Path) -> None:
    import psutil

    for path in beside.parent.glob(f"{glob.escape(beside.name)}{FILE_SUFFIX}*"):
        pid = path.name.rpartition("-")[2]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            _remove(path)


def _remove(path: Path) -> None:
    for suffix in SQLITE_FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)
