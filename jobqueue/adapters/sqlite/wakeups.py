"""Wake-ups in SQLite, which has no notifications: the listener watches the file.

`PRAGMA data_version` changes when any other connection commits. Reading it takes some microseconds
and no lock. Jobs enqueued since are then read by id. Other changes, such as a retry or a released
job, give a wake-up that does not say what changed.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Any

from jobqueue.adapters.sql.announcer import MOST_JOBS_LOOKED_AT
from jobqueue.adapters.sql.tables import to_utc
from jobqueue.adapters.sql.wakeups import SqlWakeups
from jobqueue.adapters.sqlite.database import SqliteDatabase
from jobqueue.adapters.sqlite.forks import OPEN
from jobqueue.errors import DatabaseUnavailable
from jobqueue.records import LOOK_ANYWHERE, JobState, Wakeup

LOOK_SECONDS = 0.01
REST_SECONDS = 1.0
# A worker that settles jobs changes the file all the time, and is no reason for others to look.
OTHER_CHANGES_SECONDS = 0.25

LAST_ID = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'background_jobs'"
NEW_JOBS = """
SELECT queue, priority, run_at, id, state FROM background_jobs
WHERE id > ? AND id <= ? AND state IN ('ready', 'gated') AND run_at <= updated_at LIMIT ?
"""


class SqliteWakeups(SqlWakeups):
    """The listeners in SQLite, which watch the file for changes."""

    database: SqliteDatabase

    def listen(self, url: str | None = None) -> SqliteListener:  # noqa: ARG002 - a file has one
        return SqliteListener(self.database)


class SqliteListener:
    """A connection that notices when others have written.

    Args:
        database: the file that is watched.

    Raises:
        DatabaseError: it cannot be opened.
    """

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._in_use = threading.Lock()
        self._stop = threading.Event()
        self._other_changes_since = 0.0
        self._connection: sqlite3.Connection | None = None
        self.path = database.file.path
        OPEN.watch_other(self)
        with database.errors_translated():
            self._open()
            self._last_id = self._read_last_id()

    def _open(self) -> None:
        self._opened = self._database.file.current_identity()
        self._connection = _own_connection(self._database)
        self._version = self._read_version()

    def wait(self, timeout_seconds: float) -> Wakeup | None:
        deadline = time.monotonic() + timeout_seconds
        while not self._stop.is_set():
            wakeup = self._look()
            left = deadline - time.monotonic()
            if wakeup is not None or left <= 0:
                return wakeup
            self._stop.wait(min(left, LOOK_SECONDS))
        return None

    def silent_seconds(self) -> float:
        return 0.0

    def verify(self) -> None:
        """Do nothing: each look at the file verifies that changes are noticed."""

    def close(self) -> None:
        self._stop.set()
        with self._in_use:
            self._close()

    def rest(self) -> bool:
        """Close the connection until the next look, since the process is about to fork."""
        if self._connection is None:
            return True
        if not self._in_use.acquire(timeout=REST_SECONDS):
            return False
        try:
            self._close()
        finally:
            self._in_use.release()
        return True

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _look(self) -> Wakeup | None:
        with self._in_use, self._database.errors_translated():
            if self._stop.is_set():
                return None
            self._refuse_another_file()
            if self._has_changed():
                wakeup = self._read_new_jobs()
                if wakeup is not None:
                    return wakeup
                self._other_changes_since = self._other_changes_since or time.monotonic()
            return self._other_changes()

    def _has_changed(self) -> bool:
        """Whether others have written since the last look; they may have while it was at rest."""
        if self._connection is None:
            self._open()
            return True
        before, self._version = self._version, self._read_version()
        return self._version != before

    def _refuse_another_file(self) -> None:
        file = self._database.file
        if not file.is_still(self._opened):
            raise DatabaseUnavailable(f"the database {file.path} is another file than before")

    def _read_new_jobs(self) -> Wakeup | None:
        before, self._last_id = self._last_id, self._read_last_id()
        values = (before, self._last_id, MOST_JOBS_LOOKED_AT)
        rows = self._execute(NEW_JOBS, values).fetchall()
        if len(rows) == MOST_JOBS_LOOKED_AT:
            return LOOK_ANYWHERE
        if not rows:
            return None
        if not all(isinstance(queue, str) and isinstance(first, int) for queue, first, *_ in rows):
            return LOOK_ANYWHERE
        priority, run_at, job_id = min(row[1:4] for row in rows)
        lowest = (priority, to_utc(run_at), job_id)
        gated = any(row[4] == JobState.GATED for row in rows)
        return Wakeup(frozenset(row[0] for row in rows), lowest, len(rows), gated=gated)

    def _other_changes(self) -> Wakeup | None:
        """The wake-up for other changes: one for all, some time after the first of them."""
        since = self._other_changes_since
        if not since or time.monotonic() - since < OTHER_CHANGES_SECONDS:
            return None
        self._other_changes_since = 0.0
        return LOOK_ANYWHERE

    def _read_version(self) -> int:
        return int(self._execute("PRAGMA data_version").fetchone()[0])

    def _read_last_id(self) -> int:
        return int(self._execute(LAST_ID).fetchone()[0])

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        assert self._connection is not None  # noqa: S101 - whoever comes here has opened it
        return self._connection.execute(statement, values)


def _own_connection(database: SqliteDatabase) -> sqlite3.Connection:
    """A connection made like all others, and then taken out of the pool."""
    pooled = database.engine.raw_connection()
    connection = pooled.driver_connection
    pooled.detach()
    assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - the driver that we chose
    return connection
