"""Statistics of a worker's attempts, added up and stored about once a minute.

The pump only adds up: one call a turn.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from jobqueue import log
from jobqueue.adapters.roles.stats import StatsRole
from jobqueue.maintenance.sums import Sums
from jobqueue.records import (
    BUCKET_BOUNDS,
    NO_DELAY,
    NUMBER_OF_BUCKETS,
    SHORTEST_BOUND,
    Discarded,
    Failed,
    Histogram,
    Outcome,
    Released,
    Retried,
    Stat,
    Succeeded,
    sum_of,
)

ClassInQueue = tuple[str, str]
"""The name of a class, and that of a queue."""


def _no_counts() -> list[int]:
    return [0] * NUMBER_OF_BUCKETS


@dataclass(slots=True)
class Sum:
    """The sums of one class in one queue."""

    succeeded: int = 0
    retried: int = 0
    failed: int = 0
    cancelled: int = 0
    run_time: timedelta = NO_DELAY
    longest: timedelta = NO_DELAY
    wait_time: timedelta = NO_DELAY
    ran: list[int] = field(default_factory=_no_counts)
    waited: list[int] = field(default_factory=_no_counts)

    def add(self, outcome: Outcome) -> None:
        """Count an attempt. This is called for every job: a call saved is worth a line."""
        run_time, job = outcome.run_time, outcome.job
        if type(outcome) is Succeeded:
            self.succeeded += 1
        else:
            self._count(outcome)
        self.run_time += run_time
        wait_time = job.locked_at - job.run_at  # as `ClaimedJob.wait_time`, without a call
        if wait_time.days < 0:
            wait_time = NO_DELAY
        try:
            self.wait_time += wait_time
        except OverflowError:  # a call of `sum_of` would cost more than the sum
            self.wait_time = timedelta.max
        if run_time > self.longest:  # noqa: PLR1730 - `max` takes three times as long
            self.longest = run_time
        # Where many jobs are performed, each is short.
        self.ran[0 if run_time <= SHORTEST_BOUND else bisect_left(BUCKET_BOUNDS, run_time)] += 1
        self.waited[bisect_left(BUCKET_BOUNDS, wait_time)] += 1

    def _count(self, outcome: Outcome) -> None:
        match outcome:
            case Succeeded():
                self.succeeded += 1
            case Retried():
                self.retried += 1
            case Failed():
                self.failed += 1
            case Discarded():
                self.cancelled += 1

    def stat(self, handler: str, queue: str) -> Stat:
        """Return the sums as they are stored."""
        return Stat(
            handler,
            queue,
            self.succeeded,
            self.retried,
            self.failed,
            self.cancelled,
            self.run_time,
            self.longest,
            self.wait_time,
            Histogram(tuple(self.ran)),
            Histogram(tuple(self.waited)),
        )

    def merge(self, other: Sum) -> None:
        """Add other sums of the same class and queue."""
        self.succeeded += other.succeeded
        self.retried += other.retried
        self.failed += other.failed
        self.cancelled += other.cancelled
        self.run_time = sum_of(self.run_time, other.run_time)
        self.wait_time = sum_of(self.wait_time, other.wait_time)
        self.longest = max(self.longest, other.longest)
        self.ran = list(map(int.__add__, self.ran, other.ran))
        self.waited = list(map(int.__add__, self.waited, other.waited))


class Stats:
    """A service that adds up how attempts end, and stores the sums about once a minute.

    Args:
        adapter: where the sums are stored.
        worker_id: the worker whose attempts they are.
        logger: where it is logged that the database refuses them.
    """

    def __init__(self, adapter: StatsRole, worker_id: str, logger: logging.Logger) -> None:
        self._adapter = adapter
        self._worker_id = worker_id
        self._sums: Sums[ClassInQueue, Sum] = Sums(
            "jobqueue-stats",
            self._store,
            self._merge,
            logger,
            on_trouble=partial(log.stats_troubled, logger),
        )

    def note(self, settled: Sequence[Outcome]) -> None:
        """Count the outcomes that a turn has settled. It does not wait for the database."""
        with self._sums.lock:
            sums = self._sums.kept
            handler, queue, known = "", "", Sum()
            for outcome in settled:
                if isinstance(outcome, Released):
                    continue
                job = outcome.job
                # Mostly it is as the one before, which is found faster than by a key of both.
                if job.handler != handler or job.queue != queue:
                    handler, queue = job.handler, job.queue
                    known = sums.get((handler, queue)) or Sum()
                    sums[handler, queue] = known
                known.add(outcome)

    def start(self) -> None:
        """Begin to store the sums about once a minute."""
        self._sums.start()

    def stop(self) -> None:
        """Store the sums that are left. A database that does not answer is not waited for."""
        self._sums.stop()

    def flush(self) -> None:
        """Store the sums now. When the database is unavailable, they are kept for the next time."""
        self._sums.flush()

    def _store(self, taken: Mapping[ClassInQueue, Sum]) -> Collection[ClassInQueue]:
        stats = [taken[key].stat(*key) for key in sorted(taken)]
        self._adapter.add_stats(self._worker_id, stats)
        return ()

    def _merge(self, key: ClassInQueue, before: Sum) -> None:
        self._sums.kept.setdefault(key, Sum()).merge(before)
