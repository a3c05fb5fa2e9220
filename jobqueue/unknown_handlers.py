"""The names of jobs that a worker has met and does not know."""

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


class Strangers:
    """Which jobs a worker passes over, since it has just given some of that name back as unknown.

    So it does not take the same ones again and again, and who knows them finds them due at once.
    After a while it takes some once more, and says again in their rows why it cannot perform them:
    after 10 s, then 20, up to 5 minutes. All of a name count as one, be there one or a million.

    Args:
        knows: whether a name is known by now: a module may have been imported late.
        monotonic: seconds that only go up; for tests.
    """

    def __init__(
        self, knows: Callable[[str], bool], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._knows = knows
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._met: dict[str, _Met] = {}

    def meet(self, handler: str) -> bool:
        """Remember a name. Returns whether it is passed over from now on: not if there are too
        many."""
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
        """The names that are not to be claimed now."""
        if not self._met:
            return ()
        now = self._monotonic()
        with self._lock:
            for handler in [name for name in self._met if self._knows(name)]:
                del self._met[handler]
            return tuple(sorted(name for name, met in self._met.items() if now < met.until))

    def _forget_one(self, now: float) -> bool:
        """Make room: forget the one whose pause ended first, if one has ended."""
        first = min(self._met, key=lambda name: self._met[name].until)
        if now < self._met[first].until:
            return False
        del self._met[first]
        return True
