"""Retry policies: the delays that they promise, and the bounds that hold for every one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue import Constant, Exponential, Polynomial, Retry
from jobqueue.retry import LONGEST_POLICY_DELAY, RetryPolicy, delay_before_retry

ERROR = ValueError("boom")
attempts = st.integers(1, 10_000)


def seconds(policy: RetryPolicy, attempt: int) -> float:
    delay = delay_before_retry(policy, attempt, ERROR)
    assert delay is not None
    return delay.total_seconds()


@given(st.integers(1, 27))
def test_the_default_is_attempts_to_the_fourth_with_a_little_added(attempt: int) -> None:
    assert attempt**4 <= seconds(Polynomial(), attempt) <= attempt**4 * 1.1


def test_exponential_doubles() -> None:
    for attempt, expected in enumerate((3, 6, 12, 24, 48), start=1):
        assert expected <= seconds(Exponential(base=3), attempt) <= expected * 1.1


def test_exponential_with_a_factor_and_a_cap() -> None:
    policy = Exponential(base=timedelta(seconds=2), factor=10, cap=timedelta(minutes=1))
    assert 20 <= seconds(policy, 2) <= 22
    assert seconds(policy, 3) == 60


def test_constant_is_exact() -> None:
    assert seconds(Constant(7), 1) == seconds(Constant(timedelta(seconds=7)), 9) == 7


@given(
    attempts, st.sampled_from([Polynomial(), Exponential(), Exponential(base=1e300), Constant(1e9)])
)
def test_no_delay_is_longer_than_a_week(attempt: int, policy: RetryPolicy) -> None:
    assert 0 <= seconds(policy, attempt) <= LONGEST_POLICY_DELAY.total_seconds()


def test_jitter_spreads() -> None:
    assert len({seconds(Polynomial(), 9) for _ in range(20)}) > 10


def test_a_callable_is_a_policy() -> None:
    assert seconds(lambda attempt, error: attempt * 2.0, 4) == 8
    assert seconds(lambda attempt, error: timedelta(minutes=1), 4) == 60
    assert seconds(lambda attempt, error: -5, 1) == 0
    assert seconds(lambda attempt, error: float("inf"), 1) == LONGEST_POLICY_DELAY.total_seconds()
    assert delay_before_retry(lambda attempt, error: None, 1, ERROR) is None
    seen: list[object] = []
    delay_before_retry(lambda attempt, error: seen.append((attempt, error)), 3, ERROR)
    assert seen == [(3, ERROR)]


def test_an_answer_that_is_no_duration_is_an_error() -> None:
    with pytest.raises((TypeError, ValueError)):
        delay_before_retry(lambda attempt, error: float("nan"), 1, ERROR)


def test_retry_takes_seconds_or_a_timedelta() -> None:
    assert Retry(in_=90).delay == Retry(in_=timedelta(seconds=90)).delay == timedelta(seconds=90)
    with pytest.raises(ValueError, match="out of range"):
        Retry(in_=-1)
    with pytest.raises(ValueError, match="out of range"):
        Retry(in_=timedelta.max)
