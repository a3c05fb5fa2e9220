"""Exits that a signal handler has raised, told from those of whatever code it interrupted.

Python calls a signal handler between any two instructions of the main thread. A handler that calls
`sys.exit` so raises `SystemExit` in the middle of a log handler or a hook. Who goes on after an
error of those must not take such an exit for one: the process would never end.
"""

from __future__ import annotations

import signal
import threading
import traceback
from functools import partial
from types import CodeType, FunctionType, MethodType


def is_raised_by_signal_handler(error: BaseException) -> bool:
    """Whether an exception is an exit that one of this process's signal handlers has raised."""
    if not issubclass(type(error), SystemExit):
        return False
    if threading.current_thread() is not threading.main_thread():
        return False
    handlers = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()}
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code in handlers for frame, _ in frames)


def _code_of(handler: object) -> CodeType | None:
    """The code that a signal handler runs; None for the handlers of the system."""
    while isinstance(handler, partial):
        handler = handler.func
    if not isinstance(handler, MethodType | FunctionType):
        handler = vars(type(handler)).get("__call__")
    return getattr(handler, "__code__", None)
