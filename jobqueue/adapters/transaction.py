"""The transaction of a job: that of a session, which only its owner can commit.

Each database overrides the small steps, not `begin`, `commit` and `end`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from jobqueue.adapters.roles.transactions import CommitFailed, Transaction
from jobqueue.errors import ClaimLost, InvalidTransaction
from jobqueue.records import Succeeded

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

T = TypeVar("T")


COMMITTED_BY_ITSELF = (
    "the block of self.transaction() commits by itself, together with the job's completion; use "
    "session.flush() to send what is written, session.begin_nested() for a part that may be "
    "undone, or leave the block"
)
CLOSED_WITHIN = (
    "the session of self.transaction() was closed within the block, which undid what the job had "
    "written; do not close it, the block does so (`with session:` closes it, too)"
)


class JobTransaction:
    """The transaction of a session, which only its owner can commit.

    Args:
        session: where the job writes.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._is_ending = False
        self._is_rolling_back = False
        self._was_closed = False
        # SQLAlchemy takes a connection for committed whose commit was refused.
        self._is_spoilt = False
        self._connection: Connection | None = None

    def take_turn(self, wait_seconds: float) -> bool:  # noqa: ARG002 - several can write at a time
        return True

    def begin(self) -> None:
        if self.session.in_transaction():
            raise InvalidTransaction(
                "self.transaction() was given sessions, and got one with a transaction that is "
                "open already; give a sessionmaker, which makes a new one each time"
            )
        self._watch()
        self._wait_for_lock()

    def flush(self) -> None:
        if self._was_closed:
            raise InvalidTransaction(CLOSED_WITHIN)
        if self._is_spoilt:
            raise InvalidTransaction(COMMITTED_BY_ITSELF)
        self.session.flush()

    def commit(self, outcome: Succeeded | None) -> None:
        with self._committing(outcome):
            if outcome is not None and not self._settle(outcome):
                raise ClaimLost(
                    f"job {outcome.job.id} ({outcome.job.handler}) is no longer this worker's: it "
                    "was silent past its lease, or somebody removed the job; what was written in "
                    "its transaction is rolled back"
                )
            self._is_ending = True
            try:
                self.session.commit()
            except BaseException as error:
                raise CommitFailed from error

    def end(self) -> None:
        try:
            self._is_ending = True
            self._unwatch()
            self._close()
        finally:
            self._give_up_turn()

    def _close(self) -> None:
        try:
            if self._is_spoilt or self._was_interrupted():
                self.session.invalidate()
            else:
                self.session.close()
        except Exception:  # noqa: BLE001 - whatever a driver raises on a connection that is gone
            # The server rolls back a transaction whose connection is closed.
            self.session.invalidate()

    # --- what each database does in its own way --------------------------------------------------

    def _settle(self, outcome: Succeeded) -> bool:
        """Settle the job in this transaction; return whether the worker still held it."""
        raise NotImplementedError

    def _committing(self, outcome: Succeeded | None) -> AbstractContextManager[None]:  # noqa: ARG002
        """A context in which the outcome is settled and the transaction committed."""
        return nullcontext()

    def _wait_for_lock(self) -> None:
        """Wait for a lock that the database needs before the job writes."""

    def _was_interrupted(self) -> bool:
        """Whether a statement was interrupted, after which the connection is of no more use."""
        return False

    def _give_up_turn(self) -> None:
        """Let others write, where the database has one writer at a time."""

    # --- nobody else ends it ---------------------------------------------------------------------

    def _listeners(self) -> dict[str, Callable[..., None]]:
        return {
            "before_commit": self._refuse_commit,
            "after_begin": self._watch_connection,
            "after_rollback": self._note_rollback,
            "after_transaction_end": self._note_end,
        }

    def _watch(self) -> None:
        from sqlalchemy import event

        for name, listener in self._listeners().items():
            event.listen(self.session, name, listener)

    def _unwatch(self) -> None:
        from sqlalchemy import event

        for name, listener in self._listeners().items():
            if event.contains(self.session, name, listener):
                event.remove(self.session, name, listener)

    def _watch_connection(self, _: Session, __: Any, connection: Connection) -> None:
        from sqlalchemy import event

        self._connection = connection
        event.listen(connection, "commit", self._refuse_commit_below)

    def _refuse_commit(self, session: Session) -> None:
        if not self._is_ending and not session.in_nested_transaction():
            raise InvalidTransaction(COMMITTED_BY_ITSELF)

    def _refuse_commit_below(self, _: Connection) -> None:
        if not self._is_ending:
            self._is_spoilt = True
            raise InvalidTransaction(COMMITTED_BY_ITSELF)

    def _note_rollback(self, _: Session) -> None:
        """Note that the job itself rolls back. It may go on writing afterwards."""
        self._is_rolling_back = True

    def _note_end(self, _: Session, transaction: Any) -> None:
        if transaction.parent is None:
            self._was_closed = not (self._is_ending or self._is_rolling_back)
            self._is_rolling_back = False


class AsyncJobTransaction:
    """The transaction of an `AsyncSession`, on an event loop.

    Args:
        inner: the transaction of the session within.
        session: where the job writes.
    """

    def __init__(self, inner: Transaction, session: AsyncSession) -> None:
        self.inner = inner
        self.session = session

    def run(self, step: Callable[..., T], *args: Any) -> Awaitable[T]:
        return self.session.run_sync(lambda _: step(*args))
