"""What becomes of a worker's attempts, added up and stored about once a minute.

The pump only adds up: a call a turn. Storing is done by a thread, in a transaction of its own, and
what the database does not take now is part of what it is given a minute later.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.records import (
    NO_DELAY,
    Discarded,
    Failed,
    Outcome,
    Released,
    Retried,
    Stat,
    Succeeded,
)

FLUSH_SECONDS = 60.0
STOP_SECONDS = 5.0


@dataclass(slots=True)
class Sum:
    """What has been added up of a class in a queue."""

    succeeded: int = 0
    retried: int = 0
    failed: int = 0
    cancelled: int = 0
    run_time: timedelta = NO_DELAY
    longest: timedelta = NO_DELAY
    wait_time: timedelta = NO_DELAY

    def add(self, outcome: Outcome) -> None:
        """Count an attempt."""
        run_time = outcome.run_time
        if type(outcome) is Succeeded:
            self.succeeded += 1
        else:
            self._count(outcome)
        self.run_time += run_time
        self.wait_time += outcome.job.wait_time
        if run_time > self.longest:  # noqa: PLR1730 - `max` takes three times as long
            self.longest = run_time

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
        """As it is stored."""
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
        )

    def merge(self, other: Sum) -> None:
        """Add what was added up before."""
        self.succeeded += other.succeeded
        self.retried += other.retried
        self.failed += other.failed
        self.cancelled += other.cancelled
        self.run_time += other.run_time
        self.wait_time += other.wait_time
        self.longest = max(self.longest, other.longest)


class Stats:
    """Adds up what becomes of attempts, and stores it now and then.

    Args:
        adapter: where to.
        worker_id: the worker whose attempts they are.
        logger: where it says what went wrong.
    """

    def __init__(self, adapter: Adapter, worker_id: str, logger: logging.Logger) -> None:
        self._adapter = adapter
        self._worker_id = worker_id
        self._logger = logger
        self._lock = threading.Lock()
        self._sums: dict[tuple[str, str], Sum] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobqueue-stats", daemon=True)

    def note(self, outcomes: Sequence[Outcome], rejected: Collection[Outcome]) -> None:
        """Count what a turn has settled. Cheap, and does not wait for the database."""
        refused = {id(outcome) for outcome in rejected} if rejected else ()
        with self._lock:
            sums = self._sums
            for outcome in outcomes:
                if isinstance(outcome, Released) or id(outcome) in refused:
                    continue
                key = (outcome.job.handler, outcome.job.queue)
                known = sums.get(key)
                if known is None:
                    known = sums[key] = Sum()
                known.add(outcome)

    def start(self) -> None:
        """Begin to store now and then."""
        self._thread.start()

    def stop(self) -> None:
        """Store what is left, but do not wait for a database that does not answer."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def flush(self) -> None:
        """Store what has been added up; keep it when the database does not let it."""
        with self._lock:
            taken, self._sums = self._sums, {}
        if not taken:
            return
        stats = [taken[key].stat(*key) for key in sorted(taken)]
        try:
            self._adapter.add_stats(self._worker_id, stats)
        except DatabaseUnavailable:
            self._put_back(taken)  # the worker waits for it as well, and says so
        except DatabaseError as error:
            log.stats_troubled(self._logger, error)

    def _put_back(self, taken: dict[tuple[str, str], Sum]) -> None:
        with self._lock:
            for key, before in taken.items():
                self._sums.setdefault(key, Sum()).merge(before)

    def _run(self) -> None:
        while not self._stopped.wait(FLUSH_SECONDS * random.uniform(0.9, 1.0)):  # noqa: S311
            self.flush()
        self.flush()
