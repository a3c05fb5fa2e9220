"""The protocol of the transaction that a job writes in, and that its completion is part of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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
    """A session whose transaction ends with the completion of a job. An adapter makes it.

    Call `take_turn` first, until it is True, then `begin`. Call `end` last, whatever has happened.
    """

    @property
    def session(self) -> Session:
        """The session that the job writes in."""
        ...

    def take_turn(self, wait_seconds: float) -> bool:
        """Wait for the turn to write; True when it is there. Some databases have one writer."""
        ...

    def begin(self) -> None:
        """Be ready for the job's statements.

        Raises:
            InvalidTransaction: the session is in use.
            DatabaseUnavailable: the database cannot begin a transaction.
        """
        ...

    def flush(self) -> None:
        """Send what the job has written so far.

        Raises:
            InvalidTransaction: the job has closed the session, and with it lost what it wrote.
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
        """Roll back what has not been committed, and give everything up. It does not raise."""
        ...


class AsyncTransaction(Protocol):
    """The transaction of an async job."""

    @property
    def session(self) -> AsyncSession:
        """The session that the job writes in."""
        ...

    @property
    def inner(self) -> Transaction:
        """The plain transaction. Call its steps that wait for the database through `run`."""
        ...

    def run(self, step: Callable[..., T], *args: Any) -> Awaitable[T]:
        """Call a step of `inner` without blocking the event loop."""
        ...


class CommitFailed(Exception):
    """A commit raised an error: whether it has taken place is not known."""


class TransactionsRole(Protocol):
    """Gives a job a transaction to write in."""

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
        """Whether a transaction with this outcome has been committed whose answer was lost.

        A commit that may still be under way is waited for, so that the answer is final.
        """
        ...

    def is_same_database(self, other: TransactionsRole) -> bool:
        """Whether a transaction of this adapter can take in jobs that are enqueued on another."""
        return self is other
