"""The adapter for SQLite."""

from __future__ import annotations

from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.adapters.sql.announcer import Announcer
from jobqueue.adapters.sql.role import SqlParts
from jobqueue.adapters.sqlite.database import open_database
from jobqueue.adapters.sqlite.leases import SqliteLeases
from jobqueue.adapters.sqlite.path import SqlitePath
from jobqueue.adapters.sqlite.reads import SqliteReads
from jobqueue.adapters.sqlite.schema import SqliteSchema
from jobqueue.adapters.sqlite.sessions import SqliteSessions
from jobqueue.adapters.sqlite.time import SqliteTime
from jobqueue.adapters.sqlite.transactions import SqliteTransactions
from jobqueue.adapters.sqlite.wakeups import SqliteWakeups
from jobqueue.clock import Clock


class SqliteAdapter(SqlAdapter):
    """An adapter that keeps jobs in a SQLite file in WAL mode, with every commit synced to disk.

    Args:
        url: `sqlite:///relative/path` or `sqlite:////absolute/path`.
        clock: a clock to use in place of the database's own; for tests.

    Raises:
        InvalidDatabaseUrl: it names no file: SQLite's memory cannot be shared.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        database = open_database(url)
        parts = SqlParts(
            adapter=self,
            database=database,
            time=SqliteTime(clock),
            sessions=SqliteSessions(database),
            announcer=Announcer(),
        )
        self.path = SqlitePath(parts)
        super().__init__(
            parts,
            path=self.path,
            transactions=SqliteTransactions(parts, self.path),
            wakeups=SqliteWakeups(parts),
            leases=SqliteLeases(parts),
            schema=SqliteSchema(parts),
            reads=SqliteReads(parts),
        )
