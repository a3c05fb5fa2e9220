"""The inside of a worker process: its signals, its title, and its end with the supervisor."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType

import setproctitle

from jobqueue.runner.attached import (
    Handler,
    leave_signals_to_forked_processes,
    tune_interpreter,
)
from jobqueue.runner.groups import RESTING
from jobqueue.runner.output_streams import error_fd_without_waits
from jobqueue.worker.reporter import Tally
from jobqueue.worker.worker import Worker

PR_SET_PDEATHSIG = 1
STANDARD_INPUT = 0
TITLE_SECONDS = 0.5
ASKED = "its supervisor asked it to"
ASKED_WITHIN_SECONDS = 1.0
LOOK_SECONDS = 0.01


def die_with_supervisor() -> None:
    """Make sure that this process does not outlive the one that spawned it.

    On Linux the kernel kills it. In any case it ends itself when its lifeline ends: the pipe that
    was its standard input, of which the supervisor has the other end.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    lifeline = threading.Thread(
        target=_end_with_lifeline, args=(_lifeline(),), name="jobqueue-lifeline", daemon=True
    )
    lifeline.start()


def _lifeline() -> int:
    """The pipe that was standard input. Programs of jobs find that empty from now on."""
    lifeline = os.dup(STANDARD_INPUT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, STANDARD_INPUT)
    os.close(nothing)
    return lifeline


def _end_with_lifeline(fd: int) -> None:
    try:
        while os.read(fd, 1):
            pass
    finally:
        # Also when a job has closed it, and the end of the supervisor could not be seen any more.
        os._exit(1)


def keep_to_this_process(fds: Iterable[int]) -> None:
    """Keep programs that jobs start from inheriting these file descriptors."""
    for fd in fds:
        os.set_inheritable(fd, False)


def outlast_signals() -> None:
    """Ignore the signals HUP, TSTP and TTOU while this process starts.

    USR2 shows already where it is.
    """
    faulthandler.register(signal.SIGUSR2, file=error_fd_without_waits(), all_threads=True)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    # It is never in the foreground: with `stty tostop` it would be suspended when it writes.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)


def run_child(
    worker: Worker,
    title: str,
    on_ready: Callable[[], None],
    is_asked_to_end: Callable[[], bool | None],
) -> Tally:
    """Run a worker on the main thread, controlled by its supervisor's signals.

    TERM: finish what runs, and end. QUIT: give it back, and end. CONT: claim again. USR2: write the
    stacks of all threads to standard error.

    A supervisor notes that it asks before it sends a signal. INT, or QUIT when it has not asked, is
    that of a job, or of somebody who ends the supervisor as well. If the supervisor does not ask
    within a second, the process dies of it, and what it performs is charged with a crash.

    Args:
        worker: the worker.
        title: what `ps` shows of it.
        on_ready: is called when signals are handled, right before the worker begins to claim.
        is_asked_to_end: whether the supervisor has asked this process to end; None if it does not
            say so.
    """

    def finish(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        worker.stop("it was sent TERM" if is_asked_to_end() is False else ASKED)

    def give_back(number: int, frame: FrameType | None) -> None:
        if is_asked_to_end() is False:
            die_unless_asked(number, frame)
            return
        worker.stop_now()
        worker.stop(ASKED)

    def die_unless_asked(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        deadline = time.monotonic() + ASKED_WITHIN_SECONDS
        while is_asked_to_end() is False:
            if time.monotonic() > deadline:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            time.sleep(LOOK_SECONDS)

    def go_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        worker.rest(False)

    def do_nothing(number: int, frame: FrameType | None) -> None:
        """Ignore TSTP, which a job may have sent to its group. A supervisor has other means."""

    handlers: dict[signal.Signals, Handler] = {
        signal.SIGTERM: finish,
        signal.SIGQUIT: give_back,
        signal.SIGINT: die_unless_asked,
        signal.SIGTSTP: do_nothing,
        signal.SIGCONT: go_on,
    }
    # Once more: the application may have changed it when it was imported.
    outlast_signals()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    leave_signals_to_forked_processes(handlers)
    threading.Thread(
        target=_watch, args=(worker, title, is_asked_to_end), name="jobqueue-title", daemon=True
    ).start()
    tune_interpreter()
    on_ready()
    return worker.run()


def _watch(worker: Worker, title: str, is_asked_to_end: Callable[[], bool | None]) -> None:
    """Keep the title in `ps`, and stop when asked, even if a job has replaced TERM's handler."""
    never = threading.Event()
    while True:
        setproctitle.setproctitle(f"{title}: {_doing(worker)}")
        if is_asked_to_end() is True:
            worker.stop(ASKED)
        never.wait(TITLE_SECONDS)


def _doing(worker: Worker) -> str:
    performing = worker.performing()
    what = ", ".join(f"{job.handler.rpartition('.')[2]} #{job.id}" for job in performing[:3])
    if worker.is_resting:
        return f"{RESTING}, {what}" if what else RESTING
    return what or "idle"
