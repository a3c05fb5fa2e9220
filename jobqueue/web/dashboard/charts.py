"""Charts as the pages draw them: the geometry of SVG, and the numbers as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobqueue.records import Quantile

WIDTH, HEIGHT = 600.0, 120.0
MOST_POINTS = 60


@dataclass(frozen=True, slots=True)
class Point:
    """A moment in a chart, and its number."""

    moment: datetime
    number: int


@dataclass(frozen=True, slots=True)
class LineChart:
    """A line over time.

    Args:
        points: what it shows, the oldest first.
        line: the `d` of its path.
        area: the `d` of the area below it.
        top: the number at its upper edge.
    """

    points: tuple[Point, ...]
    line: str
    area: str
    top: int


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a chart: the number, what it is of, and its rectangle."""

    label: datetime
    number: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars side by side.

    Args:
        bars: from left to right.
        width: of all of them.
        height: of the highest.
    """

    bars: tuple[Bar, ...]
    width: float
    height: float

    @property
    def total(self) -> int:
        """The sum of all numbers."""
        return sum(bar.number for bar in self.bars)


def line_chart(found: Sequence[tuple[datetime, int]]) -> LineChart | None:
    """Return a chart of at most `MOST_POINTS`, each the largest of its stretch; None of too few."""
    points = _thinned(found)
    if len(points) < 2:
        return None
    first, last = points[0].moment, points[-1].moment
    top = max(1, *(point.number for point in points))

    def place(point: Point) -> str:
        x = (point.moment - first) / max(last - first, timedelta(seconds=1)) * WIDTH
        return f"{x:.1f},{HEIGHT - point.number / top * (HEIGHT - 2) - 1:.1f}"

    line = "M" + " L".join(map(place, points))
    area = f"{line} L{WIDTH:.1f},{HEIGHT:.1f} L0,{HEIGHT:.1f} Z"
    return LineChart(tuple(points), line, area, top)


def _thinned(found: Sequence[tuple[datetime, int]]) -> list[Point]:
    step = -(-len(found) // MOST_POINTS) or 1
    stretches = [found[start : start + step] for start in range(0, len(found), step)]
    return [Point(part[0][0], max(number for _, number in part)) for part in stretches]


def bar_chart(numbers: Mapping[datetime, int], width: float, height: float) -> BarChart:
    """Return bars for numbers, in their order."""
    most, each = max(numbers.values(), default=0), width / max(len(numbers), 1)
    bars = []
    for place, (moment, number) in enumerate(numbers.items()):
        tall = max(1.5, number / most * height) if number else 0.0
        box = (round(place * each, 2), round(height - tall, 2), round(each * 0.8, 2))
        bars.append(Bar(moment, number, *box, round(tall, 2)))
    return BarChart(tuple(bars), width, height)


def by_minute(found: Mapping[datetime, int], last: datetime, minutes: int) -> dict[datetime, int]:
    """Return the number of each of the minutes before a moment, also of those without any."""
    end = last.replace(second=0, microsecond=0)
    moments = [end - timedelta(minutes=ago) for ago in reversed(range(minutes))]
    return {moment: found.get(moment, 0) for moment in moments}


def duration_chart(
    quantiles: Mapping[datetime, Quantile | None], width: float, height: float
) -> BarChart:
    """Return the bars for durations, of which some may not be known."""
    return bar_chart({at: _milliseconds(one) for at, one in quantiles.items()}, width, height)


def _milliseconds(found: Quantile | None) -> int:
    return 0 if found is None else max(1, round(found.duration / timedelta(milliseconds=1)))
