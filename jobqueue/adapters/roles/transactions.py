"""The transaction that a job writes in, and that its completion is part of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from jobqueue.errors import ConfigurationError
from jobqueue.records import Succeeded

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

T = TypeVar("T")

NO_TRANSACTIONS = (
    "self.transaction() needs a database to write in, and the jobs here are kept by {}; it works "
    "with sqlite:///… and postgresql://…"
)


class Transaction(Protocol):
    """A session whose transaction ends with the completion of a job. Made by an adapter.

    `take_turn` comes first, until it is True, then `begin`; whatever has happened, `end` is last.
    """

    @property
    def session(self) -> Session:
        """Where the job writes."""
        ...

    def take_turn(self, wait_seconds: float) -> bool:
        """Whether it may begin, waiting for that: a database may have one writer at a time."""
        ...

    def begin(self) -> None:
        """Be ready for the job's statements."""
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
    """As `Transaction`, on an event loop."""

    @property
    def session(self) -> AsyncSession:
        """Where the job writes."""
        ...

    @property
    def inner(self) -> Transaction:
        """What it consists of. What waits for the database is to be called by `run`."""
        ...

    def run(self, step: Callable[..., T], *args: Any) -> Awaitable[T]:
        """Call a step of `inner`; what it waits for is awaited."""
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
        """As `transaction`, for an async job."""
        raise ConfigurationError(NO_TRANSACTIONS.format(type(self).__name__))

    def was_committed(self, outcome: Succeeded) -> bool:
        """Whether a transaction with this outcome has been committed whose answer was lost.

        A commit that may still be under way is waited for, so that the answer is final.
        """
        ...

    def is_same_database(self, other: TransactionsRole) -> bool:
        """Whether a transaction of this adapter can take in jobs that are enqueued on another."""
        return self is other
