"""Memory has no tables, and is always there."""

from __future__ import annotations

from jobqueue.adapters.roles.schema import SchemaRole
from jobqueue.records import SchemaStatus


class MemorySchema(SchemaRole):
    """Has no tables to create."""

    def ping(self) -> None:
        """Memory is always there."""

    def migrate(self, revision: str = "head") -> None:
        """Memory has no tables."""

    def downgrade(self, revision: str) -> None:
        """Memory has no tables."""

    def migration_sql(self, start: str | None = None) -> str:  # noqa: ARG002 - others have some
        """Memory has no tables."""
        return ""

    def schema_status(self) -> SchemaStatus:
        return SchemaStatus(server="memory of this process", current=None, head="")

    def close(self) -> None:
        """Memory needs no closing."""
