"""Events of jobs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from jobqueue.log.emit import emit, emit_outcome, is_enabled
from jobqueue.log.handlers import only_handler_of
from jobqueue.log.phrases import duration_text, length_of, title_of
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
from jobqueue.redaction import summary_of


def job_claimed(logger: logging.Logger, job: ClaimedJob) -> None:
    """A worker holds a job. It is logged at level debug.

    The caller checks that the level is enabled, once for many jobs.
    """
    waited = f"waited {duration_text(job.wait_time.total_seconds())}"
    attempt = f"attempt {job.attempts} of {job.max_attempts}"
    line = f"{title_of(job)} claimed from queue {job.queue} ({waited}, {attempt})"
    emit(logger, logging.DEBUG, line, "job_claimed", None, job)


def job_started(logger: logging.Logger, job: ClaimedJob, args: str) -> None:
    """A job is about to be performed. It is logged at level debug."""
    if is_enabled(logger, logging.DEBUG):
        line = f"{title_of(job)} started {args}"
        emit(logger, logging.DEBUG, line, "job_started", None, job, arguments=args)


def job_settled(logger: logging.Logger, outcome: Outcome) -> None:
    """A job's outcome is in the database."""
    job = outcome.job
    took = f"in {duration_text(outcome.run_time.total_seconds())}"
    attempt = f"attempt {job.attempts} of {job.max_attempts}"
    match outcome:
        case Succeeded():
            emit_outcome(logger, logging.INFO, _success(outcome), "job_succeeded", outcome)
        case Retried(error=error, delay=delay):
            again = f"again in {duration_text(delay.total_seconds())}"
            line = f"{title_of(job)} failed {took} ({attempt}), {again}: {summary_of(error)}"
            if outcome.refund:
                line = f"{title_of(job)} asked to be run {again}"
            seconds = delay.total_seconds()
            emit_outcome(logger, logging.WARNING, line, "job_retried", outcome, error, seconds)
        case Failed(error=error):
            line = f"{title_of(job)} failed for good {took} ({attempt}): {summary_of(error)}"
            emit_outcome(logger, logging.ERROR, line, "job_failed", outcome, error)
        case Cancelled(reason=reason, error=error):
            line = f"{title_of(job)} was cancelled {took}: {summary_of(reason)}"
            if error:
                line += f" (and is not tried again after: {summary_of(error)})"
            why = error or reason
            emit_outcome(logger, logging.INFO, line, "job_cancelled", outcome, why, reason=reason)
        case Discarded(reason=reason):
            line = f"{title_of(job)} discarded itself {took}: {summary_of(reason)}"
            why = reason
            emit_outcome(logger, logging.INFO, line, "job_discarded", outcome, why, reason=reason)
        case Released(error=error):
            why = f": {summary_of(error)}" if error else ""
            level = logging.WARNING if error else logging.INFO
            line = f"{title_of(job)} given back{why}"
            emit_outcome(logger, level, line, "job_released", outcome, error)


def job_ended(logger: logging.Logger, job: JobRecord) -> None:
    """A job ended failed or cancelled without its worker: by an operator, or by a rescue."""
    reason, attempt = job.last_error or "", f"attempt {job.attempts} of {job.max_attempts}"
    if job.state is JobState.FAILED:
        line = f"{title_of(job)} failed for good ({attempt}): {summary_of(reason)}"
        emit(logger, logging.ERROR, line, "job_failed", None, job, error=reason)
    else:
        line = f"{title_of(job)} was cancelled: {summary_of(reason)}"
        emit(logger, logging.INFO, line, "job_cancelled", None, job, error=reason, reason=reason)


def job_deleted(logger: logging.Logger, job: JobRecord, reason: str) -> None:
    """The row of a job was removed before it had ended."""
    how = "while it was running" if job.state is JobState.RUNNING else "before it began"
    line = f"{title_of(job)} was deleted {how}: {summary_of(reason)}"
    emit(logger, logging.INFO, line, "job_deleted", None, job, reason=reason)


def jobs_succeeded(logger: logging.Logger, outcomes: Sequence[Succeeded]) -> None:
    """Log each outcome as `job_settled` does, by one write if only our own handler listens.

    A record of Python's logging costs 25 us, more than everything else that a job costs.
    """
    if not is_enabled(logger, logging.INFO):
        return
    handler = only_handler_of(logger)
    if handler is None:
        for outcome in outcomes:
            job_settled(logger, outcome)
    else:
        handler.write_events("job_succeeded", ((_success(o), o) for o in outcomes))


def _success(outcome: Succeeded) -> str:
    job = outcome.job
    return (
        f"{job.handler} #{job.id} succeeded in {length_of(outcome.run_time)} (waited "
        f"{length_of(job.wait_time)}, attempt {job.attempts} of {job.max_attempts})"
    )


def job_rejected(logger: logging.Logger, outcome: Outcome) -> None:
    """The outcome of a job was refused, since this worker no longer holds its claim."""
    line = (
        f"{title_of(outcome.job)}: the outcome {type(outcome).__name__.lower()} was rejected, "
        "since this worker no longer holds the job (it was silent past its lease, or somebody "
        "removed the job); nothing was changed"
    )
    emit_outcome(logger, logging.WARNING, line, "job_rejected", outcome)


def settle_waits(logger: logging.Logger, outcome: Outcome) -> None:
    """A job has ended, and somebody keeps its row locked. It is logged once for each attempt."""
    line = (
        f"{title_of(outcome.job)}: the outcome {type(outcome).__name__.lower()} waits to be "
        f"stored, since somebody's open transaction keeps the row {outcome.job.id} of "
        "background_jobs locked, or the database refuses to change it (a trigger, a foreign key); "
        "the worker goes on, and tries again"
    )
    emit_outcome(logger, logging.WARNING, line, "settle_waits", outcome)


def outcome_lost(logger: logging.Logger, outcome: Outcome) -> None:
    """A worker ended while somebody still kept the row of a job locked that it had performed."""
    line = (
        f"{title_of(outcome.job)}: the outcome {type(outcome).__name__.lower()} could not be "
        "stored before the worker ended, since somebody's open transaction keeps its row locked; "
        "when that ends, the job is freed and performed again"
    )
    emit_outcome(logger, logging.ERROR, line, "outcome_lost", outcome)


def jobs_rescued(logger: logging.Logger, rescue: Rescue) -> None:
    """The jobs of a lost worker were freed."""
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
    emit(logger, logging.WARNING, line, "jobs_rescued", rescue.worker_id)


def job_overdue(logger: logging.Logger, job: ClaimedJob, max_runtime_seconds: float) -> None:
    """A job goes on past its `max_runtime`, and no supervisor can kill its process."""
    line = (
        f"{title_of(job)} has run longer than its max_runtime of "
        f"{duration_text(max_runtime_seconds)} and did not react; it runs on, since this worker "
        "has no supervisor that could kill it"
    )
    emit(logger, logging.WARNING, line, "job_overdue", None, job)


def cancel_heard(logger: logging.Logger, job: ClaimedJob) -> None:
    """A job was cancelled while it runs."""
    line = f"{title_of(job)} was cancelled while it runs, and is told so"
    emit(logger, logging.INFO, line, "cancel_heard", None, job)


def limited_job_interrupted(logger: logging.Logger, job: ClaimedJob) -> None:
    """A job under a limit is interrupted, since the database does not answer."""
    line = (
        f"{title_of(job)} is interrupted and given back: the database does not answer, and another "
        "job may start in its place under its limit"
    )
    emit(logger, logging.WARNING, line, "limited_job_interrupted", None, job)


def result_lost(logger: logging.Logger, job: ClaimedJob, why: str) -> None:
    """A job's result cannot be kept, since it is no JSON."""
    line = f"{title_of(job)}: {summary_of(why)}"
    emit(logger, logging.ERROR, line, "result_lost", None, job)


def raised_after_commit(logger: logging.Logger, job: ClaimedJob, error: str) -> None:
    """A job raised an error after its own transaction had completed it."""
    line = (
        f"{title_of(job)} raised an error after its transaction had completed it, which changes "
        f"nothing any more: {summary_of(error)}"
    )
    emit(logger, logging.ERROR, line, "raised_after_commit", None, job, error=error)


def commit_unknown(logger: logging.Logger, job: ClaimedJob, error: BaseException) -> None:
    """The answer to a job's COMMIT was lost, and the database does not answer."""
    line = (
        f"{title_of(job)}: whether its transaction was committed is not known ({error}); waiting "
        "for the database to answer"
    )
    emit(logger, logging.WARNING, line, "commit_unknown", None, job, error=str(error))


def forked_process_ended(
    logger: logging.Logger, job: ClaimedJob, pid: int, error: str | None
) -> None:
    """A process that a job has forked came out of `perform`, and ends."""
    how = "returned from perform" if error is None else f"left perform by {summary_of(error)}"
    line = (
        f"{title_of(job)}: the process {pid} that it has forked {how}; it ends, and the job goes "
        "on in the process that began it. End such a process with os._exit()"
    )
    facts: dict[str, Any] = {} if error is None else {"error": error}
    emit(logger, logging.WARNING, line, "forked_process_ended", None, job, **facts)


def strays_released(logger: logging.Logger, worker: str, number: int) -> None:
    """Jobs were given back whose claim was committed but never reached the worker."""
    jobs = "1 job that was" if number == 1 else f"{number} jobs that were"
    line = f"worker {worker} gave back {jobs} claimed in its name and never reached it"
    emit(logger, logging.WARNING, line, "strays_released", worker)
