"""The interface of adapters, which keep jobs, and the adapters that come with jobqueue."""

from __future__ import annotations

from jobqueue.adapters.base import Adapter
from jobqueue.config import hide_password
from jobqueue.errors import InvalidDatabaseUrl

__all__ = ["Adapter", "connect"]


def connect(url: str) -> Adapter:
    """The adapter for a database URL: `sqlite:///…`, `postgresql://…` or `memory://`.

    Nothing is connected to yet. A relative path of SQLite means the folder in which the process is
    now, or was when it read the URL as a setting.

    Raises:
        InvalidDatabaseUrl: no adapter understands it.
    """
    scheme = url.partition(":")[0].partition("+")[0].lower()
    if scheme == "memory":
        from jobqueue.adapters.memory.adapter import MemoryAdapter

        return MemoryAdapter()
    if scheme == "sqlite":
        from jobqueue.adapters.sqlite.adapter import SqliteAdapter

        return SqliteAdapter(url)
    if scheme in {"postgresql", "postgres"}:
        from jobqueue.adapters.postgres.adapter import PostgresAdapter

        return PostgresAdapter(url)
    raise InvalidDatabaseUrl(
        f"{hide_password(url)!r} is no database URL that jobqueue understands; expected "
        "sqlite:///jobs.sqlite3, postgresql://user@host/database or memory://"
    )
