"""Where the two threads of a worker meet.

The pump brings claimed jobs; the performing thread takes them one by one and leaves outcomes,
which the pump carries away all at once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable

from jobqueue.records import ClaimedJob, Outcome


class Handoff:
    """A buffer of claimed jobs one way and of outcomes the other."""

    def __init__(self) -> None:
        # Reentrant, since a signal handler may call `close` on the thread that holds the lock.
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[ClaimedJob] = deque()
        self._outcomes: list[Outcome] = []
        self._performing: ClaimedJob | None = None
        self._performing_since = 0.0
        self._closed = False

    # --- for the thread that performs ------------------------------------------------------------

    def take(self) -> ClaimedJob | None:
        """The next job, waiting for one; None when there will be no more."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            self._performing = self._waiting.popleft()
            self._performing_since = time.monotonic()
            return self._performing

    def finish(self, outcome: Outcome) -> None:
        """Leave the outcome of the job that was taken."""
        with self._changed:
            self._outcomes.append(outcome)
            self._performing = None
            self._changed.notify_all()

    # --- for the pump ----------------------------------------------------------------------------

    def put(self, jobs: Iterable[ClaimedJob]) -> None:
        """Bring claimed jobs, in the order in which they are to be performed."""
        with self._changed:
            self._waiting.extend(jobs)
            self._changed.notify_all()

    def take_outcomes(self) -> list[Outcome]:
        """All outcomes that have piled up."""
        with self._changed:
            outcomes, self._outcomes = self._outcomes, []
            return outcomes

    def add_outcome(self, outcome: Outcome) -> None:
        """Leave the outcome of a job that was never performed."""
        with self._changed:
            self._outcomes.append(outcome)

    def take_back(self) -> list[ClaimedJob]:
        """All jobs that have not been taken."""
        with self._changed:
            jobs = list(self._waiting)
            self._waiting.clear()
            return jobs

    def wait_for_outcome(self, timeout_seconds: float) -> None:
        """Return when there is an outcome or the handoff is closed, or the time is up."""
        with self._changed:
            if not self._outcomes and not self._closed:
                self._changed.wait(timeout_seconds)

    def wait_until_performed(self) -> None:
        """Return when nothing is being performed."""
        with self._changed:
            while self._performing is not None and not self._outcomes:
                self._changed.wait()

    def is_empty(self) -> bool:
        """Whether there is nothing in here: waiting, being performed or to be settled."""
        with self._changed:
            return not (self._waiting or self._performing or self._outcomes)

    def close(self) -> None:
        """No more jobs are to be taken. What is being performed goes on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # --- for both --------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def waiting(self) -> int:
        """How many jobs have not been taken."""
        return len(self._waiting)

    @property
    def performing(self) -> ClaimedJob | None:
        """The job that is being performed, if one is."""
        return self._performing

    @property
    def performing_seconds(self) -> float:
        """How long it has been; 0 when none is."""
        with self._changed:
            return time.monotonic() - self._performing_since if self._performing else 0.0

    def held(self) -> set[tuple[int, int]]:
        """The (id, token) of every job in here, in whichever stage."""
        with self._changed:
            jobs = [*self._waiting, *(outcome.job for outcome in self._outcomes)]
            if self._performing is not None:
                jobs.append(self._performing)
            return {(job.id, job.token) for job in jobs}
