"""The announcer of PostgreSQL: NOTIFY.

NOTIFY locks the whole database when its transaction commits: with a notification inside every
enqueueing transaction, all commits would wait for each other's disk writes. So the notification is
sent after the commit, wherever the commit can be observed. (A single job that is due at once may be
announced in its own short transaction, which saves a round trip: `_insert_and_notify`.)
"""

from __future__ import annotations

import functools
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

from jobqueue import log
from jobqueue.adapters.postgres.database import PostgresDatabase, executing_on_psycopg
from jobqueue.adapters.sql.announcer import Announcer
from jobqueue.adapters.sql.execute import Execute, executing_on
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.forks import renewed_in_children
from jobqueue.records import ECHO_SECONDS, Wakeup
from jobqueue.sinks import default_sinks

# Tables of the same name may be in several schemas of a database; each has a channel of its own.
CHANNEL = """
'background_jobs_' || (SELECT relnamespace FROM pg_catalog.pg_class
                       WHERE oid = {jobs}::regclass)"""
NOTIFY = f"SELECT pg_notify({CHANNEL}, %(payload)s)"
QUIET_SECONDS = 0.8 * ECHO_SECONDS
# An application's commit waits no longer for the notification after it: workers look by themselves.
LONGEST_SECONDS = 1.0


class PostgresAnnouncer(Announcer):
    """An announcer that sends notifications to listeners, by NOTIFY.

    Args:
        database: where they do.
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._notify_in = functools.cache(lambda schema: schema.written_into(NOTIFY))
        self._pending: weakref.WeakKeyDictionary[Session, Wakeup | None]
        self._pending = weakref.WeakKeyDictionary()
        self._stream = Stream()
        self._overdue: NotifyThread | None = None
        self._is_silent = False

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
            execute = _executing_on(session)
            execute(self._notify_in(self._database.schema_for(execute)), {"payload": payload})

    def what_to_say(self, wakeup: Wakeup) -> Wakeup | None:
        """The wake-up for a job that its own transaction announces; None when it need not be.

        The wake-up counts as sent. Call `forget` if the transaction fails.
        """
        return self._stream.what_to_say(wakeup)

    def forget(self) -> None:
        """Forget what was sent, since it may not have arrived."""
        self._stream.forget()

    def say(self, payload: str) -> None:
        """Send a notification to all listeners.

        Raises:
            DatabaseError: it cannot be done now.
        """
        notify = self._notify_in(self._database.schema())
        self._database.write_alone(notify, {"payload": payload})

    def _notify(self, wakeup: Wakeup) -> bool:
        """Send a wake-up if that is possible at once. The jobs are stored in any case.

        What waits for a connection, or for an answer on it, is left to itself, and the next ones
        are not sent before it has come to an end.
        """
        if self._overdue is not None and self._overdue.is_alive():
            return False
        sending = NotifyThread(partial(self.say, wakeup.to_json()))
        error = sending.within(LONGEST_SECONDS)
        self._overdue = sending if sending.is_alive() else None
        self._note(error)
        return error is None

    def _note(self, error: DatabaseError | None) -> None:
        """Log that jobs cannot be announced, once, and that they can again."""
        was_silent, self._is_silent = self._is_silent, error is not None
        if error is not None and not was_silent:
            log.not_announcing(default_sinks.logger, error)
        elif error is None and was_silent:
            log.announcing_again(default_sinks.logger)

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
    """Call `say` here, or on a thread if an event loop runs here.

    On the loop it could wait for a pooler's connection that a transaction of the same loop holds.
    """
    import asyncio

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        say()
    else:
        loop.run_in_executor(None, say)


class NotifyThread(threading.Thread):
    """A thread that sends one notification, so that nobody has to wait until it is sent.

    Args:
        say: sends it.
    """

    def __init__(self, say: Callable[[], None]) -> None:
        super().__init__(name="jobqueue-announcer", daemon=True)
        self._say = say
        self._error: Exception | None = None

    def run(self) -> None:
        """Send the notification."""
        try:
            self._say()
        except Exception as error:  # noqa: BLE001 - raised again by who waits
            self._error = error

    def within(self, seconds: float) -> DatabaseError | None:
        """Begin to send, and wait so many seconds at most. Return why it is not sent by then."""
        try:
            self.start()
        except RuntimeError as error:
            return DatabaseError(f"no thread for it could be started ({error})")
        self.join(seconds)
        if self.is_alive():
            return DatabaseUnavailable(f"it could not be sent within {seconds:g} s")
        if self._error is None or isinstance(self._error, DatabaseError):
            return self._error
        raise self._error


class Stream:
    """A filter that drops most notifications of jobs that are enqueued in quick succession.

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
