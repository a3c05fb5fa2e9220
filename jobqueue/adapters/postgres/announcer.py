"""The announcer of PostgreSQL: NOTIFY.

NOTIFY locks the whole database when its transaction commits: with a notification inside every
enqueueing transaction, all commits would wait for each other's disk writes. So the notification is
sent after the commit, wherever the commit can be observed.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg
from sqlalchemy import Connection, TwoPhaseTransaction, event
from sqlalchemy.orm import Session, scoped_session

from jobqueue.adapters.postgres.database import PostgresDatabase, executing_on_psycopg
from jobqueue.adapters.sql.announcer import Announcer
from jobqueue.adapters.sql.execute import Execute, executing_on
from jobqueue.errors import DatabaseError
from jobqueue.forks import renewed_in_children
from jobqueue.records import ECHO_SECONDS, Wakeup

# Tables of the same name may be in several schemas of a database; each has a channel of its own.
CHANNEL = """
'background_jobs_' || (SELECT relnamespace FROM pg_class
                       WHERE oid = 'background_jobs'::regclass)"""
NOTIFY = f"SELECT pg_notify({CHANNEL}, %(payload)s)"
QUIET_SECONDS = 0.8 * ECHO_SECONDS


class PostgresAnnouncer(Announcer):
    """Notifies those who listen.

    Args:
        database: where they do.
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._pending: weakref.WeakKeyDictionary[Session, Wakeup | None]
        self._pending = weakref.WeakKeyDictionary()
        self._stream = Stream()

    def announce(self, wakeup: Wakeup | None) -> None:
        if wakeup is not None:
            self._notify(wakeup)

    def announce_new(self, wakeup: Wakeup | None) -> None:
        if wakeup is None:
            return
        said = self._stream.what_to_say(wakeup)
        if said is not None and not self._notify(said):
            self._stream.forget()

    def announce_at_commit(self, session: Any, wakeup: Wakeup | None) -> None:
        """Announce after the commit, or in the transaction if its end cannot be observed."""
        if wakeup is None:
            return
        if isinstance(session, scoped_session):
            session = session()
        if isinstance(session, Session):
            self._announce_after_commit(session, wakeup)
        elif not _is_two_phase(session):
            # Without a place, the notifications of one transaction are alike, and are sent as one.
            payload = Wakeup(queues=wakeup.queues).to_json()
            _executing_on(session)(NOTIFY, {"payload": payload})

    def what_to_say(self, wakeup: Wakeup) -> Wakeup | None:
        """The wake-up for a job that its own transaction announces; None when it need not be.

        The wake-up counts as sent. Call `forget` if the transaction fails.
        """
        return self._stream.what_to_say(wakeup)

    def forget(self) -> None:
        """Forget what was sent, since it may not have arrived."""
        self._stream.forget()

    def say(self, payload: str) -> None:
        """Notify those who listen.

        Raises:
            DatabaseError: it cannot be done now.
        """
        self._database.write_alone(NOTIFY, {"payload": payload})

    def _notify(self, wakeup: Wakeup) -> bool:
        """Send a wake-up if that is possible. The jobs are stored in any case."""
        try:
            self.say(wakeup.to_json())
        except DatabaseError:
            return False
        return True

    def _announce_after_commit(self, session: Session, wakeup: Wakeup) -> None:
        if session not in self._pending:
            event.listen(session, "after_commit", self._after_commit)
        before = self._pending.get(session)
        self._pending[session] = wakeup if before is None else before.merged(wakeup)

    def _after_commit(self, session: Session) -> None:
        """Announce pending jobs. Also called for savepoints; after a rollback it is harmless."""
        wakeup = self._pending.get(session)
        if wakeup is not None and session.get_nested_transaction() is None:
            self._pending[session] = None
            _off_the_event_loop(partial(self.announce_new, wakeup))


def _off_the_event_loop(say: Callable[[], None]) -> None:
    """Call it here, or on a thread if an event loop runs here.

    On the loop it could wait for a pooler's connection that a transaction of the same loop holds.
    """
    import asyncio

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        say()
    else:
        loop.run_in_executor(None, say)


class Stream:
    """Thins out the notifications of jobs that are enqueued one right after the other.

    The second of two that come close together says that more may follow, so that whoever hears it
    looks once more `ECHO_SECONDS` later. What is stored until then need not be announced.
    """

    def __init__(self) -> None:
        self._begin()
        renewed_in_children(self, Stream._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Forget what was sent, since it may not have arrived."""
        with self._lock:
            self._last_said = self._quiet_until = float("-inf")
            self._quiet_about: frozenset[str] | None = frozenset()

    def what_to_say(self, wakeup: Wakeup) -> Wakeup | None:
        """The wake-up to send now for stored jobs; None when an earlier one covers them."""
        now = time.monotonic()
        with self._lock:
            if now < self._quiet_until and self._covers(wakeup):
                return None
            follows, self._last_said = now - self._last_said < QUIET_SECONDS, now
            if not follows:
                return wakeup
            self._quiet_until, self._quiet_about = now + QUIET_SECONDS, wakeup.queues
            return replace(wakeup, more=True)

    def _covers(self, wakeup: Wakeup) -> bool:
        if self._quiet_about is None:
            return True
        return wakeup.queues is not None and wakeup.queues <= self._quiet_about


def _executing_on(session: Any) -> Execute:
    if isinstance(session, psycopg.Connection):
        return executing_on_psycopg(session)
    return executing_on(session)


def _is_two_phase(session: Any) -> bool:
    """Whether a transaction is to be prepared, which PostgreSQL refuses after a NOTIFY."""
    if isinstance(session, Connection):
        return isinstance(session.get_transaction(), TwoPhaseTransaction)
    return getattr(session, "_tpc", None) is not None
