"""Retry policies: how long to wait after a failed attempt. `Retry` and `Discard`, which jobs raise.

A policy is anything that can be called as `policy(attempt, error)`. It returns the delay before the
next attempt, as a `timedelta` or a number of seconds. None means "do not try again". `attempt` is
the number of the attempt that has just failed, from 1.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

LONGEST_POLICY_DELAY = timedelta(days=7)
LONGEST_WAIT = timedelta(days=365 * 1000)
DISCARDED = "discarded by the job"
JITTER = 0.1


class RetryPolicy(Protocol):
    """The type of a job class's `retry`.

    It is a protocol and not a `Callable`, since type checkers take a class attribute that is a
    `Callable` for a method. They would refuse every policy for its missing `self`.
    """

    def __call__(self, attempt: int, error: BaseException, /) -> timedelta | float | None:
        """Return the delay before the next attempt, or None for "do not try again"."""
        ...


def as_timedelta(duration: timedelta | float) -> timedelta:
    """Make a `timedelta` of a duration, which may be a number of seconds."""
    return duration if isinstance(duration, timedelta) else timedelta(seconds=duration)


def as_seconds(duration: timedelta | float) -> float:
    """Make seconds of a duration, which may be a `timedelta`. It can be of any length."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


class Retry(Exception):
    """Raise it in `perform` to be run again later without spending an attempt.

    Args:
        in_: how long to wait, as a `timedelta` or a number of seconds; not negative.
    """

    def __init__(self, *, in_: timedelta | float) -> None:
        self.delay = as_timedelta(in_)
        if not timedelta(0) <= self.delay <= LONGEST_WAIT:
            raise ValueError(f"Retry(in_={in_!r}) is out of range; give 0 or more seconds")
        super().__init__(f"to be run again in {self.delay.total_seconds():g} s")


class Discard(Exception):
    """Raise it in `perform` to end the job as `cancelled`.

    Args:
        reason: why; it becomes the job's `last_error`.
    """

    def __init__(self, reason: str = DISCARDED) -> None:
        super().__init__(reason)
        self.reason = reason


def delay_before_retry(policy: RetryPolicy, attempt: int, error: BaseException) -> timedelta | None:
    """Ask a policy for its delay, and keep it between nothing and 7 days.

    Raises:
        TypeError, ValueError: the policy returned something that is no duration.
    """
    answer = policy(attempt, error)
    if answer is None:
        return None
    seconds = as_seconds(answer)
    if math.isnan(seconds):
        raise ValueError(f"the retry policy {policy!r} answered {answer!r}, which is no duration")
    return timedelta(seconds=min(max(seconds, 0.0), LONGEST_POLICY_DELAY.total_seconds()))


@dataclass(frozen=True, slots=True)
class Polynomial:
    """A policy that waits `attempt ** power` seconds: 1 s, 16 s, 81 s, … with the default power, 4.

    This is the default policy, with the curve that Delayed Job and Redwood Jobs use. Up to a tenth
    is added at random, so that jobs that failed together do not come back together.

    Args:
        power: the exponent.
        cap: the longest delay, as a `timedelta` or seconds; 7 days by default.
        attempts: `max_attempts` for classes that do not set their own.
    """

    power: float = 4
    cap: timedelta | float = LONGEST_POLICY_DELAY
    attempts: int | None = None

    def __call__(self, attempt: int, error: BaseException) -> timedelta:  # noqa: ARG002
        return _capped(lambda: attempt**self.power, self.cap)


@dataclass(frozen=True, slots=True)
class Exponential:
    """A policy that waits `base` seconds, then doubles it: 3 s, 6 s, 12 s, … with `base=3`.

    Args:
        base: the first delay, as a `timedelta` or seconds.
        factor: what each delay is multiplied by to give the next.
        cap: the longest delay, as a `timedelta` or seconds; 7 days by default.
        attempts: `max_attempts` for classes that do not set their own.
    """

    base: timedelta | float = 1
    factor: float = 2
    cap: timedelta | float = LONGEST_POLICY_DELAY
    attempts: int | None = None

    def __call__(self, attempt: int, error: BaseException) -> timedelta:  # noqa: ARG002
        first = as_seconds(self.base)
        return _capped(lambda: first * self.factor ** (attempt - 1), self.cap)


@dataclass(frozen=True, slots=True)
class Constant:
    """A policy that waits the same time after every failure, exactly.

    Args:
        delay: as a `timedelta` or seconds.
        attempts: `max_attempts` for classes that do not set their own.
    """

    delay: timedelta | float
    attempts: int | None = None

    def __call__(self, attempt: int, error: BaseException) -> timedelta | float:  # noqa: ARG002
        return self.delay


def _capped(seconds: Callable[[], float], cap: timedelta | float) -> timedelta:
    longest = min(as_seconds(cap), LONGEST_POLICY_DELAY.total_seconds())
    try:
        delay = min(float(seconds()), longest)
    except OverflowError:
        delay = longest
    jittered = delay * (1 + random.uniform(0, JITTER))  # noqa: S311 - spreads load, hides nothing
    return timedelta(seconds=min(jittered, longest))


POLICIES = (Polynomial, Exponential, Constant)
"""The policies of this module, which may be asked at any time: they only calculate."""
DEFAULT_RETRY = Polynomial()
