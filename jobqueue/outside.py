"""The data that travels to those who look at jobs from outside, and back. All of it is frozen.

Counts are capped and pages may be short, so that what reads them costs the same however many jobs
there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from jobqueue.records import JobRecord

J_co = TypeVar("J_co", bound=JobRecord, covariant=True)

KEY_LIFETIME = timedelta(hours=24)
STATS_LIFETIME = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Page(Generic[J_co]):
    """Some of the jobs that match a filter, the newest first.

    Args:
        jobs: they may be fewer than were asked for, even none, although more follow: only so many
            rows are looked at for one page.
        next_before_id: the `before_id` of the next page; None when this is the last.
    """

    jobs: Sequence[J_co]
    next_before_id: int | None


@dataclass(frozen=True, slots=True)
class Count:
    """How many there are; `more` when that is only what was counted before counting stopped."""

    number: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class UsedKey:
    """An idempotency key, and what is asked with it.

    Args:
        key: unique among all who ask.
        fingerprint: of what is asked. It has to be the same whenever the key is used.
        lifetime: how long the key is remembered.
    """

    key: str
    fingerprint: str
    lifetime: timedelta = KEY_LIFETIME


@dataclass(frozen=True, slots=True)
class EnqueuedOnce(Generic[J_co]):
    """What came of enqueueing a job under an idempotency key.

    Args:
        job_id: of the job that the key made, now or before.
        job: as it is now; None when its row is gone.
        is_new: whether it was made now.
        fingerprint: of what was asked when it was made.
        made_at: when that was.
    """

    job_id: int
    job: J_co | None
    is_new: bool
    fingerprint: str
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Stat:
    """What became of the jobs of a class in a queue, over some time.

    Args:
        handler: the name in their rows.
        queue: where they were claimed from.
        succeeded: how many did.
        retried: how many attempts failed and are followed by another.
        failed: how many did, with no attempt left.
        cancelled: how many ended so, by themselves or by others.
        run_time: how long all of these attempts took together.
        longest: how long the longest of them took.
        wait_time: how long all of them together had been due before they were claimed.
    """

    handler: str
    queue: str
    succeeded: int = 0
    retried: int = 0
    failed: int = 0
    cancelled: int = 0
    run_time: timedelta = timedelta(0)
    longest: timedelta = timedelta(0)
    wait_time: timedelta = timedelta(0)

    @property
    def attempts(self) -> int:
        """How many attempts ended."""
        return self.succeeded + self.retried + self.failed + self.cancelled

    def plus(self, other: Stat) -> Stat:
        """Both in one, of the same class and queue as this."""
        return replace(
            self,
            succeeded=self.succeeded + other.succeeded,
            retried=self.retried + other.retried,
            failed=self.failed + other.failed,
            cancelled=self.cancelled + other.cancelled,
            run_time=self.run_time + other.run_time,
            longest=max(self.longest, other.longest),
            wait_time=self.wait_time + other.wait_time,
        )


@dataclass(frozen=True, slots=True)
class StatOfMinute:
    """The stat of a class and a queue, of all workers, in the minute that began at `minute`."""

    minute: datetime
    stat: Stat


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A bearer token as its row in `background_tokens` has it. Its secret is nowhere stored.

    Args:
        id: the part of it that is no secret.
        name: what it is for.
        scopes: what it allows.
        secret_hash: SHA-256 of its secret part, in hexadecimal digits.
        created_at: when it was made.
        expires_at: from when on it is of no use; None for never.
        revoked_at: when it was revoked; None when it was not.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    secret_hash: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ailment:
    """Something in a database that hurts its queue.

    Args:
        kind: what it is, in words that do not change: `idle_in_transaction`, `invalid_index`.
        what: it, in a sentence.
        remedy: what to do about it, with the command.
    """

    kind: str
    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Health:
    """How a database is.

    Args:
        facts: what was measured, by name; nothing where there is nothing to know.
        ailments: what is to be mended, the worst first.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    ailments: Sequence[Ailment] = ()
