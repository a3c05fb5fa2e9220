"""Services: threads that repeat one step until they are stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from jobqueue import log
from jobqueue.errors import DatabaseError, DatabaseUnavailable

RETRY_SECONDS = 0.5

Step = Callable[[], float | None]
"""Does the work once. Returns how many seconds to wait before the next time, None to wait until it
is woken."""


class Service:
    """A service: a daemon thread that repeats one step from `start` until `stop`.

    A step that raises is repeated after a pause:

    - The database is unavailable: nothing is logged, since the pump waits for it too and logs that.
    - Another `DatabaseError`: `on_trouble` is called, once until a step succeeds again.
    - Any other exception is logged with its traceback, once until a step succeeds again.

    Args:
        name: of the thread.
        step: what is repeated.
        logger: where an unexpected exception is logged.
        on_trouble: logs that the database refuses something.
        retry_seconds: the pause after a step that raised.
        until: whether nothing is left to do. With it, `stop` is followed by one step at least, and
            by more until this is true. Without it, no step begins after `stop`.
    """

    def __init__(
        self,
        name: str,
        step: Step,
        logger: logging.Logger,
        *,
        on_trouble: Callable[[DatabaseError], None] = lambda _: None,
        retry_seconds: float = RETRY_SECONDS,
        until: Callable[[], bool] | None = None,
    ) -> None:
        self._name = name
        self._step = step
        self._logger = logger
        self._on_trouble = on_trouble
        self._retry_seconds = retry_seconds
        self._until = until
        self._trouble: type[Exception] | None = None
        self._uncaught: type[BaseException] | None = None
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, unless it runs already or was stopped.

        Raises:
            RuntimeError: the system allows no more threads.
        """
        if self._thread is None and not self.is_stopping:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            thread.start()
            self._thread = thread

    def wake(self) -> None:
        """Begin the next step now, or as soon as the one under way has ended. From any thread."""
        self._woken.set()

    def stop(self, timeout_seconds: float | None = None) -> None:
        """End the thread after the step under way.

        Args:
            timeout_seconds: how long to wait for that; None for as long as it takes.
        """
        self._stopping.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called. A step that takes long asks this now and then."""
        return self._stopping.is_set()

    def pause(self, seconds: float) -> None:
        """Wait within a step, at most until `stop`."""
        self._stopping.wait(seconds)

    def run_step(self) -> float | None:
        """Run one step on the thread that calls. Return how long to wait before the next."""
        try:
            seconds = self._step()
        except DatabaseUnavailable:
            return self._retry_seconds
        except DatabaseError as error:
            if self._is_new(error):
                self._on_trouble(error)
            return self._retry_seconds
        except Exception as error:  # noqa: BLE001 - a service goes on, whatever happens
            if self._is_new(error):
                log.service_failed(self._logger, self._name, error)
            return self._retry_seconds
        self._trouble = None
        return seconds

    def _run(self) -> None:
        while not self.is_stopping:
            self._wait(self._run_step_in_any_case())
        if self._until is not None:
            self._run_until(self._until)

    def _run_until(self, nothing_is_left: Callable[[], bool]) -> None:
        """Run the steps that follow `stop`."""
        seconds = self._run_step_in_any_case()
        while not nothing_is_left():
            self._wait(seconds)
            seconds = self._run_step_in_any_case()

    def _run_step_in_any_case(self) -> float | None:
        """Run one step. Nothing that it raises ends the thread, since somebody depends on it.

        A hook may raise SystemExit. The log itself raises nothing: an error that a filter of the
        application refuses is written to standard error.
        """
        try:
            return self.run_step()
        except BaseException as error:  # noqa: BLE001 - the thread would end
            before, self._uncaught = self._uncaught, type(error)
            if before is not type(error):
                log.service_failed(self._logger, self._name, error)
            return self._retry_seconds

    def _wait(self, seconds: float | None) -> None:
        self._woken.wait(None if seconds is None else min(seconds, threading.TIMEOUT_MAX))
        self._woken.clear()

    def _is_new(self, error: Exception) -> bool:
        before, self._trouble = self._trouble, type(error)
        return before is not type(error)
