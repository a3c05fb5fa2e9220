"""Histograms of durations: how many were how long, in fixed buckets that can be added up."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

BUCKET_BOUNDS = tuple(timedelta(microseconds=round(10 ** (4 + half / 2))) for half in range(11))
"""The longest duration of each bucket but the last: 10 ms to 1,000 s, by half decades."""
SHORTEST_BOUND = BUCKET_BOUNDS[0]
NUMBER_OF_BUCKETS = len(BUCKET_BOUNDS) + 1
NO_COUNTS = (0,) * NUMBER_OF_BUCKETS


@dataclass(frozen=True, slots=True)
class Quantile:
    """A duration that a share of durations does not exceed. With `more` it is longer than that."""

    duration: timedelta
    more: bool = False


@dataclass(frozen=True, slots=True)
class Histogram:
    """The numbers of durations in each bucket.

    Args:
        counts: a number for each of `BUCKET_BOUNDS`, and one for what is longer than the last.
    """

    counts: tuple[int, ...] = NO_COUNTS

    @classmethod
    def of(cls, durations: Iterable[timedelta]) -> Histogram:
        """Return the histogram of some durations."""
        counts = [0] * NUMBER_OF_BUCKETS
        for duration in durations:
            counts[bisect_left(BUCKET_BOUNDS, duration)] += 1
        return cls(tuple(counts))

    @property
    def total(self) -> int:
        """How many durations there are."""
        return sum(self.counts)

    def plus(self, other: Histogram) -> Histogram:
        """Return the histogram of the durations of both."""
        return Histogram(tuple(map(int.__add__, self.counts, other.counts)))

    def quantile(self, share: float, longest: timedelta | None = None) -> Quantile | None:
        """Return the duration that a share of the durations does not exceed; None of no durations.

        Within a bucket the durations are taken to lie evenly. How long those are that exceed the
        last bound is not known: the quantile is that bound then, and says that it is longer.

        Args:
            share: from 0 to 1; 0.5 for the median.
            longest: no duration is longer, where that is known.
        """
        if not self.total:
            return None
        rank = share * self.total
        before = 0
        for place, count in enumerate(self.counts[:-1]):
            if count and before + count >= rank:
                within = _between(place, (rank - before) / count)
                return Quantile(within if longest is None else min(within, longest))
            before += count
        return Quantile(BUCKET_BOUNDS[-1], more=True)


NO_DURATIONS = Histogram()


def _between(place: int, share: float) -> timedelta:
    """The duration so far between the bounds of a bucket."""
    lower = BUCKET_BOUNDS[place - 1] if place else timedelta(0)
    return lower + share * (BUCKET_BOUNDS[place] - lower)
