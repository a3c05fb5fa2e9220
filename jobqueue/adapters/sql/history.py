"""The history of the tables: Alembic, with a version table of its own.

jobqueue's tables live in the application's database, beside the application's own Alembic. Each
leaves the other's tables alone: ours are those whose names begin with `background_`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import alembic.command
import sqlalchemy as sa
from alembic import op
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from jobqueue.adapters.sql.named import search_path_set_to
from jobqueue.adapters.sql.tables import VERSION_TABLE, Base
from jobqueue.errors import SchemaError

PACKAGE = Path(__file__).parents[2]

CONCURRENTLY_SAID = """\
-- In no transaction, so that nobody waits for it who writes jobs meanwhile. If it is cut off, drop
-- what is left of the index, and run it again.
"""
# In a transaction of the application, and perhaps in a script of it: nothing can be read back.
KEEP_SEARCH_PATH = "SELECT set_config('jobqueue.search_path', current_setting('search_path'), true)"
RESTORE_SEARCH_PATH = (
    "SELECT set_config('search_path', current_setting('jobqueue.search_path'), true)"
)


def upgrade(connection: Connection, revision: str, *, leaves_indexes: bool = False) -> None:
    """Bring the tables up to a revision.

    Args:
        connection: in the transaction of the migration.
        revision: the revision.
        leaves_indexes: whether indexes of large tables are left to be made afterwards.

    Raises:
        SchemaError: no migration can, for what is there is not what one expects.
    """
    why_not = why_not_upgradable(connection)
    if why_not is not None:
        raise SchemaError(why_not)
    config = _config(connection=connection, leaves_indexes=leaves_indexes)
    alembic.command.upgrade(config, revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Return the tables to an older revision."""
    alembic.command.downgrade(_config(connection=connection), revision)


def upgrade_sql(
    dialect_name: str,
    start: str | None = None,
    opening: Sequence[str] = (),
    closing: Sequence[str] = (),
) -> str:
    """The statements that bring the tables from a revision to this release's, in a transaction.

    Args:
        dialect_name: of SQLAlchemy, `postgresql` or `sqlite`.
        start: the revision that they are at; None where there are none.
        opening: the statements that come first in the transaction.
        closing: the statements that come after it, and make the indexes that are left out of it.

    Raises:
        SchemaError: there is no such revision.
    """
    output = io.StringIO()
    config = _config(dialect_name=dialect_name, opening=opening, leaves_indexes=bool(closing))
    config.output_buffer = output
    begin = _known(start) or "base"
    alembic.command.upgrade(config, f"{begin}:head", sql=True)
    return "\n".join((output.getvalue(), *map(f"{CONCURRENTLY_SAID}{{}}\n".format, closing)))


def migrate_within(start: str | None, end: str | None, schema: str | None) -> None:
    """Run the migrations between two revisions in the application's own migration."""
    if schema is None:
        _migrate_here(start, end)
        return
    op.execute(KEEP_SEARCH_PATH)
    op.execute(search_path_set_to(schema))
    _migrate_here(start, end)
    op.execute(RESTORE_SEARCH_PATH)


def set_state_rule(revision: str) -> None:
    """Change which states a job may have, in the application's own migration."""
    known = ScriptDirectory.from_config(_config()).get_revision("0004")
    if str(_known(revision)) < "0004":
        known.module.forget_gates()
    else:
        known.module.allow_gates()


def _migrate_here(start: str | None, end: str | None) -> None:
    revisions = [None, *_revisions()]
    first, last = revisions.index(_known(start)), revisions.index(_known(end))
    scripts = ScriptDirectory.from_config(_config())
    for name in revisions[first + 1 : last + 1]:
        scripts.get_revision(str(name)).module.upgrade()
    for name in reversed(revisions[last + 1 : first + 1]):
        scripts.get_revision(str(name)).module.downgrade()
    _record(start, end)


def _record(start: str | None, end: str | None) -> None:
    """Record the revision, as Alembic does for migrations that it runs itself."""
    table = sa.table(VERSION_TABLE, sa.column("version_num"))
    if start is None:
        op.create_table(
            VERSION_TABLE,
            sa.Column("version_num", sa.String(32), nullable=False),
            sa.PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
        )
        op.execute(table.insert().values(version_num=end))
    elif end is None:
        op.drop_table(VERSION_TABLE)
    else:
        op.execute(table.update().values(version_num=end))


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


def _revisions() -> list[str]:
    """All revisions that this release knows, the oldest first."""
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return [script.revision for script in scripts][::-1]


def _known(revision: str | None) -> str | None:
    """The same revision; raises `SchemaError` for one that this release does not know."""
    if revision is not None and revision not in _revisions():
        raise SchemaError(
            f"there is no revision {revision!r} of the tables of jobqueue; this release knows "
            f"{', '.join(_revisions())}, and `jobqueue doctor` shows which one a database has"
        )
    return revision


def _config(**attributes: Any) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_script_folder()).replace("%", "%%"))
    config.attributes.update(attributes)
    return config


def _script_folder() -> Path:
    """`migrations/` at the top of the project, which a wheel carries inside the package."""
    packaged = PACKAGE / "_migrations"
    return packaged if packaged.is_dir() else PACKAGE.parent / "migrations"
