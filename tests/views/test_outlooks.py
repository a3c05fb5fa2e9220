"""Outlooks of queues: what the last minutes say of the ones to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobqueue import MemoryAdapter
from jobqueue.clock import ManualClock
from jobqueue.maintenance.sampler import take_sample
from jobqueue.records import NewJob, QueueDepth, Sample, SampledDepth, Stat
from jobqueue.views.outlooks import (
    Course,
    all_outlooks,
    outlook_json,
    outlook_of,
    outlook_text,
    slope,
)

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def depth(due: int, *, paused: bool = False, more: bool = False) -> QueueDepth:
    return QueueDepth("email", due, 0, 0, timedelta(0), paused=paused, more=more)


def samples(*due: int) -> list[Sample]:
    """Samples of the last minutes; a queue that had nothing to do is not in them."""
    begin = NOON - len(due) * MINUTE
    return [
        Sample(begin + n * MINUTE, (SampledDepth("email", number),) if number else ())
        for n, number in enumerate(due)
    ]


def text_of(now_due: QueueDepth, taken: Sequence[Sample], ended: int = 0) -> str:
    return outlook_text(outlook_of(now_due, taken, ended, NOON), NOON)


def test_the_slope_of_a_line() -> None:
    points = [(NOON + n * MINUTE, number) for n, number in enumerate((10, 12, 14, 16))]
    assert slope(points) == pytest.approx(2.0)
    assert slope([*points[:2], *points[3:]]) == pytest.approx(2.0)
    assert slope(points[:2]) is None
    assert slope([(NOON, 1), (NOON, 2), (NOON, 3)]) is None


def test_a_queue_that_becomes_shorter() -> None:
    outlook = outlook_of(depth(100), samples(200, 180, 160, 140, 120), 150, NOON)
    assert outlook.course is Course.EMPTYING
    assert outlook.growth_per_minute == pytest.approx(-20)
    assert outlook.in_per_minute == pytest.approx(10)
    assert outlook.out_per_minute == 30
    assert outlook.empty_at == NOON + 5 * MINUTE
    at = (NOON + 5 * MINUTE).astimezone().strftime("%H:%M")
    assert outlook_text(outlook, NOON) == f"in 5 min, at {at}"


def test_a_time_of_another_day_has_its_date() -> None:
    text = text_of(depth(5_000), samples(5_004, 5_003, 5_002, 5_001))
    at = (NOON + 5_000 * MINUTE).astimezone().strftime("%d %b %H:%M")
    assert text == f"in 3 d, at {at}"


def test_a_queue_that_becomes_longer() -> None:
    assert text_of(depth(480), samples(0, 120, 240, 360)) == "never, growing by 120 a minute"
    slowly = [replace(one, minute=NOON - (4 - n) * 3 * MINUTE) for n, one in
              enumerate(samples(5, 6, 7, 8))]  # fmt: skip
    assert text_of(depth(9), slowly) == "never, growing by 20 an hour"


@pytest.mark.parametrize(
    ("now_due", "taken", "text"),
    [
        (depth(0), samples(9, 6, 3), "now"),
        (depth(0), [], "now"),
        (depth(5), samples(5, 5, 5), "never, as it stays as it is"),
        (depth(5, paused=True), samples(3, 4, 5), "never, while it is paused"),
        (depth(5), samples(9, 7), "not known yet"),
        (depth(5), [], "not known yet"),
        (depth(10**12), samples(10**12 + 2, 10**12 + 1, 10**12), "never, as it stays as it is"),
    ],
)
def test_courses(now_due: QueueDepth, taken: list[Sample], text: str) -> None:
    outlook = outlook_of(now_due, taken, 0, NOON)
    assert outlook.empty_at is None
    assert outlook_text(outlook, NOON) == text


def test_depths_that_were_not_counted_to_the_end_say_nothing() -> None:
    cut = [
        Sample(one.minute, tuple(replace(d, more=True) for d in one.depths))
        for one in samples(10, 9, 8)
    ]
    outlook = outlook_of(depth(7), cut, 6, NOON)
    assert outlook.course is Course.UNKNOWN
    assert (outlook.in_per_minute, outlook.out_per_minute) == (None, 2)


def test_where_the_depth_is_cut_the_last_sample_counts() -> None:
    """Who shows it may count less far than the sampler."""
    outlook = outlook_of(depth(100, more=True), samples(4_000, 3_000, 2_000), 0, NOON)
    assert outlook.empty_at == NOON + 2 * MINUTE


def test_in_and_out_of_each_queue() -> None:
    clock = ManualClock(NOON)
    adapter = MemoryAdapter(clock=clock)
    for _ in range(5):
        take_sample(adapter)
        adapter.enqueue([NewJob("Work", "{}", "email", 50, 5)] * 30)
        clock.advance(MINUTE)
        adapter.add_stats("w", [Stat("Work", "email", 8, 100, 1, 1), Stat("Work", "other", 77)])
    adapter.pause_queues(["sms"])
    outlooks = all_outlooks(adapter, adapter.queue_depths())
    assert list(outlooks) == ["email", "sms"]
    assert outlook_json(outlooks["email"]) == {
        "course": "growing",
        "in_per_minute": 40.0,
        "out_per_minute": 10.0,
        "growth_per_minute": 30.0,
        "empty_at": None,
    }
    assert outlooks["sms"].course is Course.PAUSED


def test_out_of_a_queue_beyond_the_first_thousand_pairs() -> None:
    clock = ManualClock(NOON)
    adapter = MemoryAdapter(clock=clock)
    adapter.add_stats("w", [Stat(f"Work{n}", "busy", 100) for n in range(1_000)])
    adapter.add_stats("w", [Stat("Work", "email", 30)])
    adapter.enqueue([NewJob("Work", "{}", "email", 50, 5)])
    outlook = all_outlooks(adapter, adapter.queue_depths())["email"]
    assert outlook.out_per_minute == 30 / 15


def test_no_more_than_the_last_quarter_of_an_hour_counts() -> None:
    clock = ManualClock(NOON)
    adapter = MemoryAdapter(clock=clock)
    adapter.add_stats("w", [Stat("Work", "email", 900)])
    adapter.enqueue([NewJob("Work", "{}", "email", 50, 5)] * 30)
    for _ in range(20):
        take_sample(adapter)
        clock.advance(MINUTE)
    [outlook] = all_outlooks(adapter, adapter.queue_depths()).values()
    assert outlook.course is Course.STEADY
    assert (outlook.in_per_minute, outlook.out_per_minute) == (0, 0)
