"""The tables in PostgreSQL, and the health of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from jobqueue.adapters.postgres.database import PostgresDatabase
from jobqueue.adapters.postgres.health import examine
from jobqueue.adapters.postgres.left_indexes import (
    concurrently,
    left_indexes,
    make_left_indexes,
)
from jobqueue.adapters.postgres.schema_name import SchemaName
from jobqueue.adapters.sql.named import quoted, quoted_in_text, search_path_set_to
from jobqueue.adapters.sql.schema import SqlSchema
from jobqueue.errors import SchemaError
from jobqueue.records import Health

T = TypeVar("T")

# Of all schemas of a database: former releases take the same. Two that migrate different ones wait
# for each other, for a moment.
MIGRATION_LOCK = int.from_bytes(b"jobqueue")

# Until the transaction ends. Also for the statements that Alembic runs.
ENTER = "SELECT set_config('search_path', %(path)s, true)"
IS_THERE = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = %(name)s)"
RIGHTS = """
SELECT current_user, has_database_privilege(current_database(), 'CREATE'), current_database()
"""
MAY_USE = "SELECT current_user, has_schema_privilege(%(name)s, 'USAGE')"


class PostgresSchema(SqlSchema):
    """The tables in PostgreSQL, and the examination of the server."""

    database: PostgresDatabase
    leaves_indexes = True

    def _examine(self, connection: Connection) -> Health:
        return examine(connection, self.database.schema())

    def _lock_migrations(self, connection: Connection) -> None:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))

    def _enter_schema(self, connection: Connection) -> None:
        schema = self.database.schema_to_migrate(connection)
        if connection.exec_driver_sql(IS_THERE, {"name": schema.name}).scalar_one():
            _refuse_unusable(connection, schema)
        else:
            _create(connection, schema)
        connection.exec_driver_sql(ENTER, {"path": schema.quoted})

    def _make_left_indexes(self) -> None:
        make_left_indexes(self.database)

    def _closing_sql(self, start: str | None) -> tuple[str, ...]:
        if start is None:  # the tables are new
            return ()
        schema = self.database.given_schema
        made = [concurrently(one, schema, if_not_exists=True) for one in left_indexes(start)]
        return tuple(f"{ddl};" for ddl in made)

    def _read_in_schema(self, work: Callable[[Connection], T]) -> T:
        schema = self.database.schema()

        def within(connection: Connection) -> T:
            connection.exec_driver_sql(ENTER, {"path": schema.quoted})
            return work(connection)

        return self.database.write(within)

    def _schema_name(self) -> str:
        return self.database.schema().name

    def _opening_sql(self, start: str | None) -> tuple[str, ...]:
        """Without the setting, whoever runs the script decides where the tables are."""
        schema = self.database.given_schema
        if schema is None:
            return ()
        enter = search_path_set_to(schema.name)
        if start is not None:
            return (enter,)
        return (f"CREATE SCHEMA IF NOT EXISTS {quoted_in_text(schema.name)}", enter)

    def _server_version(self, connection: Connection) -> str:
        version = connection.exec_driver_sql("SHOW server_version").scalar_one()
        return f"PostgreSQL {version}"


def _create(connection: Connection, schema: SchemaName) -> None:
    role, may_create, database = connection.exec_driver_sql(RIGHTS).one()
    if not may_create:
        raise SchemaError(
            f"there is no schema {schema.quoted} in the database {database}, and the role {role} "
            f"may not create it; have somebody who may run: CREATE SCHEMA {schema.quoted} "
            f"AUTHORIZATION {quoted(role)}"
        )
    name = schema.written_into("{schema}")
    connection.exec_driver_sql(f"CREATE SCHEMA {name}")


def _refuse_unusable(connection: Connection, schema: SchemaName) -> None:
    """Refuse a schema that the role may not use: its tables would seem not to be there."""
    role, may_use = connection.exec_driver_sql(MAY_USE, {"name": schema.name}).one()
    if not may_use:
        raise SchemaError(
            f"the role {role} may not use the schema {schema.quoted}; have its owner run: GRANT "
            f"USAGE, CREATE ON SCHEMA {schema.quoted} TO {quoted(role)}"
        )
