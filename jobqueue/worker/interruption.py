"""Interrupting a job that runs: for its time limit, or since the process is to stop at once.

An exception that comes from outside can arrive at any instruction. A `Guard` marks the stretch of
a thread's work in which it may, and sees to it that it arrives there or nowhere.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")
LONGEST_WAIT_SECONDS = 3600.0


class Guard:
    """One stretch of work that can be interrupted, once.

    Entering and leaving it takes no lock, since every job does both: each side first says what it
    does and then looks at what the other has said. Whoever interrupts holds the lock meanwhile, and
    the work waits for it only where it has been interrupted.
    """

    __slots__ = ("_holds_off", "_interruption", "_over", "_thread_id")

    # Reentrant, since a signal handler may interrupt the thread that holds it. There are few
    # interruptions: one lock does for all guards.
    _interrupting = threading.RLock()

    def __init__(self) -> None:
        self._thread_id: int | None = None
        self._interruption: type[BaseException] | None = None
        self._over = False
        self._holds_off = False

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
            # There is only one interruption: if it arrived in the `finally` above, it is left in
            # peace from here on.
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
        """A stretch of the work in which it is not interrupted; at its end it is, if it was to be.

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
        """See to it that an interruption which has not arrived never does."""
        with self._interrupting:
            if self._interruption is not None:
                _raise_in(threading.get_ident(), None)


def _raise_in(thread_id: int, kind: type[BaseException] | None) -> None:
    """Raise an exception in a thread; None takes one back that has not arrived."""
    import ctypes

    exception = ctypes.py_object(kind) if kind is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), exception)


class Alarm(Protocol):
    """Something that goes off after a while, for one piece of work at a time."""

    def set(self, after_seconds: float, callback: Callable[[], None]) -> None:
        """Call `callback` after so many seconds, unless it is cancelled before."""
        ...

    def cancel(self) -> None:
        """Do not go off. It may be set again afterwards."""
        ...

    def hasten(self, callback: Callable[[], None]) -> None:
        """Call `callback` now, as when it goes off. From any thread, while it is set.

        What that comes to does not matter when the work is over meanwhile.
        """
        ...


class Watcher:
    """Calls things when their time has come, all on one thread, which starts with the first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: dict[object, tuple[float, Callable[[], None]]] = {}
        self._wakes_at = 0.0
        self._thread: threading.Thread | None = None
        self._closed = False

    def call_after(self, seconds: float, action: Callable[[], None]) -> object:
        """Have `action` called after so many seconds; returns what `cancel` takes."""
        key, due = object(), time.monotonic() + seconds
        with self._changed:
            self._watched[key] = (due, action)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="jobqueue-watcher", daemon=True
                )
                self._thread.start()
            elif due < self._wakes_at:
                self._changed.notify()
        return key

    def cancel(self, key: object) -> None:
        """Do not call it. One whose time has just come may be called all the same."""
        with self._changed:
            self._watched.pop(key, None)

    def close(self) -> None:
        """Call nothing more, and end the thread."""
        with self._changed:
            self._closed = True
            self._watched.clear()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            for action in self._wait_for_due():
                action()

    def _wait_for_due(self) -> list[Callable[[], None]]:
        with self._changed:
            now = time.monotonic()
            due = [key for key, (at, _) in self._watched.items() if at <= now]
            if not due and not self._closed:
                nearest = min((at for at, _ in self._watched.values()), default=float("inf"))
                self._wakes_at = min(nearest, now + LONGEST_WAIT_SECONDS)
                self._changed.wait(self._wakes_at - now)
            return [self._watched.pop(key)[1] for key in due]


class WatchedAlarm:
    """An `Alarm` that a `Watcher` sets off, on the watcher's thread."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._key: object = None

    def set(self, after_seconds: float, callback: Callable[[], None]) -> None:
        """See `Alarm.set`."""
        self._key = self._watcher.call_after(after_seconds, callback)

    def cancel(self) -> None:
        """See `Alarm.cancel`."""
        self._watcher.cancel(self._key)

    def hasten(self, callback: Callable[[], None]) -> None:
        """See `Alarm.hasten`; on the thread that calls."""
        callback()
