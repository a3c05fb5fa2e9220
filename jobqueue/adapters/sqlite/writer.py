"""A job's own transaction and the other writes of a process take turns: SQLite has one writer."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TypeVar

from jobqueue.adapters.sql.transactions import SqlTransaction
from jobqueue.forks import renewed_in_children

T = TypeVar("T")

BUSY_TIMEOUT_SECONDS = 5.0
LONGEST_BEGIN_SECONDS = 30.0
LOOK_SECONDS = 0.1
STEPS_BETWEEN_LOOKS = 10_000


class Writer:
    """The turn to write, taken by the transaction of one job, or by any number of other writes.

    SQLite's own lock gives an error after a while, and does not say who holds it. Here turns are
    given in the order in which they were asked for. A turn is referred to weakly: if its object is
    gone, because it was interrupted, the turn is free.
    """

    def __init__(self) -> None:
        self._reset()
        renewed_in_children(self, Writer._reset)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[weakref.ref[object]] = []
        self._writing: weakref.WeakSet[object] = weakref.WeakSet()
        self._thread_id = 0

    def take(self, who: object, wait_seconds: float) -> bool:
        """Wait for the turn; return whether it was taken. If not, the place in line is kept."""
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
        """Give up the turn, or the place in line for it."""
        with self._changed:
            self._leave_row(who)
            self._writing.discard(who)

    def transaction(self) -> object | None:
        """The job's transaction that has the turn, if one has."""
        with self._changed:
            return next((who for who in self._writing if _is_alone(who)), None)

    def has_transaction_of_this_thread(self) -> bool:
        """Whether a transaction of this thread has the turn, so that a wait would never end."""
        return self._thread_id == threading.get_ident() and self.transaction() is not None

    def _is_next(self, who: object) -> bool:
        self._waiting = [waiting for waiting in self._waiting if waiting() is not None]
        if self._waiting[0]() is not who:
            return False
        return not self._writing if _is_alone(who) else self.transaction() is None

    def _leave_row(self, who: object) -> None:
        self._waiting = [waiting for waiting in self._waiting if waiting() is not who]
        self._changed.notify_all()


class Standstill:
    """The turn of nobody: no thread of the process writes meanwhile."""


def _is_alone(who: object) -> bool:
    return isinstance(who, SqlTransaction | Standstill)
