"""The caller's own transactions, which have to be in the database that holds the jobs.

An application whose tests have a database of their own, or whose framework keeps SQLite files in a
folder of its own, is easily configured with two databases. Without a check nobody would notice
until a job is missing, since the tables may be in both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from jobqueue.adapters.sql.database import LONGEST_LOOK_SECONDS, Database
from jobqueue.adapters.sql.execute import Execute, executing_on
from jobqueue.errors import ConfigurationError, DatabaseError

OTHER_DATABASE = (
    "session= is a transaction in {theirs}, but this job is kept in {ours}: {difference}. A "
    "transaction cannot span two databases: set JOBS_DATABASE_URL (`database_url`) to the one that "
    "the session writes to, and run `jobqueue migrate` there"
)


@dataclass(frozen=True, slots=True)
class Destination:
    """The database that a connection leads to, as the server says.

    Args:
        name: a URL, for messages.
        facts: the values that distinguish databases, by what they are.
    """

    name: str
    facts: Mapping[str, Any]

    def difference_to(self, ours: Destination) -> str | None:
        """The first difference, in words; None when both are the same database."""
        different = [what for what, value in self.facts.items() if ours.facts[what] != value]
        if not different:
            return None
        what = different[0]
        words = (self.facts[what], ours.facts[what])
        if all(isinstance(word, str) for word in words):
            return f"the {what} is {words[0]}, not {words[1]}"
        return f"it is another {what}"


class SqlSessions(ABC):
    """The sessions that callers bring, to run statements in. Those of other databases are refused.

    Args:
        database: the one that holds the jobs.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known_addresses: set[Any] = set()

    # --- what each database says in its own way --------------------------------------------------

    @abstractmethod
    def _executing_on_driver(self, session: Any) -> Execute | None:
        """A way to run statements on a connection of the driver; None if it is none."""

    @abstractmethod
    def _address_of(self, execute: Execute) -> Any:
        """The parameters that a connection was made with, as far as they say where it leads."""

    @abstractmethod
    def _destination_of(self, execute: Execute) -> Destination:
        """The database that a connection leads to."""

    # --- sessions --------------------------------------------------------------------------------

    def executing_on(self, session: Any) -> Execute:
        """A way to run statements in the caller's transaction.

        Raises:
            ConfigurationError: it is no session, or one of another database.
        """
        execute = self._executing_on_driver(session)
        if execute is None:
            return executing_on(self.connection_of(session))
        self._refuse_other_database(execute)
        return execute

    def connection_of(self, session: Any) -> Connection:
        """The connection of the caller's transaction.

        Raises:
            ConfigurationError: it is no session of SQLAlchemy, or one of another database.
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
        own, theirs = self._database.engine.dialect, connection.dialect
        if own.name != theirs.name:
            raise ConfigurationError(
                f"session= is a transaction in {theirs.name}, but this job is kept in {own.name}; "
                "a transaction cannot span both"
            )
        self._refuse_other_database(executing_on(connection))
        return connection

    def _refuse_other_database(self, execute: Execute) -> None:
        """Raise `ConfigurationError` for a connection to another database than the jobs'.

        Each address is checked once.
        """
        address = self._address_of(execute)
        if address in self._known_addresses:
            return
        theirs = self._destination_of(execute)
        ours = self._own_destination()
        difference = ours and theirs.difference_to(ours)
        if ours is not None and difference is not None:
            raise ConfigurationError(
                OTHER_DATABASE.format(theirs=theirs.name, ours=ours.name, difference=difference)
            )
        self._known_addresses.add(address)

    def _own_destination(self) -> Destination | None:
        """The destination of our own connections; None when that cannot be read at once.

        The transaction may hold a pooler's only connection. No job is refused for that, and the
        next job does not wait for it either.
        """
        try:
            return self._database.read(
                lambda connection: self._destination_of(executing_on(connection)),
                answer_seconds=LONGEST_LOOK_SECONDS,
            )
        except DatabaseError:
            return None
