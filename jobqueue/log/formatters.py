"""Formatters: a line for people, or an object of JSON."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from jobqueue.log.emit import facts_of_job
from jobqueue.records import Outcome
from jobqueue.redaction import printable

FACTS = (
    "event",
    "worker",
    "release",
    "who",
    "action",
    "schedule",
    "job_id",
    "job_ids",
    "job",
    "queue",
    "attempt",
    "max_attempts",
    "wait_seconds",
    "run_seconds",
    "retry_in_seconds",
    "arguments",
    "reason",
    "error",
)
CONTINUED = "\n    "


class TextFormatter(logging.Formatter):
    """A formatter whose lines are like `12:34:56 SendWelcomeEmail #42 succeeded in 13 ms`.

    A line that a job itself logs begins with the job: `12:34:56 [SendWelcomeEmail #42] …`.

    Args:
        colored: whether to colour lines by level, for a terminal.
        dated: whether to write the day too, for a file.
    """

    COLORS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.DEBUG: "\x1b[2m"}  # noqa: RUF012

    def __init__(self, colored: bool = False, *, dated: bool = False) -> None:
        datefmt = "%Y-%m-%d %H:%M:%S" if dated else "%H:%M:%S"
        super().__init__("%(asctime)s %(message)s", datefmt=datefmt)
        self._colored = colored

    def format_events(
        self,
        now: float,
        event: str,  # noqa: ARG002 - JSON has it
        events: Iterable[tuple[str, Outcome]],
    ) -> Iterator[str]:
        """A line for each (message, outcome), at level info; `now` is in seconds since 1970."""
        at = time.strftime(str(self.datefmt), time.localtime(now))
        for message, _ in events:
            yield f"{at} {_one_record(message)}\n"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The first line for a record."""
        facts = record.__dict__
        if "job_id" in facts and "event" not in facts:
            said = f"[{facts['job']} #{facts['job_id']}] {record.message}"
            return f"{record.asctime} {said}"
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """The line for a record."""
        line = _one_record(super().format(record))
        color = self.COLORS.get(record.levelno) if self._colored else None
        return f"{color}{line}\x1b[0m" if color else line


class JsonFormatter(logging.Formatter):
    """A formatter that makes one line of JSON of a record, with the facts of the event."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for a record."""
        facts: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        facts |= {name: record.__dict__[name] for name in FACTS if name in record.__dict__}
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return _json_line(facts)

    def format_events(
        self, now: float, event: str, events: Iterable[tuple[str, Outcome]]
    ) -> Iterator[str]:
        """A line for each (message, outcome), at level info; `now` is in seconds since 1970."""
        at = datetime.fromtimestamp(now, UTC).isoformat()
        for message, outcome in events:
            facts = {
                "time": at,
                "level": "info",
                "message": message,
                "event": event,
                **facts_of_job(outcome.job),
                "run_seconds": outcome.run_time.total_seconds(),
            }
            yield _json_line(facts) + "\n"


def _one_record(text: str) -> str:
    """The text of a record. Only its first line begins in the first column.

    Otherwise a name or an error with a line break could look like a record of its own.
    """
    return printable(text).replace("\n", CONTINUED)


def _json_line(facts: dict[str, Any]) -> str:
    """JSON on one line, without characters that a terminal would act on."""
    text = json.dumps(facts, ensure_ascii=False, default=str)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
