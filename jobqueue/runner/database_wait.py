"""The wait for a database that does not answer when a process starts."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any

from jobqueue import log
from jobqueue.adapters.roles.schema import SchemaRole
from jobqueue.clock import reconnect_pauses
from jobqueue.errors import DatabaseUnavailable

LONGEST_PAUSE_SECONDS = 1.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _ToldToStop(BaseException):
    """The exception of a signal handler, raised wherever the signal comes."""


def wait_for_database(adapter: SchemaRole, patience: timedelta, logger: logging.Logger) -> bool:
    """Wait until a database answers, on the main thread.

    Args:
        adapter: the database.
        patience: how long to wait: not at all if it is 0, without end if it is `timedelta.max`.
        logger: where it is logged that the database is waited for.

    Returns:
        False if TERM or INT (Ctrl-C) came before it answered.

    Raises:
        DatabaseUnavailable: it has not answered in time.
        DatabaseError: it cannot be worked with, and waiting does not mend that.
    """
    if not patience:
        adapter.ping()
        return True
    endless = patience == timedelta.max
    patience_seconds = float("inf") if endless else patience.total_seconds()
    began_at = time.monotonic()

    def troubled(error: DatabaseUnavailable) -> None:
        log.database_awaited(logger, error, patience_seconds)

    try:
        with _interrupted_by_stop_signals():
            if ping_until_it_answers(adapter, troubled, patience_seconds):
                log.database_reached(logger, time.monotonic() - began_at)
    except _ToldToStop:
        return False
    return True


def ping_until_it_answers(
    adapter: SchemaRole,
    troubled: Callable[[DatabaseUnavailable], None],
    patience_seconds: float = float("inf"),
) -> bool:
    """Ping a database until it answers.

    Args:
        adapter: the database.
        troubled: is called with the error, once, and again when it is another one.
        patience_seconds: how long to go on trying.

    Returns:
        Whether it had to be waited for.

    Raises:
        DatabaseUnavailable: it has not answered in time.
        DatabaseError: it cannot be worked with, and waiting does not mend that.
    """
    deadline = time.monotonic() + patience_seconds
    told: str | None = None
    for pause in reconnect_pauses():
        try:
            adapter.ping()
        except DatabaseUnavailable as error:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            if str(error) != told:
                told = str(error)
                troubled(error)
            time.sleep(min(pause, left, LONGEST_PAUSE_SECONDS))
        else:
            break
    return told is not None


@contextmanager
def _interrupted_by_stop_signals() -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise _ToldToStop

    before: dict[signal.Signals, Any] = {n: signal.signal(n, handle) for n in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
