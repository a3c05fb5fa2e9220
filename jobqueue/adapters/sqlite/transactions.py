"""The transactions of jobs in SQLite."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from sqlalchemy import Engine, NullPool, create_engine
from sqlalchemy.orm import Session

from jobqueue.adapters.sql.path import SqlPath
from jobqueue.adapters.sql.role import SqlParts
from jobqueue.adapters.sql.transactions import SqlTransaction, SqlTransactions, need
from jobqueue.adapters.sqlite.database import SqliteDatabase, set_up
from jobqueue.adapters.sqlite.writer import Writer
from jobqueue.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

LONGEST_BEGIN_SECONDS = 30.0


class SqliteTransaction(SqlTransaction):
    """A transaction of a job. While it is open, nothing else of the process writes."""

    def __init__(self, session: Session, parts: SqlParts, path: SqlPath, writer: Writer) -> None:
        super().__init__(session, parts, path)
        self._writer = writer

    def take_turn(self, wait_seconds: float) -> bool:
        return self._writer.take(self, wait_seconds)

    def _wait_for_lock(self) -> None:
        """Wait until no other process holds the write lock of the file.

        Raises:
            DatabaseUnavailable: another process held it for half a minute.
        """
        give_up_at = time.monotonic() + LONGEST_BEGIN_SECONDS
        while not self._has_begun(give_up_at):
            pass

    def _has_begun(self, give_up_at: float) -> bool:
        try:
            with self._database.errors_translated():
                self.session.connection()
        except DatabaseUnavailable:
            if time.monotonic() > give_up_at:
                raise
            return False
        return True

    def _give_up_turn(self) -> None:
        self._writer.give_up(self)


class SqliteTransactions(SqlTransactions):
    """The transactions in which jobs write to a SQLite file, one at a time."""

    database: SqliteDatabase

    def between_writes(self) -> AbstractContextManager[None]:
        return self.database.between_writes()

    def _new_transaction(self, session: Session) -> SqliteTransaction:
        return SqliteTransaction(session, self._parts, self._path, self.database.writer)

    def _new_sync_engine(self) -> Engine:
        engine = create_engine(self.database.engine.url, hide_parameters=True)
        set_up(engine, self.database.file)
        return engine

    def _new_async_engine(self) -> AsyncEngine:
        need("aiosqlite", "aiosqlite")
        from sqlalchemy.ext.asyncio import create_async_engine

        url = self.database.engine.url.set(drivername="sqlite+aiosqlite")
        engine = create_async_engine(url, hide_parameters=True, poolclass=NullPool)
        set_up(engine.sync_engine, self.database.file)
        return engine
