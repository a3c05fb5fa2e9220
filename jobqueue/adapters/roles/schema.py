"""The tables, and the database that they are in."""

from __future__ import annotations

from typing import Protocol

from jobqueue.records import Health, SchemaStatus


class SchemaRole(Protocol):
    """Creates the tables, and says how the database is."""

    def ping(self) -> None:
        """Return if the database answers and its tables are there; raise otherwise."""
        ...

    def migrate(self, revision: str = "head") -> None:
        """Create the tables, or bring them to this release's revision."""
        ...

    def downgrade(self, revision: str) -> None:
        """Take the tables back to a revision; `base` removes them and every job in them."""
        ...

    def migration_sql(self, start: str | None = None) -> str:
        """The statements that bring the tables to this release's revision, for others to run.

        Args:
            start: the revision that they are at; None where there are none.

        Raises:
            SchemaError: there is no such revision.
        """
        ...

    def schema_status(self) -> SchemaStatus:
        """What answers, and which revision of the tables it has."""
        ...

    def health(self) -> Health:
        """What of the database hurts the queue. An adapter that cannot tell need not have it."""
        return Health()

    def close_spare_connections(self) -> None:
        """Keep one connection at most of those that nobody uses just now.

        Called now and then in a process that does nothing but work. An adapter without connections
        need not have it.
        """
        return

    def close(self) -> None:
        """Give up connections and other resources. The adapter is not used afterwards."""
        ...
