"""A supervisor on the main thread, steered by signals."""

from __future__ import annotations

import faulthandler
import signal
from types import FrameType
from typing import Any

import setproctitle

from jobqueue.runner.supervisor import Supervisor

SIGNALS = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR2", "SIGTSTP", "SIGCONT", "SIGCHLD")


def run_supervised(supervisor: Supervisor, title: str) -> int:
    """Run a supervisor on the main thread, steered by signals, its process shown under a title.

    TERM, INT: finish what runs, within the grace; a second one: now. QUIT: now. HUP: rolling
    restart. TSTP: claim no more, CONT: claim again. USR2: every thread's stack into the log.
    """

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        match signal.Signals(number):
            case signal.SIGTERM | signal.SIGINT as asked:
                supervisor.stop(f"{asked.name}; once more stops at once")
            case signal.SIGQUIT:
                supervisor.stop_now()
            case signal.SIGHUP:
                supervisor.restart()
            case signal.SIGCHLD:
                supervisor.wake()
            case passed_on:
                if passed_on is signal.SIGUSR2:
                    faulthandler.dump_traceback(all_threads=True)
                supervisor.pass_on(passed_on)

    setproctitle.setproctitle(title)
    before: dict[signal.Signals, Any] = {}
    for name in SIGNALS:
        number = signal.Signals[name]
        before[number] = signal.signal(number, handle)
    try:
        return supervisor.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
