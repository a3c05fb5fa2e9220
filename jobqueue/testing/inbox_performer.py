"""The performer of an inbox's jobs, here and now."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import jobqueue
from jobqueue.adapters import Adapter
from jobqueue.defaults import default_configuration
from jobqueue.event_loop import loop_is_running
from jobqueue.job import registry
from jobqueue.perform.executor import Executor, RunCoroutine
from jobqueue.records import ClaimedJob, Committed, Failed, Outcome, Released, Succeeded, Turn
from jobqueue.retry import Discard, Retry
from jobqueue.worker.reporter import Tally, as_settled

PACKAGE = str(Path(jobqueue.__file__).parent)


class Performance:
    """A performer of claimed jobs, with the executor of workers. It settles each job.

    Args:
        adapter: where they are.
        raise_errors: raise what a job raises, once its outcome is stored.
    """

    def __init__(self, adapter: Adapter, raise_errors: bool) -> None:
        self.tally = Tally()
        self._adapter = adapter
        self._raise_errors = raise_errors
        self._executor = Executor(registry, default_configuration.settings, adapter=adapter)

    def perform(self, claimed: ClaimedJob) -> None:
        """Perform a job on this thread; an async one on another, if an event loop runs on this."""
        __tracebackhide__ = True
        self._perform(claimed, _on_another_thread if loop_is_running() else None)

    async def perform_async(self, claimed: ClaimedJob) -> None:
        """Perform a job: an async one on the loop that awaits this, any other on its thread."""
        if not self._executor.is_async(claimed):
            self.perform(claimed)
            return
        loop = asyncio.get_running_loop()

        def run_on_loop(coroutine: Coroutine[Any, Any, None]) -> None:
            asyncio.run_coroutine_threadsafe(coroutine, loop).result()

        await asyncio.to_thread(self._perform, claimed, run_on_loop)

    def close(self) -> None:
        """Close the event loop of async jobs, if there was one."""
        self._executor.close()

    def _perform(self, claimed: ClaimedJob, run_coroutine: RunCoroutine | None) -> None:
        __tracebackhide__ = True
        raised: list[BaseException] = []

        def within(work: Callable[[], None]) -> None:
            __tracebackhide__ = True
            try:
                work()
            except BaseException as error:
                raised.append(error)
                raise

        outcome = self._executor.execute(claimed, within, run_coroutine)
        if isinstance(outcome, Committed):
            turn = Turn((), ())
        else:
            turn = self._adapter.turn([outcome], None)
        observers, logger = default_configuration.observers, default_configuration.logger
        settled = as_settled([outcome], turn)
        observers.call_for_outcomes(logger, settled)
        [outcome] = settled or [outcome]
        if isinstance(outcome, Succeeded):
            self.tally.succeeded += 1
        else:
            self.tally.count(outcome)
        self._raise(outcome, raised[0] if raised else None)

    def _raise(self, outcome: Outcome, error: BaseException | None) -> None:
        __tracebackhide__ = True
        if error is None:
            # Its arguments could not be read, or its class is not known: nothing was called.
            if self._raise_errors and isinstance(outcome, Failed | Released):
                raise AssertionError(outcome.error)
        elif not isinstance(error, Exception):
            # Ctrl-C, or `pytest.skip`: not for the job.
            raise error
        elif self._raise_errors and not isinstance(error, Retry | Discard):
            raise error.with_traceback(_of_the_job(error.__traceback__))


def _of_the_job(frames: TracebackType | None) -> TracebackType | None:
    """The part of a traceback from where it leaves this package, in the job's own code."""
    while frames is not None and frames.tb_next is not None:
        if not frames.tb_frame.f_code.co_filename.startswith(PACKAGE):
            break
        frames = frames.tb_next
    return frames


def _on_another_thread(coroutine: Coroutine[Any, Any, None]) -> None:
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1, "jobqueue-testing") as threads:
        threads.submit(context.run, asyncio.run, coroutine).result()
