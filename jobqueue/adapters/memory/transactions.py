"""Transactions of an application's database, whose commits settle jobs in memory: for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from jobqueue.adapters.memory.store import MemoryRole, MemoryStore
from jobqueue.adapters.roles.transactions import (
    NO_TRANSACTIONS,
    AsyncTransaction,
    Transaction,
    TransactionsRole,
)
from jobqueue.adapters.settlement import settlement_of
from jobqueue.adapters.transaction import AsyncJobTransaction, JobTransaction
from jobqueue.errors import ConfigurationError
from jobqueue.records import JobState, Succeeded

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class MemoryTransaction(JobTransaction):
    """A transaction in an application's database. Its commit settles a job in memory."""

    def __init__(self, session: Session, store: MemoryStore) -> None:
        super().__init__(session)
        self._store = store

    @contextmanager
    def _committing(self, outcome: Succeeded | None) -> Iterator[None]:
        """Settle the job after the commit. The lock keeps others from taking it in between."""
        with self._store.lock:
            yield
            if outcome is not None:
                self._store.apply(settlement_of(outcome))

    def _settle(self, outcome: Succeeded) -> bool:
        row = self._store.rows.get(outcome.job.id)
        return row is not None and row.token == outcome.job.token


class MemoryTransactions(MemoryRole, TransactionsRole):
    """The transactions in which jobs write to an application's database."""

    def between_writes(self) -> AbstractContextManager[None]:
        return nullcontext()

    def transaction(self, sessions: Callable[[], Any] | None = None) -> Transaction:
        if sessions is None:
            raise ConfigurationError(NO_TRANSACTIONS.format("MemoryAdapter"))
        return MemoryTransaction(sessions(), self._store)

    def transaction_async(self, sessions: Callable[[], Any] | None = None) -> AsyncTransaction:
        if sessions is None:
            raise ConfigurationError(NO_TRANSACTIONS.format("MemoryAdapter"))
        session = sessions()
        return AsyncJobTransaction(MemoryTransaction(session.sync_session, self._store), session)

    def was_committed(self, outcome: Succeeded) -> bool:
        row = self._store.rows.get(outcome.job.id)
        return row is None or row.record.state is JobState.SUCCEEDED

    def is_same_database(self, other: TransactionsRole) -> bool:
        return other is self._store.adapter
