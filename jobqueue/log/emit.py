"""The emission of an event: a line for people, and its facts as attributes of the record."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Any

from jobqueue.records import ClaimedJob, JobRecord, Outcome
from jobqueue.redaction import error_line, printable
from jobqueue.signal_exits import is_raised_by_signal_handler


def is_enabled(logger: logging.Logger, level: int) -> bool:
    """Whether a logger takes records of a level. One that cannot say takes none."""
    try:
        return logger.isEnabledFor(level)
    except Exception as error:  # noqa: BLE001 - a class may have been given any logger
        line_lost(f"what is logged to {type(logger).__name__}", error)
        return False


def line_lost(line: str, error: BaseException) -> None:
    """Say on standard error that a line could not be logged, as Python's own handlers do.

    Nothing ends because it cannot be logged.
    """
    with suppress(Exception):
        print(
            printable(f"not logged, since that raised {error_line(error)}: {line}"), file=sys.stderr
        )


def is_logged(logger: logging.Logger, level: int = logging.INFO) -> bool:
    """Whether a record of a level would reach any handler."""
    if not logger.isEnabledFor(level):
        return False
    last = logging.lastResort
    return logger.hasHandlers() or (last is not None and last.level <= level)


def emit_outcome(
    logger: logging.Logger,
    level: int,
    line: str,
    event: str,
    outcome: Outcome,
    error: str | None = None,
    retry_in_seconds: float | None = None,
    reason: str | None = None,
) -> None:
    """Log an event of a job that was performed, if the level is enabled."""
    if not is_enabled(logger, level):
        return
    facts: dict[str, Any] = {"run_seconds": outcome.run_time.total_seconds()}
    given = {"error": error, "retry_in_seconds": retry_in_seconds, "reason": reason}
    facts |= {name: value for name, value in given.items() if value is not None}
    emit(logger, level, line, event, None, outcome.job, **facts)


def emit(
    logger: logging.Logger,
    level: int,
    line: str,
    event: str,
    worker: str | None = None,
    job: ClaimedJob | JobRecord | None = None,
    *,
    traceback_of: BaseException | None = None,
    **facts: object,
) -> None:
    """Log an event. What the handlers and filters of an application raise does not come out.

    A signal may come meanwhile. The exit that its handler raises does come out.

    Args:
        logger: where to.
        level: how serious it is.
        line: what a person reads.
        event: its name, for programs.
        worker: the id of the worker it concerns.
        job: the job it concerns.
        traceback_of: an error whose traceback follows the line.
        **facts: further attributes of the record.
    """
    extra: dict[str, object] = {"event": event, **facts}
    if worker is not None:
        extra["worker"] = worker
    if job is not None:
        extra |= facts_of_job(job)
    try:
        logger.log(level, "%s", line, extra=extra, exc_info=traceback_of)
    except (Exception, SystemExit) as error:
        if is_raised_by_signal_handler(error):
            raise
        line_lost(line, error)


def facts_of_job(job: ClaimedJob | JobRecord) -> dict[str, object]:
    """The facts that every event of a job has."""
    facts: dict[str, object] = {
        "job_id": job.id,
        "job": job.handler,
        "queue": job.queue,
        "attempt": job.attempts,
        "max_attempts": job.max_attempts,
    }
    if isinstance(job, ClaimedJob):
        facts["wait_seconds"] = job.wait_time.total_seconds()
    return facts
