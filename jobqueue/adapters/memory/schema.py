"""The schema role in memory, which has no tables and always answers."""

from __future__ import annotations

from jobqueue.adapters.roles.schema import SchemaRole
from jobqueue.records import SchemaStatus


class MemorySchema(SchemaRole):
    """The schema role of the memory adapter: there are no tables to create."""

    def ping(self) -> None:
        """Do nothing: memory is always there."""

    def migrate(self, revision: str = "head") -> None:
        """Do nothing: memory has no tables."""

    def downgrade(self, revision: str) -> None:
        """Do nothing: memory has no tables."""

    def migration_sql(self, start: str | None = None) -> str:  # noqa: ARG002 - others have some
        """No SQL: memory has no tables."""
        return ""

    def schema_status(self) -> SchemaStatus:
        return SchemaStatus(server="memory of this process", current=None, head="")

    def close(self) -> None:
        """Do nothing: memory needs no closing."""
