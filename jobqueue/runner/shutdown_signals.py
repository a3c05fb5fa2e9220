"""Hearing that this process is told to end, beside whatever it is that ends it.

A server waits for its answers to be over before it tells an application that it ends. An answer
without an end of its own has to hear of it in another way.
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
def hearing_of_the_end(told: Callable[[], None]) -> Iterator[None]:
    """Have `told` called when SIGTERM or SIGINT comes, and then what handles it otherwise.

    Nothing is heard on another thread than the main one, which alone can handle signals, nor of a
    signal that nothing handles: it ends the process at once.

    Args:
        told: is called between any two instructions of the main thread, so that it must neither
            wait nor take a lock.
    """
    _listeners.append(told)
    _listen()
    try:
        yield
    finally:
        _listeners.remove(told)
        if not _listeners:
            _leave()


class _Before:
    """Stands before the handler of a signal, and tells the listeners."""

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        for told in dict.fromkeys(_listeners):
            told()
        return self.handler(number, frame)


def _listen() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler) and not isinstance(handler, _Before):
            signal.signal(number, _Before(handler))


def _leave() -> None:
    """Put things back as they were; who has stood before us meanwhile goes on calling us."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        handler = signal.getsignal(number)
        if isinstance(handler, _Before):
            signal.signal(number, handler.handler)
