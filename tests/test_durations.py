"""Durations and ages as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobqueue.durations import duration, from_now

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.0124, "0 s"),
        (0.9994, "1 s"),
        (0.9996, "1 s"),
        (59.94, "60 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (172_799, "48 h"),
        (172_800, "2 d"),
    ],
)
def test_a_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.9, "now"), (-0.9, "now"), (300, "in 5 min"), (-3, "3 s ago"), (-259_200, "3 d ago")],
)
def test_a_time_seen_from_now(seconds: float, shown: str) -> None:
    assert from_now(NOON + timedelta(seconds=seconds), NOON) == shown
