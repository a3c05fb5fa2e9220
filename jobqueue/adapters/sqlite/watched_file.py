"""The file of a SQLite database, which somebody may delete and make anew under a running process.

A connection stays with the file that it opened, also when that is deleted: what it writes there is
lost, and it finds no jobs. So whoever takes a connection from the pool looks whether its file is
still in its place, if nobody has for a moment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, exc

from jobqueue import log
from jobqueue.errors import DatabaseUnavailable, SchemaError
from jobqueue.sinks import default_sinks

Identity = tuple[int, int]

HAS_TABLES = "SELECT 1 FROM sqlite_master WHERE name = 'background_jobs'"
OPENED = "jobqueue_opened"
# The system may give the next file the number of the one that was deleted.
GONE: Identity = (-1, -1)
LOOK_SECONDS = 0.1


@dataclass(slots=True)
class _Opened:
    """The file that a connection has opened, and the time when it was last found in its place."""

    file: Identity
    seen_at: float


class WatchedFile:
    """The path of a database, and the identity of the file that was opened there last.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._path_text = str(path)
        self._opened: Identity | None = None

    def open(self, record: Any, connect: Callable[[], Any]) -> Any:
        """Open a connection to the file that is there now, for a record of a pool.

        Raises:
            SchemaError: there is no file.
            DatabaseUnavailable: the file was deleted, or replaced by one without tables.
        """
        opened = _Opened(self.current_identity(), time.monotonic())
        connection = connect()
        try:
            self._note_opened(connection, opened.file)
        except BaseException:
            connection.close()
            raise
        record.info[OPENED] = opened
        return connection

    def watch(self, engine: Engine) -> None:
        """Have the connections of an engine replaced when the file has been replaced."""

        @event.listens_for(engine, "checkout")
        def replace_outdated(_: Any, record: Any, __: Any) -> None:
            opened, now = record.info[OPENED], time.monotonic()
            if now - opened.seen_at < LOOK_SECONDS:
                return
            if not self.is_still(opened.file):
                raise exc.DisconnectionError
            opened.seen_at = now

    def current_identity(self) -> Identity:
        """The identity of the file that is there now. SQLite itself would create a missing one.

        Raises:
            SchemaError: no file has been there so far.
            DatabaseUnavailable: the file was deleted while it was in use.
        """
        found = self._found()
        if found is not None:
            return found
        if self._opened is not None:
            self._opened = GONE
            raise DatabaseUnavailable(
                f"the database {self.path} was deleted while it was in use; put it back, or run "
                "`jobqueue setup` for an empty one"
            )
        raise SchemaError(
            f"the database {self.path} does not exist; run `jobqueue setup`, or go to the folder "
            "where that was done"
        )

    def is_still(self, opened: Identity) -> bool:
        """Whether the file that was opened is in its place."""
        return self._found() == opened

    def expect_another(self) -> None:
        """Accept whatever file is there next: the tables are about to be created in it."""
        self._opened = None

    def _found(self) -> Identity | None:
        try:
            status = os.stat(self._path_text)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _note_opened(self, connection: Any, opened: Identity) -> None:
        before = self._opened
        if before is not None and before != opened:
            if connection.execute(HAS_TABLES).fetchone() is None:
                raise DatabaseUnavailable(
                    f"another file is in the place of the database {self.path}, and has no tables "
                    "of jobqueue; run `jobqueue migrate`, or put the former one back"
                )
            log.database_replaced(default_sinks.logger, str(self.path))
        self._opened = opened
