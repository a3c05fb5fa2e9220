"""Fragments of pages that many tabs ask for again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable

LIFETIME_SECONDS = 1.0
MOST_KEPT = 200


class Fragments:
    """A memory for fragments: the same one is made once a second at most, for however many tabs.

    Who asks while it is being made waits for it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[Hashable, _Fragment] = {}

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """Return a fragment, which is made unless there is a fresh one."""
        fragment = self._fragment(key)
        with fragment.lock:
            if fragment.content is None or time.monotonic() > fragment.fresh_until:
                fragment.content = make()
                fragment.fresh_until = time.monotonic() + LIFETIME_SECONDS
            return fragment.content

    def forget(self) -> None:
        """Forget all of them, since something was changed."""
        with self._lock:
            self._made.clear()

    def _fragment(self, key: Hashable) -> _Fragment:
        with self._lock:
            if len(self._made) >= MOST_KEPT and key not in self._made:
                self._made.clear()
            return self._made.setdefault(key, _Fragment())


class _Fragment:
    """A fragment, and until when it is fresh."""

    __slots__ = ("content", "fresh_until", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.content: bytes | None = None
        self.fresh_until = 0.0
