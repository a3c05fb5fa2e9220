"""The handlers that a worker has met in rows and has no class for."""

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
    """Remembers the handlers that a worker does not know, so that its claims pass over them.

    The worker has given a job of each back, and other workers that know the handler find it due.
    After a pause the worker claims such jobs once more, and writes into their rows again why it
    cannot perform them. The first pause is 10 s, each next one twice as long, up to 5 minutes. A
    handler has one pause, however many jobs it has.

    Args:
        knows: whether a handler is known by now: a module may have been imported late.
        monotonic: returns seconds that only go up; for tests.
    """

    def __init__(
        self, knows: Callable[[str], bool], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._knows = knows
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._met: dict[str, _Met] = {}

    def meet(self, handler: str) -> bool:
        """Remember a handler, and return whether claims pass over it from now on.

        They do not when too many handlers are remembered already.
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
        """Return the handlers to pass over now."""
        if not self._met:
            return ()
        now = self._monotonic()
        with self._lock:
            for handler in [name for name in self._met if self._knows(name)]:
                del self._met[handler]
            return tuple(sorted(name for name, met in self._met.items() if now < met.until))

    def _forget_one(self, now: float) -> bool:
        """Forget the handler whose pause ended first, and return whether one has ended."""
        first = min(self._met, key=lambda name: self._met[name].until)
        if now < self._met[first].until:
            return False
        del self._met[first]
        return True
