"""The transaction of a job: that of a session which only the transaction's block can commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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
    """A transaction of a session, which the job that writes in it cannot commit itself."""

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

    def flush(self) -> None:
        if self._was_closed:
            raise InvalidTransaction(CLOSED_WITHIN)
        if self._is_spoilt:
            raise InvalidTransaction(COMMITTED_BY_ITSELF)
        self.session.flush()

    def commit(self, outcome: Succeeded | None) -> None:
        if outcome is not None and not self._settle(outcome):
            raise ClaimLost(
                f"job {outcome.job.id} ({outcome.job.handler}) is no longer this worker's: it was "
                "silent past its lease, or somebody removed the job; what was written in its "
                "transaction is rolled back"
            )
        self._is_ending = True
        try:
            self.session.commit()
        except BaseException as error:
            raise CommitFailed from error

    def end(self) -> None:
        self._is_ending = True
        self._unwatch()
        try:
            self._close()
        except Exception:  # noqa: BLE001 - whatever a driver raises on a connection that is gone
            # The server rolls back what it no longer hears of.
            self.session.invalidate()

    def _settle(self, outcome: Succeeded) -> bool:
        """Settle in the same transaction; whether the job was still held."""
        raise NotImplementedError

    def _close(self) -> None:
        if self._is_spoilt:
            self.session.invalidate()
        else:
            self.session.close()

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
        """Note a rollback that the job wants. What it writes from now on counts."""
        self._is_rolling_back = True

    def _note_end(self, _: Session, transaction: Any) -> None:
        if transaction.parent is None:
            self._was_closed = not (self._is_ending or self._is_rolling_back)
            self._is_rolling_back = False


class AsyncJobTransaction:
    """The transaction of an async job: that of the session within an `AsyncSession`."""

    def __init__(self, inner: Transaction, session: AsyncSession) -> None:
        self.inner = inner
        self.session = session

    def run(self, step: Callable[..., T], *args: Any) -> Awaitable[T]:
        return self.session.run_sync(lambda _: step(*args))
