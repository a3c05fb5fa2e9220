"""The tables, and the database that they are in: portable SQLAlchemy Core.

jobqueue's tables live in the application's database, beside the application's own Alembic. Each
leaves the other's tables alone: ours are those whose names begin with `background_`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from jobqueue.adapters.roles.schema import SchemaRole
from jobqueue.adapters.sql import queries
from jobqueue.adapters.sql.database import FOR_EVER
from jobqueue.adapters.sql.odd_rows import odd_rows
from jobqueue.adapters.sql.role import SqlRole
from jobqueue.adapters.sql.tables import TABLE_PREFIX, VERSION_TABLE, Base, MomentText
from jobqueue.records import Health, JobFilter, SchemaStatus

T = TypeVar("T")


class SqlSchema(SqlRole, SchemaRole):
    """The tables in a SQL database, and the state that it is in.

    Alembic is imported only by what needs it: a worker does without.
    """

    # --- what each database says in its own way --------------------------------------------------

    leaves_indexes = False
    """Whether indexes of large tables are made after a migration, so that nobody waits for them."""

    def _prepare(self) -> None:
        """Create whatever has to exist before the tables can be created."""

    @abstractmethod
    def _lock_migrations(self, connection: Connection) -> None:
        """Keep other migrations waiting until the transaction ends."""

    def _enter_schema(self, connection: Connection) -> None:
        """Have names mean our tables until the transaction ends, where there are schemas."""

    def _read_in_schema(self, work: Callable[[Connection], T]) -> T:
        """Read, while names mean our tables."""
        return self.database.read(work)

    def _schema_name(self) -> str | None:
        """The schema that holds the tables; None where there are no schemas."""
        return None

    def _opening_sql(self, start: str | None) -> tuple[str, ...]:  # noqa: ARG002
        """The statements that come first in a script, which begins at a revision."""
        return ()

    def _closing_sql(self, start: str | None) -> tuple[str, ...]:  # noqa: ARG002
        """The statements that come after the transaction of a script, each by itself."""
        return ()

    def _make_left_indexes(self) -> None:
        """Make what migrations have left to be made while others write."""

    @abstractmethod
    def _server_version(self, connection: Connection) -> str:
        """The name and version of the server."""

    def _examine(self, connection: Connection) -> Health:  # noqa: ARG002 - others examine a server
        """The state of the server."""
        return Health()

    def health(self) -> Health:
        found = self.database.look(self._examine)
        odd = self.database.look(lambda connection: tuple(odd_rows(connection)))
        return replace(found, ailments=(*found.ailments, *odd))

    # --- the tables ------------------------------------------------------------------------------

    def ping(self) -> None:
        query = queries.jobs_query(JobFilter(), self.time.now(), 1)
        self.database.read(lambda connection: connection.execute(query).first())

    def migrate(self, revision: str = "head") -> None:
        from jobqueue.adapters.sql import history

        self._prepare()
        leaves_indexes = self.leaves_indexes
        self.migrating(lambda c: history.upgrade(c, revision, leaves_indexes=leaves_indexes))
        if self._read_in_schema(history.current_revision) == history.head_revision():
            self._make_left_indexes()

    def downgrade(self, revision: str) -> None:
        from jobqueue.adapters.sql import history

        self.migrating(lambda connection: history.downgrade(connection, revision))

    def migration_sql(self, start: str | None = None) -> str:
        from jobqueue.adapters.sql import history

        opening, closing = self._opening_sql(start), self._closing_sql(start)
        return history.upgrade_sql(self.database.engine.dialect.name, start, opening, closing)

    def schema_status(self) -> SchemaStatus:
        from jobqueue.adapters.sql import history

        read = self._read_in_schema
        return SchemaStatus(
            server=read(self._server_version),
            current=read(history.current_revision),
            head=history.head_revision(),
            missing=read(history.missing_tables),
            trouble=read(history.why_not_upgradable),
            schema=self._schema_name(),
        )

    def migrating(self, work: Callable[[Connection], None]) -> None:
        """Change the tables in one transaction, while no other migration does."""

        def locked(connection: Connection) -> None:
            self._lock_migrations(connection)
            self._enter_schema(connection)
            work(connection)

        self.database.write(locked, answer_seconds=FOR_EVER)

    # --- the connections -------------------------------------------------------------------------

    def close_spare_connections(self) -> None:
        self.database.close_spare()

    def close(self) -> None:
        self.database.close()


def is_ours(name: str | None, kind: str, parents: Any = None) -> bool:  # noqa: ARG001
    """Whether Alembic speaks of a table of jobqueue.

    An application's own `migrations/env.py` passes it, negated, to `context.configure`, so that
    autogenerate does not propose to drop them:

        include_name=lambda name, kind, parents: not is_ours(name, kind, parents)
    """
    return kind == "table" and name is not None and name.startswith(TABLE_PREFIX)


def alembic_options() -> dict[str, Any]:
    """The options that `migrations/env.py` passes to Alembic."""
    return {
        "target_metadata": Base.metadata,
        "version_table": VERSION_TABLE,
        "include_name": lambda name, kind, parents: kind != "table" or is_ours(name, kind, parents),
        "compare_type": True,
        "transactional_ddl": True,
    }


def migrate_within(start: str | None, end: str | None, schema: str | None = None) -> None:
    """Change the tables in a migration of the application's own Alembic, as a part of it.

    To be called in the `upgrade` and in the `downgrade` of a revision. It runs in the transaction
    of that migration, and records the revision of the tables, so that `jobqueue doctor` knows it.

    Args:
        start: the revision of jobqueue's that the tables are at; None where there are none.
        end: the one that they are to have; None to remove them, and every job in them.
        schema: the schema of PostgreSQL that they are in, as in the setting of that name. It has to
            be there. Without it they are where your migration makes other tables.

    Raises:
        SchemaError: there is no such revision.
    """
    from jobqueue.adapters.sql import history

    history.migrate_within(start, end, schema)


def set_state_rule(revision: str) -> None:
    """Change which states a job may have, in a migration of the application's own Alembic.

    Autogenerate does not compare checks. So a revision that it made for the tables of 0004 calls
    this at the end of its `upgrade`, and for 0003 at the beginning of its `downgrade`.

    Args:
        revision: the revision of jobqueue's whose rule it is.

    Raises:
        SchemaError: there is no such revision.
    """
    from jobqueue.adapters.sql import history

    history.set_state_rule(revision)


def render_item(kind: str, item: Any, context: Any) -> str | Literal[False]:
    """Render the types of jobqueue's columns for autogenerate, so that a revision needs no import.

    An application whose own migrations have jobqueue's tables passes it to `context.configure` in
    its `migrations/env.py`.
    """
    if kind == "type" and isinstance(item, MomentText):
        return "sa.String(length=26)"
    if kind == "type" and type(item) is postgresql.JSON:
        context.imports.add("from sqlalchemy.dialects import postgresql")
        return "postgresql.JSON()"
    return False
