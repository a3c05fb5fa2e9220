"""The outcome that the end of an attempt leads to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from jobqueue import log
from jobqueue.job import Job
from jobqueue.perform.attempt import Attempt, StopNow, secrets_of, since
from jobqueue.perform.tracebacks import error_text
from jobqueue.records import (
    Cancelled,
    ClaimedJob,
    Committed,
    Discarded,
    Failed,
    Outcome,
    Released,
    Retried,
    Succeeded,
)
from jobqueue.redaction import clean_error, mask_values
from jobqueue.retry import DEFAULT_RETRY, Discard, Retry, delay_before_retry


def after_success(attempt: Attempt) -> Outcome:
    """The outcome of an attempt whose `perform` returned."""
    plan, run_time = attempt.plan, since(attempt.started)
    if attempt.block is not None and attempt.has_committed():
        return _committed(attempt)
    if attempt.monitor.cancelled and attempt.has_heeded_cancel():
        return _cancelled(attempt)
    if plan.result_text is None and attempt.progress is None:
        return Succeeded(attempt.claimed, run_time, plan.keep_succeeded)
    result = note = None
    if plan.result_text is not None:
        result, note = _result_of(attempt, plan.result_text)
    progress = attempt.progress
    return Succeeded(
        attempt.claimed, run_time, plan.keep_succeeded, result, note, progress=progress
    )


def after_error(attempt: Attempt, error: BaseException) -> Outcome:
    """The outcome of an attempt that raised an error."""
    if attempt.block is not None and attempt.has_committed():
        if not isinstance(error, StopNow | asyncio.CancelledError):
            text = error_text(error, secrets_of(attempt))
            log.raised_after_commit(attempt.plan.job_class.logger, attempt.claimed, text)
        return _committed(attempt)
    if attempt.has_heeded_cancel() and not isinstance(error, StopNow):
        return _cancelled(attempt)
    outcome = _outcome_of_error(attempt, error)
    if attempt.progress is None:
        return outcome
    return replace(outcome, progress=attempt.progress)


def _outcome_of_error(attempt: Attempt, error: BaseException) -> Outcome:
    job_class, claimed = attempt.plan.job_class, attempt.claimed
    run_time = since(attempt.started)
    if isinstance(error, StopNow):
        return Released(claimed, run_time)
    keep = attempt.plan.keep_failed
    secrets = secrets_of(attempt)
    if isinstance(error, Discard):
        reason = clean_error(mask_values(error.reason, secrets))
        return Discarded(claimed, run_time, reason=reason, keep=keep)
    text = error_text(error, secrets)
    if isinstance(error, Retry):
        return Retried(claimed, run_time, error=text, delay=error.delay, refund=True)
    delay, policy_error = delay_after(job_class, claimed, error)
    if policy_error is not None:
        why = error_text(policy_error, secrets)
        text = clean_error(f"{text}\nIts retry policy failed as well; the default is used:\n{why}")
    if delay is None:
        return Failed(claimed, run_time, text, keep=keep)
    return Retried(claimed, run_time, error=text, delay=delay)


def delay_after(
    job_class: type[Job], claimed: ClaimedJob, error: BaseException
) -> tuple[timedelta | None, BaseException | None]:
    """How long the retry policy of a job has it wait after an error.

    Returns:
        The delay, None if it is not attempted again; and what the policy itself raised, if it did:
        then the delay is that of the default policy.
    """
    if claimed.attempts >= claimed.max_attempts:
        return None, None
    try:
        return delay_before_retry(job_class.retry, claimed.attempts, error), None
    except BaseException as policy_error:  # noqa: BLE001 - the policy is somebody's code too
        return delay_before_retry(DEFAULT_RETRY, claimed.attempts, error), policy_error


def _committed(attempt: Attempt) -> Committed:
    keep = attempt.plan.keep_succeeded
    return Committed(attempt.claimed, since(attempt.started), keep, progress=attempt.progress)


def _cancelled(attempt: Attempt) -> Cancelled:
    return Cancelled(
        attempt.claimed,
        since(attempt.started),
        reason=attempt.cancel_reason,
        keep=attempt.plan.keep_failed,
        progress=attempt.progress,
    )


def _result_of(
    attempt: Attempt, result_text: Callable[[Any], str]
) -> tuple[str | None, str | None]:
    """The result as JSON, or else why it cannot be: the job has succeeded all the same."""
    try:
        return result_text(attempt.answer), None
    except Exception as error:  # noqa: BLE001 - somebody's serializers may raise anything
        text = error_text(error, secrets_of(attempt))
        note = f"the job succeeded, but its result could not be kept: {text}"
        log.result_lost(attempt.plan.job_class.logger, attempt.claimed, note)
        return None, note
