"""The tables, and the database that they are in."""

from __future__ import annotations

from typing import Protocol

from jobqueue.records import Health, SchemaStatus


class SchemaRole(Protocol):
    """The role that creates the tables, and examines the database."""

    def ping(self) -> None:
        """Return if the database answers and its tables are there; raise otherwise."""
        ...

    def migrate(self, revision: str = "head") -> None:
        """Create the tables, or bring them to this release's revision."""
        ...

    def downgrade(self, revision: str) -> None:
        """Return the tables to an older revision; `base` removes them and every job in them."""
        ...

    def migration_sql(self, start: str | None = None) -> str:
        """The SQL statements that bring the tables to this release's revision.

        Args:
            start: the present revision of the tables; None if there are no tables.

        Raises:
            SchemaError: there is no such revision.
        """
        ...

    def schema_status(self) -> SchemaStatus:
        """The server that answers, and the revision of the tables there."""
        ...

    def health(self) -> Health:
        """Problems of the database that slow the queue down. Optional."""
        return Health()

    def close_spare_connections(self) -> None:
        """Keep one connection at most of those that nobody uses just now.

        Worker processes call this now and then. Optional.
        """
        return

    def close(self) -> None:
        """Close connections and other resources. The adapter is not used afterwards."""
        ...
