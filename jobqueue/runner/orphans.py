"""Orphans: ended processes that others have left to this one, which has to collect them.

The first process of a container inherits every process whose parent has ended: what a job starts
and does not wait for. Once such a process has ended, it stays in the table as a zombie.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Collection
from contextlib import suppress

import psutil

PR_GET_CHILD_SUBREAPER = 37
LOOK_SECONDS = 1.0


class Orphans:
    """A collector of zombies that nobody else collects, if this process inherits any."""

    def __init__(self) -> None:
        self._inherits = _inherits_orphans()
        self._looked_at = 0.0
        self._seen: set[psutil.Process] = set()

    def collect(self, own: Collection[int]) -> None:
        """Collect the zombies among the children of this process that were there the last time too.

        A zombie that another thread waits for is collected by that thread before the second look.

        Args:
            own: the process ids of children that are collected otherwise.
        """
        now = time.monotonic()
        if not self._inherits or now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        zombies = {child for child in _zombies() if child.pid not in own}
        for zombie in zombies & self._seen:
            with suppress(ChildProcessError):
                os.waitpid(zombie.pid, os.WNOHANG)
        self._seen = zombies


def _inherits_orphans() -> bool:
    """Whether the system gives this process the children of others that end."""
    if os.getpid() == 1:
        return True
    if sys.platform != "linux":
        return False
    is_subreaper = ctypes.c_int()
    ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(is_subreaper))
    return bool(is_subreaper.value)


def _zombies() -> list[psutil.Process]:
    """The children of this process that have ended."""
    found = []
    for child in psutil.Process().children() if _has_ended_children() else ():
        with suppress(psutil.Error):
            if child.status() == psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


def _has_ended_children() -> bool:
    """Whether any child of this process has ended. It is not collected by that."""
    with suppress(ChildProcessError):
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_ALL, 0, how) is not None
    return False
