"""Transactions in which jobs write and are completed."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from jobqueue.adapters.roles.transactions import TransactionsRole
from jobqueue.adapters.settlement import settlements_of
from jobqueue.adapters.sql.database import Database, forget_connections_after_fork
from jobqueue.adapters.sql.path import SqlPath
from jobqueue.adapters.sql.role import SqlParts, SqlRole
from jobqueue.adapters.sql.tables import JOBS
from jobqueue.adapters.transaction import AsyncJobTransaction, JobTransaction
from jobqueue.errors import ConfigurationError, RowLocked
from jobqueue.forks import renewed_in_children
from jobqueue.records import JobState, Succeeded

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession


class SqlTransaction(JobTransaction):
    """A transaction of a job, in its adapter's database.

    Args:
        session: where the job writes.
        parts: what the roles of its adapter share.
        path: settles the job.
    """

    def __init__(self, session: Session, parts: SqlParts, path: SqlPath) -> None:
        super().__init__(session)
        self._database, self._sessions, self._path = parts.database, parts.sessions, path

    def _settle(self, outcome: Succeeded) -> bool:
        try:
            with self._database.errors_translated():
                connection = self._sessions.connection_of(self.session)
                return bool(self._path.settle_within(connection, settlements_of([outcome])).pairs)
        except RowLocked as error:
            raise RowLocked(
                f"job {outcome.job.id} ({outcome.job.handler}) could not be completed: somebody's "
                "open transaction keeps its row in background_jobs locked; what was written in its "
                "transaction is rolled back, and it is tried again when the row is free"
            ) from error


class SqlTransactions(SqlRole, TransactionsRole):
    """The transactions in which jobs write to a SQL database.

    Args:
        parts: as for every role.
        path: settles jobs.
    """

    def __init__(self, parts: SqlParts, path: SqlPath) -> None:
        super().__init__(parts)
        self._parts, self._path = parts, path
        self._renew_lock()
        renewed_in_children(self, SqlTransactions._renew_lock)
        self._sync_engine: Engine | None = None
        self._async_engine: AsyncEngine | None = None

    def between_writes(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _renew_lock(self) -> None:
        self._engines_lock = threading.Lock()

    # --- what each database says in its own way --------------------------------------------------

    @abstractmethod
    def _new_transaction(self, session: Session) -> SqlTransaction:
        """A transaction of a session."""

    @abstractmethod
    def _new_sync_engine(self) -> Engine:
        """An engine for the transactions of jobs, which may all be open at the same time."""

    @abstractmethod
    def _new_async_engine(self) -> AsyncEngine:
        """An async engine for the transactions of jobs. It keeps no connections.

        A connection belongs to one event loop, and the engine serves all of them.
        """

    # --- the transactions ------------------------------------------------------------------------

    def transaction(self, sessions: Callable[[], Any] | None = None) -> SqlTransaction:
        session = (
            Session(self._engine(), expire_on_commit=False) if sessions is None else sessions()
        )
        if not isinstance(session, Session):
            raise ConfigurationError(
                f"self.transaction() was given what makes a {type(session).__qualname__}; expected "
                "a sessionmaker, which makes a SQLAlchemy Session"
            )
        return self._new_transaction(session)

    def transaction_async(self, sessions: Callable[[], Any] | None = None) -> AsyncJobTransaction:
        need("greenlet", "sqlalchemy[asyncio]")
        from sqlalchemy.ext.asyncio import AsyncSession

        session: Any = sessions() if sessions is not None else self._new_async_session()
        if not isinstance(session, AsyncSession):
            raise ConfigurationError(
                f"self.transaction() was given what makes a {type(session).__qualname__}; expected "
                "an async_sessionmaker, which makes an AsyncSession"
            )
        return AsyncJobTransaction(self._new_transaction(session.sync_session), session)

    def was_committed(self, outcome: Succeeded) -> bool:
        """Read the job's row with a lock, so that a commit under way is waited for."""
        query = select(JOBS.c.state, JOBS.c.claim_token).where(JOBS.c.id == outcome.job.id)
        row = self.database.write(lambda c: c.execute(query.with_for_update()).first())
        return row is None or (row.state == JobState.SUCCEEDED.value and row.claim_token is None)

    def is_same_database(self, other: TransactionsRole) -> bool:
        database = getattr(other, "database", None)
        return isinstance(database, Database) and self.database.name == database.name

    def close(self) -> None:
        """Close the connections of transactions."""
        if self._sync_engine is not None:
            self._sync_engine.dispose()

    def _engine(self) -> Engine:
        with self._engines_lock:
            if self._sync_engine is None:
                self._sync_engine = self._new_sync_engine()
                forget_connections_after_fork(self._sync_engine)
            return self._sync_engine

    def _new_async_session(self) -> AsyncSession:
        from sqlalchemy.ext.asyncio import AsyncSession

        with self._engines_lock:
            if self._async_engine is None:
                self._async_engine = self._new_async_engine()
        return AsyncSession(self._async_engine, expire_on_commit=False)


def need(module: str, package: str) -> None:
    """Raise `ConfigurationError` when a module is missing that only async jobs need."""
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise ConfigurationError(
            f"`async with self.transaction()` needs {package}: pip install '{package}'. Without "
            "it, have a thread do it: await asyncio.to_thread(self.write), and "
            "`with self.transaction()` in there"
        )
