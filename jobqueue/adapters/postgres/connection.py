"""A connection to PostgreSQL that limits its waits, and recognizes a pooler.

A server behind a proxy or a pooler may vanish without a word. The proxy still acknowledges every
packet, so that neither TCP nor the server's own `statement_timeout` notices. Only a limit of our
own ends the wait.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg.abc import Buffer
from psycopg.conninfo import timeout_from_conninfo
from psycopg.types.datetime import TimestamptzLoader

from jobqueue.adapters.sql.database import ANSWER_SECONDS
from jobqueue.adapters.sql.tables import DAWN, DUSK

T = TypeVar("T")

# Text goes to the server as UTF-8 whatever its own encoding is: what that lacks, it refuses. A
# server that has gone without a word (a firewall forgot the connection) is noticed in 30 s.
CONNECT_OPTIONS = {
    "connect_timeout": "10",
    "client_encoding": "utf8",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
CANCEL_SECONDS = 1.0
AFTER_SERVERS_OWN_SECONDS = 1.0

# A pooler invents the process id that it tells its clients. Moments are read in UTC: any other zone
# is five times the work for the driver, with each of them. The server, too, has to notice within
# 30 s that this machine is lost: until then it keeps locked what a transaction has locked. That is
# not asked for on a pooler's connection, which others use as well.
GET_TO_KNOW = """
SELECT pg_backend_pid(), extract(epoch FROM current_setting('statement_timeout')::interval)::float8,
    CASE WHEN pg_backend_pid() = %s THEN
        set_config('tcp_keepalives_idle', '15', false)
        || set_config('tcp_keepalives_interval', '5', false)
        || set_config('tcp_keepalives_count', '3', false)
        || set_config('tcp_user_timeout', '30000', false)
    END
FROM set_config('TimeZone', 'UTC', false)
"""


class NoAnswer(psycopg.OperationalError, TimeoutError):
    """The server did not answer in time. The connection is closed."""


class _ReadableMoment(TimestamptzLoader):
    """A loader of timestamps. One that Python cannot represent becomes `DAWN` or `DUSK`.

    Such a row was written by hand, and means "long ago" or "for ever".
    """

    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data)
        except psycopg.DataError:
            return DAWN if bytes(data).endswith((b"BC", b"-infinity")) else DUSK


class _ReadingCursor(psycopg.Cursor[Any]):
    """A cursor that reads any timestamp. SQLAlchemy uses it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.adapters.register_loader("timestamptz", _ReadableMoment)


class PatientConnection(psycopg.Connection[Any]):
    """A connection with a limit on how long it waits for each answer."""

    patience_seconds: float | None = ANSWER_SECONDS
    servers_own_seconds: float = 0.0
    """The server's own `statement_timeout`; 0 for none."""

    def get_to_know(self) -> None:
        """Find out whether there is a pooler, and read the server's `statement_timeout`.

        Through a pooler no statements are prepared, since the next transaction may use another
        connection to the server.
        """
        ((pid, self.servers_own_seconds, _),) = self.execute(
            GET_TO_KNOW.encode(), [self.info.backend_pid]
        ).fetchall()
        if pid != self.info.backend_pid:
            self.prepare_threshold = None

    @contextmanager
    def patient(self, seconds: float | None) -> Iterator[None]:
        """Wait at most so long for each answer within the block; None for no limit."""
        usual, self.patience_seconds = self.patience_seconds, seconds
        try:
            yield
        finally:
            self.patience_seconds = usual

    def end_step(self, pipeline: psycopg.Pipeline) -> None:
        """End a step of a transaction in a pipeline, without waiting for any answer.

        Only after that the server counts the time in which it hears nothing more.
        """
        self.pgconn.pipeline_sync()
        pipeline.result_queue.append(None)

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        limit = self._limit_seconds()
        if limit is None:
            return super().wait(gen, *args, **kwargs)
        try:
            return super().wait(_within(limit, gen), *args, **kwargs)
        except NoAnswer:
            self._hang_up()
            raise

    def _limit_seconds(self) -> float | None:
        """The limit of a wait. It leaves the server time to end a statement itself."""
        if not self.servers_own_seconds:
            return self.patience_seconds
        own = self.servers_own_seconds + AFTER_SERVERS_OWN_SECONDS
        return own if self.patience_seconds is None else min(own, self.patience_seconds)

    def _hang_up(self) -> None:
        """Close the connection, and cancel the statement: a busy server would go on with it."""
        if psycopg.capabilities.has_cancel_safe():
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=CANCEL_SECONDS)
        self.close()


def _within(seconds: float, waiting: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
    """Drive psycopg's generator, and raise `NoAnswer` after so many seconds."""
    deadline = time.monotonic() + seconds
    try:
        wanted = next(waiting)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > deadline:
                waiting.close()
                raise NoAnswer(f"no answer within {seconds:g} s; whether it was done is not known")
            wanted = waiting.send(ready)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


def connect(*args: Any, prepare_threshold: int | None = None, **kwargs: Any) -> PatientConnection:
    """A connection to a server, or to a pooler in front of one.

    If the server lets us in and ends the connection at once, it is tried once more: that is how it
    looks when all connections are ended.

    Args:
        prepare_threshold: after how many times a statement is prepared, whoever is there; None for
            psycopg's default, and never through a pooler.
    """
    for is_last in (False, True):
        connection = PatientConnection.connect(
            *args, **kwargs, autocommit=True, cursor_factory=_ReadingCursor
        )
        try:
            _get_ready(connection, prepare_threshold, timeout_from_conninfo(kwargs))
        except BaseException as error:
            connection.close()
            if is_last or not _was_ended(error):
                raise
        else:
            return connection
    raise AssertionError("the last try returns or raises")


def _get_ready(
    connection: PatientConnection, prepare_threshold: int | None, patience_seconds: float
) -> None:
    # A pooler may let us in at once, and then have no server for us.
    with connection.patient(patience_seconds):
        connection.get_to_know()
    if prepare_threshold is not None:
        connection.prepare_threshold = prepare_threshold
    connection.autocommit = False


def _was_ended(error: BaseException) -> bool:
    """Whether the server has ended the connection, rather than refuse or answer nothing."""
    if isinstance(error, psycopg.errors.AdminShutdown):
        return True
    is_lost = isinstance(error, psycopg.OperationalError) and error.sqlstate is None
    return is_lost and not isinstance(error, NoAnswer)
