"""The figures of a benchmark, and their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

MILLISECONDS = 1000.0


class Benchmark(StrEnum):
    """A group of runs, named as on the command line."""

    ENQUEUE = "enqueue"
    DRAIN = "drain"
    LATENCY = "latency"


@dataclass(frozen=True, slots=True)
class Figure:
    """One result.

    Args:
        name: `enqueue`, `enqueue_bulk`, `drain` or `latency`.
        title: the same for people.
        jobs: how many jobs it was measured on.
        jobs_per_second: the rate; None for latency.
        p50_ms: the median of one job, in milliseconds; None where jobs were only timed together.
        p99_ms: the 99th percentile of one job.
    """

    name: str
    title: str
    jobs: int
    jobs_per_second: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None


def percentiles(durations: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile of durations in seconds, in milliseconds."""
    ordered = sorted(durations)
    middle, high = (ordered[int((len(ordered) - 1) * share)] for share in (0.5, 0.99))
    return middle * MILLISECONDS, high * MILLISECONDS
