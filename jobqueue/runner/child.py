"""The inside of a worker process: its signals, its title, and its end with the supervisor."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import setproctitle

from jobqueue.runner.attached import tune_interpreter
from jobqueue.runner.groups import RESTING
from jobqueue.runner.output_streams import error_fd_without_waits
from jobqueue.worker.reporter import Tally
from jobqueue.worker.worker import Worker

PR_SET_PDEATHSIG = 1
TITLE_SECONDS = 0.5


def die_with_supervisor() -> None:
    """Make sure that this process does not outlive the one that spawned it.

    On Linux the kernel kills it. In any case it ends itself when its standard input is closed, of
    which the supervisor holds the other end.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_end_with_input, name="jobqueue-lifeline", daemon=True).start()


def _end_with_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def outlast_signals() -> None:
    """Let no signal but those that ask it to end, end or suspend this process while it starts.

    USR2 shows already where it is.
    """
    faulthandler.register(signal.SIGUSR2, file=error_fd_without_waits(), all_threads=True)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    # It is never in the foreground: with `stty tostop` it would be suspended when it writes.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)


def run_child(worker: Worker, title: str, on_ready: Callable[[], None]) -> Tally:
    """Run a worker on the main thread, controlled by its supervisor's signals.

    `on_ready` is called when signals are handled, right before the worker begins to claim.

    TERM: finish what runs, and end. QUIT, INT, or a second TERM: give it back, and end. TSTP: claim
    no more. CONT: claim again. USR2: write the stacks of all threads to standard error.
    """
    asked_before = False

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal asked_before
        if asked_before or number != signal.SIGTERM:
            worker.stop_now()
        asked_before = True
        worker.stop("its supervisor asked it to")

    def rest(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        worker.rest(number == signal.SIGTSTP)

    handlers: dict[signal.Signals, Callable[[int, FrameType | None], Any]] = {
        signal.SIGTERM: stop,
        signal.SIGQUIT: stop,
        signal.SIGINT: stop,
        signal.SIGTSTP: rest,
        signal.SIGCONT: rest,
    }
    # Once more: the application may have changed it when it was imported.
    outlast_signals()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    threading.Thread(
        target=_keep_title, args=(worker, title), name="jobqueue-title", daemon=True
    ).start()
    tune_interpreter()
    on_ready()
    return worker.run()


def _keep_title(worker: Worker, title: str) -> None:
    never = threading.Event()
    while True:
        performing = worker.performing()
        what = ", ".join(f"{job.handler.rpartition('.')[2]} #{job.id}" for job in performing[:3])
        doing = what or "idle"
        if worker.is_resting:
            doing = f"{RESTING}, {what}" if what else RESTING
        setproctitle.setproctitle(f"{title}: {doing}")
        never.wait(TITLE_SECONDS)
