"""The listener of PostgreSQL: LISTEN, on a connection of its own."""

from __future__ import annotations

import json
import os
import secrets
import select
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import reduce
from typing import Any

import psycopg

from jobqueue.adapters.postgres.announcer import CHANNEL, PostgresAnnouncer
from jobqueue.adapters.postgres.database import PostgresDatabase
from jobqueue.adapters.postgres.next_due import NextDue
from jobqueue.adapters.sql.database import Database, parse_url
from jobqueue.adapters.sql.role import SqlParts
from jobqueue.adapters.sql.wakeups import SqlWakeups
from jobqueue.descriptors import Descriptor
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.records import Wakeup, facts_of

FIND_CHANNEL = f"SELECT {CHANNEL}"

ECHO = "verify"
VERIFY_SECONDS = 1.0
# A busy machine is no reason to give up a connection that works.
PATIENCE_SECONDS = 5.0
MILLISECONDS = 1000
# A connection that dies without a word (a firewall forgot it) is noticed in about a minute.
LISTEN_OPTIONS = {
    "application_name": "jobqueue listener",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "connect_timeout": 10,
}


class PostgresWakeups(SqlWakeups):
    """The listeners in PostgreSQL, and the time until the next job is due."""

    database: PostgresDatabase
    announcer: PostgresAnnouncer

    def __init__(self, parts: SqlParts) -> None:
        super().__init__(parts)
        self.next_due = NextDue(self.database, self.time)

    def first_run_at(self) -> tuple[datetime | None, datetime]:
        first = self.next_due.find()
        return first.run_at, first.now

    def listen(self, url: str | None = None) -> PostgresListener:
        """Listen, and verify with a notification that notifications arrive."""
        listener = PostgresListener(self.database, url, self.announcer.say, self.next_due.note)
        try:
            listener.begin()
        except BaseException:
            listener.close()
            raise
        return listener


class PostgresListener:
    """A listener: a connection of its own, which receives notifications.

    Args:
        database: where the tables are; it is named in errors.
        url: of the connection, where it is not the adapter's own.
        say: sends a notification on another connection.
        hear: is called with each wake-up, on the thread that waits for it.

    Raises:
        DatabaseError: it cannot be connected to.
    """

    def __init__(
        self,
        database: PostgresDatabase,
        url: str | None,
        say: Callable[[str], None],
        hear: Callable[[Wakeup], None],
    ) -> None:
        self._database = database
        self._say, self._hear = say, hear
        self._state, self._in_use = threading.Lock(), threading.Lock()
        self._arrival = threading.Condition()
        self._arrived, self._arrived_at = 0, time.monotonic()
        self._closed = False
        with self._database.errors_translated():
            self._connection = _connected(database, url)
        self._socket = Descriptor(self._connection.fileno())
        self._interrupted, self._interrupt = map(Descriptor, os.pipe())

    def begin(self) -> None:
        """Listen to the channel of the tables, and verify that.

        Raises:
            DatabaseError: what is sent does not arrive within a second.
        """
        find_channel = self._database.schema().written_into(FIND_CHANNEL)
        with self._database.errors_translated():
            (channel,) = self._connection.execute(find_channel.encode(), {}).fetchall()[0]
            self._connection.execute(f'LISTEN "{channel}"'.encode())
        before = self._arrived
        self._say(_echo())
        deadline = time.monotonic() + VERIFY_SECONDS
        while self._arrived == before:
            if time.monotonic() >= deadline:
                raise self._delivers_nothing()
            self._receive(max(deadline - time.monotonic(), 0.0))

    def wait(self, timeout_seconds: float) -> Wakeup | None:
        deadline = time.monotonic() + timeout_seconds
        while not self._closed:
            left = max(deadline - time.monotonic(), 0.0)
            received = [facts_of(payload) for payload in self._receive(left)]
            wakeups = [Wakeup.from_facts(facts) for facts in received if ECHO not in facts]
            if wakeups:
                for wakeup in wakeups:
                    self._hear(wakeup)
                return reduce(Wakeup.merged, wakeups)
            if not left:
                break
        return None

    def silent_seconds(self) -> float:
        return time.monotonic() - self._arrived_at

    def verify(self) -> None:
        """Send a notification, and see whether anything arrives on the thread that waits."""
        before = self._arrived
        self._say(_echo())
        with self._arrival:
            if not self._arrival.wait_for(
                lambda: self._arrived != before or self._closed, PATIENCE_SECONDS
            ):
                raise self._delivers_nothing()

    def close(self) -> None:
        with self._state:
            if self._closed:
                return
            self._closed = True
            if self._interrupt.is_intact:
                os.write(self._interrupt.number, b"x")
        with self._arrival:
            self._arrival.notify_all()
        with self._in_use:
            self._interrupt.close()
            self._interrupted.close()
            self._connection.close()

    def _receive(self, timeout_seconds: float) -> list[str]:
        with self._in_use, self._database.errors_translated():
            if self._closed:
                return []
            self._wait_for_input(timeout_seconds)
            server = self._connection.pgconn
            server.consume_input()
            notified = [bytes(one.extra) for one in iter(server.notifies, None)]
            received = [payload.decode(errors="replace") for payload in notified]
        if received:
            self._note_arrival()
        return received

    def _wait_for_input(self, timeout_seconds: float) -> None:
        poll = select.poll()
        for descriptor in (self._socket, self._interrupted):
            poll.register(descriptor.number, select.POLLIN)
        poll.poll(timeout_seconds * MILLISECONDS)
        try:
            self._socket.check()
        except OSError as error:
            raise DatabaseUnavailable(
                f"{self._database.name} is not listened to: {error}"
            ) from None

    def _note_arrival(self) -> None:
        with self._arrival:
            self._arrived += 1
            self._arrived_at = time.monotonic()
            self._arrival.notify_all()

    def _delivers_nothing(self) -> DatabaseError:
        return DatabaseError(
            f"{self._database.name} takes LISTEN but delivers no notification, as PgBouncer does "
            "in its transaction mode; set `listen_url` to a direct connection"
        )


def _echo() -> str:
    """A notification that wakes nobody. No two are alike, since equal ones may be sent as one."""
    return json.dumps({ECHO: secrets.token_hex(8)})


def _connected(database: Database, url: str | None) -> psycopg.Connection[Any]:
    dialect, target = database.engine.dialect, database.engine.url
    if url is not None:
        target = parse_url(url).set(drivername=target.drivername)
    positional, named = dialect.create_connect_args(target)
    return psycopg.connect(*positional, **{**LISTEN_OPTIONS, **named}, autocommit=True)
