"""Queues that somebody has paused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

LONGEST_PAUSE_TEXT = 500
"""How many characters of the reason of a pause, and of a name, are stored."""


@dataclass(frozen=True, slots=True)
class Pause:
    """The pause of a queue, as somebody wants it.

    Args:
        until: when the queue resumes by itself; None for not at all.
        by: who pauses it.
        reason: why.
    """

    until: datetime | None = None
    by: str | None = None
    reason: str | None = None


UNTIL_RESUMED = Pause()
"""The pause of a queue that ends when somebody resumes it."""


@dataclass(frozen=True, slots=True)
class PausedQueue:
    """A queue that is paused.

    Args:
        name: its name.
        paused_at: since when.
        pause: until when, by whom and why.
    """

    name: str
    paused_at: datetime
    pause: Pause = UNTIL_RESUMED
