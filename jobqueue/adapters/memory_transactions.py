"""Transactions of an application's database that jobs in memory are completed with: for tests."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobqueue.adapters.base import Adapter
from jobqueue.adapters.transacting import (
    AsyncSessionTransaction,
    AsyncTransaction,
    SessionTransaction,
    Transaction,
)
from jobqueue.records import ClaimedJob, Succeeded

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class MemoryTransaction(SessionTransaction):
    """A transaction elsewhere, at whose commit a job in memory is settled."""

    def __init__(self, adapter: MemoryTransactions, session: Session) -> None:
        super().__init__(session)
        self._adapter = adapter

    def commit(self, outcome: Succeeded | None) -> None:
        """See `Transaction.commit`: nobody can take the job in between."""
        with self._adapter.locked():
            super().commit(outcome)
            if outcome is not None:
                self._adapter.settle([outcome])

    def _settle(self, outcome: Succeeded) -> bool:
        return self._adapter.is_held(outcome.job)


class MemoryTransactions(Adapter):
    """The part of an adapter that lets jobs write elsewhere, where they say in which sessions."""

    _lock: threading.RLock

    @abstractmethod
    def is_held(self, job: ClaimedJob) -> bool:
        """Whether a job runs under its claim."""

    def locked(self) -> threading.RLock:
        """What keeps everybody else out."""
        return self._lock

    def transaction(self, sessions: Callable[[], Any] | None = None) -> Transaction:
        """See `Adapter.transaction`; there is none without `sessions`."""
        return super().transaction() if sessions is None else MemoryTransaction(self, sessions())

    def transaction_async(self, sessions: Callable[[], Any] | None = None) -> AsyncTransaction:
        """See `Adapter.transaction_async`, likewise."""
        if sessions is None:
            return super().transaction_async()
        session = sessions()
        return AsyncSessionTransaction(MemoryTransaction(self, session.sync_session), session)
