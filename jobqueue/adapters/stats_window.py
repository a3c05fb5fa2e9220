"""The parts of a window of time whose statistics are kept by the hour, and by the minute.

An hour is rolled up once: when it has been over for so long that no worker still stores something
of it. Minutes are removed after a week. So what is asked is read by whole hours where these are
rolled up, and by minutes at the edges. No attempt is counted twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from jobqueue.records import STATS_LIFETIME

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ROLL_UP_AFTER = timedelta(minutes=5)
"""How long an hour has been over when it is rolled up. A store takes half a minute at most."""
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Span:
    """The time from `begin` until, but not including, `end`."""

    begin: datetime
    end: datetime

    @property
    def is_empty(self) -> bool:
        """Whether no moment is in it."""
        return self.begin >= self.end


@dataclass(frozen=True, slots=True)
class StatsWindow:
    """The spans that are read by the hour and by the minute."""

    hours: tuple[Span, ...]
    minutes: tuple[Span, ...]


def hour_of(moment: datetime) -> datetime:
    """Return the beginning of the hour that a moment is in."""
    return moment.replace(minute=0, second=0, microsecond=0)


def next_hour_of(moment: datetime) -> datetime:
    """Return the first full hour that is not before a moment."""
    hour = hour_of(moment)
    return hour if hour == moment else hour + HOUR


def day_of(moment: datetime) -> datetime:
    """Return the beginning of the day that a moment is in, in UTC."""
    return hour_of(moment).replace(hour=0)


def split_by_days(hours: Span, rolled_up_until: datetime | None) -> tuple[Span, tuple[Span, ...]]:
    """Return the part of some hours that is read by whole days, and what is left of them.

    Args:
        hours: the hours.
        rolled_up_until: the end of the last day that is rolled up, if there is one.
    """
    day = day_of(hours.begin)
    begin = day if day == hours.begin else day + DAY
    days = Span(begin, min(day_of(hours.end), rolled_up_until or begin))
    if days.is_empty:
        return days, (hours,)
    return days, _without_empty(Span(hours.begin, days.begin), Span(days.end, hours.end))


def roll_up_span(now: datetime, rolled_up_until: datetime | None) -> Span:
    """Return the full hours that are not rolled up yet, and whose minutes are all still there."""
    oldest = next_hour_of(now - STATS_LIFETIME + INSTANT)
    begin = oldest if rolled_up_until is None else max(oldest, rolled_up_until)
    return Span(begin, hour_of(now - ROLL_UP_AFTER))


def window_between(
    now: datetime, since: timedelta, until: timedelta, rolled_up_until: datetime | None
) -> StatsWindow:
    """Return what to read of the time since an age, until a later one.

    Where minutes are no longer there, the window has the whole hours that it begins and ends in.

    Args:
        now: the time now.
        since: how long ago the window begins; that moment is not in it.
        until: how long ago it ends; that moment is in it.
        rolled_up_until: the end of the last hour that is rolled up, if there is one.
    """
    asked = Span(now - since + INSTANT, now - until + INSTANT)
    if rolled_up_until is None:
        return StatsWindow((), _without_empty(asked))
    kept_from = now - STATS_LIFETIME
    begin = next_hour_of(asked.begin) if asked.begin > kept_from else hour_of(asked.begin)
    end = hour_of(asked.end) if asked.end > kept_from else next_hour_of(asked.end)
    hours = Span(begin, min(end, rolled_up_until))
    if hours.is_empty:
        return StatsWindow((), _without_empty(asked))
    before, after = Span(asked.begin, hours.begin), Span(hours.end, asked.end)
    return StatsWindow((hours,), _without_empty(before, after))


def _without_empty(*spans: Span) -> tuple[Span, ...]:
    return tuple(span for span in spans if not span.is_empty)
