"""Telling of jobs that are ended by somebody who does not perform them: in the log, to the hooks.

Whoever ends a job tells of it, once, when it is in the database: who cancels or deletes it, and who
frees the jobs of a worker that is gone. What a worker has performed it tells itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.defaults import default_configuration
from jobqueue.hooks import Observers
from jobqueue.job import Registry, registry
from jobqueue.records import FINISHED_STATES, UNFINISHED_STATES, JobFilter, JobRecord, JobState

BATCH = 200


def logger_of(known: Registry, default: logging.Logger, handler: str) -> logging.Logger:
    """The logger for what concerns a job: that of its class, if it has one of its own."""
    job_class = known.find(handler)
    logger = default if job_class is None else job_class.logger
    # A class without a logger of its own has the default one; the one given comes before that.
    return default if logger is default_configuration.logger else logger


@dataclass(frozen=True, slots=True)
class EndTeller:
    """Tells of jobs that have ended.

    Args:
        logger: for jobs whose class has none of its own, and for what goes wrong with a hook.
        observers: the hooks for all jobs.
        registry: the classes that are known here.
    """

    logger: logging.Logger
    observers: Observers
    registry: Registry = registry

    def is_heard(self, event: str) -> bool:
        """Whether anybody would hear of an event that is logged at level info.

        Where nobody does, the jobs need not be read.
        """
        return self.observers.hears(event) or any(map(log.is_heard, self._loggers()))

    def tell(self, jobs: Iterable[JobRecord]) -> None:
        """Tell of jobs that have failed or were cancelled."""
        for job in jobs:
            self.log([job])
            self.call_hooks(job)

    def tell_deleted(self, jobs: Iterable[JobRecord], reason: str) -> None:
        """Tell of jobs whose rows were removed, but for those that had ended before."""
        for job in jobs:
            if job.state not in FINISHED_STATES:
                log.job_deleted(self._logger_of(job), job, reason)
                self.observers.tell(self.logger, "job_deleted", job, reason)

    def log(self, jobs: Iterable[JobRecord]) -> None:
        """Tell the log of jobs that have failed or were cancelled."""
        for job in jobs:
            log.job_ended(self._logger_of(job), job)

    def call_hooks(self, job: JobRecord) -> None:
        """Tell the hooks of a job that has failed or was cancelled."""
        event = "job_failed" if job.state is JobState.FAILED else "job_cancelled"
        self.observers.tell(self.logger, event, job, job.last_error or "")

    def _loggers(self) -> Iterator[logging.Logger]:
        yield self.logger
        for name in self.registry.names():
            yield logger_of(self.registry, self.logger, name)

    def _logger_of(self, job: JobRecord) -> logging.Logger:
        return logger_of(self.registry, self.logger, job.handler)


def usual_ends() -> EndTeller:
    """With the logger and the hooks that are configured."""
    return EndTeller(default_configuration.logger, default_configuration.observers)


# --- many jobs -----------------------------------------------------------------------------------


def cancel_some(adapter: Adapter, where: JobFilter, reason: str, ends: EndTeller) -> int:
    """Cancel those of a few jobs, given by their ids, that have not started; return how many."""
    if not ends.is_heard("job_cancelled"):
        return adapter.cancel(where, reason)
    cancelled = adapter.cancel_each(where, reason)
    ends.tell(cancelled)
    return len(cancelled)


def delete_some(adapter: Adapter, where: JobFilter, reason: str, ends: EndTeller) -> int:
    """Remove those of a few jobs, given by their ids, that are not running; return how many."""
    if not ends.is_heard("job_deleted"):
        return adapter.delete(where)
    deleted = adapter.delete_each(where)
    ends.tell_deleted(deleted, reason)
    return len(deleted)


def delete_all(
    adapter: Adapter,
    where: JobFilter,
    reason: str,
    ends: EndTeller,
    *,
    include_running: bool = False,
) -> int:
    """Remove all jobs that match; return how many.

    Where somebody is told of those that had not ended, they are read and removed `BATCH` at a time,
    each batch in a transaction of its own; all others go in one.
    """
    if not ends.is_heard("job_deleted"):
        return adapter.delete(where, include_running=include_running)
    number = 0
    for found in _in_batches(adapter, _among(where, UNFINISHED_STATES, include_running)):
        deleted = adapter.delete_each(found, include_running=include_running)
        ends.tell_deleted(deleted, reason)
        number += len(deleted)
    return number + adapter.delete(_among(where, FINISHED_STATES, include_running))


def _among(where: JobFilter, states: Sequence[JobState], include_running: bool) -> JobFilter:
    wanted = tuple(JobState) if where.states is None else where.states
    spared = () if include_running else (JobState.RUNNING,)
    return replace(where, states=tuple(s for s in states if s in wanted and s not in spared))


def _in_batches(adapter: Adapter, where: JobFilter) -> Iterator[JobFilter]:
    """The same filter for a few jobs at a time, the newest first."""
    following: int | None = where.before_id
    while where.states:
        page = adapter.page_jobs(replace(where, before_id=following), BATCH)
        if page.jobs:
            yield replace(where, ids=tuple(job.id for job in page.jobs))
        following = page.next_before_id
        if following is None:
            return
