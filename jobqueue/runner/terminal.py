"""The terminal that a process was started from, if it was started from one."""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
SETTLE_SECONDS = 0.2
LOOK_SECONDS = 0.02


class Terminal:
    """The controlling terminal that this process has when this is created.

    A process that was started detached has none: by `jobqueue start`, systemd or a container.
    """

    def __init__(self) -> None:
        self._fd: int | None = None
        with suppress(OSError):
            self._fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        self._is_outlived = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    @property
    def is_outlived(self) -> bool:
        """Whether this process survives the end of the terminal: it was started with `nohup`."""
        return self._is_outlived

    def was_closed(self) -> bool:
        """Whether there was a terminal, and it is gone. Ask this when a HUP has come.

        When the shell dies, HUP comes just before the terminal is taken away.
        """
        if self._fd is None:
            return False
        deadline = time.monotonic() + SETTLE_SECONDS
        while not self._is_gone(self._fd):
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def has_us_in_front(self) -> bool:
        """Whether this process is in the foreground of the terminal, so that Ctrl-Z is for it."""
        if self._fd is None:
            return False
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return False

    def has_shell(self) -> bool:
        """Whether there is a shell that can resume this process when it is suspended.

        There is none when this is the first process of the terminal, or that one runs it without
        job control: `docker run -it IMAGE sh -c 'jobs work; …'`, `ssh -t`. Nobody outside its
        process group belongs to its session then, and the system does not suspend it either.
        """
        return any(map(_parent_is_shell, _group_of_this_process()))

    def close(self) -> None:
        """Close the descriptor of the terminal."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    @staticmethod
    def _is_gone(fd: int) -> bool:
        poll = select.poll()
        poll.register(fd, 0)
        if poll.poll(0):
            return True
        try:
            os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
        except OSError as error:
            # That this process has no descriptor left says nothing about the terminal.
            return error.errno not in OUT_OF_RESOURCES
        return False


def _group_of_this_process() -> Iterator[int]:
    """The process ids of the process group, this process first."""
    yield os.getpid()
    for pid in psutil.pids():
        with suppress(OSError):
            if pid and os.getpgid(pid) == os.getpgrp():
                yield pid


def _parent_is_shell(pid: int) -> bool:
    """Whether the parent of a process is in this session, and in another process group."""
    with suppress(psutil.Error, OSError):
        parent = psutil.Process(pid).ppid()
        return os.getsid(parent) == os.getsid(0) and os.getpgid(parent) != os.getpgrp()
    return False
