"""What jobqueue says in the log: one record for each event in the life of a job or a worker.

Every record carries its facts as attributes (`event`, `job_id`, `job`, `queue`, `attempt`,
`run_seconds`, …) for formatters that want them, beside a line that a person can read.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

from jobqueue.records import (
    Cancelled,
    ClaimedJob,
    Discarded,
    Failed,
    JobRecord,
    JobState,
    Outcome,
    Released,
    Rescue,
    Retried,
    Succeeded,
)
from jobqueue.redaction import printable, summary_of

FACTS = (
    "event",
    "worker",
    "who",
    "action",
    "schedule",
    "job_id",
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

performing: ContextVar[ClaimedJob | None] = ContextVar("jobqueue_performing", default=None)
"""The job whose lines are being logged: in this thread or task, and in tasks that it starts."""


def worker_started(logger: logging.Logger, worker: str, pid: int) -> None:
    """A worker begins to get ready, in the process of that number."""
    _emit(logger, logging.INFO, f"worker {worker} started, pid {pid}", "worker_started", worker)


def worker_ready(logger: logging.Logger, worker: str, queues: tuple[str, ...] | None) -> None:
    """A worker is about to claim its first jobs."""
    listed = "all queues" if queues is None else "queues " + ", ".join(queues)
    _emit(logger, logging.INFO, f"worker {worker} works on {listed}", "worker_ready", worker)


def worker_stopping(logger: logging.Logger, worker: str, why: str) -> None:
    """A worker has been told to stop, or has nothing left to do."""
    _emit(logger, logging.INFO, f"worker {worker} is stopping: {why}", "worker_stopping", worker)


def supervisor_stopping(logger: logging.Logger, why: str) -> None:
    """A supervisor has been told to stop its workers."""
    line = f"the supervisor is stopping: {why}"
    _emit(logger, logging.INFO, line, "supervisor_stopping", None)


def supervisor_resting(logger: logging.Logger, until: str, *, suspended: bool) -> None:
    """The workers of a supervisor take no more jobs for now; it is stopped by Ctrl-Z perhaps."""
    line = f"the workers take no more jobs until {until}, and finish what runs"
    if suspended:
        line = f"suspended by Ctrl-Z: {line}"
    event = "supervisor_suspended" if suspended else "supervisor_resting"
    _emit(logger, logging.INFO, line, event, None)


def supervisor_going_on(logger: logging.Logger) -> None:
    """A supervisor has its workers take jobs again."""
    line = "the supervisor goes on: the workers take jobs again"
    _emit(logger, logging.INFO, line, "supervisor_going_on", None)


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


def database_awaited(logger: logging.Logger, error: Exception, patience_seconds: float) -> None:
    """A command waits for a database that does not answer yet, as it was told to."""
    how_long = "" if patience_seconds == float("inf") else f" for {_duration(patience_seconds)}"
    line = f"waiting{how_long} for the database: {error}"
    _emit(logger, logging.WARNING, line, "database_awaited", None, error=str(error))


def database_reached(logger: logging.Logger, after_seconds: float) -> None:
    """A database that was waited for answers."""
    line = f"the database answers, after {_duration(after_seconds)}"
    _emit(logger, logging.INFO, line, "database_reached", None)


def lease_lost(logger: logging.Logger, worker: str) -> None:
    """A worker was taken for dead while it was silent, and registers anew."""
    line = f"worker {worker} was silent for longer than its lease; it registers anew"
    _emit(logger, logging.WARNING, line, "lease_lost", worker)


def not_listening(logger: logging.Logger, error: Exception) -> None:
    """New jobs are not heard of; said once, however long it lasts."""
    line = f"new jobs are not heard of at once, workers look for them every poll_interval: {error}"
    _emit(logger, logging.WARNING, line, "not_listening", None, error=str(error))


def listening_again(logger: logging.Logger) -> None:
    """New jobs are heard of again."""
    _emit(logger, logging.INFO, "new jobs are heard of at once again", "listening_again", None)


def worker_failed(logger: logging.Logger, worker: str, error: Exception) -> None:
    """A worker cannot work, and ends."""
    line = f"worker {worker} cannot work and ends: {error}"
    _emit(logger, logging.ERROR, line, "worker_failed", worker, error=str(error))


def worker_died(logger: logging.Logger, worker: str, pid: int, how: str, pause: float) -> None:
    """A worker process ended that was not asked to."""
    again = "at once" if pause == 0 else f"in {_duration(pause)}"
    line = f"worker {worker} (pid {pid}) died ({how}); another is started {again}"
    _emit(logger, logging.ERROR, line, "worker_died", worker)


def worker_killed(logger: logging.Logger, worker: str, pid: int, why: str) -> None:
    """A worker process was killed by its supervisor."""
    line = f"worker {worker} (pid {pid}) was killed: {why}"
    _emit(logger, logging.ERROR, line, "worker_killed", worker)


def worker_replaced(logger: logging.Logger, worker: str, why: str) -> None:
    """A worker finishes what it performs while another takes its place."""
    line = f"worker {worker} is replaced: {why}"
    _emit(logger, logging.INFO, line, "worker_replaced", worker)


def restart_failed(logger: logging.Logger, worker: str, how: str) -> None:
    """A new worker ended before it was ready; the old one goes on."""
    line = f"the new worker {worker} ended before it was ready ({how}); the old one goes on"
    _emit(logger, logging.ERROR, line, "restart_failed", worker)


def restart_refused(logger: logging.Logger, error: Exception) -> None:
    """The configuration cannot be used with which workers were to be started anew."""
    line = f"the workers are not renewed, the old ones go on: {error}"
    _emit(logger, logging.ERROR, line, "restart_refused", None, error=str(error))


def lease_troubled(logger: logging.Logger, worker: str, error: Exception) -> None:
    """The database refused a heartbeat; it is tried again."""
    line = f"worker {worker} could not renew its lease: {error}"
    _emit(logger, logging.ERROR, line, "lease_troubled", worker, error=str(error))


def steward_troubled(logger: logging.Logger, worker: str, error: Exception) -> None:
    """The database refused to store progress, or to say what is to be cancelled."""
    line = f"worker {worker} could not store progress or ask for cancelled jobs: {error}"
    _emit(logger, logging.ERROR, line, "steward_troubled", worker, error=str(error))


def service_failed(logger: logging.Logger, service: str, error: Exception) -> None:
    """A thread of a worker or supervisor met an error that was not expected, and goes on."""
    line = f"{service} failed, and goes on: {type(error).__name__}: {error}"
    extra = {"event": "service_failed", "error": str(error)}
    logger.log(logging.ERROR, "%s", printable(line), extra=extra, exc_info=error)


def strays_released(logger: logging.Logger, worker: str, number: int) -> None:
    """Jobs were given back that the database gave to a worker, and the worker never received."""
    jobs = "1 job that was" if number == 1 else f"{number} jobs that were"
    line = f"worker {worker} gave back {jobs} claimed in its name and never reached it"
    _emit(logger, logging.WARNING, line, "strays_released", worker)


def result_lost(logger: logging.Logger, job: ClaimedJob, why: str) -> None:
    """What a job returned cannot be kept as JSON."""
    line = f"{_title(job)}: {summary_of(why)}"
    _emit(logger, logging.ERROR, line, "result_lost", None, job)


def raised_after_commit(logger: logging.Logger, job: ClaimedJob, error: str) -> None:
    """A job raised something when its own transaction had completed it."""
    line = (
        f"{_title(job)} raised an error after its transaction had completed it, which changes "
        f"nothing any more: {summary_of(error)}"
    )
    _emit(logger, logging.ERROR, line, "raised_after_commit", None, job, error=error)


def commit_unknown(logger: logging.Logger, job: ClaimedJob, error: BaseException) -> None:
    """The answer to a job's COMMIT was lost, and the database is away."""
    line = (
        f"{_title(job)}: whether its transaction was committed is not known ({error}); waiting "
        "for the database to tell"
    )
    _emit(logger, logging.WARNING, line, "commit_unknown", None, job, error=str(error))


def cancel_heard(logger: logging.Logger, job: ClaimedJob) -> None:
    """A job that is being performed is to end."""
    line = f"{_title(job)} was cancelled while it runs, and is told so"
    _emit(logger, logging.INFO, line, "cancel_heard", None, job)


def job_claimed(logger: logging.Logger, job: ClaimedJob) -> None:
    """A worker holds a job. Shown at level debug; ask for that before, once for many jobs."""
    waited = f"waited {_duration(job.wait_time.total_seconds())}"
    attempt = f"attempt {job.attempts} of {job.max_attempts}"
    line = f"{_title(job)} claimed from queue {job.queue} ({waited}, {attempt})"
    _emit(logger, logging.DEBUG, line, "job_claimed", None, job)


def job_started(logger: logging.Logger, job: ClaimedJob, args: str) -> None:
    """A job is about to be performed. Shown at level debug."""
    if logger.isEnabledFor(logging.DEBUG):
        line = f"{_title(job)} started {args}"
        _emit(logger, logging.DEBUG, line, "job_started", None, job, arguments=args)


def job_settled(logger: logging.Logger, outcome: Outcome) -> None:
    """A job's outcome is in the database."""
    job = outcome.job
    took = f"in {_duration(outcome.run_time.total_seconds())}"
    attempt = f"attempt {job.attempts} of {job.max_attempts}"
    match outcome:
        case Succeeded():
            _emit_outcome(logger, logging.INFO, _success(outcome), "job_succeeded", outcome)
        case Retried(error=error, delay=delay):
            again = f"again in {_duration(delay.total_seconds())}"
            line = f"{_title(job)} failed {took} ({attempt}), {again}: {summary_of(error)}"
            if outcome.refund:
                line = f"{_title(job)} asked to be run {again}"
            seconds = delay.total_seconds()
            _emit_outcome(logger, logging.WARNING, line, "job_retried", outcome, error, seconds)
        case Failed(error=error):
            line = f"{_title(job)} failed for good {took} ({attempt}): {summary_of(error)}"
            _emit_outcome(logger, logging.ERROR, line, "job_failed", outcome, error)
        case Cancelled(reason=reason, error=error):
            line = f"{_title(job)} was cancelled {took}: {summary_of(reason)}"
            if error:
                line += f" (and is not tried again after: {summary_of(error)})"
            why = error or reason
            _emit_outcome(logger, logging.INFO, line, "job_cancelled", outcome, why, reason=reason)
        case Discarded(reason=reason):
            line = f"{_title(job)} discarded itself {took}: {summary_of(reason)}"
            why = reason
            _emit_outcome(logger, logging.INFO, line, "job_discarded", outcome, why, reason=reason)
        case Released(error=error):
            why = f": {summary_of(error)}" if error else ""
            level = logging.WARNING if error else logging.INFO
            line = f"{_title(job)} given back{why}"
            _emit_outcome(logger, level, line, "job_released", outcome, error)


def job_ended(logger: logging.Logger, job: JobRecord) -> None:
    """A job has failed or was cancelled, and the one who tells did not perform it."""
    reason, attempt = job.last_error or "", f"attempt {job.attempts} of {job.max_attempts}"
    if job.state is JobState.FAILED:
        line = f"{_title(job)} failed for good ({attempt}): {summary_of(reason)}"
        _emit(logger, logging.ERROR, line, "job_failed", None, job, error=reason)
    else:
        line = f"{_title(job)} was cancelled: {summary_of(reason)}"
        facts = {"error": reason, "reason": reason}
        _emit(logger, logging.INFO, line, "job_cancelled", None, job, **facts)


def job_deleted(logger: logging.Logger, job: JobRecord, reason: str) -> None:
    """The row of a job was removed before it had ended."""
    how = "while it was running" if job.state is JobState.RUNNING else "before it began"
    line = f"{_title(job)} was deleted {how}: {summary_of(reason)}"
    _emit(logger, logging.INFO, line, "job_deleted", None, job, reason=reason)


def is_heard(logger: logging.Logger, level: int = logging.INFO) -> bool:
    """Whether a record of a level would reach any handler."""
    if not logger.isEnabledFor(level):
        return False
    last = logging.lastResort
    return logger.hasHandlers() or (last is not None and last.level <= level)


def jobs_succeeded(logger: logging.Logger, outcomes: Sequence[Succeeded]) -> None:
    """As `job_settled` for each, with one write where only our own handler is listening.

    A record of Python's logging costs 25 us, more than all else that is done for a job.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    handler = _only_handler_of(logger)
    if handler is None:
        for outcome in outcomes:
            job_settled(logger, outcome)
    else:
        handler.write_events("job_succeeded", ((_success(o), o) for o in outcomes))


def _success(outcome: Succeeded) -> str:
    job = outcome.job
    return (
        f"{job.handler} #{job.id} succeeded in {_length_of(outcome.run_time)} (waited "
        f"{_length_of(job.wait_time)}, attempt {job.attempts} of {job.max_attempts})"
    )


def is_ours_alone(logger: logging.Logger) -> bool:
    """Whether what is logged there calls no code but our own."""
    return _only_handler_of(logger) is not None


def _only_handler_of(logger: logging.Logger) -> LineHandler | None:
    """Our own handler, if a record of this logger would reach it and nothing else."""
    handlers: list[logging.Handler] = []
    place: logging.Logger | None = logger
    while place is not None:
        if place.filters:
            return None
        handlers += place.handlers
        place = place.parent if place.propagate else None
    only = handlers[0] if len(handlers) == 1 else None
    return only if isinstance(only, LineHandler) else None


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
    counts = {
        "free again": len(rescue.released),
        "failed for good": len(rescue.failed),
        "cancelled": len(rescue.cancelled),
    }
    jobs = [
        f"{number} {'job is' if number == 1 else 'jobs are'} {how}"
        for how, number in counts.items()
        if number
    ]
    line = f"worker {rescue.worker_id} is gone: {', '.join(jobs) or 'it held no jobs'}"
    _emit(logger, logging.WARNING, line, "jobs_rescued", rescue.worker_id)


def job_overdue(logger: logging.Logger, job: ClaimedJob, max_runtime_seconds: float) -> None:
    """A job did not end when it was interrupted, and nobody is there to kill its process."""
    line = (
        f"{_title(job)} ignores that it has run longer than its max_runtime of "
        f"{_duration(max_runtime_seconds)}, or is blocked; it runs on, for this worker has no "
        "supervisor that would kill it"
    )
    _emit(logger, logging.WARNING, line, "job_overdue", None, job)


def tick_enqueued(logger: logging.Logger, schedule: str, job: JobRecord) -> None:
    """A recurring job's time has come, and it is enqueued."""
    line = f"schedule {schedule}: job {job.id} is enqueued for {job.run_at.isoformat()}"
    _emit(logger, logging.INFO, line, "tick_enqueued", None, schedule=schedule, job_id=job.id)


def schedule_not_understood(logger: logging.Logger, schedule: str, error: Exception) -> None:
    """The rule of a schedule in the database is none that this release or machine knows."""
    line = f"schedule {schedule} is left to others: {error}"
    _emit(logger, logging.WARNING, line, "schedule_not_understood", None, schedule=schedule)


def schedules_troubled(logger: logging.Logger, error: Exception) -> None:
    """The database refused what recurring jobs need; it is tried again."""
    line = f"recurring jobs could not be enqueued: {error}"
    _emit(logger, logging.ERROR, line, "schedules_troubled", None, error=str(error))


def jobs_pruned(logger: logging.Logger, number: int) -> None:
    """Finished jobs were removed that need not be kept. Shown at level debug."""
    jobs = "1 finished job was" if number == 1 else f"{number:,} finished jobs were"
    _emit(logger, logging.DEBUG, f"{jobs} removed as `keep_…` says", "jobs_pruned", None)


def pruning_troubled(logger: logging.Logger, error: Exception) -> None:
    """The database refused to remove finished jobs; it is tried again."""
    line = f"finished jobs could not be removed: {error}"
    _emit(logger, logging.ERROR, line, "pruning_troubled", None, error=str(error))


def changed_from_outside(
    logger: logging.Logger, who: str, action: str, what: str, job_id: int | None = None
) -> None:
    """Somebody changed something over HTTP."""
    line = f"{who}: {action} {what}"
    facts: dict[str, object] = {"who": who, "action": action}
    if job_id is not None:
        facts["job_id"] = job_id
    _emit(logger, logging.INFO, line, "changed_from_outside", None, None, **facts)


def request_crashed(logger: logging.Logger, method: str, path: str, error: Exception) -> None:
    """A request could not be answered, for a reason that is not the caller's."""
    line = f"{method} {path} failed: {type(error).__name__}: {error}"
    extra = {"event": "request_crashed", "error": str(error)}
    logger.log(logging.ERROR, "%s", printable(line), extra=extra, exc_info=error)


def request_unanswered(logger: logging.Logger, method: str, path: str, error: Exception) -> None:
    """A request could not be answered now, since the database does not."""
    line = f"{method} {printable(path)} was not answered: {error}"
    _emit(logger, logging.WARNING, line, "request_unanswered", None, error=str(error))


def stats_troubled(logger: logging.Logger, error: Exception) -> None:
    """The database refused to store what became of attempts; those of a minute are not counted."""
    line = f"what became of attempts could not be stored: {error}"
    _emit(logger, logging.ERROR, line, "stats_troubled", None, error=str(error))


def hooks_troubled(logger: logging.Logger, error: Exception) -> None:
    """The hooks could not be told of jobs that were freed, since these cannot be read."""
    line = f"the hooks are not told of the jobs that were freed: {error}"
    _emit(logger, logging.ERROR, line, "hooks_troubled", None, error=str(error))


def set_up_logging(level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Show the log on standard error, unless the application has set up logging itself.

    `level` is for what jobqueue says and what jobs say by `self.logger`; of other loggers, what
    Python shows by default (warnings and errors) comes in the same format.
    """
    logger, root = logging.getLogger("jobqueue"), logging.getLogger()
    logger.setLevel(level.upper())
    # When a connection breaks it says so in its own words, beside us.
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


def _add_job(record: logging.LogRecord) -> bool:
    """Name the job that logged a record, in the record."""
    job = performing.get()
    if job is not None and not hasattr(record, "job_id"):
        record.job_id, record.job = job.id, job.handler
    return True


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes to a stream, and what a turn of a worker brought in one go."""

    def __init__(self, stream: TextIO, formatter: TextFormatter | JsonFormatter) -> None:
        super().__init__(stream)
        self.setFormatter(formatter)
        self.addFilter(_add_job)
        self._format_events = formatter.format_events

    def write_events(self, event: str, events: Iterable[tuple[str, Outcome]]) -> None:
        """Write a line at level info for each (message, outcome)."""
        text = "".join(self._format_events(time.time(), event, events))
        with self.lock or nullcontext():
            try:
                self.stream.write(text)
                self.flush()
            except (OSError, ValueError):
                self.handleError(logging.makeLogRecord({"msg": text}))


class TextFormatter(logging.Formatter):
    """`12:34:56 SendWelcomeEmail #42 succeeded in 13 ms`, coloured by level on a terminal.

    Before what a job itself logs comes which one it was: `12:34:56 [SendWelcomeEmail #42] …`.

    Args:
        colored: whether to colour it.
        dated: whether to write the day too, for a file, which is read later.
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
        """The lines for (message, outcome), at level info and a moment in seconds since 1970."""
        at = time.strftime(str(self.datefmt), time.localtime(now))
        for message, _ in events:
            yield f"{at} {printable(message)}\n"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The first line for a record."""
        facts = record.__dict__
        if "job_id" in facts and "event" not in facts:
            said = f"[{facts['job']} #{facts['job_id']}] {record.message}"
            return f"{record.asctime} {said}"
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """The line for a record."""
        line = printable(super().format(record))
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

    def format_events(
        self, now: float, event: str, events: Iterable[tuple[str, Outcome]]
    ) -> Iterator[str]:
        """The lines for (message, outcome), at level info and a moment in seconds since 1970."""
        at = datetime.fromtimestamp(now, UTC).isoformat()
        for message, outcome in events:
            facts = {
                "time": at,
                "level": "info",
                "message": message,
                "event": event,
                **_facts_of_job(outcome.job),
                "run_seconds": outcome.run_time.total_seconds(),
            }
            yield json.dumps(facts, ensure_ascii=False, default=str) + "\n"


def _emit_outcome(
    logger: logging.Logger,
    level: int,
    line: str,
    event: str,
    outcome: Outcome,
    error: str | None = None,
    retry_in_seconds: float | None = None,
    reason: str | None = None,
) -> None:
    if not logger.isEnabledFor(level):
        return
    facts = {"run_seconds": outcome.run_time.total_seconds()}
    given = {"error": error, "retry_in_seconds": retry_in_seconds, "reason": reason}
    facts |= {name: value for name, value in given.items() if value is not None}  # type: ignore[misc]
    _emit(logger, level, line, event, None, outcome.job, **facts)


def _emit(
    logger: logging.Logger,
    level: int,
    line: str,
    event: str,
    worker: str | None,
    job: ClaimedJob | JobRecord | None = None,
    **facts: object,
) -> None:
    extra: dict[str, object] = {"event": event, **facts}
    if worker is not None:
        extra["worker"] = worker
    if job is not None:
        extra |= _facts_of_job(job)
    logger.log(level, "%s", line, extra=extra)


def _facts_of_job(job: ClaimedJob | JobRecord) -> dict[str, object]:
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


def _title(job: ClaimedJob | JobRecord) -> str:
    return f"{job.handler} #{job.id}"


def _length_of(time: timedelta) -> str:
    """As `_duration`, with less ado where it is short: there are two in the line of every job."""
    if time.seconds or time.days:
        return _duration(time.total_seconds())
    milliseconds = (time.microseconds + 500) // 1000
    return f"{milliseconds} ms" if milliseconds < 1000 else "1.0 s"


def _duration(seconds: float) -> str:
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"
