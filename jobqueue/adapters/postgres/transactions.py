"""The transactions of jobs in PostgreSQL."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from psycopg.pq import TransactionStatus
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from jobqueue.adapters.postgres.database import PostgresDatabase
from jobqueue.adapters.roles.transactions import TransactionsRole
from jobqueue.adapters.sql.database import ANSWER_SECONDS
from jobqueue.adapters.sql.transactions import SqlTransaction, SqlTransactions
from jobqueue.records import Succeeded

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


class PostgresTransaction(SqlTransaction):
    """A transaction of a job in PostgreSQL."""

    def _committing(self, outcome: Succeeded | None) -> AbstractContextManager[None]:  # noqa: ARG002
        """Limit how long an answer is waited for. The job's own statements have no limit."""
        patient = getattr(self._driver(), "patient", None)
        return nullcontext() if patient is None else patient(ANSWER_SECONDS)

    def _was_interrupted(self) -> bool:
        info = getattr(self._driver(), "info", None)
        return getattr(info, "transaction_status", None) is TransactionStatus.ACTIVE

    def _driver(self) -> Any:
        """The driver's connection, if it is still there. An application may use another driver."""
        connection = self._connection
        if connection is None or connection.closed or connection.invalidated:
            return None
        return connection.connection.driver_connection


class PostgresTransactions(SqlTransactions):
    """The transactions in which jobs write to PostgreSQL."""

    database: PostgresDatabase

    def is_same_database(self, other: TransactionsRole) -> bool:
        database = getattr(other, "database", None)
        return (
            super().is_same_database(other)
            and isinstance(database, PostgresDatabase)
            and self.database.schema() == database.schema()
        )

    def _new_transaction(self, session: Session) -> PostgresTransaction:
        return PostgresTransaction(session, self._parts, self._path)

    def _new_sync_engine(self) -> Engine:
        return self.database.new_engine_for_jobs()

    def _new_async_engine(self) -> AsyncEngine:
        return self.database.new_async_engine_for_jobs()
