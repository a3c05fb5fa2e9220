"""Calls of listeners when a signal ends this process, before the handler that ends it.

A server tells an application that it ends only when all answers are complete. A stream that has no
end has to be told in another way.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)

_listeners: list[Callable[[], None]] = []


@contextmanager
def calling_at_shutdown(listener: Callable[[], None]) -> Iterator[None]:
    """Have `listener` called within the block when SIGTERM or SIGINT comes, before its handler.

    On another thread than the main one this does nothing, since only that one can handle signals.
    A signal without a handler ends the process at once.

    Args:
        listener: is called between any two instructions of the main thread, so it must neither wait
            nor take a lock.
    """
    _listeners.append(listener)
    _listen()
    try:
        yield
    finally:
        _listeners.remove(listener)
        if not _listeners:
            _leave()


class _Before:
    """A signal handler that calls the listeners, and then the signal's former handler."""

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        for listener in dict.fromkeys(_listeners):
            listener()
        return self.handler(number, frame)


def _listen() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler) and not isinstance(handler, _Before):
            signal.signal(number, _Before(handler))


def _leave() -> None:
    """Restore the handlers. One that was installed over ours goes on calling ours."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        handler = signal.getsignal(number)
        if isinstance(handler, _Before):
            signal.signal(number, handler.handler)
