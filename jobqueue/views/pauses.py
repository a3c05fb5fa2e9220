"""Pauses of queues: until when, by whom and why, as people say and read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from jobqueue.adapters.base import Adapter
from jobqueue.records import LONGEST_PAUSE_TEXT, Pause, PausedQueue
from jobqueue.redaction import printable

SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?(s|min|m|h|d)")
SECONDS_OF = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
LONGEST = timedelta(days=3660)
EXPECTED = "a time such as 2026-12-01T08:00Z, or how long: 90s, 15m, 2h, 3d"


def all_pauses(adapter: Adapter) -> Mapping[str, PausedQueue]:
    """Return the queues that are paused, by their names."""
    return {paused.name: paused for paused in adapter.pauses()}


def new_pause(
    until: str | None,
    reason: str | None,
    by: str,
    now: datetime,
    zone: tzinfo | None = None,
    *,
    prefix: str = "",
) -> Pause:
    """Return a pause as somebody asks for it.

    Args:
        until: a time in ISO 8601, or how long; None for until it is resumed.
        reason: why.
        by: who that is.
        now: the time by the adapter's clock.
        zone: the zone of a time that names none; None to refuse such a time.
        prefix: what is written before the names of the first two: "--" of options.

    Raises:
        ValueError: one of them cannot be used; it says what to write.
    """
    why = (reason or "").strip()
    if len(why) > LONGEST_PAUSE_TEXT:
        raise ValueError(
            f"{prefix}reason has {len(why):,} characters; write up to {LONGEST_PAUSE_TEXT:,}"
        )
    moment = None if until is None else _moment(f"{prefix}until", until, now, zone)
    cleaned = printable(why)[:LONGEST_PAUSE_TEXT] or None
    return Pause(moment, printable(by)[:LONGEST_PAUSE_TEXT], cleaned)


def _moment(name: str, text: str, now: datetime, zone: tzinfo | None) -> datetime:
    span = SPAN.fullmatch(text.strip())
    moment = now + _span(*span.groups()) if span else _time(name, text, zone)
    if moment <= now:
        raise ValueError(f"{name} is {text!r}, which is in the past; expected {EXPECTED}")
    if moment - now > LONGEST:
        raise ValueError(
            f"{name} is {text!r}, which is more than ten years away; leave it out for no end"
        )
    return moment


def _span(number: str, unit: str) -> timedelta:
    return min(timedelta(seconds=float(number) * SECONDS_OF[unit]), LONGEST * 2)


def _time(name: str, text: str, zone: tzinfo | None) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None and zone is not None:
            moment = moment.replace(tzinfo=zone)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{name} is {text!r}; expected {EXPECTED}") from None
    raise ValueError(f"{name} is {text!r}, which has no time zone; add Z for UTC, or +01:00")


def pause_text(pause: Pause) -> str:
    """Return a pause in words: `paused until 2026-12-01 08:00 UTC by ada@laptop: too many`."""
    text = "paused"
    if pause.until is not None:
        text += f" until {pause.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if pause.by:
        text += f" by {pause.by}"
    return f"{text}: {pause.reason}" if pause.reason else text


def paused_target(queue: str, pause: Pause) -> dict[str, Any]:
    """Return the target of the action that pauses a queue."""
    until = {} if pause.until is None else {"until": pause.until.isoformat(timespec="seconds")}
    return {"queue": queue, **until}
