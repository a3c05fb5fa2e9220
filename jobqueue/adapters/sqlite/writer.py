"""One writer at a time, within a process: SQLite has but one, and a job's transaction may be it."""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import TypeVar

from jobqueue.adapters.sql.transactions import SqlTransaction

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
