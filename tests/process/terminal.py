"""A terminal, with a program in it, for tests to type into, to look at and to close."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from tests.conftest import PATIENCE_SECONDS, Project

JOBS = f"{sys.executable} -m jobqueue"
SHELL = ("bash", "--norc", "--noprofile", "-i")


class Terminal:
    """A program in a terminal that is its controlling one.

    Args:
        project: whose folder it runs in.
        command: the program and its arguments.
    """

    def __init__(self, project: Project, *command: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            cwd=project.folder,
            env={**project.environment, "TERM": "xterm", "PS1": "$ ", "HISTFILE": ""},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one system call
        )
        os.close(theirs)
        self._seen = b""
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._is_over = threading.Event()
        self._reading.start()

    @property
    def text(self) -> str:
        """All that it has shown."""
        return self._seen.decode(errors="replace")

    def type(self, text: str) -> None:
        """Type something; `\\x03` is Ctrl-C, `\\x1a` is Ctrl-Z."""
        os.write(self._ours, text.encode())

    def close(self) -> None:
        """Close its window."""
        if not self._is_over.is_set():
            self._is_over.set()
            self._reading.join()
            os.close(self._ours)

    def remove(self) -> None:
        """Leave nothing behind."""
        family = [self.process.pid]
        with suppress(psutil.NoSuchProcess):
            family += [p.pid for p in psutil.Process(self.process.pid).children(recursive=True)]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.close()

    def _read(self) -> None:
        while not self._is_over.is_set():
            if select.select([self._ours], [], [], 0.02)[0]:
                try:
                    self._seen += os.read(self._ours, 65536)
                except OSError:
                    return


@contextmanager
def in_terminal(project: Project, *command: str) -> Iterator[Terminal]:
    """A terminal that is gone after the block, with what ran in it."""
    terminal = Terminal(project, *command)
    try:
        yield terminal
    finally:
        terminal.remove()


def ended(pid: int) -> bool:
    """Whether a process has ended, within the patience of tests."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        with suppress(psutil.TimeoutExpired):
            process.wait(PATIENCE_SECONDS)
        return not process.is_running()
    return True
