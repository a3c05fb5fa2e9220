"""A budget of reads: how long those that somebody waits for together may take, and their rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class ReadBudget:
    """The time and the rows of the reads of a page.

    Args:
        within_seconds: how long they may take together.
        rows: how many rows were looked at, as far as adapters tell.
    """

    within_seconds: float
    rows: int = 0
    _begun_at: float = field(default_factory=time.monotonic)

    @property
    def left_seconds(self) -> float:
        """How much of the time is left; 0 when it is over."""
        return max(self._begun_at + self.within_seconds - time.monotonic(), 0.0)


_current: ContextVar[ReadBudget | None] = ContextVar("read_budget", default=None)


@contextmanager
def reads_within(seconds: float) -> Iterator[ReadBudget]:
    """Begin a budget. Until its end each read may take no longer than what is left of its time."""
    begun = ReadBudget(seconds)
    token = _current.set(begun)
    try:
        yield begun
    finally:
        _current.reset(token)


def note_rows(number: int) -> None:
    """Note that so many rows were looked at; without a budget nobody asks."""
    current = _current.get()
    if current is not None:
        current.rows += number


def patience_for(seconds: float | None) -> float | None:
    """How long a read may take that would have so many seconds by itself; None for any time."""
    current = _current.get()
    if current is None:
        return seconds
    # A limit of 0 would be none.
    left = max(current.left_seconds, 0.01)
    return left if seconds is None else min(seconds, left)
