"""Hooks: code of an application that runs around attempts, and at the ends of jobs.

A job class has methods for its own attempts (`before_perform`, `around_perform`, `after_perform`,
`after_success`, `after_failure`); a `Hooks` object has the same for all jobs, and the events of
jobs and workers besides. An error in a hook before an attempt fails it. An error
in any other hook is logged and harms nothing.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import timedelta
from typing import Any

from jobqueue import log
from jobqueue.errors import ConfigurationError, JobTimeout
from jobqueue.records import (
    Cancelled,
    ClaimedJob,
    Discarded,
    Failed,
    JobRecord,
    NewJob,
    NewWorker,
    Outcome,
    Retried,
    Succeeded,
)
from jobqueue.signal_exits import is_raised_by_signal_handler
from jobqueue.spelling import OR_YOUR_OWN, close_to

Finish = Awaitable[None] | None
Around = (
    Iterator[Any]
    | AsyncIterator[Any]
    | AbstractContextManager[Any]
    | AbstractAsyncContextManager[Any]
    | None
)

ATTEMPT_HOOKS = (
    "before_perform",
    "around_perform",
    "after_perform",
    "after_success",
    "after_failure",
)


class Hooks:
    """Hooks for all jobs and workers: override what you want, and give an object of it.

        jobqueue.configure(hooks=[MyHooks()])

    The first five go around each attempt, on the thread that performs it; for an async job they
    may be async, and are awaited in its task. An error in `before_perform` or `around_perform`
    fails the attempt, as if `perform` had raised it. An error in any other method is logged and
    harms nothing. The others are plain methods, called on threads of the worker's own: what takes
    long there holds up its other jobs.
    """

    # --- around each attempt ---------------------------------------------------------------------

    def before_perform(self, job: Any, args: Mapping[str, Any]) -> Finish:
        """An attempt begins. What this raises, `Retry` and `Discard` included, ends it.

        Args:
            job: the object of the job's class, with its `context`.
            args: the job's arguments by name.
        """

    def around_perform(self, job: Any, args: Mapping[str, Any]) -> Around:
        """Wrap `perform`: `yield` once, where it is to be called, or return a context manager."""

    def after_perform(self, job: Any, args: Mapping[str, Any]) -> Finish:
        """`perform` was called, whatever came of it."""

    def after_success(self, job: Any, args: Mapping[str, Any], result: Any) -> Finish:
        """`perform` returned `result`. Nothing of that is in the database yet."""

    def after_failure(self, job: Any, args: Mapping[str, Any], error: BaseException) -> Finish:
        """The attempt raised an error, other than `Retry`, `Discard` and `JobCancelled`."""

    # --- a job that is about to be stored --------------------------------------------------------

    def before_enqueue(self, job: NewJob, args: Mapping[str, Any], meta: dict[str, Any]) -> None:
        """A job is about to be stored. Put into `meta` what is to travel with it.

        It is called where the job is enqueued, for each job of a batch. A supervisor does not
        import the application, so that the ticks of recurring jobs that it enqueues get nothing;
        those of a worker without a supervisor do. `self.context.meta` has it in `perform`.

        Args:
            job: the new job, with its `handler`, `queue` and `priority`.
            args: its arguments as they are stored, by name.
            meta: what `.set(meta={…})` gave, to be added to.
        """

    # --- what becomes of jobs --------------------------------------------------------------------

    def job_enqueued(self, job: JobRecord) -> None:
        """A job was stored by this process: called where it was, once that is committed.

        With `session=` that is when the session commits; only for a bare connection of the driver,
        whose commit cannot be seen, it is called at once.
        """

    def job_succeeded(self, job: ClaimedJob, run_time: timedelta) -> None:
        """A job succeeded, and that is in the database."""

    def job_retried(self, job: ClaimedJob, error: str, delay: timedelta) -> None:
        """An attempt failed, or asked for it, and there will be another after `delay`."""

    def job_failed(self, job: ClaimedJob | JobRecord, error: str) -> None:
        """A job failed for good. It is a `JobRecord` when its worker died over it."""

    def job_discarded(self, job: ClaimedJob, reason: str) -> None:
        """A job has ended itself by `Discard`."""

    def job_cancelled(self, job: ClaimedJob | JobRecord, reason: str) -> None:
        """A job has ended since somebody cancelled it, for the reason that they gave.

        It is a `JobRecord` when it did not run, or when its worker died over it.
        """

    def job_deleted(self, job: JobRecord, reason: str) -> None:
        """The row of a job was removed that had not ended; the record is as it was before."""

    def job_rescued(self, job: JobRecord, worker_id: str) -> None:
        """A job was freed whose worker is gone: it is `ready` again, `failed` or `cancelled`."""

    # --- what becomes of workers -----------------------------------------------------------------

    def worker_ready(self, worker: NewWorker) -> None:
        """This process is about to claim its first jobs. Called on the thread that runs it."""

    def worker_stopping(self, worker: NewWorker) -> None:
        """This worker takes no more jobs, and finishes those that it performs."""

    def worker_stopped(self, worker: NewWorker) -> None:
        """This worker has ended, and holds no jobs. Called on the thread that ran it."""


EVENTS = tuple(
    name
    for name, method in vars(Hooks).items()
    if inspect.isfunction(method) and name not in ATTEMPT_HOOKS
)
HOOKS = (*ATTEMPT_HOOKS, *EVENTS)
OBSERVER_FAILS = (Exception, SystemExit, JobTimeout)
"""The errors that an observer may raise without harm. A job's time may be over while one runs."""
OUTCOME_EVENTS = (
    "job_succeeded",
    "job_retried",
    "job_failed",
    "job_discarded",
    "job_cancelled",
)


# --- those for all jobs --------------------------------------------------------------------------


class Observers:
    """The `Hooks` of an application.

    Raises:
        ConfigurationError: something is no `Hooks`, or an event of one is async.
    """

    def __init__(self, hooks: Iterable[Hooks] = ()) -> None:
        if isinstance(hooks, Hooks):
            raise ConfigurationError("hooks= takes a list of objects; write hooks=[…] around it")
        self.hooks = tuple(hooks)
        for each in self.hooks:
            _check(each)
        self._by_event = {name: overridden(name, self.hooks) for name in EVENTS}
        self.has_outcome_hooks = any(self._by_event[name] for name in OUTCOME_EVENTS)

    def has(self, event: str) -> bool:
        """Whether anything is called at an event."""
        return bool(self._by_event[event])

    def call(self, logger: logging.Logger, event: str, *facts: Any) -> None:
        """Call the hooks of an event. What they raise is logged."""
        for hook in self._by_event[event]:
            try:
                hook(*facts)
            except OBSERVER_FAILS as error:
                if is_raised_by_signal_handler(error):
                    raise
                log.hook_failed(logger, hook, error)

    def call_for_outcomes(self, logger: logging.Logger, settled: Iterable[Outcome]) -> None:
        """Call the hooks for the outcomes of jobs, as they were settled."""
        for outcome in settled:
            self._call_for_outcome(logger, outcome)

    def _call_for_outcome(self, logger: logging.Logger, outcome: Outcome) -> None:
        match outcome:
            case Succeeded(job=job, run_time=run_time):
                self.call(logger, "job_succeeded", job, run_time)
            case Retried(job=job, error=error, delay=delay):
                self.call(logger, "job_retried", job, error, delay)
            case Failed(job=job, error=error):
                self.call(logger, "job_failed", job, error)
            case Cancelled(job=job, reason=reason):
                self.call(logger, "job_cancelled", job, reason)
            case Discarded(job=job, reason=reason):
                self.call(logger, "job_discarded", job, reason)


def _check(hooks: Hooks) -> None:
    if isinstance(hooks, type):
        raise ConfigurationError(f"hooks has the class {hooks.__name__}; give an object of it")
    if not isinstance(hooks, Hooks):
        raise ConfigurationError(f"hooks has {hooks!r}; expected objects of jobqueue.Hooks")
    for name in EVENTS:
        if inspect.iscoroutinefunction(getattr(hooks, name)):
            raise ConfigurationError(
                f"{type(hooks).__name__}.{name} is async, but events of jobs and workers are told "
                "on threads without an event loop; make it a plain method"
            )
    _refuse_what_is_never_called(type(hooks))


def _refuse_what_is_never_called(hooks: type[Hooks]) -> None:
    """Refuse a method that is nearly a hook, and one that cannot be called as its hook is."""
    for name in dir(hooks):
        method = getattr(hooks, name)
        if name.startswith("_") or not inspect.isfunction(method):
            continue
        why_not = why_never_called(name, HOOKS)
        if why_not is not None:
            raise ConfigurationError(f"{hooks.__name__}.{why_not}")
        if name in HOOKS:
            _refuse_other_parameters(hooks, name)


def why_never_called(name: str, hooks: Collection[str]) -> str | None:
    """Say which hook a method is a misspelling of, if it is of one."""
    meant = None if name in hooks else close_to(name, hooks)
    if meant is None:
        return None
    return f"{name} is no hook, and is never called; did you mean {meant!r}? {OR_YOUR_OWN}"


def _refuse_other_parameters(hooks: type[Hooks], name: str) -> None:
    expected = list(inspect.signature(getattr(Hooks, name)).parameters)
    try:
        inspect.signature(getattr(hooks, name)).bind(*expected)
    except TypeError as error:
        raise ConfigurationError(
            f"{hooks.__name__}.{name} cannot be called with ({', '.join(expected)}): {error}"
        ) from None


def overridden(name: str, hooks: Iterable[Hooks]) -> tuple[Callable[..., Any], ...]:
    """The methods called `name` of those hooks that override it."""
    base = getattr(Hooks, name)
    return tuple(getattr(h, name) for h in hooks if getattr(type(h), name) is not base)


NO_OBSERVERS = Observers()
