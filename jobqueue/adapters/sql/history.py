"""The history of the tables: Alembic, with a version table of its own.

jobqueue's tables live in the application's database, beside the application's own Alembic. Each
leaves the other's tables alone: ours are those whose names begin with `background_`.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import alembic.command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from jobqueue.adapters.sql.tables import VERSION_TABLE, Base
from jobqueue.errors import SchemaError

PACKAGE = Path(__file__).parents[2]


def upgrade(connection: Connection, revision: str) -> None:
    """Bring the tables up to a revision.

    Raises:
        SchemaError: no migration can, for what is there is not what one expects.
    """
    why_not = why_not_upgradable(connection)
    if why_not is not None:
        raise SchemaError(why_not)
    alembic.command.upgrade(_config(connection=connection), revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Take the tables back to a revision."""
    alembic.command.downgrade(_config(connection=connection), revision)


def upgrade_sql(dialect_name: str) -> str:
    """The statements that create the tables in an empty database."""
    output = io.StringIO()
    config = _config(dialect_name=dialect_name)
    config.output_buffer = output
    alembic.command.upgrade(config, "head", sql=True)
    return output.getvalue()


def current_revision(connection: Connection) -> str | None:
    """The revision that a database has; None when it has none of the tables."""
    options = {"version_table": VERSION_TABLE}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


def head_revision() -> str:
    """The revision that this release works with."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def missing_tables(connection: Connection) -> tuple[str, ...]:
    """The tables of this release that a database does not have."""
    exists = inspect(connection).has_table
    return tuple(name for name in sorted(Base.metadata.tables) if not exists(name))


def why_not_upgradable(connection: Connection) -> str | None:
    """Why no migration can bring the tables up to this release, and what to do; None if one can."""
    current, head = current_revision(connection), head_revision()
    missing = missing_tables(connection)
    there = sorted(set(Base.metadata.tables) - set(missing))
    if current is None and there:
        return (
            f"there is {', '.join(there)} already, and no revision in {VERSION_TABLE}; if the "
            "migrations of your application made the tables, bring them up to date there; "
            f"otherwise drop what is left of them, or record that they are at {head}"
        )
    if current is not None and current not in _revisions():
        return (
            f"the tables are at revision {current}, and this release of jobqueue knows them up to "
            f"{head}: a newer release has changed them; install that one here too"
        )
    if current == head and missing:
        return (
            f"{', '.join(missing)} is missing, although the tables are at revision {head}; restore "
            "it from a backup, or create it as in `jobqueue migrate --sql`"
        )
    return None


def _revisions() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config(**attributes: Any) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_script_folder()).replace("%", "%%"))
    config.attributes.update(attributes)
    return config


def _script_folder() -> Path:
    """`migrations/` at the top of the project, which a wheel carries inside the package."""
    packaged = PACKAGE / "_migrations"
    return packaged if packaged.is_dir() else PACKAGE.parent / "migrations"
