"""The adapter for PostgreSQL."""

from __future__ import annotations

from jobqueue.adapters.postgres.announcer import PostgresAnnouncer
from jobqueue.adapters.postgres.database import open_database
from jobqueue.adapters.postgres.leases import PostgresLeases
from jobqueue.adapters.postgres.path import PostgresPath
from jobqueue.adapters.postgres.schema import PostgresSchema
from jobqueue.adapters.postgres.sessions import PostgresSessions
from jobqueue.adapters.postgres.time import PostgresTime
from jobqueue.adapters.postgres.transactions import PostgresTransactions
from jobqueue.adapters.postgres.wakeups import PostgresWakeups
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.adapters.sql.role import SqlParts
from jobqueue.clock import Clock


class PostgresAdapter(SqlAdapter):
    """An adapter that keeps jobs in PostgreSQL 14 or newer, through psycopg 3.

    Args:
        url: `postgresql://user:password@host/database`, with libpq's options as a query string.
        clock: a clock to use in place of the database's own; for tests.

    Raises:
        InvalidDatabaseUrl: the URL cannot be taken apart.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        database = open_database(url)
        parts = SqlParts(
            adapter=self,
            database=database,
            time=PostgresTime(clock),
            sessions=PostgresSessions(database),
            announcer=PostgresAnnouncer(database),
        )
        self.path = PostgresPath(parts)
        self.wakeups = PostgresWakeups(parts)
        super().__init__(
            parts,
            path=self.path,
            transactions=PostgresTransactions(parts, self.path),
            wakeups=self.wakeups,
            leases=PostgresLeases(parts),
            schema=PostgresSchema(parts),
        )
