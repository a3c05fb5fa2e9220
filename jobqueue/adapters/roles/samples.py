"""Samples: the depths of queues, by the minute."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from jobqueue.records import QueueDepth, Sample


class SamplesRole(Protocol):
    """The role that keeps the depths of queues, by the minute."""

    def begin_sample(self) -> datetime | None:
        """Return the minute, if nobody has begun its sample; the caller is to store it then.

        Of all processes that call it in one minute, one is told so.
        """
        ...

    def store_sample(self, minute: datetime, depths: Sequence[QueueDepth]) -> None:
        """Store the depths of all queues at a minute. A sample that is not stored is not there."""
        ...

    def samples(
        self,
        period: timedelta,
        queue: str | None = None,
        every: int = 1,
        until: timedelta = timedelta(0),
    ) -> list[Sample]:
        """Return the samples of a period, the latest last.

        Args:
            period: how long it is.
            queue: the depths of this queue only, if one is given.
            every: only the minutes whose number since 1970 this divides.
            until: how long ago the period ends.
        """
        ...

    def prune_samples(self, age: timedelta, limit: int) -> int:
        """Remove depths that are older than `age`, at most `limit`; return how many rows."""
        ...
