"""The caller's own transactions in PostgreSQL."""

from __future__ import annotations

from typing import Any

import psycopg

from jobqueue.adapters.postgres.database import executing_on_psycopg
from jobqueue.adapters.sql.database import Database
from jobqueue.adapters.sql.execute import Execute
from jobqueue.adapters.sql.sessions import Destination, SqlSessions
from jobqueue.errors import ConfigurationError

# The database that a connection leads to. Names and poolers may have many addresses.
FIND_PLACE = """
SELECT current_user, current_database(), coalesce(host(inet_server_addr()), ''),
       current_setting('port'), pg_postmaster_start_time(),
       to_regclass('background_jobs')::oid::text
"""
# The parameters of a connection that decide where it leads.
ADDRESS = ("service", "host", "hostaddr", "port", "dbname", "user", "options")


class PostgresSessions(SqlSessions):
    """Runs statements in sessions and connections to PostgreSQL."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        # A connection with the same parameters as ours leads to the same database.
        _, named = database.engine.dialect.create_connect_args(database.engine.url)
        self._known_addresses.add(tuple(_word(named.get(name)) for name in ADDRESS))

    def _executing_on_driver(self, session: Any) -> Execute | None:
        if isinstance(session, psycopg.AsyncConnection):
            raise ConfigurationError(
                "session= was given an asynchronous psycopg connection, which cannot be waited "
                "for; give perform_later a psycopg.Connection or a SQLAlchemy Session, and "
                "perform_later_async an AsyncSession"
            )
        if not isinstance(session, psycopg.Connection):
            return None
        return executing_on_psycopg(session)

    def _address_of(self, execute: Execute) -> Any:
        if not isinstance(execute.driver, psycopg.Connection):
            return None
        given = execute.driver.info.get_parameters()
        return tuple(given.get(name) for name in ADDRESS)

    def _destination_of(self, execute: Execute) -> Destination:
        ((user, database, host, port, started, table),) = execute(FIND_PLACE, {})
        return Destination(
            f"postgresql://{user}@{host}:{port}/{database}",
            {"database": database, "server": (started, port), "schema": (table,)},
        )


def _word(value: Any) -> str | None:
    return None if value is None else str(value)
