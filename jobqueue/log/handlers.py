"""Handlers: where the lines go, and setting up the log when the application has not."""

from __future__ import annotations

import logging
import os
import stat
import sys
import time
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from typing import TextIO

from jobqueue.log.context import performing
from jobqueue.log.formatters import JsonFormatter, TextFormatter
from jobqueue.records import Outcome


def set_up_logging(level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Show the log on standard error, unless the application has set up logging itself.

    Other loggers show warnings and errors, as Python does by default, in the same format.

    Args:
        level: from which level on jobqueue itself, and jobs by `self.logger`, are shown.
        log_format: `text` or `json`.
        stream: where to, instead of standard error.
    """
    logger, root = logging.getLogger("jobqueue"), logging.getLogger()
    logger.setLevel(level.upper())
    # psycopg logs a lost connection itself, beside `database_lost`.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    if root.handlers or logger.handlers:
        return
    stream = stream or sys.stderr
    text = TextFormatter(stream.isatty(), dated=_is_file(stream))
    root.addHandler(LineHandler(stream, JsonFormatter() if log_format == "json" else text))


def _is_file(stream: TextIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except OSError:
        return False


class LineHandler(logging.StreamHandler[TextIO]):
    """A handler that writes a line for each record to a stream, or many lines by a single write."""

    def __init__(self, stream: TextIO, formatter: TextFormatter | JsonFormatter) -> None:
        super().__init__(stream)
        self.setFormatter(formatter)
        self.addFilter(_add_job)
        self._format_events = formatter.format_events

    def write_events(self, event: str, events: Iterable[tuple[str, Outcome]]) -> None:
        """Write a line at level info for each (message, outcome), all by one write.

        It raises nothing, whatever has become of the stream.
        """
        text = "".join(self._format_events(time.time(), event, events))
        with self.lock or nullcontext():
            try:
                self.stream.write(text)
                self.flush()
            except (OSError, ValueError):
                self.handleError(logging.makeLogRecord({"msg": text}))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Print the error of a handler on standard error, unless that is closed too."""
        with suppress(ValueError):
            super().handleError(record)


def _add_job(record: logging.LogRecord) -> bool:
    """Note in a record the job that logged it. A filter: it lets every record pass."""
    job = performing.get()
    if job is not None and not hasattr(record, "job_id"):
        record.job_id, record.job = job.id, job.handler
    return True


def is_ours_alone(logger: logging.Logger) -> bool:
    """Whether logging there calls no code of the application."""
    return only_handler_of(logger) is not None


def only_handler_of(logger: logging.Logger) -> LineHandler | None:
    """The `LineHandler` of a logger, if nothing else handles or filters its records."""
    if not isinstance(logger, logging.Logger):
        return None  # an adapter, or whatever else a class was given
    handlers: list[logging.Handler] = []
    place: logging.Logger | None = logger
    while place is not None:
        if place.filters:
            return None
        handlers += place.handlers
        place = place.parent if place.propagate else None
    only = handlers[0] if len(handlers) == 1 else None
    return only if isinstance(only, LineHandler) else None
