"""The reporter of jobs that a turn has settled: to the log, to the counts and to the hooks."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from jobqueue import log
from jobqueue.ends import EndReporter
from jobqueue.hooks import NO_OBSERVERS, Observers
from jobqueue.records import (
    ClaimedJob,
    Discarded,
    ErrorGroup,
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
    """The numbers of jobs that ended in each way."""

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
    """A reporter of settled and claimed jobs: it logs, counts, and calls hooks.

    Args:
        logger: where it is logged that a hook failed.
        logger_of: the logger for what concerns a job, by its handler.
        ends: reports jobs that have ended without being performed here.
        observers: the hooks for all jobs.
        count: is called with the outcomes that each turn has settled.
        tally: the counts.
        count_error: is called with the group, the text and the job of each error that an attempt
            ended with.
        restore_log: is called before something is logged that jobs have done.
    """

    logger: logging.Logger
    logger_of: Callable[[str], logging.Logger]
    ends: EndReporter
    observers: Observers = NO_OBSERVERS
    count: Callable[[Sequence[Outcome]], None] = lambda _settled: None
    tally: Tally = field(default_factory=Tally)
    count_error: Callable[[ErrorGroup, str, int], None] = lambda _group, _error, _job_id: None
    restore_log: Callable[[], None] = lambda: None

    def calls_others(self, handlers: Iterable[str]) -> bool:
        """Whether reports of these handlers call code of the application: hooks or log handlers."""
        if self.observers.has_outcome_hooks:
            return True
        return not all(log.is_ours_alone(self.logger_of(handler)) for handler in handlers)

    def report(self, outcomes: Sequence[Outcome], turn: Turn) -> None:
        """Report the outcomes that a turn has settled, and log those that it did not."""
        if outcomes:
            self.restore_log()
        for outcome in turn.rejected:
            self.tally.rejected += 1
            log.job_rejected(self.logger_of(outcome.job.handler), outcome)
        self.ends.report(turn.set_aside)
        for outcome in turn.locked:
            log.settle_waits(self.logger_of(outcome.job.handler), outcome)
        settled = as_settled(outcomes, turn)
        succeeded: defaultdict[str, list[Succeeded]] = defaultdict(list)
        for outcome in settled:
            if isinstance(outcome, Succeeded):
                succeeded[outcome.job.handler].append(outcome)
            else:
                self._report_one(outcome)
        for handler, several in succeeded.items():
            self.tally.succeeded += len(several)
            log.jobs_succeeded(self.logger_of(handler), several)
        if settled:
            self.count(settled)
        if self.observers.has_outcome_hooks:
            self.observers.call_for_outcomes(self.logger, settled)

    def report_lost(self, outcomes: Sequence[Outcome]) -> None:
        """Log the outcomes that this worker could not store before it ended."""
        for outcome in outcomes:
            log.outcome_lost(self.logger_of(outcome.job.handler), outcome)

    def report_freed(self, freed: Rescue) -> None:
        """Report the jobs that this worker gave back and that ended by it."""
        self.ends.report(freed.ended)

    def report_claimed(self, jobs: Sequence[ClaimedJob]) -> None:
        """Log the jobs that this worker has claimed, at level debug."""
        if self.logger.isEnabledFor(logging.DEBUG):
            for job in jobs:
                log.job_claimed(self.logger_of(job.handler), job)

    def _report_one(self, outcome: Outcome) -> None:
        self.tally.count(outcome)
        if isinstance(outcome, Retried | Failed) and outcome.error_group is not None:
            self.count_error(outcome.error_group, outcome.error, outcome.job.id)
        if not _is_silent(outcome):
            log.job_settled(self.logger_of(outcome.job.handler), outcome)


def as_settled(outcomes: Sequence[Outcome], turn: Turn) -> Sequence[Outcome]:
    """The outcomes as a turn has settled them: without those that it rejected, or that wait.

    Some jobs had been cancelled meanwhile, and ended so instead. Two attempts of one job may have
    ended in the same turn, if the worker had lost the job and claimed it again. Their tokens tell
    them apart.
    """
    if not turn.rejected and not turn.cancelled and not turn.locked:
        return outcomes
    others = {_pair(outcome) for outcome in (*turn.rejected, *turn.locked)}
    cancelled = {_pair(outcome): outcome for outcome in turn.cancelled}
    settled = [outcome for outcome in outcomes if _pair(outcome) not in others]
    return [cancelled.get(_pair(outcome), outcome) for outcome in settled]


def _pair(outcome: Outcome) -> tuple[int, int]:
    return outcome.job.id, outcome.job.token


def _is_silent(outcome: Outcome) -> bool:
    """Whether a prefetched job was given back untouched, which is not worth a line."""
    return isinstance(outcome, Released) and outcome.error is None and not outcome.run_time
