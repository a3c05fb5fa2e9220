"""PostgreSQL: LISTEN and NOTIFY.

NOTIFY takes a lock of the whole database when its transaction commits, so that a notification
inside the transaction of a job would have all commits wait for each other's disk writes. It goes
out after the commit, therefore, wherever that can be known.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import psycopg
from sqlalchemy import Connection, TwoPhaseTransaction, event
from sqlalchemy.orm import Session, scoped_session

from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.adapters.sql.engine import Database, parse_url
from jobqueue.adapters.sql.executing import Execute, executing_on
from jobqueue.adapters.sql.postgres_database import PostgresDatabase
from jobqueue.adapters.sql.wakeups import SqlWakeups, wakeup_for
from jobqueue.adapters.stored import StoredJob
from jobqueue.errors import DatabaseError
from jobqueue.records import ECHO_SECONDS, NewJob, Wakeup

# Tables of the same name may be in several schemas of a database; each has a channel of its own.
CHANNEL = """
'background_jobs_' || (SELECT relnamespace FROM pg_class
                       WHERE oid = 'background_jobs'::regclass)"""
NOTIFY = f"SELECT pg_notify({CHANNEL}, %(payload)s)"
FIND_CHANNEL = f"SELECT {CHANNEL}"

VERIFY_SECONDS = 1.0
QUIET_SECONDS = 0.8 * ECHO_SECONDS
MILLISECONDS = 1000
# A connection that dies without a word (a firewall forgot it) is noticed in about a minute.
LISTEN_OPTIONS = {
    "application_name": "jobqueue listener",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "connect_timeout": 10,
}


class PostgresWakeups(SqlWakeups, SqlAdapter):
    """The part of the adapter that notifies, and listens."""

    database: PostgresDatabase

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pending: weakref.WeakKeyDictionary[Session, Wakeup | None]
        self._pending = weakref.WeakKeyDictionary()
        self._stream = Stream()

    # --- what makes jobs due ---------------------------------------------------------------------

    def enqueue(self, jobs: Sequence[NewJob], *, session: Any = None) -> Sequence[StoredJob]:
        """See `Adapter.enqueue`."""
        records = super().enqueue(jobs, session=session)
        wakeup = wakeup_for(records)
        if wakeup is None:
            return records
        if session is None:
            self._notify_of_one_more(wakeup)
        else:
            with self.database.errors_translated():
                self._notify_with(session, wakeup)
        return records

    # --- notifying -------------------------------------------------------------------------------

    def _notify_of_one_more(self, wakeup: Wakeup) -> None:
        said = self._stream.what_to_say(wakeup)
        if said is not None and not self._notify(said):
            self._stream.forget()

    def _announce(self, wakeup: Wakeup) -> None:
        self._notify(wakeup)

    def _notify(self, wakeup: Wakeup) -> bool:
        """Say it now, if that is possible: what it is about is stored already."""
        try:
            self._say(wakeup.to_json())
        except DatabaseError:
            return False
        return True

    def _say(self, payload: str) -> None:
        self.database.write_alone(NOTIFY, {"payload": payload})

    def _notify_with(self, session: Any, wakeup: Wakeup) -> None:
        """Say it after a session's commit; in the transaction, where its end cannot be seen."""
        if isinstance(session, scoped_session):
            session = session()
        if isinstance(session, Session):
            self._notify_after_commit(session, wakeup)
        elif not _is_two_phase(session):
            execute = self._raw_execute(session) or executing_on(self.connection_of(session))
            # Without a place, the notifications of one transaction are alike, and are sent as one.
            _executed(execute, Wakeup(queues=wakeup.queues).to_json())

    def _notify_after_commit(self, session: Session, wakeup: Wakeup) -> None:
        if session not in self._pending:
            event.listen(session, "after_commit", self._after_commit)
        before = self._pending.get(session)
        self._pending[session] = wakeup if before is None else before.merged(wakeup)

    def _after_commit(self, session: Session) -> None:
        """Also called for a savepoint; after a rollback, what was pending is said in vain."""
        wakeup = self._pending.get(session)
        if wakeup is not None and session.get_nested_transaction() is None:
            self._pending[session] = None
            _off_the_event_loop(partial(self._notify_of_one_more, wakeup))

    # --- listening -------------------------------------------------------------------------------

    def listen(self, url: str | None = None) -> PostgresListener:
        """See `Adapter.listen`; verified by a notification that takes the way of all others."""
        listener = PostgresListener(self.database, url)
        try:
            listener.begin()
            listener.verify(self._say)
        except BaseException:
            listener.close()
            raise
        return listener


def _off_the_event_loop(say: Callable[[], None]) -> None:
    """Do it here, or on a thread where it would hold up an event loop.

    What the loop holds up then may be what it waits for: other transactions, which have all of a
    pooler's connections.
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
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Nothing that was said can be relied on."""
        with self._lock:
            self._last_said = self._quiet_until = float("-inf")
            self._quiet_about: frozenset[str] | None = frozenset()

    def what_to_say(self, wakeup: Wakeup) -> Wakeup | None:
        """What to say of jobs that have been stored, now; None when it is said already."""
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


class PostgresListener:
    """A connection that listens.

    Args:
        database: whose errors are told.
        url: of the connection, where it is not the adapter's own.

    Raises:
        DatabaseError: it cannot be connected to.
    """

    def __init__(self, database: Database, url: str | None) -> None:
        self._database = database
        self._state, self._in_use = threading.Lock(), threading.Lock()
        self._closed = False
        self._interrupted, self._interrupt = os.pipe()
        with self._database.errors_translated():
            self._connection = _connected(database, url)

    def begin(self) -> None:
        """Listen to the channel of the tables that this connection sees."""
        with self._database.errors_translated():
            (channel,) = self._connection.execute(FIND_CHANNEL.encode()).fetchall()[0]
            self._connection.execute(f'LISTEN "{channel}"'.encode())

    def verify(self, say: Callable[[str], None]) -> None:
        """Return when a notification that is said elsewhere has been heard here.

        Raises:
            DatabaseError: it has not been, within a second.
        """
        token = secrets.token_hex(8)
        say(json.dumps({"verify": token}))
        deadline = time.monotonic() + VERIFY_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            if any(json_of(payload).get("verify") == token for payload in self._heard(left)):
                return
        raise DatabaseError(
            f"{self._database.name} takes LISTEN but delivers no notification, as PgBouncer does "
            "in its transaction mode; set `listen_url` to a direct connection"
        )

    def wait(self, timeout_seconds: float) -> Wakeup | None:
        """See `Listener.wait`."""
        deadline = time.monotonic() + timeout_seconds
        while not self._closed:
            left = max(deadline - time.monotonic(), 0.0)
            heard = [json_of(payload) for payload in self._heard(left)]
            wakeups = [Wakeup.from_facts(facts) for facts in heard if "verify" not in facts]
            if wakeups:
                return reduce(Wakeup.merged, wakeups)
            if not left:
                break
        return None

    def close(self) -> None:
        """See `Listener.close`."""
        with self._state:
            if self._closed:
                return
            self._closed = True
            os.write(self._interrupt, b"x")
        with self._in_use:
            os.close(self._interrupt)
            os.close(self._interrupted)
            self._connection.close()

    def _heard(self, timeout_seconds: float) -> list[str]:
        with self._in_use, self._database.errors_translated():
            if self._closed:
                return []
            server = self._connection.pgconn
            poll = select.poll()
            poll.register(server.socket, select.POLLIN)
            poll.register(self._interrupted, select.POLLIN)
            poll.poll(timeout_seconds * MILLISECONDS)
            server.consume_input()
            return [bytes(heard.extra).decode() for heard in iter(server.notifies, None)]


def _connected(database: Database, url: str | None) -> psycopg.Connection[Any]:
    dialect, target = database.engine.dialect, database.engine.url
    if url is not None:
        target = parse_url(url).set(drivername=target.drivername)
    positional, named = dialect.create_connect_args(target)
    return psycopg.connect(*positional, **{**LISTEN_OPTIONS, **named}, autocommit=True)


def _executed(execute: Execute, payload: str) -> None:
    execute(NOTIFY, {"payload": payload})


def _is_two_phase(session: Any) -> bool:
    """Whether a transaction is to be prepared, which PostgreSQL refuses after a NOTIFY."""
    if isinstance(session, Connection):
        return isinstance(session.get_transaction(), TwoPhaseTransaction)
    return getattr(session, "_tpc", None) is not None


def json_of(payload: str) -> dict[str, Any]:
    """The facts of a notification; none when it is not from us."""
    try:
        facts = json.loads(payload)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}
