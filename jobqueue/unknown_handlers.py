"""The handlers of jobs that a worker has claimed and does not know."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 300.0
MOST_NAMES = 100


@dataclass(slots=True)
class _Met:
    pause_seconds: float
    until: float


class UnknownHandlers:
    """The handlers that a worker passes over when it claims, since it gave jobs of theirs back.

    So it does not claim the same jobs again and again, and workers that know them find them due at
    once. After a while it claims some again, and stores again in their rows why it cannot perform
    them: after 10 s, then 20, up to 5 minutes. One entry stands for all jobs of a handler.

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

    def to_pass_over(self) -> tuple[str, ...]:
        """The handlers that are not to be claimed now."""
        if not self._met:
            return ()
        now = self._monotonic()
        with self._lock:
            for handler in [name for name in self._met if self._knows(name)]:
                del self._met[handler]
            return tuple(sorted(name for name, met in self._met.items() if now < met.until))

    def _forget_one(self, now: float) -> bool:
        """Make room: forget the handler whose pause ended first, if one has ended."""
        first = min(self._met, key=lambda name: self._met[name].until)
        if now < self._met[first].until:
            return False
        del self._met[first]
        return True
