"""The timeline of a job: its attempts, as far as they are known, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobqueue.records import AttemptRecord, JobRecord, JobState

PERFORMING = "running"


@dataclass(frozen=True, slots=True)
class TimelineStep:
    """An attempt at a job.

    Args:
        number: its number, from 1.
        outcome: how it ended; `running` while it does.
        worker_id: the worker that performed it, if that is known.
        started_at: when it began, if that is known.
        ended_at: when it ended; None while it runs.
        took: how long it took; while it runs, how long it has taken so far.
        error: its error or its reason, if it has one.
        error_key: the key of the error's group.
    """

    number: int
    outcome: str
    worker_id: str | None
    started_at: datetime | None
    ended_at: datetime | None
    took: timedelta | None
    error: str | None = None
    error_key: str | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """The attempts at a job.

    Args:
        steps: the attempts that are known, the first one first.
        missing: how many others there were; only the first and the newest that failed are kept.
    """

    steps: tuple[TimelineStep, ...]
    missing: int


def timeline_of(record: JobRecord, noted: Sequence[AttemptRecord], now: datetime) -> Timeline:
    """Return the timeline of a job.

    Args:
        record: its row.
        noted: its attempts that did not succeed.
        now: the time by the clock that its times are of.
    """
    steps = [_noted_step(attempt) for attempt in noted]
    if record.state is JobState.SUCCEEDED:
        steps.append(_last_step(record))
    elif record.state is JobState.RUNNING:
        steps.append(_running_step(record, now))
    known = {step.number for step in steps}
    return Timeline(tuple(steps), max(0, record.attempts - len(known)))


def _noted_step(attempt: AttemptRecord) -> TimelineStep:
    return TimelineStep(
        attempt.number,
        attempt.outcome.value,
        attempt.worker_id,
        attempt.started_at,
        attempt.ended_at,
        None if attempt.started_at is None else _since(attempt.started_at, attempt.ended_at),
        attempt.error,
        attempt.error_key,
    )


def _last_step(record: JobRecord) -> TimelineStep:
    return TimelineStep(
        record.attempts,
        record.state.value,
        record.performed_by,
        record.started_at,
        record.finished_at,
        record.run_time,
    )


def _running_step(record: JobRecord, now: datetime) -> TimelineStep:
    took = None if record.locked_at is None else _since(record.locked_at, now)
    return TimelineStep(
        max(record.attempts, 1), PERFORMING, record.locked_by, record.locked_at, None, took
    )


def _since(first: datetime, last: datetime) -> timedelta:
    return max(last - first, timedelta(0))
