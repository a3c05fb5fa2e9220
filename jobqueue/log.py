"""What jobqueue says in the log: one record for each event in the life of a job or a worker.

Every record carries its facts as attributes (`event`, `job_id`, `job`, `queue`, `attempt`,
`run_seconds`, …) for formatters that want them, beside a line that a person can read.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from jobqueue.records import (
    ClaimedJob,
    Discarded,
    Failed,
    Outcome,
    Released,
    Rescue,
    Retried,
    Succeeded,
)

FACTS = (
    "event",
    "worker",
    "job_id",
    "job",
    "queue",
    "attempt",
    "max_attempts",
    "wait_seconds",
    "run_seconds",
    "retry_in_seconds",
    "args",
    "error",
)


def worker_started(logger: logging.Logger, worker: str, queues: tuple[str, ...] | None) -> None:
    """A worker begins."""
    listed = "all queues" if queues is None else "queues " + ", ".join(queues)
    _emit(logger, logging.INFO, f"worker {worker} works on {listed}", "worker_started", worker)


def worker_stopping(logger: logging.Logger, worker: str, why: str) -> None:
    """A worker has been told to stop, or has nothing left to do."""
    _emit(logger, logging.INFO, f"worker {worker} is stopping: {why}", "worker_stopping", worker)


def worker_stopped(logger: logging.Logger, worker: str, performed: int) -> None:
    """A worker has ended."""
    jobs = "1 job" if performed == 1 else f"{performed:,} jobs"
    line = f"worker {worker} stopped after {jobs}"
    _emit(logger, logging.INFO, line, "worker_stopped", worker)


def database_lost(logger: logging.Logger, worker: str, error: Exception) -> None:
    """The database does not answer; said once, however long it lasts."""
    line = f"worker {worker} waits for the database: {error}"
    _emit(logger, logging.WARNING, line, "database_lost", worker, error=str(error))


def database_back(logger: logging.Logger, worker: str, after_seconds: float) -> None:
    """The database answers again."""
    line = f"worker {worker}: the database is back after {after_seconds:.1f} s"
    _emit(logger, logging.INFO, line, "database_back", worker)


def lease_lost(logger: logging.Logger, worker: str) -> None:
    """A worker was taken for dead while it was silent, and registers anew."""
    line = f"worker {worker} was silent for longer than its lease; it registers anew"
    _emit(logger, logging.WARNING, line, "lease_lost", worker)


def lease_troubled(logger: logging.Logger, worker: str, error: Exception) -> None:
    """The database refused a heartbeat; it is tried again."""
    line = f"worker {worker} could not renew its lease: {error}"
    _emit(logger, logging.ERROR, line, "lease_troubled", worker, error=str(error))


def job_started(logger: logging.Logger, job: ClaimedJob, args: str) -> None:
    """A job is about to be performed. Shown at level debug."""
    if logger.isEnabledFor(logging.DEBUG):
        line = f"{_title(job)} started {args}"
        _emit(logger, logging.DEBUG, line, "job_started", None, job, args=args)


def job_settled(logger: logging.Logger, outcome: Outcome) -> None:
    """A job's outcome is in the database."""
    job = outcome.job
    took = f"in {_duration(outcome.run_time.total_seconds())}"
    attempt = f"attempt {job.attempts} of {job.max_attempts}"
    match outcome:
        case Succeeded():
            waited = f"waited {_duration(job.wait_time.total_seconds())}, {attempt}"
            line = f"{_title(job)} succeeded {took} ({waited})"
            _emit_outcome(logger, logging.INFO, line, "job_succeeded", outcome)
        case Retried(error=error, delay=delay):
            again = f"again in {_duration(delay.total_seconds())}"
            line = f"{_title(job)} failed {took} ({attempt}), {again}: {_last_line(error)}"
            if outcome.refund:
                line = f"{_title(job)} asked to be run {again}"
            seconds = delay.total_seconds()
            _emit_outcome(logger, logging.WARNING, line, "job_retried", outcome, error, seconds)
        case Failed(error=error):
            line = f"{_title(job)} failed for good {took} ({attempt}): {_last_line(error)}"
            _emit_outcome(logger, logging.ERROR, line, "job_failed", outcome, error)
        case Discarded(reason=reason):
            line = f"{_title(job)} discarded itself {took}: {_last_line(reason)}"
            _emit_outcome(logger, logging.INFO, line, "job_discarded", outcome, reason)
        case Released(error=error):
            why = f": {_last_line(error)}" if error else ""
            level = logging.WARNING if error else logging.INFO
            line = f"{_title(job)} given back{why}"
            _emit_outcome(logger, level, line, "job_released", outcome, error)


def job_rejected(logger: logging.Logger, outcome: Outcome) -> None:
    """An outcome was refused, since the job is no longer this worker's."""
    line = (
        f"{_title(outcome.job)}: the outcome {type(outcome).__name__.lower()} was rejected, "
        "for this worker no longer holds the job (it was silent past its lease, or somebody "
        "removed the job); nothing was changed"
    )
    _emit_outcome(logger, logging.WARNING, line, "job_rejected", outcome)


def jobs_rescued(logger: logging.Logger, rescue: Rescue) -> None:
    """The jobs of a worker that is gone were freed."""
    line = (
        f"worker {rescue.worker_id} is gone: {len(rescue.released)} of its jobs are free again, "
        f"{len(rescue.failed)} had no attempt left"
    )
    _emit(logger, logging.WARNING, line, "jobs_rescued", rescue.worker_id)


def set_up_logging(level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Show jobqueue's log on standard error, unless the application has set up logging itself."""
    logger = logging.getLogger("jobqueue")
    logger.setLevel(level.upper())
    if logging.getLogger().handlers or logger.handlers:
        return
    handler = logging.StreamHandler(stream or sys.stderr)
    colored = handler.stream.isatty()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter(colored))
    logger.addHandler(handler)
    logger.propagate = False


class TextFormatter(logging.Formatter):
    """`12:34:56 SendWelcomeEmail #42 succeeded in 13 ms`, coloured by level on a terminal."""

    COLORS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.DEBUG: "\x1b[2m"}  # noqa: RUF012

    def __init__(self, colored: bool = False) -> None:
        super().__init__("%(asctime)s %(message)s", datefmt="%H:%M:%S")
        self._colored = colored

    def format(self, record: logging.LogRecord) -> str:
        """The line for a record."""
        line = super().format(record)
        color = self.COLORS.get(record.levelno) if self._colored else None
        return f"{color}{line}\x1b[0m" if color else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the facts of the event."""

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
        return json.dumps(facts, ensure_ascii=False, default=str)


def _emit_outcome(
    logger: logging.Logger,
    level: int,
    line: str,
    event: str,
    outcome: Outcome,
    error: str | None = None,
    retry_in_seconds: float | None = None,
) -> None:
    if not logger.isEnabledFor(level):
        return
    facts = {"run_seconds": outcome.run_time.total_seconds()}
    given = {"error": error, "retry_in_seconds": retry_in_seconds}
    facts |= {name: value for name, value in given.items() if value is not None}  # type: ignore[misc]
    _emit(logger, level, line, event, None, outcome.job, **facts)


def _emit(
    logger: logging.Logger,
    level: int,
    line: str,
    event: str,
    worker: str | None,
    job: ClaimedJob | None = None,
    **facts: object,
) -> None:
    extra: dict[str, object] = {"event": event, **facts}
    if worker is not None:
        extra["worker"] = worker
    if job is not None:
        extra |= {
            "job_id": job.id,
            "job": job.handler,
            "queue": job.queue,
            "attempt": job.attempts,
            "max_attempts": job.max_attempts,
            "wait_seconds": job.wait_time.total_seconds(),
        }
    logger.log(level, "%s", line, extra=extra)


def _title(job: ClaimedJob) -> str:
    return f"{job.handler} #{job.id}"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines() or [""]
    return lines[-1] if len(lines[-1]) <= 300 else lines[-1][:297] + "..."


def _duration(seconds: float) -> str:
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"
