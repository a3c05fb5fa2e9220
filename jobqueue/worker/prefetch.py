"""The number of jobs that a worker prefetches: by time, not by count.

A worker claims as many jobs ahead as run in a fraction of a second, judged by the durations just
seen. So long jobs are claimed one at a time and short ones by the hundred, and few jobs ever wait
behind a slow one.
"""

from __future__ import annotations

from jobqueue.worker.handoff import Spent

AHEAD_SECONDS = 0.25
MOST_JOBS = 2000
MOST_BYTES = 16 * 1024 * 1024
NEWEST_WEIGHT = 0.3


class Prefetch:
    """The average of how long jobs took lately, and the number of jobs to hold by it."""

    def __init__(self) -> None:
        self._seconds_per_job: float | None = None
        self._bytes_per_job = 0.0

    def note_spent(self, spent: Spent) -> None:
        """Learn how long jobs took, with hooks and all that is done around them."""
        if not spent.jobs:
            return
        seconds = spent.seconds / spent.jobs
        if self._seconds_per_job is None:
            self._seconds_per_job = seconds
        else:
            self._seconds_per_job += NEWEST_WEIGHT * (seconds - self._seconds_per_job)

    def note_claimed(self, jobs: int, args_bytes: int) -> None:
        """Learn how large the arguments of jobs are."""
        if jobs:
            self._bytes_per_job += NEWEST_WEIGHT * (args_bytes / jobs - self._bytes_per_job)

    def jobs_to_hold(self, slots: int) -> int:
        """How many jobs to hold for so many slots, including those being performed."""
        if self._seconds_per_job is None:
            return slots
        by_time = int(AHEAD_SECONDS * slots / max(self._seconds_per_job, AHEAD_SECONDS / MOST_JOBS))
        by_size = int(MOST_BYTES / max(self._bytes_per_job, 1.0))
        return max(slots, min(by_time, by_size, MOST_JOBS))

    def bytes_to_claim(self, held: int) -> int:
        """How large the arguments of the next claim may be, beside so many bytes that wait.

        The next jobs may be larger than those before them, so the claim itself has to measure them.
        """
        return max(MOST_BYTES - held, 0)
