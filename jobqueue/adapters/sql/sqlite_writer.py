"""One writer at a time, within a process: SQLite has but one, and a job's transaction may be it."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from jobqueue.adapters.sql.engine import ANSWER_SECONDS, LONGEST_LOOK_SECONDS, Database
from jobqueue.adapters.sql.transactions import SqlTransaction, SqlTransactions
from jobqueue.errors import DatabaseUnavailable, TransactionOpen

T = TypeVar("T")

BUSY_TIMEOUT_SECONDS = 5.0
LONGEST_BEGIN_SECONDS = 30.0
LOOK_SECONDS = 0.1
STEPS_BETWEEN_LOOKS = 10_000


class Writer:
    """Whose turn it is to write in this process: a job's transaction alone, or others together.

    Who waits at SQLite's own lock gets an error after a while, and never knows whom it waits for.
    Here they come in as they came. A turn is held for as long as the object lives that took it:
    what is interrupted before it could give it up does not keep the others out for ever.
    """

    def __init__(self) -> None:
        self._reset()
        reference = weakref.ref(self)

        def forget() -> None:
            living = reference()
            if living is not None:
                living._reset()  # noqa: SLF001 - of this very class

        os.register_at_fork(after_in_child=forget)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[weakref.ref[object]] = []
        self._writing: weakref.WeakSet[object] = weakref.WeakSet()
        self._thread_id = 0

    def take(self, who: object, wait_seconds: float) -> bool:
        """Whether the turn is taken, waiting for it. If not, the place in the row is kept."""
        deadline = time.monotonic() + wait_seconds
        with self._changed:
            if not any(waiting() is who for waiting in self._waiting):
                self._waiting.append(weakref.ref(who))
            while not self._is_next(who):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, LOOK_SECONDS))
            self._leave_row(who)
            self._writing.add(who)
            self._thread_id = threading.get_ident()
            return True

    def give_up(self, who: object) -> None:
        """Let others write, and wait no more."""
        with self._changed:
            self._leave_row(who)
            self._writing.discard(who)

    def transaction(self) -> object | None:
        """The job's transaction that is the writer, if one is."""
        with self._changed:
            return next((who for who in self._writing if _is_alone(who)), None)

    def has_transaction_of_this_thread(self) -> bool:
        """Whether waiting here would keep the transaction itself from ending."""
        return self._thread_id == threading.get_ident() and self.transaction() is not None

    def _is_next(self, who: object) -> bool:
        self._waiting = [waiting for waiting in self._waiting if waiting() is not None]
        if self._waiting[0]() is not who:
            return False
        return not self._writing if _is_alone(who) else self.transaction() is None

    def _leave_row(self, who: object) -> None:
        self._waiting = [waiting for waiting in self._waiting if waiting() is not who]
        self._changed.notify_all()


def _is_alone(who: object) -> bool:
    return isinstance(who, SqlTransaction)


class _Turn:
    """One that is held by a call."""


class SqliteDatabase(Database):
    """An engine whose writes take turns with the transactions of jobs."""

    def __init__(self, engine: Engine, reader: Engine) -> None:
        super().__init__(engine, reader)
        self.writer = Writer()

    def write(
        self, work: Callable[[Connection], T], *, answer_seconds: float | None = ANSWER_SECONDS
    ) -> T:
        """See `Database.write`.

        Raises:
            TransactionOpen: a job's transaction was open all the while; nothing was done.
        """
        turn = _Turn()
        try:
            if self.writer.has_transaction_of_this_thread():
                raise TransactionOpen(
                    f"{self.name} has one writer at a time, and it is the self.transaction() that "
                    "is open on this very thread; do this after its block, or through its session "
                    "(and in async jobs await perform_later_async)"
                )
            if not self.writer.take(turn, BUSY_TIMEOUT_SECONDS):
                raise self._why_not()
            return super().write(work, answer_seconds=answer_seconds)
        finally:
            self.writer.give_up(turn)

    def look(self, work: Callable[[Connection], T]) -> T:
        """See `Database.look`: SQLite asks now and then whether to go on."""

        def limited(connection: Connection) -> T:
            driver: Any = connection.connection.driver_connection
            give_up_at = time.monotonic() + LONGEST_LOOK_SECONDS
            driver.set_progress_handler(lambda: time.monotonic() > give_up_at, STEPS_BETWEEN_LOOKS)
            try:
                return work(connection)
            finally:
                driver.set_progress_handler(None, 0)

        return self.read(limited)

    def _why_not(self) -> DatabaseUnavailable:
        if self.writer.transaction() is None:
            return DatabaseUnavailable(
                f"{self.name} is locked: another thread of this process writes for long"
            )
        return TransactionOpen(
            f"{self.name} has one writer at a time, and for {BUSY_TIMEOUT_SECONDS:g} s it has been "
            "a job of this process, in its self.transaction(); keep such blocks short"
        )


class SqliteTransaction(SqlTransaction):
    """A transaction of a job that is the one writer for as long as it is open."""

    def __init__(self, adapter: SqlTransactions, session: Session, writer: Writer) -> None:
        super().__init__(adapter, session)
        self._writer = writer

    def take_turn(self, wait_seconds: float) -> bool:
        """See `Transaction.take_turn`."""
        return self._writer.take(self, wait_seconds)

    def begin(self) -> None:
        """See `Transaction.begin`: SQLite's lock is waited for as well, that of other processes.

        Raises:
            DatabaseUnavailable: they did not let go of it for half a minute.
        """
        super().begin()
        give_up_at = time.monotonic() + LONGEST_BEGIN_SECONDS
        while not self._has_begun(give_up_at):
            pass

    def _has_begun(self, give_up_at: float) -> bool:
        try:
            with self._adapter.database.errors_translated():
                self.session.connection()
        except DatabaseUnavailable:
            if time.monotonic() > give_up_at:
                raise
            return False
        return True

    def end(self) -> None:
        """See `Transaction.end`."""
        try:
            super().end()
        finally:
            self._writer.give_up(self)
