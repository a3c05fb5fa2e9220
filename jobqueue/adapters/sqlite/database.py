"""A SQLite file: its connections and its transactions.

Every write is a transaction that takes the write lock at its start (`BEGIN IMMEDIATE`). One that
reads first and then writes fails at once when another has written in between, whatever the busy
timeout is; see `begin_immediate`.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event, exc

from jobqueue.adapters.sql.database import ANSWER_SECONDS, LONGEST_LOOK_SECONDS, Database, parse_url
from jobqueue.adapters.sql.readings import decoded
from jobqueue.adapters.sqlite.forks import OPEN
from jobqueue.adapters.sqlite.watched_file import WatchedFile
from jobqueue.adapters.sqlite.writer import (
    BUSY_TIMEOUT_SECONDS,
    STEPS_BETWEEN_LOOKS,
    Standstill,
    Writer,
)
from jobqueue.config import folder_of
from jobqueue.errors import DatabaseUnavailable, InvalidDatabaseUrl, TransactionOpen

T = TypeVar("T")

SWITCH_POLL_SECONDS = 0.02
OLDEST_VERSION = (3, 38, 0)
READ_OPTION = "jobqueue_read"
INTERRUPTED = "interrupted"
LONGEST_STEP_SECONDS = 0.5
"""Who takes longer for a few thousand steps was stopped meanwhile, by Ctrl-Z for example."""


class _Write:
    """A call of `write`, which waits for its turn and then has it.

    `Writer` refers to it weakly: an interrupted call does not keep its turn.
    """


class SqliteDatabase(Database):
    """An engine whose writes take turns with the transactions of jobs."""

    def __init__(self, engine: Engine, reader: Engine, file: WatchedFile) -> None:
        super().__init__(engine, reader)
        self.file = file
        self.writer = Writer()

    def write(
        self, work: Callable[[Connection], T], *, answer_seconds: float | None = ANSWER_SECONDS
    ) -> T:
        """Do something in a transaction and commit it, when no job's own transaction is open.

        Raises:
            TransactionOpen: a job's transaction was open all the time; nothing was done.
        """
        this_write = _Write()
        try:
            if self.writer.has_transaction_of_this_thread():
                raise TransactionOpen(
                    f"{self.name} has one writer at a time, and it is the self.transaction() that "
                    "is open on this very thread; do this after its block, or through its session "
                    "(and in async jobs await perform_later_async)"
                )
            if not self.writer.take(this_write, BUSY_TIMEOUT_SECONDS):
                raise self._why_not()
            return super().write(work, answer_seconds=answer_seconds)
        finally:
            self.writer.give_up(this_write)

    @contextmanager
    def between_writes(self) -> Iterator[None]:
        """Keep all threads of this process from writing, once those that write are done.

        Whoever waits for a database that is locked for long is not waited for.
        """
        standstill = Standstill()
        try:
            self.writer.take(standstill, BUSY_TIMEOUT_SECONDS)
            yield
        finally:
            self.writer.give_up(standstill)

    def look(self, work: Callable[[Connection], T]) -> T:
        def limited(connection: Connection) -> T:
            driver: Any = connection.connection.driver_connection
            patience = _Patience(LONGEST_LOOK_SECONDS)
            driver.set_progress_handler(patience.is_over, STEPS_BETWEEN_LOOKS)
            try:
                return work(connection)
            except exc.OperationalError as error:
                if str(error.orig) != INTERRUPTED or patience.was_over or not _is_on_main_thread():
                    raise
                # Ctrl-C came while SQLite asked, which takes an error for a yes and forgets it.
                raise KeyboardInterrupt from error
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


class _Patience:
    """The time for which a search is waited for. While the process is stopped, it does not pass.

    Args:
        seconds: how long.
    """

    def __init__(self, seconds: float) -> None:
        self._left_seconds = seconds
        self._looked_at = time.monotonic()
        self.was_over = False

    def is_over(self) -> bool:
        """Whether the time is over. Asked many times a second while SQLite searches."""
        now = time.monotonic()
        self._left_seconds -= min(now - self._looked_at, LONGEST_STEP_SECONDS)
        self._looked_at = now
        self.was_over = self._left_seconds <= 0
        return self.was_over


def _is_on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def begin_immediate(engine: Engine) -> Engine:
    """Make every transaction of a SQLite engine take the write lock when it begins.

    Use it on the application's own engine when it enqueues in its own transactions
    (`session=`). Otherwise a transaction that reads, and then enqueues, fails with "database is
    locked" as soon as any other transaction has written in between: SQLite cannot let it go on
    from what it has read, and does not wait however long the busy timeout is.

    Args:
        engine: an engine of SQLAlchemy for SQLite, before its first connection is opened.

    Returns:
        The same engine.
    """

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if not connection.get_execution_options().get(READ_OPTION):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def readable(text: bytes) -> str:
    """Text from a column. Bytes that are no UTF-8 are escaped."""
    return text.decode(errors="backslashreplace")


def open_database(url: str) -> SqliteDatabase:
    """An engine for a SQLite file that exists. SQLite itself would create a missing one.

    A relative path is made absolute, since jobs and applications change the working directory.
    """
    _refuse_old_sqlite()
    parsed = parse_url(url).set(drivername="sqlite+pysqlite")
    _refuse_memory(parsed)
    parsed = parsed.set(database=str(folder_of(url) / str(parsed.database)))
    parsed = parsed.set(query={"timeout": str(BUSY_TIMEOUT_SECONDS), **parsed.query})
    engine = create_engine(parsed, hide_parameters=True, json_deserializer=decoded)
    file = WatchedFile(Path(str(parsed.database)))
    set_up(engine, file)

    @event.listens_for(engine, "connect")
    def read_whatever_is_there(connection: sqlite3.Connection, _: Any) -> None:
        connection.text_factory = readable

    return SqliteDatabase(engine, engine.execution_options(**{READ_OPTION: True}), file)


def set_up(engine: Engine, file: WatchedFile) -> None:
    """Set up each connection and each transaction of an engine for a file."""
    OPEN.watch(engine, file.path)
    file.watch(engine)

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Dialect, record: Any, arguments: Any, options: Any) -> Any:
        def durably() -> Any:
            return _made_durable(dialect.connect(*arguments, **options))

        with OPEN.opening(record, file.path):
            return file.open(record, durably)

    begin_immediate(engine)


def _made_durable(connection: Any) -> Any:
    try:
        _enter_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _enter_wal(connection: sqlite3.Connection) -> None:
    """Switch a file to WAL, and wait for others that do the same: the busy timeout does not."""
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(SWITCH_POLL_SECONDS)
        else:
            return


def _refuse_old_sqlite() -> None:
    if sqlite3.sqlite_version_info < OLDEST_VERSION:
        raise DatabaseUnavailable(
            f"SQLite {sqlite3.sqlite_version} is too old for jobqueue; 3.38 or newer is needed "
            "(Python's sqlite3 module is built with it), or PostgreSQL"
        )


def _refuse_memory(url: URL) -> None:
    name = url.database or ""
    if name in {"", ":memory:"} or "mode=memory" in name or "memory" in url.query.get("mode", ""):
        raise InvalidDatabaseUrl(
            f"{url} is a database in memory, which every connection would have to itself; "
            "use a file (sqlite:///jobs.sqlite3), or memory:// for tests"
        )
