"""The caller's own transactions, and running statements in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy import text as sql_text

from jobqueue.adapters.sql.database import Database
from jobqueue.errors import ConfigurationError

NAMED_VALUE = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True, slots=True)
class Execute:
    """Runs statements in the driver's own style, in a transaction that is somebody's.

    Args:
        run: runs one with its values, or with a list of such, and fetches the rows.
        driver: the driver's own connection.
    """

    run: Callable[[str, Any], Sequence[Any]]
    driver: Any

    def __call__(self, sql: str, values: Any) -> Sequence[Any]:
        """The rows of a statement."""
        return self.run(sql, values)


def executing_on(connection: Connection) -> Execute:
    """Run statements on a SQLAlchemy connection; asyncpg's takes values by their number."""

    def run(sql: str, values: Any) -> Sequence[Any]:
        result = connection.exec_driver_sql(sql, values)
        return result.all() if result.returns_rows else ()

    def run_numbered(sql: str, values: Any) -> Sequence[Any]:
        result = connection.execute(sql_text(NAMED_VALUE.sub(r"(:\1)", sql)), values)
        return result.all() if result.returns_rows else ()

    is_numbered = connection.dialect.paramstyle == "numeric_dollar"
    driver = connection.connection.driver_connection
    return Execute(run_numbered if is_numbered else run, driver)


def connection_of(database: Database, session: Any) -> Connection:
    """The connection of the caller's transaction.

    Raises:
        ConfigurationError: it is no session of SQLAlchemy, or one of another kind of database.
    """
    from sqlalchemy.orm import Session, scoped_session

    if isinstance(session, scoped_session):
        session = session()
    connection = session.connection() if isinstance(session, Session) else session
    if not isinstance(connection, Connection):
        raise ConfigurationError(
            f"session= was given a {type(session).__module__}.{type(session).__qualname__}; "
            "expected a SQLAlchemy Session or Connection, or a connection of the driver. "
            "With an AsyncSession: await MyJob.set(session=...).perform_later_async(...)"
        )
    own, theirs = database.engine.dialect, connection.dialect
    if own.name != theirs.name:
        raise ConfigurationError(
            f"session= is a transaction in {theirs.name}, but this job is kept in {own.name}; "
            "a transaction cannot span both"
        )
    return connection
