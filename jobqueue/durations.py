"""Durations and ages as people read them: `45 s`, `in 3 min`, `2 d ago`."""

from __future__ import annotations

from datetime import datetime

UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def duration(seconds: float) -> str:
    """Return a duration in its largest sensible unit: `45 s`, `3 min`, `2 d`."""
    for size, unit in UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def exact_duration(seconds: float) -> str:
    """Return a duration that somebody has set, unrounded: `0.5 s`, `90 s`, `1 min`, `1 h`."""
    for size, unit in UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s"


def from_now(moment: datetime, now: datetime) -> str:
    """Return a time as seen from now, by the same clock: `in 5 min`, `3 s ago`."""
    seconds = (moment - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    distance = duration(abs(seconds))
    return f"in {distance}" if seconds > 0 else f"{distance} ago"
