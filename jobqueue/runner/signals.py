"""The run of a supervisor on the main thread, controlled by signals."""

from __future__ import annotations

import signal
from functools import partial
from types import FrameType
from typing import Any

import setproctitle

from jobqueue.runner.groups import SUPERVISOR_TITLE
from jobqueue.runner.output_streams import show_own_stacks
from jobqueue.runner.supervisor import Supervisor
from jobqueue.runner.terminal import Terminal

SIGNALS = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR2", "SIGTSTP", "SIGCONT", "SIGCHLD")


def run_supervised(supervisor: Supervisor) -> int:
    """Run a supervisor on the main thread, controlled by signals, with its title in `ps`.

    TERM, INT: finish what runs, within the grace; a second one: stop now. QUIT: stop now. HUP:
    rolling restart, or as TERM when the terminal was closed. TSTP: claim no more, CONT: claim
    again; Ctrl-Z also gives the terminal back to the shell. USR2: log the stacks of all threads.
    """
    terminal = Terminal()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        match signal.Signals(number):
            case signal.SIGTERM | signal.SIGINT as asked:
                supervisor.stop(f"{asked.name}; once more stops at once")
            case signal.SIGQUIT:
                supervisor.stop_now()
            case signal.SIGHUP:
                supervisor.ask(partial(_hang_up, supervisor, terminal))
            case signal.SIGTSTP:
                supervisor.ask(partial(_rest, supervisor, terminal))
            case signal.SIGCONT:
                supervisor.ask(supervisor.go_on)
            case signal.SIGUSR2:
                # The stacks of its own here: they show where its loop is.
                show_own_stacks()
                supervisor.show_stacks()
            case _:
                supervisor.wake()

    supervisor.on_suspend = _suspend
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
    """Restart the workers; or stop, if HUP came since the terminal was closed."""
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


def _suspend() -> None:
    """Suspend this process until CONT comes, as Ctrl-Z does by default, so that the shell sees it.

    Where nobody could send CONT, the kernel does not suspend it.
    """
    before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, before)
