"""Attempts that did not succeed, which stay with their job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

MOST_ATTEMPTS_KEPT = 20
"""How many attempts of a job are kept: the first one, and the newest."""
ATTEMPTS_LIFETIME = timedelta(days=7)


class AttemptOutcome(StrEnum):
    """The way in which an attempt ended that did not succeed."""

    FAILED = "failed"
    """`perform` raised an error, or could not be called."""
    TIMED_OUT = "timed_out"
    """It took longer than its `max_runtime`."""
    CRASHED = "crashed"
    """Its process died."""
    LOST = "lost"
    """Its worker was heard of no more: its machine or its connection was gone."""
    CANCELLED = "cancelled"
    """Somebody cancelled the job while it ran."""
    DISCARDED = "discarded"
    """The job discarded itself."""
    RETRY_ASKED = "retry_asked"
    """The job asked to be tried again, by raising `Retry`."""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An attempt as its row in `background_attempts` has it.

    Args:
        job_id: the job.
        number: the number of the attempt, from 1. One that asked to be tried again does not count,
            so the next one has the same number.
        worker_id: the worker that performed it.
        started_at: when it began; for one that ended with its process, when it was claimed.
        ended_at: when it was settled, or its worker found gone.
        outcome: how it ended.
        error: the error, with its traceback, or the reason.
        error_key: the key of the error's group.
    """

    job_id: int
    number: int
    worker_id: str | None
    started_at: datetime | None
    ended_at: datetime
    outcome: AttemptOutcome
    error: str | None = None
    error_key: str | None = None
