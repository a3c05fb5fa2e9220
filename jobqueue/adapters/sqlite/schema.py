"""The tables in a SQLite file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from sqlalchemy import Connection

from jobqueue.adapters.sql.schema import SqlSchema
from jobqueue.adapters.sqlite.database import SqliteDatabase
from jobqueue.errors import DatabaseUnavailable
from jobqueue.records import Health


class SqliteSchema(SqlSchema):
    """The tables in a SQLite file, and the file, which is created with them."""

    database: SqliteDatabase

    def _prepare(self) -> None:
        path = self.database.file.path
        if not path.parent.is_dir():
            raise DatabaseUnavailable(
                f"the folder {_shown(path.parent)} for {path.name} does not exist; create it, or "
                "check the URL"
            )
        _make_for_its_owner(path)
        self.database.file.expect_another()

    def _lock_migrations(self, connection: Connection) -> None:
        """Do nothing: the transaction holds the write lock already."""

    def _examine(self, connection: Connection) -> Health:
        def pragma(name: str) -> int:
            return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())

        size = pragma("page_size")
        facts = {
            "bytes": size * pragma("page_count"),
            "free_bytes": size * pragma("freelist_count"),
        }
        return Health(facts)

    def _server_version(self, connection: Connection) -> str:  # noqa: ARG002
        return f"SQLite {sqlite3.sqlite_version}"


def _make_for_its_owner(path: Path) -> None:
    """Make an empty file that no other user can read, whatever the umask; leave one that is there.

    SQLite gives the files that it puts beside it (`-wal`, `-shm`) the same mode.
    """
    try:
        # Where a link leads, since a database may be made behind one.
        made = os.open(os.path.realpath(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    os.fchmod(made, 0o600)
    os.close(made)


def _shown(folder: Path) -> Path:
    """A folder as it was probably given: from the working directory on, if it is in there."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
