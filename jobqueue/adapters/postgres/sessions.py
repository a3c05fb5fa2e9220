"""The caller's own transactions in PostgreSQL."""

from __future__ import annotations

from typing import Any

import psycopg
from sqlalchemy import URL

from jobqueue.adapters.postgres.database import executing_on_psycopg
from jobqueue.adapters.sql.database import Database
from jobqueue.adapters.sql.execute import Execute
from jobqueue.adapters.sql.sessions import Destination, SqlSessions
from jobqueue.errors import ConfigurationError

# The database that a connection leads to. Names and poolers may have many addresses.
FIND_PLACE = """
SELECT current_user, current_database(), coalesce(host(inet_server_addr()), ''),
       current_setting('port'), pg_postmaster_start_time()
"""
DEFAULT_PORT = 5432


class PostgresSessions(SqlSessions):
    """The sessions and connections of callers, to PostgreSQL, in which statements are run."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        # One that is made as ours are leads where they lead: there is nothing to ask.
        self._known_addresses.add(_address_in(database.engine.url))

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
        if isinstance(execute.driver, psycopg.Connection | psycopg.AsyncConnection):
            info = execute.driver.info
            return info.host, str(info.port), info.dbname, info.user, info.options
        return None if execute.url is None else _address_in(execute.url)

    def _destination_of(self, execute: Execute) -> Destination:
        ((user, database, host, port, started),) = execute(FIND_PLACE, {})
        return Destination(
            f"postgresql://{user}@{host}:{port}/{database}",
            {"database": database, "server": (started, port)},
        )


def _address_in(url: URL) -> tuple[Any, ...]:
    """The address in a URL, in the form that the driver has of a connection's."""
    options = {"host": url.host, "port": url.port, **url.query}
    port = str(options["port"] or DEFAULT_PORT)
    database = url.database or url.username
    return options["host"], port, database, url.username, options.get("options", "")
