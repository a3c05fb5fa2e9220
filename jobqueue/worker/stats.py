"""Statistics of a worker's attempts, added up and stored about once a minute.

The pump only adds up: one call a turn. A service stores the sums, in a transaction of its own. Sums
that the database does not take now are part of what it is given a minute later.
"""

from __future__ import annotations

import logging
import random
import threading
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from jobqueue import log
from jobqueue.adapters.roles.stats import StatsRole
from jobqueue.background import Service
from jobqueue.errors import DatabaseUnavailable
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

FLUSH_SECONDS = 60.0
STOP_SECONDS = 5.0


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
        self._lock = threading.Lock()
        self._sums: dict[tuple[str, str], Sum] = {}
        self._service = Service(
            "jobqueue-stats",
            self._step,
            logger,
            on_trouble=partial(log.stats_troubled, logger),
            retry_seconds=FLUSH_SECONDS,
            until=lambda: True,
        )

    def note(self, settled: Sequence[Outcome]) -> None:
        """Count the outcomes that a turn has settled. It does not wait for the database."""
        with self._lock:
            sums = self._sums
            for outcome in settled:
                if isinstance(outcome, Released):
                    continue
                key = (outcome.job.handler, outcome.job.queue)
                known = sums.get(key)
                if known is None:
                    known = sums[key] = Sum()
                known.add(outcome)

    def start(self) -> None:
        """Begin to store the sums about once a minute."""
        self._service.start()

    def stop(self) -> None:
        """Store the sums that are left. A database that does not answer is not waited for."""
        self._service.stop(STOP_SECONDS)

    def flush(self) -> None:
        """Store the sums now. When the database is unavailable, they are kept for the next time."""
        self._service.run_step()

    def _step(self) -> float:
        with self._lock:
            taken, self._sums = self._sums, {}
        if taken:
            self._store(taken)
        return FLUSH_SECONDS * random.uniform(0.9, 1.0)  # noqa: S311 - spreads load

    def _store(self, taken: dict[tuple[str, str], Sum]) -> None:
        stats = [taken[key].stat(*key) for key in sorted(taken)]
        try:
            self._adapter.add_stats(self._worker_id, stats)
        except DatabaseUnavailable:
            self._put_back(taken)
            raise

    def _put_back(self, taken: dict[tuple[str, str], Sum]) -> None:
        with self._lock:
            for key, before in taken.items():
                self._sums.setdefault(key, Sum()).merge(before)
