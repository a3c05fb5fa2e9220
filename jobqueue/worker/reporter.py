"""Reports the jobs that a turn has settled: to the log, to the counts and to the hooks."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from jobqueue import log
from jobqueue.ends import EndTeller
from jobqueue.hooks import NO_OBSERVERS, Observers
from jobqueue.records import (
    Cancelled,
    ClaimedJob,
    Discarded,
    Failed,
    Outcome,
    Released,
    Rescue,
    Retried,
    Succeeded,
    Turn,
)


@dataclass(slots=True)
class Tally:
    """How many jobs ended in which way."""

    succeeded: int = 0
    retried: int = 0
    failed: int = 0
    discarded: int = 0
    released: int = 0
    rejected: int = 0

    def count(self, outcome: Outcome) -> None:
        """Count an outcome that is not a success."""
        match outcome:
            case Retried():
                self.retried += 1
            case Failed():
                self.failed += 1
            case Discarded():
                self.discarded += 1
            case Released():
                self.released += 1

    @property
    def performed(self) -> int:
        """How many jobs were performed, however they ended."""
        return self.succeeded + self.retried + self.failed + self.discarded


@dataclass(slots=True)
class Reporter:
    """Logs, counts and passes to the hooks what was settled and what was claimed.

    Args:
        logger: where it is logged that a hook failed.
        logger_of: the logger for what concerns a job, by its handler.
        ends: reports jobs that have ended without being performed here.
        observers: the hooks for all jobs.
        count: is called with the outcomes that each turn settled, and those that were rejected.
        tally: the counts.
    """

    logger: logging.Logger
    logger_of: Callable[[str], logging.Logger]
    ends: EndTeller
    observers: Observers = NO_OBSERVERS
    count: Callable[[Sequence[Outcome], Sequence[Outcome]], None] = lambda _settled, _rejected: None
    tally: Tally = field(default_factory=Tally)

    def calls_others(self, handlers: Iterable[str]) -> bool:
        """Whether reporting such jobs calls code of the application: hooks or log handlers."""
        if self.observers.hears_outcomes:
            return True
        return not all(log.is_ours_alone(self.logger_of(handler)) for handler in handlers)

    def report(self, outcomes: Sequence[Outcome], turn: Turn) -> None:
        """Report the outcomes that a turn has settled."""
        outcomes, rejected = as_settled(outcomes, turn.cancelled), turn.rejected
        refused = {outcome.job.id for outcome in rejected}
        succeeded: defaultdict[str, list[Succeeded]] = defaultdict(list)
        for outcome in outcomes:
            if isinstance(outcome, Succeeded) and outcome.job.id not in refused:
                succeeded[outcome.job.handler].append(outcome)
            else:
                self._report_one(outcome, outcome.job.id in refused)
        for handler, several in succeeded.items():
            self.tally.succeeded += len(several)
            log.jobs_succeeded(self.logger_of(handler), several)
        if outcomes:
            self.count(outcomes, rejected)
        if self.observers.hears_outcomes:
            self.observers.tell_outcomes(self.logger, outcomes, rejected)

    def report_freed(self, freed: Rescue) -> None:
        """Report the jobs that this worker gave back and that ended by it."""
        self.ends.tell(freed.ended)

    def report_claimed(self, jobs: Sequence[ClaimedJob]) -> None:
        """Log the jobs that this worker has claimed, at level debug."""
        if self.logger.isEnabledFor(logging.DEBUG):
            for job in jobs:
                log.job_claimed(self.logger_of(job.handler), job)

    def _report_one(self, outcome: Outcome, is_rejected: bool) -> None:
        logger = self.logger_of(outcome.job.handler)
        if is_rejected:
            self.tally.rejected += 1
            log.job_rejected(logger, outcome)
            return
        self.tally.count(outcome)
        if not _is_silent(outcome):
            log.job_settled(logger, outcome)


def as_settled(outcomes: Sequence[Outcome], cancelled: Sequence[Cancelled]) -> Sequence[Outcome]:
    """The outcomes as the database took them: some jobs had been cancelled meanwhile."""
    if not cancelled:
        return outcomes
    instead = {(outcome.job.id, outcome.job.token): outcome for outcome in cancelled}
    return [instead.get((outcome.job.id, outcome.job.token), outcome) for outcome in outcomes]


def _is_silent(outcome: Outcome) -> bool:
    """Whether a prefetched job was given back untouched, which is not worth a line."""
    return isinstance(outcome, Released) and outcome.error is None and not outcome.run_time
