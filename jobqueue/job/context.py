"""The context of a running job, and its link to the attempt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from jobqueue.adapters.base import Adapter
from jobqueue.records import ClaimedJob
from jobqueue.transactions import TransactionBlock


class OngoingAttempt(Protocol):
    """The attempt that a running job belongs to."""

    claimed: ClaimedJob

    @property
    def adapter(self) -> Adapter | None:
        """The adapter that the job was claimed from."""
        ...

    def report(self, progress: str) -> None:
        """Store how far the job is, as JSON, sooner or later."""
        ...

    def transaction(self, sessions: Callable[[], Any] | None) -> TransactionBlock:
        """A transaction that completes the job."""
        ...

    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled the job. A job that asks is expected to end then."""
        ...


@dataclass(frozen=True, slots=True)
class JobContext:
    """The facts that a running job can know about itself, as `self.context`.

    Args:
        job_id: stable over all attempts, so good as an idempotency key; None in `perform_now`.
        attempt: the number of this attempt, from 1.
        max_attempts: how many there can be.
        queue: the queue that it came from.
        enqueued_at: when it was stored; None in `perform_now`.
        meta: what travels with the job beside its arguments; empty where there is nothing.
    """

    job_id: int | None
    attempt: int
    max_attempts: int
    queue: str
    enqueued_at: datetime | None
    meta: Mapping[str, Any] = field(default_factory=dict)
    _attempt: OngoingAttempt | None = field(default=None, repr=False, compare=False)

    @property
    def cancelled(self) -> bool:
        """Whether somebody has cancelled the job since it began.

        Once it has been True, the job ends cancelled, whether it then returns or raises.
        """
        return self._attempt is not None and self._attempt.is_cancelled()
