"""The interface of adapters, which keep jobs, and the adapters that come with jobqueue."""

from __future__ import annotations

from jobqueue.adapters.base import Adapter
from jobqueue.config import hide_password
from jobqueue.errors import ConfigurationError, InvalidDatabaseUrl

__all__ = ["Adapter", "connect"]


def connect(url: str, schema: str | None = None) -> Adapter:
    """The adapter for a database URL: `sqlite:///…`, `postgresql://…` or `memory://`.

    Nothing is connected to yet. A relative path of SQLite means the folder in which the process is
    now, or was when it read the URL as a setting.

    Args:
        url: where the jobs are.
        schema: the schema of PostgreSQL that the tables are in; None to find it.

    Raises:
        InvalidDatabaseUrl: no adapter understands it.
        ConfigurationError: there can be no such schema.
    """
    scheme = url.partition(":")[0].partition("+")[0].lower()
    if scheme == "memory":
        from jobqueue.adapters.memory.adapter import MemoryAdapter

        _refuse_schema(schema, "memory")
        return MemoryAdapter()
    if scheme == "sqlite":
        from jobqueue.adapters.sqlite.adapter import SqliteAdapter

        _refuse_schema(schema, "a SQLite file")
        return SqliteAdapter(url)
    if scheme in {"postgresql", "postgres"}:
        from jobqueue.adapters.postgres.adapter import PostgresAdapter

        return PostgresAdapter(url, schema=schema)
    raise InvalidDatabaseUrl(
        f"{hide_password(url)!r} is no database URL that jobqueue understands; expected "
        "sqlite:///jobs.sqlite3, postgresql://user@host/database or memory://"
    )


def _refuse_schema(schema: str | None, database: str) -> None:
    """Refuse a schema where there are none. Who sets one relies on the tables being apart."""
    if schema is not None:
        raise ConfigurationError(
            f"`schema` is {schema!r}, and {database} has no schemas; unset it (JOBS_SCHEMA, "
            "--schema, `schema` in the file), or set `database_url` to a PostgreSQL database"
        )
