"""Durations and ages as people read them: `45 s`, `in 3 min`, `2 d ago`."""

from __future__ import annotations

from datetime import datetime

UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def duration(seconds: float, *, precise: bool = False) -> str:
    """Return a duration in its largest sensible unit: `45 s`, `3 min`, `2 d`.

    Args:
        seconds: how long it is.
        precise: whether short ones have more digits: `12 ms`, `1.5 s`.
    """
    for size, unit in UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    if not precise:
        return f"{seconds:.0f} s"
    # 999.5 ms would be rounded to 1000 ms.
    return f"{seconds:.1f} s" if seconds >= 0.9995 else f"{seconds * 1000:.0f} ms"


def from_now(moment: datetime, now: datetime) -> str:
    """Return a time as seen from now, by the same clock: `in 5 min`, `3 s ago`."""
    seconds = (moment - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    distance = duration(abs(seconds))
    return f"in {distance}" if seconds > 0 else f"{distance} ago"
