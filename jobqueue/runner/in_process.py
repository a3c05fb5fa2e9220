"""A worker inside an application's own process, for as long as a block lasts."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from types import FrameType, TracebackType
from typing import Any, Generic, NoReturn, TypeVar

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.errors import ConfigurationError, DatabaseError
from jobqueue.worker.worker import Worker

Q = TypeVar("Q")

GIVE_BACK_SECONDS = 3.0
"""How long a worker may take to give back its jobs: one second itself, and the database some."""


class WorkerThread:
    """A daemon thread that runs a worker.

    Args:
        worker: which has not run yet.
        logger: where it is logged that it ended by an error.
    """

    def __init__(self, worker: Worker, logger: logging.Logger) -> None:
        self._worker = worker
        self._logger = logger
        self._ended: concurrent.futures.Future[BaseException | None] = concurrent.futures.Future()

    def perform_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Perform async jobs on the application's event loop, which runs longer than the worker."""
        self._worker.perform_on(loop)

    def start(self) -> None:
        """Start the thread."""
        name = f"jobqueue-worker-{self._worker.id}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def stop(self) -> None:
        """Take no more jobs."""
        self._worker.stop("its application is")

    def wait(self, seconds: float) -> bool:
        """Wait so many seconds at most until the worker has ended; return whether it has."""
        concurrent.futures.wait([self._ended], seconds)
        return self._ended.done()

    async def wait_async(self, seconds: float) -> bool:
        """Wait like `wait`, without blocking the event loop."""
        await asyncio.wait([asyncio.wrap_future(self._ended)], timeout=seconds)
        return self._ended.done()

    def give_back(self) -> None:
        """Interrupt the jobs that run, and give them back, even those that go on regardless."""
        self._worker.stop_now()
        if not self.wait(GIVE_BACK_SECONDS):
            with suppress(DatabaseError):
                self._worker.sign_off()

    @property
    def error(self) -> BaseException | None:
        """The error that ended the worker; None if none did."""
        return self._ended.result() if self._ended.done() else None

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._worker.run()
        except BaseException as raised:  # noqa: BLE001 - raised again at the end of the block
            error = raised
            log.worker_ended(self._logger, self._worker.id, raised)
        self._ended.set_result(error)


class InProcess(Generic[Q]):
    """The context manager of `JobQueue.running`, for `with` and for `async with`.

    Args:
        queue: the value of the block.
        worker: works meanwhile; None for no worker.
        adapter: where its jobs are.
        logger: where it is logged that it ended by an error.
        grace: how long jobs may take to finish at the end.
        heeds_sigterm: whether SIGTERM ends the block, on the main thread of a process in which
            nothing else handles it.
    """

    def __init__(
        self,
        queue: Q,
        worker: Worker | None,
        adapter: Adapter,
        logger: logging.Logger,
        grace: timedelta,
        *,
        heeds_sigterm: bool = True,
    ) -> None:
        self._queue = queue
        self._adapter = adapter
        self._thread = WorkerThread(worker, logger) if worker is not None else None
        self._grace_seconds = grace.total_seconds()
        self._heeds_sigterm = heeds_sigterm
        self._was_entered = False
        self._forget_sigterm: Callable[[], object] | None = None
        self._was_terminated = False

    @asynccontextmanager
    async def as_lifespan(self) -> AsyncIterator[None]:
        """A block like `async with`, without a value: for the lifespan of an ASGI application."""
        async with self:
            yield

    # --- with ------------------------------------------------------------------------------------

    def __enter__(self) -> Q:
        self._refuse_second_time()
        if self._thread is not None:
            self._adapter.ping()
            self._thread.start()
            if self._heeds_sigterm and _sigterm_is_free():
                before = signal.signal(signal.SIGTERM, _exit_by_signal)
                self._forget_sigterm = lambda: signal.signal(signal.SIGTERM, before)
        return self._queue

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._thread is None:
            return
        try:
            self._thread.stop()
            if not self._thread.wait(self._grace_seconds):
                self._thread.give_back()
        except BaseException:  # Ctrl-C or SIGTERM once more
            self._thread.give_back()
            raise
        finally:
            self._forget_signals()
        if kind is None and self._thread.error is not None:
            raise self._thread.error

    # --- async with ------------------------------------------------------------------------------

    async def __aenter__(self) -> Q:
        self._refuse_second_time()
        if self._thread is not None:
            await asyncio.to_thread(self._adapter.ping)
            self._thread.perform_on(asyncio.get_running_loop())
            self._thread.start()
            if self._heeds_sigterm and _sigterm_is_free():
                self._cancel_on_sigterm(self._thread)
        return self._queue

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._thread is None:
            return
        try:
            self._thread.stop()
            if not await self._thread.wait_async(self._grace_seconds):
                await asyncio.to_thread(self._thread.give_back)
        except BaseException:  # Ctrl-C once more, or the application is cancelled again
            # Async jobs end on this loop, which has to go on for that.
            await _to_its_end(asyncio.to_thread(self._thread.give_back))
            raise
        finally:
            self._forget_signals()
        if self._was_terminated:
            _exit_by_signal(signal.SIGTERM, None)
        if kind is None and self._thread.error is not None:
            raise self._thread.error

    def _cancel_on_sigterm(self, thread: WorkerThread) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def terminate() -> None:
            if self._was_terminated:
                loop.run_in_executor(None, thread.give_back)
            elif task is not None:
                self._was_terminated = True
                task.cancel()

        loop.add_signal_handler(signal.SIGTERM, terminate)
        self._forget_sigterm = lambda: loop.remove_signal_handler(signal.SIGTERM)

    # --- both ------------------------------------------------------------------------------------

    def _refuse_second_time(self) -> None:
        if self._was_entered:
            raise ConfigurationError(
                "this block has run before; call `queue.running()` for another"
            )
        self._was_entered = True

    def _forget_signals(self) -> None:
        if self._forget_sigterm is not None:
            self._forget_sigterm()


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await something short to its end. Cancellations meanwhile are ignored."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _sigterm_is_free() -> bool:
    """Whether SIGTERM would just end the process; only the main thread can handle it."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def _exit_by_signal(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - a handler
    raise SystemExit(128 + number)
