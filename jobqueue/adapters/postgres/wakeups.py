"""Listening to PostgreSQL: LISTEN, on a connection of its own."""

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
from jobqueue.errors import DatabaseError
from jobqueue.records import (
    Wakeup,
)

FIND_CHANNEL = f"SELECT {CHANNEL}"

VERIFY_SECONDS = 1.0
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
    """Listens for jobs in PostgreSQL."""

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
        listener = PostgresListener(self.database, url, self.next_due.hear)
        try:
            listener.begin()
            listener.verify(self.announcer.say)
        except BaseException:
            listener.close()
            raise
        return listener


class PostgresListener:
    """A connection that listens.

    Args:
        database: names the database in errors.
        url: of the connection, where it is not the adapter's own.
        hear: is called with each wake-up, on the thread that waits for it.

    Raises:
        DatabaseError: it cannot be connected to.
    """

    def __init__(self, database: Database, url: str | None, hear: Callable[[Wakeup], None]) -> None:
        self._database = database
        self._hear = hear
        self._state, self._in_use = threading.Lock(), threading.Lock()
        self._closed = False
        with self._database.errors_translated():
            self._connection = _connected(database, url)
        self._interrupted, self._interrupt = os.pipe()

    def begin(self) -> None:
        """Listen to the channel of the tables that this connection sees."""
        with self._database.errors_translated():
            (channel,) = self._connection.execute(FIND_CHANNEL.encode()).fetchall()[0]
            self._connection.execute(f'LISTEN "{channel}"'.encode())

    def verify(self, say: Callable[[str], None]) -> None:
        """Send a notification on another connection, and wait until it arrives here.

        Raises:
            DatabaseError: it does not arrive within a second.
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
        deadline = time.monotonic() + timeout_seconds
        while not self._closed:
            left = max(deadline - time.monotonic(), 0.0)
            heard = [json_of(payload) for payload in self._heard(left)]
            wakeups = [Wakeup.from_facts(facts) for facts in heard if "verify" not in facts]
            for wakeup in wakeups:
                self._hear(wakeup)
            if wakeups:
                return reduce(Wakeup.merged, wakeups)
            if not left:
                break
        return None

    def close(self) -> None:
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


def json_of(payload: str) -> dict[str, Any]:
    """The content of a notification; empty when it is not ours."""
    try:
        facts = json.loads(payload)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}
