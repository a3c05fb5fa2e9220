"""What an outcome does to a row: said once, for every adapter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from jobqueue.records import (
    Discarded,
    Failed,
    JobState,
    Outcome,
    Released,
    Retried,
    Succeeded,
)


@dataclass(frozen=True, slots=True)
class Settlement:
    """The change to the row `id`, made only while it is running under `token`.

    A settled row is unlocked. One that becomes ready is due `delay` from now; the others are
    finished. `last_error` takes `error`, or stays as it is when `keeps_error`.
    """

    id: int
    token: int
    state: JobState
    remove: bool = False
    refund: int = 0
    delay: timedelta | None = None
    error: str | None = None
    keeps_error: bool = False
    result: str | None = None


def settlement_of(outcome: Outcome) -> Settlement:
    """What is to be done to the row of a job with this outcome."""
    job_id, token = outcome.job.id, outcome.job.token
    match outcome:
        case Succeeded(keep=keep, result=result):
            return Settlement(job_id, token, JobState.SUCCEEDED, not keep, result=result)
        case Failed(error=error, keep=keep):
            return Settlement(job_id, token, JobState.FAILED, not keep, error=error)
        case Discarded(reason=reason, keep=keep):
            return Settlement(job_id, token, JobState.CANCELLED, not keep, error=reason)
        case Retried(error=error, delay=delay, refund=refund):
            return Settlement(
                job_id, token, JobState.READY, refund=int(refund), delay=delay, error=error
            )
        case Released(error=error, delay=delay):
            return Settlement(
                job_id,
                token,
                JobState.READY,
                refund=1,
                # Untouched work keeps its place in the queue; only a wait moves it.
                delay=delay or None,
                error=error,
                keeps_error=error is None,
            )
    raise TypeError(f"{outcome!r} is no outcome")
