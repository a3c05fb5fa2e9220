"""Actions at the commit of a SQLAlchemy session or connection."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobqueue.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session, SessionTransaction

Action = Callable[[], None]


def after_commit(session: Any, action: Action) -> None:
    """Call `action` when the transaction of `session` has committed, and never if it does not.

    Without a session, or with one whose commit cannot be seen (a connection of the driver's own),
    `action` is called at once.
    """
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session, scoped_session

    session = getattr(session, "sync_session", session)
    if isinstance(session, (Session, scoped_session, Connection)):
        _joined.at_commit(session, action)
    else:
        action()


class JoinedTransactions:
    """The actions to call when a `Session` or `Connection` commits, and never if it rolls back.

    The rollback of a savepoint drops the actions that were added since it was set.
    """

    def __init__(self) -> None:
        self._pending: weakref.WeakKeyDictionary[Any, _Pending] = weakref.WeakKeyDictionary()

    def at_commit(self, session: Any, action: Action) -> None:
        """Call `action` when the transaction of `session` commits.

        Raises:
            ConfigurationError: it is nothing whose commit can be watched.
        """
        session = _without_scope(session)
        if session not in self._pending:
            self._pending[session] = _watching(session)
        self._pending[session].add(action)


_joined = JoinedTransactions()


def _without_scope(session: Any) -> Any:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session, scoped_session

    if isinstance(session, scoped_session):
        session = session()
    if not isinstance(session, (Session, Connection)):
        raise ConfigurationError(
            f"the memory adapter cannot join a {type(session).__qualname__}; "
            "give it a SQLAlchemy Session or Connection, or no session"
        )
    if not session.in_transaction():
        session.begin()
    return session


def _watching(session: Session | Connection) -> _Pending:
    from sqlalchemy.orm import Session

    pending = _Pending()
    if isinstance(session, Session):
        _watch_session(session, pending)
    else:
        _watch_connection(session, pending)
    return pending


class _Pending:
    """The actions of one session, in order, with marks where savepoints were set."""

    def __init__(self) -> None:
        self._entries: list[tuple[Any, Action | None]] = []

    def add(self, action: Action) -> None:
        self._entries.append((None, action))

    def mark(self, savepoint: Any) -> None:
        self._entries.append((savepoint, None))

    def roll_back_to(self, savepoint: Any) -> None:
        """Drop what came after a savepoint; all of it, if there was nothing when it was set."""
        marks = [place for place, (mark, _) in enumerate(self._entries) if mark is savepoint]
        del self._entries[marks[0] if marks and savepoint is not None else 0 :]

    def commit(self) -> None:
        entries, self._entries = self._entries, []
        for _, action in entries:
            if action is not None:
                action()

    def roll_back(self) -> None:
        self._entries.clear()


def _watch_session(session: Session, pending: _Pending) -> None:
    from sqlalchemy import event

    released: list[SessionTransaction] = []

    def begun(_: Session, transaction: SessionTransaction) -> None:
        if transaction.nested:
            pending.mark(transaction)

    def committed(session: Session) -> None:
        savepoint = session.get_nested_transaction()
        if savepoint is None:
            pending.commit()
        else:
            released.append(savepoint)

    def ended(_: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None:
            pending.roll_back()
        elif transaction.nested and transaction not in released:
            pending.roll_back_to(transaction)
        if transaction in released:
            released.remove(transaction)

    event.listen(session, "after_transaction_create", begun)
    event.listen(session, "after_commit", committed)
    event.listen(session, "after_transaction_end", ended)


def _watch_connection(connection: Connection, pending: _Pending) -> None:
    from sqlalchemy import event

    # The event comes before the savepoint has its name, so they are told apart by their nesting.
    open_savepoints: list[object] = []

    def begun(_: Connection, __: str) -> None:
        open_savepoints.append(object())
        pending.mark(open_savepoints[-1])

    def released(_: Connection, __: str, ___: None) -> None:
        if open_savepoints:
            open_savepoints.pop()

    def rolled_back(_: Connection, __: str, ___: None) -> None:
        pending.roll_back_to(open_savepoints.pop() if open_savepoints else None)

    def ended(finish: Action) -> Callable[[Connection], None]:
        def end(_: Connection) -> None:
            open_savepoints.clear()
            finish()

        return end

    event.listen(connection, "savepoint", begun)
    event.listen(connection, "release_savepoint", released)
    event.listen(connection, "rollback_savepoint", rolled_back)
    event.listen(connection, "commit", ended(pending.commit))
    event.listen(connection, "rollback", ended(pending.roll_back))
