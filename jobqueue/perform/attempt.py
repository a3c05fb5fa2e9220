"""An attempt at a claimed job."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Protocol

from jobqueue import forks, log
from jobqueue.adapters.base import Adapter
from jobqueue.errors import InvalidTransaction, JobCancelled, JobTimeout
from jobqueue.job import Job
from jobqueue.perform.forked_process import end_forked_process
from jobqueue.perform.plan import Plan
from jobqueue.records import ClaimedJob, Succeeded
from jobqueue.transactions import TransactionBlock

CANCELLED = "cancelled while it ran"
Uninterrupted = Callable[[], AbstractContextManager[None]]


class StopNow(BaseException):
    """Raised in the thread that performs a job when the process is to stop at once."""


class AttemptMonitor(Protocol):
    """A monitor of running jobs: it takes their progress, and knows which are to end."""

    cancelled: Mapping[tuple[int, int], str]
    """The running jobs that somebody wants to end, by (id, token), and why."""

    def report(self, claimed: ClaimedJob, progress: str) -> None:
        """Store the progress of a job, as JSON, sooner or later."""
        ...


class NoMonitor:
    """A monitor that takes no progress and ends no job."""

    cancelled: Mapping[tuple[int, int], str] = MappingProxyType({})

    def report(self, claimed: ClaimedJob, progress: str) -> None:
        """Do nothing; the last progress is part of the outcome."""


@dataclass(slots=True)
class Attempt:
    """A claimed job whose class is known and whose arguments have been read."""

    plan: Plan
    claimed: ClaimedJob
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    started: float
    monitor: AttemptMonitor
    process_id: int
    progress: str | None = None
    answer: Any = None
    error: BaseException | None = None
    saw_cancel: bool = False
    cancel_reason: str = CANCELLED
    uninterrupted: Uninterrupted = nullcontext
    block: TransactionBlock | None = None
    committed: bool = False

    def call(self) -> Any:
        """Call `perform` on a new instance. A coroutine that it returns has to end in time."""
        job = self.plan.job_class()
        job.attempt_at(self)
        if self.plan.hooks is not None:
            return self.plan.hooks.perform(
                job, self.args, self.kwargs, self._in_time, self._end_if_forked
            )
        try:
            answer = job.perform(*self.args, **self.kwargs)  # type: ignore[attr-defined]
        except BaseException as error:
            self._end_if_forked(error)
            raise
        if forks.pid != self.process_id:
            self._end_if_forked()
        if answer is None:
            return None
        return self._in_time(answer) if inspect.iscoroutine(answer) else answer

    async def _in_time(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await the coroutine of `perform`, and cancel it when it takes longer than it may."""
        try:
            limit = self.plan.max_runtime
            answer = await (coroutine if limit is None else _in_time(limit, coroutine))
        except BaseException as error:
            self._end_if_forked(error)
            raise
        if forks.pid != self.process_id:
            self._end_if_forked()
        return answer

    def _end_if_forked(self, error: BaseException | None = None) -> None:
        """End this process if the job has forked it. It was at its `perform`, and has left it."""
        if forks.pid != self.process_id:
            logger = self.plan.job_class.logger
            end_forked_process(logger, self.claimed, functools.partial(secrets_of, self), error)

    async def keep_end(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Await what `perform` returns or raises, and keep it.

        The event loop does not get the error: it asks errors for their text, and ends when a task
        raises `SystemExit`.
        """
        try:
            self.answer = await coroutine
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again outside of the loop
            self.error = error

    @property
    def adapter(self) -> Adapter | None:
        """The adapter that the job was claimed from; None where nobody has said it."""
        return self.plan.adapter

    def report(self, progress: str) -> None:
        """Store how far the job is, as JSON, sooner or later."""
        self.progress = progress
        # Progress within a transaction is part of its commit, and afterwards the job is complete.
        if self.block is None or not (self.block.is_open or self.committed):
            self.monitor.report(self.claimed, progress)

    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled the job. A job that asks is expected to end then."""
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
        if forks.pid != self.process_id:
            raise InvalidTransaction(
                "self.transaction() in a process that the job has forked: only the process that "
                "began the job can complete it; write there, or in a session of your own"
            )
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
        if self.monitor.cancelled and self.has_heeded_cancel():
            raise JobCancelled
        return Succeeded(self.claimed, keep=self.plan.keep_succeeded, progress=self.progress)

    def succeed(self, outcome: Succeeded) -> None:  # noqa: ARG002 - it is the one of `success`
        self.committed = True

    def waits_for_database(self, outcome: Succeeded, error: BaseException) -> None:  # noqa: ARG002
        log.commit_unknown(self.plan.job_class.logger, self.claimed, error)

    def has_committed(self) -> bool:
        """Whether the attempt's own transaction has completed the job."""
        if self.block is not None:
            self.block.abandon_if_left()
        return self.committed

    def _is_wanted_to_end(self) -> bool:
        reason = self.monitor.cancelled.get((self.claimed.id, self.claimed.token))
        if reason is None:
            return False
        self.cancel_reason = reason
        return True

    def args_by_name(self) -> dict[str, Any]:
        """The arguments by the names of the parameters."""
        signature = self.plan.parameters.signature
        return dict(signature.bind(*self.args, **self.kwargs).arguments)


def since(started: float) -> timedelta:
    """The time since a moment of `time.perf_counter`."""
    # By position it takes two thirds of the time that it takes by name.
    return timedelta(0, time.perf_counter() - started)


async def _in_time(limit: timedelta, coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        async with asyncio.timeout(limit.total_seconds()) as timeout:
            return await coroutine
    except TimeoutError as error:
        if not timeout.expired():
            raise
        where = error.__cause__.__traceback__ if error.__cause__ else error.__traceback__
        raise timeout_error(limit)().with_traceback(where) from None


@functools.lru_cache(maxsize=256)
def timeout_error(limit: timedelta) -> type[JobTimeout]:
    """`JobTimeout` with its message built in: one thread can raise only a class in another."""
    message = f"ran longer than its max_runtime of {limit.total_seconds():g} s"

    def init(self: JobTimeout) -> None:
        JobTimeout.__init__(self, message)

    namespace = {"__init__": init, "__module__": JobTimeout.__module__, "__doc__": message}
    return type(JobTimeout.__name__, (JobTimeout,), namespace)


def secrets_of(attempt: Attempt) -> dict[str, Any]:
    """The values that an error message must not show, as Python has them and as JSON does."""
    redact = attempt.plan.job_class.redact
    if not redact:
        return {}
    by_name = attempt.args_by_name()
    stored = stored_secrets(attempt.plan.job_class, attempt.claimed)
    # Side by side: the keys of an object within a secret are secret too, the parameters' are not.
    as_stored = {f"{name}, as stored": value for name, value in stored.items()}
    defaults = attempt.plan.job_class.parameters().defaults(redact)
    return as_stored | {name: by_name.get(name, defaults.get(name)) for name in redact}


def stored_secrets(job_class: type[Job], claimed: ClaimedJob) -> dict[str, Any]:
    if not job_class.redact:
        return {}
    try:
        stored = json.loads(claimed.args)
    except (ValueError, RecursionError):
        return {"all of it": claimed.args}
    if not isinstance(stored, dict):
        return {"all of it": stored}
    # A value that is not stored is the default of its parameter, which is as secret.
    defaults = job_class.parameters().defaults(job_class.redact)
    return {name: stored.get(name, defaults.get(name)) for name in job_class.redact}
