"""The transaction in which a job writes and is completed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from jobqueue.errors import ConfigurationError
from jobqueue.records import Succeeded

if TYPE_CHECKING:
    # The block of `self.transaction()` needs these names too, and must not import SQLAlchemy.
    from sqlalchemy.ext.asyncio import AsyncSession as AsyncSession  # noqa: PLC0414
    from sqlalchemy.orm import Session as Session  # noqa: PLC0414

T = TypeVar("T")

NO_TRANSACTIONS = (
    "self.transaction() needs a database to write in, and the jobs here are kept by {}; it works "
    "with sqlite:///… and postgresql://…"
)


class Transaction(Protocol):
    """A session whose transaction ends with the completion of a job, made by an adapter.

    Call `take_turn` until it returns True, then `begin`. Call `end` last, whatever has happened.
    """

    @property
    def session(self) -> Session:
        """The session in which the job writes."""
        ...

    def take_turn(self, wait_seconds: float) -> bool:
        """Wait until the transaction may begin; return whether it may.

        A database may have one writer at a time.
        """
        ...

    def begin(self) -> None:
        """Prepare for the job's statements.

        Raises:
            InvalidTransaction: the session is in use already.
            DatabaseUnavailable: the database cannot begin a transaction.
        """
        ...

    def flush(self) -> None:
        """Send the job's changes to the database.

        Raises:
            InvalidTransaction: the job has closed the session, which undid its changes.
        """
        ...

    def commit(self, outcome: Succeeded | None) -> None:
        """Settle the outcome, if there is one, and commit everything together.

        When the commit itself raises, it is not known whether it has taken place: ask the
        adapter's `was_committed` after `end`.

        Raises:
            ClaimLost: the job is no longer held; nothing was committed.
            DatabaseError: the outcome could not be settled; nothing was committed.
            CommitFailed: the commit raised something, which is its cause.
        """
        ...

    def end(self) -> None:
        """Roll back changes that were not committed, and close the session. Does not raise."""
        ...


class AsyncTransaction(Protocol):
    """A `Transaction` on an event loop."""

    @property
    def session(self) -> AsyncSession:
        """The session in which the job writes."""
        ...

    @property
    def inner(self) -> Transaction:
        """The transaction within. Call those of its steps that wait for the database by `run`."""
        ...

    def run(self, step: Callable[..., T], *args: Any) -> Awaitable[T]:
        """Call a step of `inner`, and await the database meanwhile."""
        ...


class CommitFailed(Exception):
    """A commit raised an error. It is not known whether the changes were committed."""


class TransactionsRole(Protocol):
    """The role that gives a job a transaction to write in."""

    def transaction(
        self,
        sessions: Callable[[], Any] | None = None,  # noqa: ARG002 - others can
    ) -> Transaction:
        """A transaction for a job to write in, which its completion becomes part of.

        Args:
            sessions: makes the session, of this adapter's database; None for one of the adapter's.

        Raises:
            ConfigurationError: there are no transactions here, or `sessions` makes something else.
        """
        raise ConfigurationError(NO_TRANSACTIONS.format(type(self).__name__))

    def transaction_async(
        self,
        sessions: Callable[[], Any] | None = None,  # noqa: ARG002 - others can
    ) -> AsyncTransaction:
        """A transaction for an async job to write in."""
        raise ConfigurationError(NO_TRANSACTIONS.format(type(self).__name__))

    def was_committed(self, outcome: Succeeded) -> bool:
        """Whether a transaction with this outcome was committed, after its answer was lost.

        Waits for a commit that may still be under way, so that the answer is final.
        """
        ...

    def between_writes(self) -> AbstractContextManager[None]:
        """A moment in which no thread of this process writes, for what stops all of its threads.

        A process that is stopped in the middle of a write to a file keeps out everybody else.
        Where rows are locked rather than files, there is nothing to wait for.
        """
        ...

    def is_same_database(self, other: TransactionsRole) -> bool:
        """Whether jobs enqueued on another adapter can be part of a transaction of this one."""
        return self is other
