"""The threads of a worker that performs several jobs at a time.

All are daemons, so that a job which cannot be stopped does not keep its process from ending.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Protocol

from jobqueue.descriptors import Descriptor


class ThreadPool:
    """A pool of threads with a limit, each started when all others are at work.

    Args:
        size: how many threads. More work than that at a time waits.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def submit(self, work: Callable[[], None]) -> None:
        """Have one of the threads call `work`, which must not raise.

        Raises:
            RuntimeError: it takes another thread, and the system allows none. `work` is dropped.
        """
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._size:
            name = f"jobqueue-job-{len(self._threads)}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        self._work.put(work)

    def close(self, *, wait: bool) -> None:
        """End the threads when they are done, and wait for that if `wait` says so."""
        for _ in self._threads:
            self._work.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            self._idle.release()


class Loop(Protocol):
    """An event loop that async jobs are performed on, used from other threads."""

    is_of_application: bool
    """Whether others run on it as well, who may end it."""

    @property
    def is_dead(self) -> bool:
        """Whether the loop is dead: nothing runs in it any more, and nothing ends."""
        ...

    def start(self) -> None:
        """Let the loop run, until it is closed."""
        ...

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Have the loop call `callback` soon. Safe in signal handlers and from any thread.

        Raises:
            RuntimeError: it is dead, or closed.
        """
        ...

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine to its end on the loop, while this other thread waits for it.

        Raises:
            RuntimeError: as above.
        """
        ...

    def close(self, *, wait: bool) -> None:
        """Close the loop, and wait until it has ended if `wait` says so."""
        ...


class ApplicationLoop:
    """The event loop of the application that a worker runs in, shared with the application.

    Args:
        loop: which is running.
    """

    is_of_application = True
    is_dead = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def start(self) -> None:
        """Do nothing: the loop runs already."""

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Have the loop call `callback` soon. Safe in signal handlers and from any thread.

        Raises:
            RuntimeError: the application has closed it.
        """
        self._loop.call_soon_threadsafe(callback, *args)

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self, *, wait: bool) -> None:
        """Do nothing: the application closes the loop."""


class LoopThread:
    """An event loop that runs on a thread of its own.

    A job that closes all file descriptors closes those that the loop waits with. It is never woken
    then, or ends. One more descriptor, opened beside them, shows that.

    Args:
        on_failure: is called on that thread when the loop alone has failed. Its tasks never end
            then, and the next loop is another.
    """

    is_of_application = False

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        self._on_failure = on_failure
        self._runner = asyncio.Runner()
        self._failed: list[asyncio.Runner] = []
        self._awaited: set[concurrent.futures.Future[None]] = set()
        # Who schedules a task has it among the awaited before the loop can fail and be replaced.
        self._scheduling = threading.Lock()
        self._closing = False
        self._beside: Descriptor | None = None
        self._thread = threading.Thread(target=self._run, name="jobqueue-loop", daemon=True)

    @property
    def is_dead(self) -> bool:
        """Whether a job has closed what the loop waits with."""
        return self._beside is not None and not self._beside.is_intact

    def start(self) -> None:
        self._loop = self._runner.get_loop()
        self._beside = Descriptor(os.open(os.devnull, os.O_RDONLY))
        self._thread.start()

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self._refuse_if_dead()
        self._loop.call_soon_threadsafe(callback, *args)

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if self.is_dead:
            coroutine.close()
        self._refuse_if_dead()
        with self._scheduling:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            self._awaited.add(future)
        try:
            future.result()
        finally:
            self._awaited.discard(future)

    def close(self, *, wait: bool) -> None:
        """Stop the loop, cancelling the tasks left in it, and wait for that if asked to."""
        self._closing = True
        if self._thread.ident is None:
            self._runner.close()
            return
        if self.is_dead:
            return  # its thread ends with the process
        self._loop.call_soon_threadsafe(self._loop.stop)
        if wait:
            self._thread.join()

    def _refuse_if_dead(self) -> None:
        if self.is_dead:
            raise RuntimeError(
                "a job has closed the file descriptors of the event loop that async jobs run on"
            )

    def _run(self) -> None:
        while not self._closing:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                # asyncio lets these through when a task that a job has started raises them. The
                # other jobs go on.
                continue
            except OSError as error:
                if self.is_dead:
                    return
                self._begin_anew(error)
        self._loop.set_task_factory(None)
        self._runner.close()
        if self._beside is not None:
            self._beside.close()

    def _begin_anew(self, error: BaseException) -> None:
        # The old one is kept: what it closed at its end may be the files of others by now.
        self._failed.append(self._runner)
        with self._scheduling:
            self._runner = asyncio.Runner()
            self._loop = self._runner.get_loop()
            awaited = list(self._awaited)
        for future in awaited:
            with suppress(concurrent.futures.InvalidStateError):
                future.set_exception(error)
        self._on_failure(error)
