"""Performing one claimed job: `execute` takes it and answers with an `Outcome`.

This is the only place that catches what somebody's `perform` raises. It stores nothing: settling
the outcome is the next step, and the adapter's.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import random
import re
import time
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.adapters.json_text import result_writer
from jobqueue.arguments import Misfit
from jobqueue.config import Settings
from jobqueue.defaults import default_configuration
from jobqueue.errors import JobqueueError, JobTimeout
from jobqueue.hook_calls import attempt_hooks
from jobqueue.hooks import Observers
from jobqueue.job import Job, Registry
from jobqueue.perform.attempt import (
    Attempt,
    NoSteering,
    Plan,
    Steering,
    Uninterrupted,
    secrets_of,
    stored_secrets,
    timeout_error,
)
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
from jobqueue.redaction import clean_error, mask_values, redact_args
from jobqueue.retention import retention_of
from jobqueue.retry import DEFAULT_RETRY, Discard, Retry, as_timedelta, delay_before_retry
from jobqueue.transactions import COMMIT_TASK
from jobqueue.unknown_handlers import UnknownHandlers

RunCoroutine = Callable[[Coroutine[Any, Any, None]], None]
Within = Callable[[Callable[[], None]], None]
SHORTEST_RETURN = timedelta(seconds=5)
LONGEST_RETURN = timedelta(seconds=60)
ROLLOUT = timedelta(hours=1)
"""How long two releases may work side by side: so long, a job whose arguments do not fit one of
them is left for the other. It counts from when it was first given back for that."""


SHORTEST_WAIT_FOR_RELEASE = timedelta(seconds=1)
GIVEN_BACK_SINCE = "Given back since "
_SINCE = re.compile(rf"\A\S+: the stored arguments .*{GIVEN_BACK_SINCE}(\S+): ", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _LeftFor:
    """A job that another release enqueued, and why it cannot be performed here."""

    plan: Plan
    claimed: ClaimedJob
    why: str
    started: float


class StopNow(BaseException):
    """Raised in the thread that performs a job when the process is to stop at once."""


def delay_before_return(claimed: ClaimedJob) -> timedelta:
    """How long a job is put off that this worker cannot perform, longer the older it is."""
    age = claimed.locked_at - claimed.created_at
    return min(max(age / 2, SHORTEST_RETURN), LONGEST_RETURN)


def _at_once(work: Callable[[], None]) -> None:
    work()


class Executor:
    """Performs claimed jobs, on the threads and in the tasks that call it.

    Args:
        registry: the job classes that rows can name.
        settings: the defaults for classes that do not set their own.
        observers: the hooks for all jobs; the configured ones by default.
        steering: takes their progress, and knows which of them are to end.
        adapter: where they come from; by default that of each class.
        unknown_handlers: the handlers that are passed over once a job of theirs has been claimed;
            by default jobs of unknown handlers are put off, each by itself.
    """

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        observers: Observers | None = None,
        steering: Steering | None = None,
        adapter: Adapter | None = None,
        unknown_handlers: UnknownHandlers | None = None,
    ) -> None:
        self._unknown_handlers = unknown_handlers
        self._registry = registry
        self._settings = settings
        self._observers = observers or default_configuration.observers
        self._plans: dict[str, Plan] = {}
        self._steering = steering or NoSteering()
        self._adapter = adapter
        self._runner: asyncio.Runner | None = None
        self._is_stopping = False
        self._on_loop: ClaimedJob | None = None

    def execute(
        self,
        claimed: ClaimedJob,
        within: Within = _at_once,
        run_coroutine: RunCoroutine | None = None,
        uninterrupted: Uninterrupted = nullcontext,
    ) -> Outcome:
        """Perform a claimed job and say what came of it. Nothing that `perform` raises gets out.

        Args:
            within: calls what it is given; `StopNow` and `JobTimeout` may be raised in there and
                nowhere else.
            run_coroutine: runs an async job to its end, and returns; by default on an event loop
                on this thread.
            uninterrupted: a stretch within `within` in which nothing is raised.
        """
        attempt = self._begin(claimed)
        if isinstance(attempt, _LeftFor):
            return self._misfit(attempt)
        if isinstance(attempt, Outcome):
            return attempt
        attempt.uninterrupted = uninterrupted
        outside = log.performing.set(claimed)
        try:
            within(partial(self._perform, attempt, run_coroutine or self._run_here))
        except BaseException as error:  # noqa: BLE001 - the one place for whatever a job raises
            return self._after_error(attempt, error)
        finally:
            log.performing.reset(outside)
        return self._after_success(attempt)

    async def execute_async(self, claimed: ClaimedJob, *, on_shared_loop: bool = False) -> Outcome:
        """As `execute`, for an async job, in the task that awaits it.

        Args:
            on_shared_loop: whether an application may cancel that task, with all that is on its
                event loop. Then the job has not failed, and is given back.
        """
        attempt = self._begin(claimed)
        if isinstance(attempt, _LeftFor):
            return await asyncio.to_thread(self._misfit, attempt)
        if isinstance(attempt, Outcome):
            return attempt
        outside = log.performing.set(claimed)
        try:
            attempt.answer = await attempt.call()
        except BaseException as error:  # noqa: BLE001 - as above
            is_stopped = on_shared_loop and not attempt.has_heeded_cancel()
            if is_stopped and _is_cancelled_from_outside(error):
                error = StopNow()
            return self._after_error(attempt, error)
        finally:
            log.performing.reset(outside)
        return self._after_success(attempt)

    def is_async(self, claimed: ClaimedJob) -> bool:
        """Whether a job is performed by an event loop."""
        plan = self._plan_of(claimed)
        return plan is not None and plan.is_async

    def max_runtime(self, claimed: ClaimedJob) -> timedelta | None:
        """How long an attempt may take: as its class says, or else the setting."""
        plan = self._plan_of(claimed)
        return plan.max_runtime if plan is not None else None

    def can_be_interrupted(self, claimed: ClaimedJob) -> bool:
        """Whether an attempt may be interrupted: its time is limited, or its class wants that."""
        plan = self._plan_of(claimed)
        return plan is not None and plan.can_be_interrupted

    def interrupts_on_cancel(self, claimed: ClaimedJob) -> bool:
        """Whether `JobCancelled` is raised in it when it is cancelled."""
        plan = self._plan_of(claimed)
        return plan is not None and plan.interrupt_on_cancel

    def delay_after_timeout(self, claimed: ClaimedJob) -> timedelta | None:
        """When the job's retry policy would have it tried again after a `JobTimeout`, if at all."""
        job_class = self._registry.find(claimed.handler)
        limit = self.max_runtime(claimed)
        if job_class is None or limit is None:
            return NO_DELAY
        if claimed.attempts >= claimed.max_attempts:
            return None
        error = timeout_error(limit)()
        try:
            return delay_before_retry(job_class.retry, claimed.attempts, error)
        except Exception:  # noqa: BLE001 - the policy is somebody's code
            return delay_before_retry(DEFAULT_RETRY, claimed.attempts, error)

    def stop_coroutine(self) -> bool:
        """Have the async job given back that runs on this executor's own loop; False without one.

        It is cancelled, since an exception that a signal handler raises is lost where it hits one
        of the loop's callbacks. For any thread, and for signal handlers.
        """
        loop = self._runner.get_loop() if self._runner is not None else None
        if loop is None or not loop.is_running():
            return False
        self._is_stopping = True
        loop.call_soon_threadsafe(_cancel_all_tasks)
        return True

    def cancel_coroutine(self, claimed: ClaimedJob) -> None:
        """Cancel an async job, if it runs on this executor's own loop. For any thread."""
        loop = self._runner.get_loop() if self._runner is not None else None
        if loop is not None and loop.is_running():
            loop.call_soon_threadsafe(self._cancel_if_on_loop, claimed)

    def _cancel_if_on_loop(self, claimed: ClaimedJob) -> None:
        """Called by the loop, which may be at another job by now."""
        if self._on_loop is claimed:
            _cancel_all_tasks()

    def close(self) -> None:
        """Close the event loop of async jobs, if there was one."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    # --- performing it ---------------------------------------------------------------------------

    def _begin(self, claimed: ClaimedJob) -> Attempt | Outcome | _LeftFor:
        plan = self._plan_of(claimed)
        if plan is None:
            return self._unknown(claimed)
        started = time.perf_counter()
        try:
            args, kwargs = plan.parameters.load(claimed.args)
        except Misfit as error:
            return _LeftFor(plan, claimed, str(error), started)
        except Exception as error:  # noqa: BLE001 - somebody's validators may raise anything
            text = error_text(error, stored_secrets(plan.job_class, claimed))
            return Failed(claimed, _since(started), text, keep=plan.keep_failed)
        attempt = Attempt(plan, claimed, args, kwargs, started, self._steering)
        _log_start(attempt)
        return attempt

    def _plan_of(self, claimed: ClaimedJob) -> Plan | None:
        plan = self._plans.get(claimed.handler)
        return plan if plan is not None else self._new_plan_of(claimed.handler)

    def _new_plan_of(self, handler: str) -> Plan | None:
        job_class = self._registry.find(handler)
        if job_class is None:
            return None
        self._plans[handler] = plan = _new_plan(
            job_class, self._settings, self._observers, self._adapter
        )
        return plan

    def _perform(self, attempt: Attempt, run_to_end: RunCoroutine) -> None:
        answer = attempt.call()
        if answer is not None and inspect.iscoroutine(answer):
            self._on_loop = attempt.claimed
            run_to_end(attempt.keep_answer(answer) if attempt.plan.result_text else answer)
        else:
            attempt.answer = answer

    def _run_here(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if self._runner is None:
            self._runner = asyncio.Runner()
        try:
            self._runner.run(coroutine, context=contextvars.copy_context())
        except asyncio.CancelledError:
            if self._is_stopping:
                raise StopNow from None
            raise
        except (StopNow, JobTimeout):
            # It may have hit the loop instead of the job, whose task would then go on beside the
            # next job's; closing the loop cancels it.
            self.close()
            raise

    # --- what its end leads to -------------------------------------------------------------------

    def _after_success(self, attempt: Attempt) -> Outcome:
        plan, run_time = attempt.plan, _since(attempt.started)
        if attempt.block is not None and attempt.has_committed():
            return _committed(attempt)
        if self._steering.cancelled and attempt.has_heeded_cancel():
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

    def _after_error(self, attempt: Attempt, error: BaseException) -> Outcome:
        if attempt.block is not None and attempt.has_committed():
            if not isinstance(error, StopNow | asyncio.CancelledError):
                text = error_text(error, secrets_of(attempt))
                log.raised_after_commit(attempt.plan.job_class.logger, attempt.claimed, text)
            return _committed(attempt)
        if attempt.has_heeded_cancel() and not isinstance(error, StopNow):
            return _cancelled(attempt)
        outcome = self._outcome_of_error(attempt, error)
        if attempt.progress is None:
            return outcome
        return replace(outcome, progress=attempt.progress)

    def _unknown(self, claimed: ClaimedJob) -> Released:
        """Leave it to a worker that has the code: one is being deployed, or serves another app."""
        known = ", ".join(self._registry.names()) or "none"
        return Released(
            claimed,
            error=clean_error(
                f"no job named {claimed.handler!r} is known to this worker (known: {known}). "
                "Left for another worker; is the module that defines it part of `app`, or was "
                "the class renamed without `aliases`?"
            ),
            delay=self._delay_of_unknown(claimed),
        )

    def _delay_of_unknown(self, claimed: ClaimedJob) -> timedelta:
        """None where this worker passes over such jobs: others can have it at once."""
        is_passed_over = self._unknown_handlers is not None and self._unknown_handlers.meet(
            claimed.handler
        )
        return NO_DELAY if is_passed_over else delay_before_return(claimed)

    def _misfit(self, left: _LeftFor) -> Outcome:
        """Leave it to a worker of the release that enqueued it, for as long as there may be one."""
        claimed = left.claimed
        since = self._given_back_since(left) or claimed.locked_at
        waited = claimed.locked_at - since
        if waited >= ROLLOUT:
            error = f"{left.why}. No worker came by within {ROLLOUT} whose release takes them"
            return Failed(claimed, _since(left.started), error, keep=left.plan.keep_failed)
        delay = min(max(waited / 2, SHORTEST_WAIT_FOR_RELEASE), LONGEST_RETURN)
        return Released(
            claimed,
            error=(
                f"{left.why}. {GIVEN_BACK_SINCE}{since.isoformat()}: left for a worker of the "
                f"release that enqueued it; it fails when there is none within {ROLLOUT}"
            ),
            # Workers that come by at the same time each time would always be the same one.
            delay=delay * random.uniform(1, 1.1),  # noqa: S311 - spreads load, hides nothing
        )

    def _given_back_since(self, left: _LeftFor) -> datetime | None:
        """When it was first given back for this, as its `last_error` says, if that is why."""
        adapter = self._adapter or left.plan.job_class.adapter
        try:
            record = adapter.get(left.claimed.id)
        except JobqueueError:
            return None  # then the time begins anew, and its outcome can hardly be stored either
        found = _SINCE.search(record.last_error or "") if record is not None else None
        try:
            return datetime.fromisoformat(found[1]) if found is not None else None
        except ValueError:
            return None

    def _outcome_of_error(self, attempt: Attempt, error: BaseException) -> Outcome:
        job_class, claimed = attempt.plan.job_class, attempt.claimed
        run_time = _since(attempt.started)
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
        if claimed.attempts >= claimed.max_attempts:
            return Failed(claimed, run_time, text, keep=keep)
        try:
            delay = delay_before_retry(job_class.retry, claimed.attempts, error)
        except Exception as policy_error:  # noqa: BLE001 - the policy is somebody's code too
            why = error_text(policy_error, secrets)
            text = clean_error(
                f"{text}\nIts retry policy failed as well; the default is used:\n{why}"
            )
            delay = delay_before_retry(DEFAULT_RETRY, claimed.attempts, error)
        if delay is None:
            return Failed(claimed, run_time, text, keep=keep)
        return Retried(claimed, run_time, error=text, delay=delay)


def _new_plan(
    job_class: type[Job], settings: Settings, observers: Observers, adapter: Adapter | None
) -> Plan:
    limit = job_class.max_runtime
    retention = retention_of(job_class, settings)
    return Plan(
        job_class=job_class,
        parameters=job_class.parameters(),
        is_async=inspect.iscoroutinefunction(job_class.perform),  # type: ignore[attr-defined]
        max_runtime=settings.max_runtime if limit is None else as_timedelta(limit),
        keep_succeeded=not retention.succeeded.keeps_nothing,
        keep_failed=not retention.failed.keeps_nothing,
        interrupt_on_cancel=job_class.interrupt_on_cancel,
        result_text=(
            result_writer(job_class.performing_function()[0]) if job_class.keep_result else None
        ),
        hooks=attempt_hooks(job_class, observers.hooks),
        adapter=adapter,
    )


def _committed(attempt: Attempt) -> Committed:
    keep = attempt.plan.keep_succeeded
    return Committed(attempt.claimed, _since(attempt.started), keep, progress=attempt.progress)


def _cancelled(attempt: Attempt) -> Cancelled:
    return Cancelled(
        attempt.claimed,
        _since(attempt.started),
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


def _is_cancelled_from_outside(error: BaseException) -> bool:
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _cancel_all_tasks() -> None:
    for task in asyncio.all_tasks():
        if task.get_name() != COMMIT_TASK:
            task.cancel()


def _since(started: float) -> timedelta:
    # By position it takes two thirds of the time that it takes by name.
    return timedelta(0, time.perf_counter() - started)


def _log_start(attempt: Attempt) -> None:
    logger = attempt.plan.job_class.logger
    if logger.isEnabledFor(logging.DEBUG):
        shown = redact_args(attempt.args_by_name(), attempt.plan.job_class.redact)
        log.job_started(logger, attempt.claimed, repr(shown))
