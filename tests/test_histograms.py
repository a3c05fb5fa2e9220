"""Histograms: buckets, sums and quantiles."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue import MemoryAdapter
from jobqueue.adapters.sql.tables import BUCKETS
from jobqueue.clock import ManualClock
from jobqueue.errors import DatabaseUnavailable
from jobqueue.records import (
    BUCKET_BOUNDS,
    NUMBER_OF_BUCKETS,
    Claim,
    Histogram,
    NewJob,
    Quantile,
    Stat,
    Succeeded,
)
from jobqueue.worker.stats import Stats

MILLISECOND, SECOND = timedelta(milliseconds=1), timedelta(seconds=1)
DURATIONS = st.lists(st.timedeltas(timedelta(0), 2000 * SECOND), max_size=30)


def test_the_bounds_go_by_half_decades() -> None:
    assert len(BUCKETS) == NUMBER_OF_BUCKETS == 12
    assert [BUCKET_BOUNDS[place] for place in (0, 2, 4, 10)] == [
        10 * MILLISECOND,
        100 * MILLISECOND,
        SECOND,
        1000 * SECOND,
    ]
    assert BUCKET_BOUNDS[1] == timedelta(microseconds=31_623)


def test_a_bucket_has_what_is_as_long_as_its_bound() -> None:
    microsecond = timedelta(microseconds=1)
    for place, bound in enumerate(BUCKET_BOUNDS):
        assert Histogram.of([bound]).counts[place] == 1
        assert Histogram.of([bound + microsecond]).counts[place + 1] == 1


@given(DURATIONS, DURATIONS)
def test_sums(some: list[timedelta], others: list[timedelta]) -> None:
    both = Histogram.of(some).plus(Histogram.of(others))
    assert both == Histogram.of(some + others)
    assert both.total == len(some) + len(others)


@given(DURATIONS.filter(bool), st.floats(0, 1))
def test_a_quantile_is_in_the_bucket_of_the_true_one(
    durations: list[timedelta], share: float
) -> None:
    histogram = Histogram.of(durations)
    found = histogram.quantile(share)
    assert found is not None
    rank = max(1, -(-int(share * len(durations) * 1_000_000) // 1_000_000))
    true = sorted(durations)[rank - 1]
    if found.more:
        assert true > BUCKET_BOUNDS[-1] == found.duration
        return
    [bucket] = [n for n, count in enumerate(Histogram.of([true]).counts) if count]
    lower = BUCKET_BOUNDS[bucket - 1] if bucket else timedelta(0)
    assert lower <= found.duration <= BUCKET_BOUNDS[bucket]


def test_quantiles_lie_evenly_within_a_bucket() -> None:
    histogram = Histogram.of([5 * MILLISECOND] * 100)
    assert histogram.quantile(0.5) == Quantile(5 * MILLISECOND)
    assert histogram.quantile(0.99) == Quantile(9.9 * MILLISECOND)
    mixed = histogram.plus(Histogram.of([50 * MILLISECOND] * 100))
    assert mixed.quantile(0.5) == Quantile(10 * MILLISECOND)


def test_no_quantile_is_longer_than_the_longest() -> None:
    stat = Stat("One", "a", 3, longest=2 * MILLISECOND, ran=Histogram.of([MILLISECOND] * 3))
    assert stat.run_quantile(0.99) == Quantile(2 * MILLISECOND)


def test_what_lies_beyond_the_last_bound_is_not_made_up() -> None:
    stat = Stat("One", "a", 1, longest=5000 * SECOND, ran=Histogram.of([SECOND, 5000 * SECOND]))
    assert stat.run_quantile(0.99) == Quantile(1000 * SECOND, more=True)
    assert stat.run_quantile(0.5) == Quantile(SECOND)


def test_no_durations_have_no_quantile() -> None:
    """As those of workers of the former release, which count attempts without their durations."""
    stat = Stat("One", "a", 10, run_time=SECOND, longest=SECOND)
    assert stat.run_quantile(0.5) is None
    assert stat.wait_quantile(0.5) is None


@pytest.mark.parametrize("milliseconds", [0, 5, 10, 11, 40, 3_000, 2_000_000])
def test_a_worker_counts_how_long_attempts_took_and_jobs_waited(
    clock: ManualClock, milliseconds: int
) -> None:
    adapter = MemoryAdapter(clock=clock)
    stats = Stats(adapter, "worker-1", logging.getLogger())
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 5)])
    [job] = adapter.claim(Claim("w", 1, 1, 1))
    ran = milliseconds * MILLISECOND
    stats.note([Succeeded(job, run_time=ran)] * 2)
    stats.note([Succeeded(replace(job, run_at=job.locked_at - ran))])
    stats.note([Succeeded(replace(job, run_at=job.locked_at + SECOND))])  # its clock was ahead
    stats.flush()
    [found] = adapter.class_stats(timedelta(hours=1))
    none = timedelta(0)
    assert found.ran == Histogram.of([ran, ran, none, none])
    assert found.waited == Histogram.of([none, none, ran, none])


class Away(MemoryAdapter):
    is_away = True

    def add_stats(self, worker_id: str, stats: Sequence[Stat]) -> None:
        if self.is_away:
            raise DatabaseUnavailable("away")
        super().add_stats(worker_id, stats)


def test_no_duration_is_lost_while_the_database_is_away(clock: ManualClock) -> None:
    adapter = Away(clock=clock)
    stats = Stats(adapter, "worker-1", logging.getLogger())
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 5)])
    [job] = adapter.claim(Claim("w", 1, 1, 1))
    stats.note([Succeeded(job, run_time=SECOND)])
    stats.flush()
    stats.note([Succeeded(job, run_time=MILLISECOND)])
    adapter.is_away = False
    stats.flush()
    [found] = adapter.class_stats(timedelta(hours=1))
    assert found.ran == Histogram.of([MILLISECOND, SECOND])
    assert found.waited.total == 2
