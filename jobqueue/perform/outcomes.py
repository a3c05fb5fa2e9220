"""The outcome that the end of an attempt leads to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from jobqueue import log
from jobqueue.errors import JobTimeout
from jobqueue.job import Job
from jobqueue.perform.attempt import Attempt, StopNow, secrets_of, since, stored_secrets
from jobqueue.perform.error_groups import group_of_error
from jobqueue.perform.plan import Plan
from jobqueue.perform.tracebacks import error_text
from jobqueue.records import (
    NO_DELAY,
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
from jobqueue.redaction import clean_error, error_line, kind_of, mask_values, message_of
from jobqueue.retry import (
    DEFAULT_RETRY,
    DISCARDED,
    LONGEST_WAIT,
    Discard,
    Retry,
    RetryPolicy,
    delay_before_retry,
)

COULD_NOT_PERFORM = "the job could not be performed, since this failed in its worker"
NO_DELAY_GIVEN = (
    "(It is a Retry whose `delay` is no duration, so the attempt counts as failed. In a subclass, "
    "call super().__init__(in_=…).)"
)


def after_success(attempt: Attempt) -> Outcome:
    """The outcome of an attempt whose `perform` returned."""
    plan, run_time = attempt.plan, since(attempt.started)
    if attempt.block is not None and attempt.has_committed():
        return _committed(attempt)
    if attempt.monitor.cancelled and attempt.has_heeded_cancel():
        return _cancelled(attempt)
    result_text = plan.result_text
    if result_text is None and attempt.claimed.flow_id is not None:
        result_text = plan.step_result_text
    if result_text is None and attempt.progress is None:
        return Succeeded(attempt.claimed, run_time, plan.keep_succeeded)
    result = note = None
    if result_text is not None:
        result, note = _result_of(attempt, result_text)
    progress = attempt.progress
    return Succeeded(
        attempt.claimed, run_time, plan.keep_succeeded, result, note, progress=progress
    )


def after_error(attempt: Attempt, error: BaseException) -> Outcome:
    """The outcome of an attempt that raised an error, whatever kind of error that is."""
    if attempt.block is not None and attempt.has_committed():
        if not _is_a(error, StopNow, asyncio.CancelledError):
            text = error_text(error, secrets_of(attempt))
            log.raised_after_commit(attempt.plan.job_class.logger, attempt.claimed, text)
        return _committed(attempt)
    if attempt.has_heeded_cancel() and not _is_a(error, StopNow):
        return _cancelled(attempt)
    outcome = _outcome_of_error(attempt, error)
    if attempt.progress is None:
        return outcome
    return replace(outcome, progress=attempt.progress)


def after_refusal(plan: Plan, claimed: ClaimedJob, error: BaseException, started: float) -> Outcome:
    """The outcome of a job whose stored arguments its class refuses: it can never be performed."""
    secrets = stored_secrets(plan.job_class, claimed)
    group = group_of_error(claimed.handler, plan.job_class, error, secrets)
    text = error_text(error, secrets)
    return Failed(claimed, since(started), text, keep=plan.keep_failed, error_group=group)


def after_fault(
    job_class: type[Job] | None, claimed: ClaimedJob, error: BaseException, keep: bool
) -> Outcome:
    """The outcome of an attempt for which code outside of `perform` failed.

    The attempt has failed, and the retry policy decides. Otherwise the job would come back
    uncharged, and would do the same again, for ever.

    Args:
        job_class: its class, if it is known.
        claimed: the job.
        error: what was raised outside of `perform`.
        keep: whether its row stays when it fails.
    """
    secrets = {} if job_class is None else stored_secrets(job_class, claimed)
    text = f"{COULD_NOT_PERFORM}:\n{error_text(error, secrets)}"
    policy = DEFAULT_RETRY if job_class is None else job_class.retry
    return _after_failure(claimed, job_class, policy, error, NO_DELAY, text, secrets, keep)


def _outcome_of_error(attempt: Attempt, error: BaseException) -> Outcome:
    claimed, keep, run_time = attempt.claimed, attempt.plan.keep_failed, since(attempt.started)
    if _is_a(error, StopNow):
        return Released(claimed, run_time)
    secrets = secrets_of(attempt)
    if _is_a(error, Discard):
        return Discarded(claimed, run_time, reason=_reason_of(error, secrets), keep=keep)
    text = error_text(error, secrets)
    if _is_a(error, Retry):
        delay = _delay_asked_for(error)
        if delay is not None:
            return Retried(claimed, run_time, error=text, delay=delay, refund=True)
        text = clean_error(f"{text}\n{NO_DELAY_GIVEN}")
    job_class = attempt.plan.job_class
    policy = job_class.retry
    return _after_failure(claimed, job_class, policy, error, run_time, text, secrets, keep)


def _after_failure(
    claimed: ClaimedJob,
    job_class: type[Job] | None,
    policy: RetryPolicy,
    error: BaseException,
    run_time: timedelta,
    text: str,
    secrets: Mapping[str, Any],
    keep: bool,
) -> Outcome:
    timed_out = _is_a(error, JobTimeout)
    delay, policy_error = delay_after(policy, claimed, error)
    if policy_error is not None:
        why = error_text(policy_error, secrets)
        text = clean_error(f"{text}\nIts retry policy failed as well; the default is used:\n{why}")
    group = group_of_error(claimed.handler, job_class, error, secrets)
    if delay is None:
        return Failed(claimed, run_time, text, keep=keep, timed_out=timed_out, error_group=group)
    return Retried(
        claimed, run_time, error=text, delay=delay, timed_out=timed_out, error_group=group
    )


def _is_a(error: BaseException, *kinds: type[BaseException]) -> bool:
    """Whether an error is of a kind, by its class: it may say anything else of itself."""
    return issubclass(type(error), kinds)


def _reason_of(error: BaseException, secrets: Mapping[str, Any]) -> str:
    """The reason that a `Discard` gives, which may be anything."""
    try:
        reason = getattr(error, "reason", None)
        if reason is None:
            reason = message_of(error) or DISCARDED
        text = error_line(reason) if isinstance(reason, BaseException) else str(reason)
        return clean_error(mask_values(str.__str__(text), secrets))
    except BaseException as failure:  # noqa: BLE001 - anything can raise when it is asked for its text
        return clean_error(f"{DISCARDED}; its reason could not be read: {kind_of(failure)}")


def _delay_asked_for(error: BaseException) -> timedelta | None:
    """The delay of a `Retry`; None where a subclass has made it without one."""
    try:
        delay = timedelta.__add__(NO_DELAY, error.delay)  # type: ignore[attr-defined]
    except BaseException:  # noqa: BLE001 - a subclass may have any `delay`, or none
        return None
    # `__add__` answers what is no timedelta with NotImplemented.
    return delay if type(delay) is timedelta and NO_DELAY <= delay <= LONGEST_WAIT else None


def delay_after(
    policy: RetryPolicy, claimed: ClaimedJob, error: BaseException
) -> tuple[timedelta | None, BaseException | None]:
    """How long the retry policy of a job has it wait after an error.

    Returns:
        The delay, None if it is not attempted again; and what the policy itself raised, if it did:
        then the delay is that of the default policy.
    """
    if claimed.attempts >= claimed.max_attempts:
        return None, None
    try:
        return delay_before_retry(policy, claimed.attempts, error), None
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
    except BaseException as error:  # noqa: BLE001 - somebody's serializers may raise anything
        text = error_text(error, secrets_of(attempt))
        note = f"the job succeeded, but its result could not be kept: {text}"
        log.result_lost(attempt.plan.job_class.logger, attempt.claimed, note)
        return None, note
