"""The adapter for PostgreSQL."""

from __future__ import annotations

from jobqueue.adapters.postgres.announcer import PostgresAnnouncer
from jobqueue.adapters.postgres.database import PostgresDatabase, open_database
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
from jobqueue.config import checked_schema


class PostgresAdapter(SqlAdapter):
    """An adapter that keeps jobs in PostgreSQL 14 or newer, through psycopg 3.

    Args:
        url: `postgresql://user:password@host/database`, with libpq's options as a query string.
        schema: the schema that holds the tables. Without it they are found by the search path,
            in the first schema of it that nobody else can have planted them in.
        clock: a clock to use in place of the database's own; for tests.

    Raises:
        InvalidDatabaseUrl: the URL cannot be taken apart.
        ConfigurationError: there can be no such schema.
    """

    database: PostgresDatabase

    def __init__(self, url: str, *, schema: str | None = None, clock: Clock | None = None) -> None:
        database = open_database(url, None if schema is None else checked_schema(schema))
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
