"""Performing one claimed job: `execute` takes it and answers with an `Outcome`.

This is the only place that catches what somebody's `perform` raises. It stores nothing: settling
the outcome is the next step, and the adapter's.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import json
import logging
import time
import traceback
from collections.abc import Callable, Collection, Coroutine
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.adapters.json_text import result_writer
from jobqueue.arguments import Parameters
from jobqueue.config import Settings
from jobqueue.defaults import default_configuration
from jobqueue.errors import InvalidTransaction, JobCancelled, JobTimeout
from jobqueue.exactly_once import COMMIT_TASK, TransactionBlock
from jobqueue.hooking import AttemptHooks, attempt_hooks
from jobqueue.hooks import Observers
from jobqueue.job import Job, Registry
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

RunCoroutine = Callable[[Coroutine[Any, Any, None]], None]
Within = Callable[[Callable[[], None]], None]
Uninterrupted = Callable[[], AbstractContextManager[None]]
MACHINERY = tuple(
    str(place)
    for place in (
        Path(__file__),
        Path(__file__).with_name("hooking.py"),
        Path(__file__).with_name("exactly_once.py"),
        Path(__file__).with_name("worker"),
        Path(__file__).with_name("runner"),
        Path(contextlib.__file__),
        Path(asyncio.__file__).parent,
    )
)
OWN_MACHINERY = MACHINERY[:5]
SHORTEST_RETURN = timedelta(seconds=5)
LONGEST_RETURN = timedelta(seconds=60)


class StopNow(BaseException):
    """Raised in the thread that performs a job when the process is to stop at once."""


@functools.lru_cache(maxsize=256)
def timeout_error(limit: timedelta) -> type[JobTimeout]:
    """`JobTimeout` with its message built in: one thread can raise only a class in another."""
    message = f"ran longer than its max_runtime of {limit.total_seconds():g} s"

    def init(self: JobTimeout) -> None:
        JobTimeout.__init__(self, message)

    namespace = {"__init__": init, "__module__": JobTimeout.__module__, "__doc__": message}
    return type(JobTimeout.__name__, (JobTimeout,), namespace)


class Steering(Protocol):
    """What passes between jobs that run and those who watch them."""

    cancelled: Collection[tuple[int, int]]
    """The (id, token) of jobs that are running, and that somebody wants to end."""

    def report(self, claimed: ClaimedJob, progress: str) -> None:
        """Store the progress of a job, as JSON, sooner or later."""
        ...


class NoSteering:
    """For jobs that nobody watches."""

    cancelled: Collection[tuple[int, int]] = ()

    def report(self, claimed: ClaimedJob, progress: str) -> None:
        """Do nothing; the last progress is part of the outcome."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be known of a job class to perform its jobs, worked out once."""

    job_class: type[Job]
    parameters: Parameters
    is_async: bool
    max_runtime: timedelta | None
    keep_succeeded: bool
    keep_failed: bool
    interrupt_on_cancel: bool
    result_text: Callable[[Any], str] | None
    hooks: AttemptHooks | None
    adapter: Adapter | None

    @property
    def can_be_interrupted(self) -> bool:
        """Whether an attempt's time is limited, or its class wants to be interrupted."""
        return self.max_runtime is not None or self.interrupt_on_cancel


@dataclass(slots=True)
class Attempt:
    """A claimed job whose class is known and whose arguments have been read."""

    plan: Plan
    claimed: ClaimedJob
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    started: float
    steering: Steering
    progress: str | None = None
    answer: Any = None
    saw_cancel: bool = False
    uninterrupted: Uninterrupted = nullcontext
    block: TransactionBlock | None = None
    committed: bool = False

    def call(self) -> Any:
        """Call `perform` on a new instance; what is to be awaited has to end in its time."""
        job = self.plan.job_class()
        job.attempt_at(self)
        if self.plan.hooks is not None:
            return self.plan.hooks.perform(job, self.args, self.kwargs, self._in_time)
        answer = job.perform(*self.args, **self.kwargs)  # type: ignore[attr-defined]
        if answer is None:
            return None
        return self._in_time(answer) if inspect.iscoroutine(answer) else answer

    def _in_time(self, coroutine: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        return _in_time(self.plan.max_runtime, coroutine)

    async def keep_answer(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Await what `perform` returns, and keep it."""
        self.answer = await coroutine

    def report(self, progress: str) -> None:
        """Store how far the job is, as JSON, sooner or later."""
        self.progress = progress
        # What is reported within a transaction is part of it, and its row is complete afterwards.
        if self.block is None or not (self.block.is_open or self.committed):
            self.steering.report(self.claimed, progress)

    def is_cancelled(self) -> bool:
        """Whether somebody wants the job to end. Who asks is taken to heed it."""
        self.saw_cancel = self.saw_cancel or self._is_wanted_to_end()
        return self.saw_cancel

    def has_heeded_cancel(self) -> bool:
        """Whether the end of the attempt is that of a cancelled job."""
        told = self.plan.is_async or self.plan.interrupt_on_cancel
        return self.saw_cancel or (told and self._is_wanted_to_end())

    def transaction(self, sessions: Callable[[], Any] | None) -> TransactionBlock:
        """A transaction that this attempt writes in, and that completes it."""
        adapter = self.plan.adapter or self.plan.job_class.adapter
        return TransactionBlock(adapter, self, self.plan.is_async, sessions)

    def begin_transaction(self, block: TransactionBlock) -> None:
        """See `Completion.begin_transaction`."""
        if self.plan.result_text is not None:
            raise InvalidTransaction(
                f"{self.plan.job_class.name} has keep_result, and self.transaction() completes it "
                "before perform has returned a result; write the result in the transaction instead"
            )
        if self.committed:
            raise InvalidTransaction(
                "a second self.transaction(): the first has completed the job; write everything "
                "in one, or enqueue another job in it for what comes next"
            )
        self.block = block

    def success(self) -> Succeeded:
        """See `Completion.success`."""
        if self.steering.cancelled and self.has_heeded_cancel():
            raise JobCancelled
        return Succeeded(self.claimed, keep=self.plan.keep_succeeded, progress=self.progress)

    def succeed(self, outcome: Succeeded) -> None:  # noqa: ARG002 - it is the one of `success`
        """See `Completion.succeed`."""
        self.committed = True

    def waits_for_database(self, outcome: Succeeded, error: BaseException) -> None:  # noqa: ARG002
        """See `Completion.waits_for_database`."""
        log.commit_unknown(self.plan.job_class.logger, self.claimed, error)

    def has_committed(self) -> bool:
        """Whether it is complete, by its transaction."""
        if self.block is not None:
            self.block.abandon_if_left()
        return self.committed

    def _is_wanted_to_end(self) -> bool:
        return (self.claimed.id, self.claimed.token) in self.steering.cancelled

    def args_by_name(self) -> dict[str, Any]:
        """The arguments by the names of the parameters."""
        signature = self.plan.parameters.signature
        return dict(signature.bind(*self.args, **self.kwargs).arguments)


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
    """

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        observers: Observers | None = None,
        steering: Steering | None = None,
        adapter: Adapter | None = None,
    ) -> None:
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

    async def execute_async(self, claimed: ClaimedJob) -> Outcome:
        """As `execute`, for an async job, in the task that awaits it."""
        attempt = self._begin(claimed)
        if isinstance(attempt, Outcome):
            return attempt
        outside = log.performing.set(claimed)
        try:
            attempt.answer = await attempt.call()
        except BaseException as error:  # noqa: BLE001 - as above
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

    def _begin(self, claimed: ClaimedJob) -> Attempt | Outcome:
        plan = self._plan_of(claimed)
        if plan is None:
            return self._unknown(claimed)
        started = time.perf_counter()
        try:
            args, kwargs = plan.parameters.load(claimed.args)
        except Exception as error:  # noqa: BLE001 - somebody's validators may raise anything
            text = _error_text(error, _raw_secrets(plan.job_class, claimed))
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
                text = _error_text(error, _secrets(attempt))
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
            delay=delay_before_return(claimed),
        )

    def _outcome_of_error(self, attempt: Attempt, error: BaseException) -> Outcome:
        job_class, claimed = attempt.plan.job_class, attempt.claimed
        run_time = _since(attempt.started)
        if isinstance(error, StopNow):
            return Released(claimed, run_time)
        keep = attempt.plan.keep_failed
        secrets = _secrets(attempt)
        if isinstance(error, Discard):
            reason = clean_error(mask_values(error.reason, secrets))
            return Discarded(claimed, run_time, reason=reason, keep=keep)
        text = _error_text(error, secrets)
        if isinstance(error, Retry):
            return Retried(claimed, run_time, error=text, delay=error.delay, refund=True)
        if claimed.attempts >= claimed.max_attempts:
            return Failed(claimed, run_time, text, keep=keep)
        try:
            delay = delay_before_retry(job_class.retry, claimed.attempts, error)
        except Exception as policy_error:  # noqa: BLE001 - the policy is somebody's code too
            why = _error_text(policy_error, secrets)
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
        reason="cancelled while it ran",
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
        text = _error_text(error, _secrets(attempt))
        note = f"the job succeeded, but its result could not be kept: {text}"
        log.result_lost(attempt.plan.job_class.logger, attempt.claimed, note)
        return None, note


async def _in_time(limit: timedelta | None, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Await it, cancelling it when it takes longer than it may."""
    if limit is None:
        return await coroutine
    try:
        async with asyncio.timeout(limit.total_seconds()) as timeout:
            return await coroutine
    except TimeoutError as error:
        if not timeout.expired():
            raise
        where = error.__cause__.__traceback__ if error.__cause__ else error.__traceback__
        raise timeout_error(limit)().with_traceback(where) from None


def _cancel_all_tasks() -> None:
    for task in asyncio.all_tasks():
        if task.get_name() != COMMIT_TASK:
            task.cancel()


def _since(started: float) -> timedelta:
    return timedelta(seconds=time.perf_counter() - started)


def _log_start(attempt: Attempt) -> None:
    logger = attempt.plan.job_class.logger
    if logger.isEnabledFor(logging.DEBUG):
        shown = redact_args(attempt.args_by_name(), attempt.plan.job_class.redact)
        log.job_started(logger, attempt.claimed, repr(shown))


def _secrets(attempt: Attempt) -> dict[str, Any]:
    """The values that an error message must not show, as Python has them and as JSON does."""
    redact = attempt.plan.job_class.redact
    if not redact:
        return {}
    by_name = attempt.args_by_name()
    decoded = {name: by_name.get(name) for name in redact}
    return {"decoded": decoded, "stored": _raw_secrets(attempt.plan.job_class, attempt.claimed)}


def _raw_secrets(job_class: type[Job], claimed: ClaimedJob) -> dict[str, Any]:
    if not job_class.redact:
        return {}
    try:
        stored = json.loads(claimed.args)
    except (ValueError, RecursionError):
        return {"all of it": claimed.args}
    if not isinstance(stored, dict):
        return {"all of it": stored}
    return {name: stored.get(name) for name in job_class.redact}


def _error_text(error: BaseException, secrets: dict[str, Any]) -> str:
    """The traceback from the job's own code on, with the secrets masked."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next and _is_in(frames, MACHINERY):
        frames = frames.tb_next
    if frames is not None and isinstance(error, JobTimeout):
        _cut_off_interruption(frames)
    text = "".join(traceback.format_exception(type(error), error, frames))
    return clean_error(mask_values(text.rstrip(), secrets))


def _cut_off_interruption(frames: TracebackType) -> None:
    """End the traceback where the job was, without what raised the `JobTimeout` there."""
    while frames.tb_next is not None:
        if _is_in(frames.tb_next, OWN_MACHINERY):
            frames.tb_next = None
            return
        frames = frames.tb_next


def _is_in(frames: TracebackType, places: tuple[str, ...]) -> bool:
    return frames.tb_frame.f_code.co_filename.startswith(places)
