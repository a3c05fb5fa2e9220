"""Events of jobs that end without being performed: in the log, and to the hooks.

Whoever ends a job tells of it, once, when it is in the database: who cancels or deletes it, and who
frees the jobs of a worker that is gone. A worker tells of the jobs that it has performed itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jobqueue import log
from jobqueue.hooks import Observers
from jobqueue.records import FINISHED_STATES, JobRecord, JobState
from jobqueue.registry import Registry, registry
from jobqueue.sinks import default_sinks


def logger_of(known: Registry, default: logging.Logger, handler: str) -> logging.Logger:
    """The logger of a job: that of its class, if it has one of its own, and else `default`."""
    job_class = known.find(handler)
    return default if job_class is None else _preferred(job_class.logger, default)


def _preferred(of_class: logging.Logger, default: logging.Logger) -> logging.Logger:
    # A class without a logger of its own has the configured one; `default` comes before that.
    return default if of_class is default_sinks.logger else of_class


@dataclass(frozen=True, slots=True)
class EndReporter:
    """A reporter of jobs that have ended, to the log and to the hooks.

    Args:
        logger: for jobs whose class has none of its own, and for hooks that fail.
        observers: the hooks for all jobs.
        registry: the classes that are known here.
    """

    logger: logging.Logger
    observers: Observers
    registry: Registry = registry

    def reaches_anybody(self, event: str) -> bool:
        """Whether an event at level info reaches a hook or a log handler.

        If it reaches none, the jobs need not be read.
        """
        return self.observers.has(event) or any(map(log.is_logged, self._loggers()))

    def report(self, jobs: Iterable[JobRecord]) -> None:
        """Report jobs that have failed or were cancelled."""
        for job in jobs:
            self.log([job])
            self.call_hooks(job)

    def report_deleted(self, jobs: Iterable[JobRecord], reason: str) -> None:
        """Report jobs whose rows were removed, except those that had ended before."""
        for job in jobs:
            if job.state not in FINISHED_STATES:
                log.job_deleted(self._logger_of(job), job, reason)
                self.observers.call(self.logger, "job_deleted", job, reason)

    def log(self, jobs: Iterable[JobRecord]) -> None:
        """Log that jobs have failed or were cancelled."""
        for job in jobs:
            log.job_ended(self._logger_of(job), job)

    def call_hooks(self, job: JobRecord) -> None:
        """Call the hooks for a job that has failed or was cancelled."""
        event = "job_failed" if job.state is JobState.FAILED else "job_cancelled"
        self.observers.call(self.logger, event, job, job.last_error or "")

    def _loggers(self) -> Iterator[logging.Logger]:
        yield self.logger
        for job_class in self.registry.classes():
            yield _preferred(job_class.logger, self.logger)

    def _logger_of(self, job: JobRecord) -> logging.Logger:
        return logger_of(self.registry, self.logger, job.handler)


def usual_ends() -> EndReporter:
    """A reporter to the logger and the hooks that are configured."""
    return EndReporter(default_sinks.logger, default_sinks.observers)
