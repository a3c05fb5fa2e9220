"""A supervisor on the main thread, steered by signals."""

from __future__ import annotations

import faulthandler
import signal
from types import FrameType
from typing import Any

import setproctitle

from jobqueue.runner.groups import SUPERVISOR_TITLE
from jobqueue.runner.supervisor import Supervisor
from jobqueue.runner.terminal import Terminal

SIGNALS = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR2", "SIGTSTP", "SIGCONT", "SIGCHLD")


def run_supervised(supervisor: Supervisor) -> int:
    """Run a supervisor on the main thread, steered by signals, its process shown as what it is.

    TERM, INT: finish what runs, within the grace; a second one: now. QUIT: now. HUP: rolling
    restart, or as TERM when it says that the terminal was closed. TSTP: claim no more, CONT: claim
    again; Ctrl-Z in a terminal gives that back meanwhile. USR2: every thread's stack into the log.
    """
    terminal = Terminal()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        match signal.Signals(number):
            case signal.SIGTERM | signal.SIGINT as asked:
                supervisor.stop(f"{asked.name}; once more stops at once")
            case signal.SIGQUIT:
                supervisor.stop_now()
            case signal.SIGHUP:
                _hang_up(supervisor, terminal)
            case signal.SIGTSTP:
                _rest(supervisor, terminal)
            case signal.SIGCONT:
                supervisor.go_on()
            case signal.SIGUSR2:
                faulthandler.dump_traceback(all_threads=True)
                supervisor.show_stacks()
            case _:
                supervisor.wake()

    supervisor.on_suspend = _stand_still
    show_title(supervisor)
    before: dict[signal.Signals, Any] = {}
    for name in SIGNALS:
        number = signal.Signals[name]
        before[number] = signal.signal(number, handle)
    try:
        return supervisor.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        terminal.close()


def show_title(supervisor: Supervisor) -> None:
    """Have `ps` show which workers are supervised."""
    setproctitle.setproctitle(SUPERVISOR_TITLE + supervisor.shown())


def _hang_up(supervisor: Supervisor, terminal: Terminal) -> None:
    """Nobody is there any more who would see or stop it; or, without a terminal, nobody was."""
    if not terminal.was_closed():
        supervisor.restart()
    elif not terminal.is_outlived and not supervisor.is_stopping:
        supervisor.stop("its terminal was closed")


def _rest(supervisor: Supervisor, terminal: Terminal) -> None:
    if not terminal.has_us_in_front() or supervisor.is_stopping:
        supervisor.rest()
    elif terminal.has_shell():
        supervisor.suspend()
    elif supervisor.is_resting:
        supervisor.go_on()
    else:
        supervisor.rest(until="Ctrl-Z is pressed once more")


def _stand_still() -> None:
    """Be stopped as anything else is by Ctrl-Z, so that the shell knows it, until CONT comes.

    Where there is nobody who could send it, the kernel does not stop this process.
    """
    before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, before)
