"""The run of one worker in the foreground, without a supervisor, controlled by signals."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from jobqueue.worker.reporter import Tally
from jobqueue.worker.worker import Worker

SWITCH_SECONDS = 0.0005
MOST_NEW_OBJECTS = 20_000
Handler = Callable[[int, FrameType | None], Any]
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_attached(worker: Worker) -> Tally:
    """Run a worker on the main thread.

    INT (Ctrl-C), TERM, or HUP (its terminal was closed): finish the job that runs, and return. A
    second one: give the job back and return now. With `nohup`, HUP does nothing.
    """
    asked_before = False

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal asked_before
        if asked_before:
            # A terminal that is closed sends HUP twice: at once, and when its shell has ended.
            if number != signal.SIGHUP:
                worker.stop_now()
            return
        asked_before = True
        worker.stop(f"{signal.Signals(number).name}; once more stops at once")

    heeded = [n for n in STOP_SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
    before: dict[signal.Signals, Any] = {n: signal.signal(n, handle) for n in heeded}
    leave_signals_to_forked_processes(dict.fromkeys(heeded, handle))
    try:
        # After the handlers: it calls many destructors, and what Ctrl-C raises there is lost.
        tune_interpreter()
        return worker.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_signals_to_forked_processes(handlers: Mapping[signal.Signals, Handler]) -> None:
    """Let signals do what they usually do, in processes that a job forks.

    There, `handlers` would stop the copy of a worker, and `Process.terminate()` of
    `multiprocessing` would end nothing. A handler that the job has installed itself stays.
    """

    # Until the handlers are gone, signals wait: else one that comes at once would be lost.
    masks = threading.local()

    def hold() -> None:
        masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, handlers)

    def release() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def leave() -> None:
        for number, handler in handlers.items():
            if signal.getsignal(number) is handler:
                is_int = number == signal.SIGINT
                signal.signal(number, signal.default_int_handler if is_int else signal.SIG_DFL)
        release()

    os.register_at_fork(before=hold, after_in_parent=release, after_in_child=leave)


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Let Ctrl-C raise `KeyboardInterrupt`, and yield what raises it again if it has.

    Python loses what is raised in a destructor, or while a module is imported. So code that takes
    long calls that now and then. Only for the main thread.
    """
    was_interrupted = False

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal was_interrupted
        was_interrupted = True
        raise KeyboardInterrupt

    def check() -> None:
        if was_interrupted:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


def tune_interpreter() -> None:
    """Tune the interpreter of this process for a worker.

    Objects of the modules imported so far stay, so the garbage collector skips them from now on. It
    runs less often, so that the jobs of a turn, some thousand objects, are gone when it does. The
    pump's thread need not wait 5 ms for the interpreter whenever the database has answered: with
    jobs that do nothing, that was a third of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(MOST_NEW_OBJECTS, *gc.get_threshold()[1:])
    sys.setswitchinterval(SWITCH_SECONDS)
