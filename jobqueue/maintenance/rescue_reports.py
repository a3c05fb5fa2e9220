"""The reports of jobs that were freed, since their workers are gone."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from typing import Protocol

from jobqueue import log
from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.background import Service
from jobqueue.bulk import BATCH
from jobqueue.ends import EndReporter
from jobqueue.errors import DatabaseError
from jobqueue.fingerprints import group_of_rescued
from jobqueue.maintenance.error_counts import ErrorCounts
from jobqueue.records import JobFilter, JobRecord, Rescue

EVENTS = ("job_rescued", "job_failed", "job_cancelled")


class RescueHooks(Protocol):
    """The hooks of jobs that were freed."""

    def are_wanted(self) -> bool:
        """Whether there may be any hooks."""
        ...

    def call(self, rescues: Sequence[Rescue]) -> None:
        """Call the hooks for all jobs of rescues, and return when that is done."""
        ...


class HooksInProcess:
    """Hooks of freed jobs that are called in this process.

    Jobs that have ended are passed to them as they were read when they were freed. Jobs that are
    ready again are read anew.

    Args:
        adapter: where the jobs are.
        ends: calls the hooks of jobs that have ended.
    """

    def __init__(self, adapter: ReadsRole, ends: EndReporter) -> None:
        self._adapter = adapter
        self._ends = ends

    def are_wanted(self) -> bool:
        return any(map(self._ends.observers.has, EVENTS))

    def call(self, rescues: Sequence[Rescue]) -> None:
        for rescue in rescues:
            for job in rescue.ended:
                self._tell_rescued(job, rescue)
                self._ends.call_hooks(job)
            if self._ends.observers.has("job_rescued"):
                for job in self._released(rescue):
                    self._tell_rescued(job, rescue)

    def _released(self, rescue: Rescue) -> Iterator[JobRecord]:
        for start in range(0, len(rescue.released), BATCH):
            ids = rescue.released[start : start + BATCH]
            try:
                yield from self._adapter.list_jobs(JobFilter(ids=ids), len(ids))
            except DatabaseError as error:
                log.hooks_troubled(self._ends.logger, error)

    def _tell_rescued(self, job: JobRecord, rescue: Rescue) -> None:
        self._ends.observers.call(self._ends.logger, "job_rescued", job, rescue.worker_id)


class RescueReports:
    """Reports of rescues: jobs that ended are logged, and the hooks are called for all freed jobs.

    The hooks have a thread of their own, so that no heartbeat waits for one. It starts with the
    first rescue.

    Args:
        ends: logs the jobs that have ended.
        hooks: calls the hooks.
        errors: counts the attempts that were lost, in groups.
    """

    def __init__(self, ends: EndReporter, hooks: RescueHooks, errors: ErrorCounts) -> None:
        self._ends = ends
        self._hooks = hooks
        self._errors = errors
        self._rescues: queue.SimpleQueue[Rescue] = queue.SimpleQueue()
        self._service = Service(
            "jobqueue-hooks", self._step, ends.logger, until=self._rescues.empty
        )

    def note(self, rescue: Rescue) -> None:
        """Report a rescue. It returns at once, and may be called from one thread only."""
        self._ends.log(rescue.ended)
        for job in rescue.charged:
            self._errors.note(group_of_rescued(job.handler, job.error), job.error, job.id)
        if rescue and self._hooks.are_wanted():
            self._rescues.put(rescue)
            self._service.start()
            self._service.wake()

    def stop(self, timeout_seconds: float) -> None:
        """Return when all has been reported and counted, or after so long."""
        self._service.stop(timeout_seconds)
        self._errors.stop()

    def _step(self) -> None:
        rescues: list[Rescue] = []
        while not self._rescues.empty():
            rescues.append(self._rescues.get())
        if rescues:
            self._hooks.call(rescues)
