"""The words that log lines share: the title of a job, and durations."""

from __future__ import annotations

from datetime import timedelta

from jobqueue.records import ClaimedJob, JobRecord


def title_of(job: ClaimedJob | JobRecord) -> str:
    """The name and the id of a job: `SendWelcomeEmail #42`."""
    return f"{job.handler} #{job.id}"


def length_of(time: timedelta) -> str:
    """The text of `duration_text`, made faster for short times: a job's line has two of them."""
    if time.seconds or time.days:
        return duration_text(time.total_seconds())
    milliseconds = (time.microseconds + 500) // 1000
    return f"{milliseconds} ms" if milliseconds < 1000 else "1.0 s"


def duration_text(seconds: float) -> str:
    """A duration in the unit that suits it: `13 ms`, `2.5 s`, `3 min`, `4 h`, `5 days`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"
