"""The tables in PostgreSQL, and the health of the server."""

from __future__ import annotations

from sqlalchemy import Connection

from jobqueue.adapters.postgres.health import examine
from jobqueue.adapters.sql.schema import SqlSchema
from jobqueue.records import Health

MIGRATION_LOCK = int.from_bytes(b"jobqueue")


class PostgresSchema(SqlSchema):
    """The tables in PostgreSQL, and the examination of the server."""

    def _examine(self, connection: Connection) -> Health:
        return examine(connection)

    def _lock_migrations(self, connection: Connection) -> None:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))

    def _server_version(self, connection: Connection) -> str:
        version = connection.exec_driver_sql("SHOW server_version").scalar_one()
        return f"PostgreSQL {version}"
