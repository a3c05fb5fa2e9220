"""The executor: it performs one claimed job, and returns its `Outcome`.

This is the only place that catches what somebody's `perform` raises. It stores nothing: settling
the outcome is the next step, and the adapter's.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import nullcontext, suppress
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn

from jobqueue import forks, log
from jobqueue.adapters.base import Adapter
from jobqueue.arguments import Misfit
from jobqueue.config import Settings
from jobqueue.defaults import default_configuration
from jobqueue.errors import JobTimeout
from jobqueue.hooks import Observers
from jobqueue.job import Registry
from jobqueue.perform.attempt import (
    Attempt,
    AttemptMonitor,
    NoMonitor,
    StopNow,
    Uninterrupted,
    stored_secrets,
    timeout_error,
)
from jobqueue.perform.foreign_jobs import ForeignJobs, LeftFor
from jobqueue.perform.forked_process import end_forked_process
from jobqueue.perform.outcomes import (
    after_error,
    after_fault,
    after_refusal,
    after_success,
    delay_after,
)
from jobqueue.perform.plan import Plan, new_plan
from jobqueue.records import NO_DELAY, ClaimedJob, Discarded, Outcome
from jobqueue.redaction import redact_args
from jobqueue.retry import DEFAULT_RETRY, POLICIES
from jobqueue.transactions import COMMIT_TASK
from jobqueue.unknown_handlers import UnknownHandlers

RunCoroutine = Callable[[Coroutine[Any, Any, None]], None]
Within = Callable[[Callable[[], None]], None]


def _at_once(work: Callable[[], None]) -> None:
    work()


EXPIRED = (
    "expired: the time in which it may start is over (`expires_in`). Retry it to have it performed "
    "all the same"
)


class Executor:
    """An executor of claimed jobs, on the threads and in the tasks that call it.

    Args:
        registry: the job classes that rows can name.
        settings: the defaults for classes that do not set their own.
        observers: the hooks for all jobs; the configured ones by default.
        monitor: takes their progress, and knows which of them are to end.
        adapter: where they come from; by default that of each class.
        unknown_handlers: the handlers that are passed over once a job of theirs has been claimed;
            by default jobs of unknown handlers are put off, each by itself.
    """

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        observers: Observers | None = None,
        monitor: AttemptMonitor | None = None,
        adapter: Adapter | None = None,
        unknown_handlers: UnknownHandlers | None = None,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._observers = observers or default_configuration.observers
        self._plans: dict[str, Plan] = {}
        self._faults: dict[str, BaseException] = {}
        self._monitor = monitor or NoMonitor()
        self._adapter = adapter
        self._foreign = ForeignJobs(registry, adapter, unknown_handlers)
        self._runner: asyncio.Runner | None = None
        self._failed: list[asyncio.Runner] = []
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
            within: calls what it is given; `StopNow`, `JobTimeout` and `JobCancelled` may be raised
                in there and nowhere else.
            run_coroutine: runs an async job to its end, and returns; by default on an event loop
                on this thread.
            uninterrupted: a stretch within `within` in which nothing is raised.
        """
        attempt = self._begin(claimed)
        if isinstance(attempt, LeftFor):
            return self._foreign.misfit(attempt)
        if isinstance(attempt, Outcome):
            return attempt
        attempt.uninterrupted = uninterrupted
        outside = log.performing.set(claimed)
        try:
            within(partial(self._perform, attempt, run_coroutine or self._run_here))
        except BaseException as error:  # noqa: BLE001 - the one place for whatever a job raises
            return after_error(attempt, error)
        finally:
            log.performing.reset(outside)
        return after_success(attempt)

    async def execute_async(self, claimed: ClaimedJob, *, on_shared_loop: bool = False) -> Outcome:
        """Perform an async job like `execute`, in the task that awaits this.

        Args:
            on_shared_loop: whether an application may cancel that task, with all that is on its
                event loop. Then the job has not failed, and is given back.
        """
        attempt = self._begin(claimed)
        if isinstance(attempt, LeftFor):
            return await asyncio.to_thread(self._foreign.misfit, attempt)
        if isinstance(attempt, Outcome):
            return attempt
        outside = log.performing.set(claimed)
        try:
            attempt.answer = await attempt.call()
        except BaseException as error:  # noqa: BLE001 - as above
            is_stopped = on_shared_loop and not attempt.has_heeded_cancel()
            if is_stopped and _is_cancelled_from_outside(error):
                error = StopNow()
            return after_error(attempt, error)
        finally:
            log.performing.reset(outside)
        return after_success(attempt)

    def end_forked_process(self, claimed: ClaimedJob) -> NoReturn:
        """End this process, which was forked by code around `perform`: a validator, a policy."""
        job_class = self._registry.find(claimed.handler)
        if job_class is None:
            os._exit(1)
        secrets = partial(stored_secrets, job_class, claimed)
        end_forked_process(job_class.logger, claimed, secrets)

    def charge(self, claimed: ClaimedJob, error: BaseException) -> Outcome:
        """The outcome of a job that an error outside of `perform` ended.

        This raises nothing. The outcome is what the job's retry policy says: the attempt is spent.
        """
        job_class, plan = self._registry.find(claimed.handler), self._plans.get(claimed.handler)
        return after_fault(job_class, claimed, error, keep=plan is None or plan.keep_failed)

    def is_async(self, claimed: ClaimedJob) -> bool:
        """Whether a job is performed by an event loop."""
        plan = self._plan_of(claimed)
        return plan is not None and plan.is_async

    def max_runtime(self, claimed: ClaimedJob) -> timedelta | None:
        """The limit to the time of an attempt: that of its class, or else the setting."""
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

    def has_policy_of_its_own(self, claimed: ClaimedJob) -> bool:
        """Whether the retry policy of a job is code of the application."""
        plan = self._plan_of(claimed)
        return plan is not None and type(plan.job_class.retry) not in POLICIES

    def delay_after_kill(self, claimed: ClaimedJob) -> timedelta | None:
        """The delay of a job that was killed for its time; None if it is not tried again.

        It is what a policy of `retry.py` says. A policy of the application's own is not asked here:
        until it is, when the time is over, the default policy takes its place.
        """
        if self.has_policy_of_its_own(claimed):
            return delay_after(DEFAULT_RETRY, claimed, JobTimeout())[0]
        return self.delay_after_timeout(claimed)

    def delay_after_timeout(self, claimed: ClaimedJob) -> timedelta | None:
        """The delay that the retry policy asks for after a `JobTimeout`; None to give up."""
        plan = self._plan_of(claimed)
        if plan is None or plan.max_runtime is None:
            return NO_DELAY
        return delay_after(plan.job_class.retry, claimed, timeout_error(plan.max_runtime)())[0]

    def tasks(self) -> set[asyncio.Task[Any]]:
        """Return the tasks on this executor's own loop, if it runs. For any thread."""
        loop = self._runner.get_loop() if self._runner is not None else None
        return asyncio.all_tasks(loop) if loop is not None and loop.is_running() else set()

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
        """Cancel an async job, on its loop, unless the loop is at another job by now."""
        if self._on_loop is claimed:
            _cancel_all_tasks()

    def close(self) -> None:
        """Close the event loop of async jobs, if there was one."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    # --- performing it ---------------------------------------------------------------------------

    def _begin(self, claimed: ClaimedJob) -> Attempt | Outcome | LeftFor:
        plan = self._plan_of(claimed)
        if plan is None:
            fault = self._faults.get(claimed.handler)
            return self._foreign.unknown(claimed) if fault is None else self.charge(claimed, fault)
        if claimed.is_too_late:
            return Discarded(claimed, reason=EXPIRED, keep=plan.keep_failed)
        started = time.perf_counter()
        try:
            args, kwargs = plan.parameters.load(claimed.args)
        except Misfit as error:
            return LeftFor(plan, claimed, str(error), started)
        except BaseException as error:  # noqa: BLE001 - somebody's validators may raise anything
            return after_refusal(plan, claimed, error, started)
        attempt = Attempt(plan, claimed, args, kwargs, started, self._monitor, forks.pid)
        _log_start(attempt)
        return attempt

    def _plan_of(self, claimed: ClaimedJob) -> Plan | None:
        plan = self._plans.get(claimed.handler)
        return plan if plan is not None else self._new_plan_of(claimed.handler)

    def _new_plan_of(self, handler: str) -> Plan | None:
        job_class = self._registry.find(handler)
        if job_class is None:
            return None
        try:
            plan = new_plan(job_class, self._settings, self._observers, self._adapter)
        except BaseException as error:  # noqa: BLE001 - annotations are somebody's code too
            self._faults[handler] = error
            return None
        self._plans[handler] = plan
        return plan

    def _perform(self, attempt: Attempt, run_to_end: RunCoroutine) -> None:
        answer = attempt.call()
        if answer is not None and inspect.iscoroutine(answer):
            self._on_loop = attempt.claimed
            run_to_end(attempt.keep_end(answer))
            if attempt.error is not None:
                raise attempt.error
        else:
            attempt.answer = answer

    def _run_here(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if self._runner is None:
            self._runner = asyncio.Runner()
        # The job before may have set any.
        self._runner.get_loop().set_task_factory(None)
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
        except OSError:
            # A job has closed the loop's files. To close it would close what others are by now.
            self._failed.append(self._runner)
            self._runner = None
            raise
        except BaseException:
            # The loop was stopped, or is of no use: what is left in it must not go on either.
            with suppress(Exception):
                self.close()
            raise


def _is_cancelled_from_outside(error: BaseException) -> bool:
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _cancel_all_tasks() -> None:
    for task in asyncio.all_tasks():
        if task.get_name() != COMMIT_TASK:
            task.cancel()


def _log_start(attempt: Attempt) -> None:
    try:
        logger = attempt.plan.job_class.logger
        if logger.isEnabledFor(logging.DEBUG):
            shown = redact_args(attempt.args_by_name(), attempt.plan.job_class.redact)
            log.job_started(logger, attempt.claimed, repr(shown))
    except Exception as error:  # noqa: BLE001 - of a logger of the class, or of an argument's `repr`
        log.line_lost(f"{attempt.claimed.handler} #{attempt.claimed.id} started", error)
