"""Telling of the jobs of workers that are gone."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.ending import BATCH, EndTeller
from jobqueue.errors import DatabaseError
from jobqueue.records import JobFilter, JobRecord, Rescue


class RescueTeller:
    """Tells the log of jobs that were freed, and, on a thread of its own, the hooks.

    Heartbeats do not wait for the hooks. What they are to be told of is what was read when the jobs
    were freed; only those that are ready again are read anew.

    Args:
        adapter: where the jobs are.
        ends: tells of those that have ended.
    """

    def __init__(self, adapter: Adapter, ends: EndTeller) -> None:
        self._adapter = adapter
        self._ends = ends
        self._rescues: queue.SimpleQueue[Rescue | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def note(self, rescue: Rescue) -> None:
        """Tell of a rescue. Only one thread may call this, and it returns at once."""
        self._ends.log(rescue.ended)
        if rescue and self._is_heard(rescue):
            self._rescues.put(rescue)
            self._start()

    def stop(self, timeout_seconds: float) -> None:
        """Return when all has been told, or after so long."""
        if self._thread is not None:
            self._rescues.put(None)
            self._thread.join(timeout_seconds)

    def _is_heard(self, rescue: Rescue) -> bool:
        hears = self._ends.observers.hears
        if hears("job_rescued"):
            return True
        has_failed, is_cancelled = bool(rescue.failed), bool(rescue.cancelled)
        return (has_failed and hears("job_failed")) or (is_cancelled and hears("job_cancelled"))

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="jobqueue-hooks", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (rescue := self._rescues.get()) is not None:
            for job in rescue.ended:
                self._tell_rescued(job, rescue)
                self._ends.call_hooks(job)
            if self._ends.observers.hears("job_rescued"):
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
        self._ends.observers.tell(self._ends.logger, "job_rescued", job, rescue.worker_id)
