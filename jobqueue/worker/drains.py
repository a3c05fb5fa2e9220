"""Drains: how long a worker lets running jobs end before one that is performed alone.

A job that has crashed before is performed alone. While it is next, no other job starts: this is a
*drain*. If the running jobs take too long, the job is put off, and the drain was for nothing.
"""

from __future__ import annotations

from jobqueue.records import ClaimedJob

FIRST_DRAIN_SECONDS = 5.0
# How much of the time drains take that are for nothing.
SHARE_OF_TIME = 1 / 5
SHARE_OF_REST = SHARE_OF_TIME / (1 - SHARE_OF_TIME)
MOST_JOBS = 100


class Drains:
    """The drains of one worker.

    The longer a job has been put off here, the longer is its next drain. In the end one is long
    enough, whatever the other jobs take. Those that are for nothing take a fifth of the time.

    All moments are seconds of the same timer.
    """

    def __init__(self) -> None:
        self._may_begin_at = float("-inf")
        # By id and attempts: once it has been performed, elsewhere or here, it has had its turn.
        self._put_off_since: dict[tuple[int, int], float] = {}

    def may_begin(self, now: float) -> bool:
        """Whether the last drain that was for nothing is long enough ago."""
        return now >= self._may_begin_at

    def patience_seconds(self, job: ClaimedJob, begun: float) -> float:
        """The seconds after which running jobs are too slow, for a drain that began at `begun`."""
        since = self._put_off_since.get((job.id, job.attempts), begun)
        return max(FIRST_DRAIN_SECONDS, (begun - since) * SHARE_OF_REST)

    def note_put_off(self, job: ClaimedJob, begun: float, now: float) -> None:
        """Remember that a job is put off, whose drain began at `begun` (`now` if none did)."""
        self._put_off_since.setdefault((job.id, job.attempts), now)
        if len(self._put_off_since) > MOST_JOBS:
            del self._put_off_since[next(iter(self._put_off_since))]
        self._may_begin_at = max(self._may_begin_at, now + (now - begun) / SHARE_OF_REST)
