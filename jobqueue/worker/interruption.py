"""The interruption of a job that runs: its time is over, or the process has to stop at once.

An exception that comes from outside can arrive at any instruction. An `Interruptible` marks the
stretch of a thread's work in which it may arrive, and makes sure that it arrives there or nowhere.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from jobqueue.background import Service

T = TypeVar("T")
NEVER = float("inf")


class Interruptible:
    """A stretch of work that can be interrupted, once.

    Entering and leaving it takes no lock, since every job does both. Instead, each side first notes
    what it does and then looks at what the other has noted. The side that interrupts holds the lock
    meanwhile, and the work waits for it only when it has been interrupted.
    """

    __slots__ = ("_holds_off", "_interruption", "_over", "_thread_id")

    # Reentrant, since a signal handler may interrupt the thread that holds it. There are few
    # interruptions, so one lock does for all.
    _interrupting = threading.RLock()

    def __init__(self) -> None:
        self._thread_id: int | None = None
        self._interruption: type[BaseException] | None = None
        self._over = False
        self._holds_off = False

    @property
    def thread_id(self) -> int | None:
        """The thread that does the work; None before it begins and when it is over."""
        return None if self._over else self._thread_id

    def run(self, work: Callable[[], T]) -> T:
        """Do the work on this thread and return its result.

        Raises:
            BaseException: what `work` raises, or what it was interrupted with.
        """
        returned = False
        try:
            try:
                self._thread_id = threading.get_ident()
                if self._interruption is not None:
                    raise self._interruption
                result = work()
                returned = True
            finally:
                self._over = True
                if self._interruption is not None:
                    self._take_back()
        except BaseException:
            # There is only one interruption. If it arrived in the `finally` above, none can arrive
            # from here on.
            self._over = True
            self._take_back()
            if not returned:
                raise
        return result

    def interrupt(self, kind: type[BaseException]) -> None:
        """Raise an exception in the work, from any thread; at its start if it has yet to begin.

        On the thread that does the work (where a signal handler runs) it is raised at once, and
        on another after the blocking call that it may be in. Nothing happens when the work is
        over or has been interrupted before.
        """
        with self._interrupting:
            if self._over or self._interruption is not None:
                return
            self._interruption = kind
            thread_id = self._thread_id
            if thread_id is None or self._holds_off or self._over:
                return
            here = thread_id == threading.get_ident()
            if not here:
                _raise_in(thread_id, kind)
        if here:
            raise kind

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """Put an interruption off until the end of the block, which is a part of the work.

        Raises:
            BaseException: what it was interrupted with.
        """
        with self._interrupting:
            if self._interruption is not None:
                # Sent before, by another thread, and about to arrive.
                self._take_back()
                raise self._interruption
            self._holds_off = True
        try:
            yield
        finally:
            with self._interrupting:
                self._holds_off = False
                held_off = self._interruption
        if held_off is not None:
            raise held_off

    def _take_back(self) -> None:
        """Make sure that an interruption which has not arrived never does."""
        with self._interrupting:
            if self._interruption is not None:
                _raise_in(threading.get_ident(), None)


def _raise_in(thread_id: int, kind: type[BaseException] | None) -> None:
    """Raise an exception in a thread; None takes one back that has not arrived."""
    import ctypes

    exception = ctypes.py_object(kind) if kind is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), exception)


class Alarm(Protocol):
    """An alarm, which calls a function when the time of a job is over. For one job at a time."""

    def arm(self) -> None:
        """Be ready for `call_now`, without a time limit."""
        ...

    def set(self, after_seconds: float, callback: Callable[[], None]) -> None:
        """Arm the alarm, and call `callback` after so many seconds unless `cancel` is called."""
        ...

    def cancel(self) -> None:
        """Cancel the call that was set. The alarm may be set again afterwards."""
        ...

    def call_now(self, callback: Callable[[], None]) -> None:
        """Call `callback` now, where it would be called when the time is over.

        From any thread, once it is armed. When the job has ended meanwhile, `callback` may be
        called all the same, and has to do nothing.
        """
        ...


class AlarmClock:
    """A clock that calls functions when their time has come, all on one thread.

    Args:
        logger: where it is logged when one of them fails.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._lock = threading.Lock()
        self._alarms: dict[object, tuple[float, Callable[[], None]]] = {}
        self._wakes_at = NEVER
        self._service = Service("jobqueue-alarms", self._step, logger, retry_seconds=0.0)

    def call_after(self, seconds: float, action: Callable[[], None]) -> object:
        """Have `action` called after so many seconds; returns a key for `cancel`."""
        key, due = object(), time.monotonic() + seconds
        with self._lock:
            self._alarms[key] = (due, action)
            is_next = due < self._wakes_at
            if is_next:
                self._wakes_at = due
        if is_next:
            self._service.start()
            self._service.wake()
        return key

    def cancel(self, key: object) -> None:
        """Cancel a call by its key. One whose time has just come may be made all the same."""
        with self._lock:
            self._alarms.pop(key, None)

    def stop(self) -> None:
        """Call nothing more, and end the thread."""
        with self._lock:
            self._alarms.clear()
        self._service.stop()

    def _step(self) -> float:
        """Call the next function if its time has come; return how long until the next time."""
        action = self._take_due()
        if action is not None:
            action()
            return 0.0
        return max(self._wakes_at - time.monotonic(), 0.0)

    def _take_due(self) -> Callable[[], None] | None:
        with self._lock:
            first = min(self._alarms, key=lambda key: self._alarms[key][0], default=None)
            self._wakes_at = NEVER if first is None else self._alarms[first][0]
            if first is None or self._wakes_at > time.monotonic():
                return None
            return self._alarms.pop(first)[1]


class ThreadAlarm:
    """An `Alarm` that an `AlarmClock` sets off, on the thread of the clock."""

    def __init__(self, clock: AlarmClock) -> None:
        self._clock = clock
        self._key: object = None

    def arm(self) -> None:
        """Do nothing: `call_now` works at any time."""

    def set(self, after_seconds: float, callback: Callable[[], None]) -> None:
        self._key = self._clock.call_after(after_seconds, callback)

    def cancel(self) -> None:
        self._clock.cancel(self._key)

    def call_now(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the thread that calls this."""
        callback()
