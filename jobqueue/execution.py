"""Performing one claimed job: `execute` takes it and answers with an `Outcome`.

This is the only place that catches what somebody's `perform` raises. It stores nothing: settling
the outcome is the next step, and the adapter's.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import time
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

from jobqueue import log
from jobqueue.config import Settings
from jobqueue.job import Job, JobContext, Registry
from jobqueue.records import (
    ClaimedJob,
    Discarded,
    Failed,
    Outcome,
    Released,
    Retried,
    Succeeded,
)
from jobqueue.redaction import clean_error, mask_values, redact_args
from jobqueue.retry import DEFAULT_RETRY, Discard, Retry, delay_before_retry

Call = tuple[tuple[Any, ...], dict[str, Any]]
ASYNCIO_FOLDER = str(Path(asyncio.__file__).parent)
SHORTEST_RETURN = timedelta(seconds=5)
LONGEST_RETURN = timedelta(seconds=60)


class StopNow(BaseException):
    """Raised in the thread that performs a job when the process is to stop at once."""


class Executor:
    """Performs claimed jobs, one at a time, on the thread that calls it.

    Args:
        registry: the job classes that rows can name.
        settings: the defaults for classes that do not set their own.
    """

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._settings = settings
        self._runner: asyncio.Runner | None = None
        self.performing = False

    def execute(self, claimed: ClaimedJob) -> Outcome:
        """Perform a claimed job and say what came of it. Nothing that `perform` raises gets out."""
        job_class = self._registry.find(claimed.handler)
        if job_class is None:
            return self._unknown(claimed)
        started = time.perf_counter()
        try:
            args, kwargs = job_class.parameters().load(claimed.args)
        except Exception as error:  # noqa: BLE001 - somebody's validators may raise anything
            text = _error_text(error, _raw_secrets(job_class, claimed))
            return Failed(claimed, _since(started), text, keep=self._keeps_failed(job_class))
        try:
            _log_start(job_class, claimed, args, kwargs)
            self.performing = True
            self._perform(job_class, claimed, args, kwargs)
        except StopNow:
            return Released(claimed, _since(started))
        except BaseException as error:  # noqa: BLE001 - the one place for whatever a job raises
            return self._after_error(job_class, claimed, error, (args, kwargs), _since(started))
        finally:
            self.performing = False
        return Succeeded(claimed, _since(started), keep=self._keeps_succeeded(job_class))

    def close(self) -> None:
        """Close the event loop of async jobs, if there was one."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def _perform(
        self, job_class: type[Job], claimed: ClaimedJob, args: tuple[Any, ...], kwargs: Any
    ) -> None:
        job = job_class()
        job.context = JobContext(
            job_id=claimed.id,
            attempt=claimed.attempts,
            max_attempts=claimed.max_attempts,
            queue=claimed.queue,
            enqueued_at=claimed.created_at,
        )
        answer = job.perform(*args, **kwargs)  # type: ignore[attr-defined]
        if inspect.iscoroutine(answer):
            if self._runner is None:
                self._runner = asyncio.Runner()
            self._runner.run(answer)

    # --- what an error leads to ------------------------------------------------------------------

    def _unknown(self, claimed: ClaimedJob) -> Released:
        """Leave it to a worker that has the code: one is being deployed, or serves another app."""
        known = ", ".join(self._registry.names()) or "none"
        age = claimed.locked_at - claimed.created_at
        return Released(
            claimed,
            error=clean_error(
                f"no job named {claimed.handler!r} is known to this worker (known: {known}). "
                "Left for another worker; is the module that defines it part of `app`, or was "
                "the class renamed without `aliases`?"
            ),
            delay=min(max(age / 2, SHORTEST_RETURN), LONGEST_RETURN),
        )

    def _after_error(
        self,
        job_class: type[Job],
        claimed: ClaimedJob,
        error: BaseException,
        call: Call,
        run_time: timedelta,
    ) -> Outcome:
        keep = self._keeps_failed(job_class)
        secrets = _secrets(job_class, claimed, call)
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

    def _keeps_succeeded(self, job_class: type[Job]) -> bool:
        if job_class.keep_succeeded is None:
            return self._settings.keep_succeeded or job_class.api
        return job_class.keep_succeeded

    def _keeps_failed(self, job_class: type[Job]) -> bool:
        if job_class.keep_failed is None:
            return self._settings.keep_failed
        return job_class.keep_failed


def _since(started: float) -> timedelta:
    return timedelta(seconds=time.perf_counter() - started)


def _log_start(
    job_class: type[Job], claimed: ClaimedJob, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    logger = job_class.logger
    if logger.isEnabledFor(logging.DEBUG):
        shown = redact_args(_by_name(job_class, (args, kwargs)), job_class.redact)
        log.job_started(logger, claimed, repr(shown))


def _by_name(job_class: type[Job], call: Call) -> dict[str, Any]:
    args, kwargs = call
    return dict(job_class.parameters().signature.bind(*args, **kwargs).arguments)


def _secrets(job_class: type[Job], claimed: ClaimedJob, call: Call) -> dict[str, Any]:
    """The values that an error message must not show, as Python has them and as JSON does."""
    if not job_class.redact:
        return {}
    by_name = _by_name(job_class, call)
    decoded = {name: by_name.get(name) for name in job_class.redact}
    return {"decoded": decoded, "stored": _raw_secrets(job_class, claimed)}


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
    while (
        frames is not None and frames.tb_next and _is_machinery(frames.tb_frame.f_code.co_filename)
    ):
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames))
    return clean_error(mask_values(text.rstrip(), secrets))


def _is_machinery(filename: str) -> bool:
    return filename == __file__ or filename.startswith(ASYNCIO_FOLDER)
