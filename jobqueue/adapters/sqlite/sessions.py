"""The caller's own transactions in SQLite."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from jobqueue.adapters.sql.execute import Execute
from jobqueue.adapters.sql.sessions import Destination, SqlSessions


class SqliteSessions(SqlSessions):
    """The sessions and connections of callers, to a SQLite file, in which statements are run."""

    def _executing_on_driver(self, session: Any) -> Execute | None:
        if not isinstance(session, sqlite3.Connection):
            return None

        def run(sql: str, values: Any) -> list[Any]:
            cursor = session.cursor()
            cursor.row_factory = None
            if isinstance(values, list):
                return cursor.executemany(sql, values).fetchall()
            return cursor.execute(sql, values).fetchall()

        return Execute(run, session)

    def _address_of(self, execute: Execute) -> Any:
        return execute("PRAGMA database_list", ())[0][2]

    def _destination_of(self, execute: Execute) -> Destination:
        file = self._address_of(execute)
        path = str(Path(file).resolve()) if file else ""
        name = f"sqlite:///{path}" if path else "a SQLite database in memory"
        return Destination(name, {"file": (path,)})
