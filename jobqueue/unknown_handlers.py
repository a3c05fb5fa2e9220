"""The handlers of jobs that a worker has claimed and leaves to others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 300.0
FIRST_LOOK_SECONDS = 2.0
"""For how long others have the first look at a job that does not fit this release. It is longer
than the poll interval of most workers."""
MOST_NAMES = 100


@dataclass(slots=True)
class _Met:
    pause_seconds: float
    until: float


@dataclass(frozen=True, slots=True)
class _FirstLook:
    begins: float
    ends: float


class UnknownHandlers:
    """The handlers that a worker passes over when it claims, since it gave jobs of theirs back.

    So it does not claim the same jobs again and again, and workers that know them find them due at
    once. After a while it claims some again, and stores again in their rows why it cannot perform
    them: after 10 s, then 20, up to 5 minutes. One entry stands for all jobs of a handler.

    A handler that it knows may have jobs of another release, whose arguments do not fit. Such a job
    goes back with a delay. When it is due again, this worker passes over its handler for a moment:
    otherwise chance would decide who meets it, and it might be this worker each time.

    Args:
        knows: whether a handler is known by now: a module may have been imported late.
        monotonic: seconds that only go up; for tests.
        puts_off: whether the jobs that were claimed go back with a delay all the same.
    """

    def __init__(
        self,
        knows: Callable[[str], bool],
        monotonic: Callable[[], float] = time.monotonic,
        *,
        puts_off: bool = False,
    ) -> None:
        self.puts_off = puts_off
        self._knows = knows
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._met: dict[str, _Met] = {}
        self._first_looks: dict[str, _FirstLook] = {}

    def meet(self, handler: str) -> bool:
        """Remember a handler. Return whether it is passed over from now on.

        It is not if too many are remembered already.
        """
        now = self._monotonic()
        with self._lock:
            met = self._met.get(handler)
            if met is not None and now < met.until:
                return True
            if met is None and len(self._met) >= MOST_NAMES and not self._forget_one(now):
                return False
            longer = FIRST_PAUSE_SECONDS if met is None else met.pause_seconds * 2
            pause = min(longer, LONGEST_PAUSE_SECONDS)
            self._met[handler] = _Met(pause, now + pause)
            return True

    def leave_the_first_look(self, handler: str, due_in_seconds: float) -> None:
        """Pass over a handler for a moment from when a job of it that does not fit is due again.

        The moments of one handler never follow each other at once, so this worker performs the jobs
        that fit in between.
        """
        now = self._monotonic()
        begins = now + due_in_seconds
        with self._lock:
            before = self._first_looks.get(handler)
            if before is None or before.ends <= now:
                self._first_looks[handler] = _FirstLook(begins, begins + FIRST_LOOK_SECONDS)

    def to_pass_over(self) -> tuple[str, ...]:
        """The handlers that are not to be claimed now."""
        if not self._met and not self._first_looks:
            return ()
        now = self._monotonic()
        with self._lock:
            return tuple(sorted({*self._unknown(now), *self._left_to_others_first(now)}))

    def _unknown(self, now: float) -> list[str]:
        for handler in [name for name in self._met if self._knows(name)]:
            del self._met[handler]
        return [name for name, met in self._met.items() if now < met.until]

    def _left_to_others_first(self, now: float) -> list[str]:
        for handler in [name for name, look in self._first_looks.items() if look.ends <= now]:
            del self._first_looks[handler]
        return [name for name, look in self._first_looks.items() if look.begins <= now]

    def _forget_one(self, now: float) -> bool:
        """Make room: forget the handler whose pause ended first, if one has ended."""
        first = min(self._met, key=lambda name: self._met[name].until)
        if now < self._met[first].until:
            return False
        del self._met[first]
        return True
