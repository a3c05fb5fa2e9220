"""Outlooks: how fast jobs come into a queue and leave it, and when it will be empty."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from jobqueue.adapters.base import Adapter
from jobqueue.durations import duration
from jobqueue.records import QueueDepth, Sample

PERIOD = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)
FEWEST_SAMPLES = 3
LONGEST = timedelta(days=365)
SLOWEST = 1 / 60
"""A queue that changes by less than one job an hour stays as it is."""
DIGITS = 3


class Course(StrEnum):
    """The way that a queue is going."""

    EMPTY = "empty"
    EMPTYING = "emptying"
    STEADY = "steady"
    GROWING = "growing"
    PAUSED = "paused"
    UNKNOWN = "unknown"


TEXTS = {
    Course.EMPTY: "now",
    Course.PAUSED: "never, while it is paused",
    Course.STEADY: "never, as it stays as it is",
    Course.UNKNOWN: "not known yet",
}


@dataclass(frozen=True, slots=True)
class Outlook:
    """The outlook of a queue, as its last quarter of an hour shows it.

    Args:
        queue: its name.
        course: the way that it is going.
        in_per_minute: how many jobs come into it; None as long as it is not known.
        out_per_minute: how many jobs end.
        growth_per_minute: by how many its due jobs become more; None as long as it is not known.
        empty_at: when no job will be due if it goes on so; None unless it is emptying.
    """

    queue: str
    course: Course
    in_per_minute: float | None
    out_per_minute: float
    growth_per_minute: float | None
    empty_at: datetime | None = None


def all_outlooks(adapter: Adapter, depths: Iterable[QueueDepth]) -> dict[str, Outlook]:
    """Return the outlook of each queue of which the depth is given, by its name."""
    samples, now = adapter.samples(PERIOD), adapter.now()
    ended = adapter.ended_by_queue(_covered(samples, now))
    return {
        depth.queue: outlook_of(depth, samples, ended.get(depth.queue, 0), now) for depth in depths
    }


def outlook_of(depth: QueueDepth, samples: Sequence[Sample], ended: int, now: datetime) -> Outlook:
    """Return the outlook of a queue.

    Args:
        depth: how much there is to do in it now.
        samples: those of the last minutes, the latest last.
        ended: how many of its jobs have ended since the first of them.
        now: the time now.
    """
    sampled = [(sample.minute, sample.depth_of(depth.queue)) for sample in samples]
    out = ended / (_covered(samples, now) / MINUTE)
    if any(one.more for _, one in sampled):
        return Outlook(depth.queue, _course_of(depth, None), None, out, None)
    growth = slope([(minute, one.due) for minute, one in sampled])
    of_all = slope([(minute, one.unfinished) for minute, one in sampled])
    coming = None if of_all is None else max(0.0, out + of_all)
    outlook = Outlook(depth.queue, _course_of(depth, growth), coming, out, growth)
    if outlook.course is not Course.EMPTYING or growth is None:
        return outlook
    due = sampled[-1][1].due if depth.more else depth.due
    if due > -growth * (LONGEST / MINUTE):
        return replace(outlook, course=Course.STEADY)
    return replace(outlook, empty_at=now + due / -growth * MINUTE)


def slope(points: Sequence[tuple[datetime, int]]) -> float | None:
    """Return by how much a number grows a minute, on average; None of too few points.

    It is the slope of the line that lies closest to all of them.
    """
    if len(points) < FEWEST_SAMPLES:
        return None
    minutes = [(moment - points[0][0]) / MINUTE for moment, _ in points]
    middle, mean = sum(minutes) / len(points), sum(number for _, number in points) / len(points)
    spread = sum((minute - middle) ** 2 for minute in minutes)
    if not spread:
        return None
    numbers = (number for _, number in points)
    pairs = zip(minutes, numbers, strict=True)
    return sum((minute - middle) * (number - mean) for minute, number in pairs) / spread


def outlook_text(outlook: Outlook, now: datetime) -> str:
    """Return the course of a queue for people: `in 25 min, at 03:40`, by the local time."""
    growth = outlook.growth_per_minute or 0.0
    if outlook.empty_at is not None:
        return _time_text(outlook.empty_at, now)
    if outlook.course is not Course.GROWING:
        return TEXTS.get(outlook.course, TEXTS[Course.UNKNOWN])
    if round(growth) >= 1:
        return f"never, growing by {growth:,.0f} a minute"
    return f"never, growing by {growth * 60:,.0f} an hour"


def outlook_json(outlook: Outlook) -> dict[str, Any]:
    """Return an outlook as the JSON of commands and of the API has it."""
    return {
        "course": outlook.course.value,
        "in_per_minute": _rounded(outlook.in_per_minute),
        "out_per_minute": _rounded(outlook.out_per_minute),
        "growth_per_minute": _rounded(outlook.growth_per_minute),
        "empty_at": None if outlook.empty_at is None else outlook.empty_at.isoformat(),
    }


def _course_of(depth: QueueDepth, growth: float | None) -> Course:
    if depth.paused:
        return Course.PAUSED
    if not depth.due:
        return Course.EMPTY
    if growth is None:
        return Course.UNKNOWN
    if abs(growth) < SLOWEST:
        return Course.STEADY
    return Course.GROWING if growth > 0 else Course.EMPTYING


def _covered(samples: Sequence[Sample], now: datetime) -> timedelta:
    """The time that the samples are about."""
    return min(max(now - samples[0].minute, MINUTE), PERIOD) if samples else PERIOD


def _time_text(moment: datetime, now: datetime) -> str:
    local, today = moment.astimezone(), now.astimezone()
    form = "%H:%M" if local.date() == today.date() else "%d %b %H:%M"
    seconds = max(0.0, (moment - now).total_seconds())
    return f"in {duration(seconds)}, at {local.strftime(form)}"


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, DIGITS)
