"""Steering single jobs, and their progress, in this process's memory."""

from __future__ import annotations

import json
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from jobqueue.adapters.base import Adapter
from jobqueue.adapters.stored import StoredJob
from jobqueue.records import UNFINISHED_STATES, JobFilter, JobState

Change = Callable[[StoredJob, datetime], StoredJob]


class MemorySteering(Adapter):
    """The part of the memory adapter that cancels, changes and hears of single jobs."""

    _lock: threading.RLock

    @abstractmethod
    def _change(
        self,
        where: JobFilter,
        states: tuple[JobState, ...],
        changed: Change,
        args: str | None = None,
    ) -> list[StoredJob]:
        """Change the rows that match, and return them."""

    @abstractmethod
    def _claims_of(self, worker_id: str) -> Iterable[tuple[tuple[int, int], StoredJob]]:
        """The (id, token) and the record of each job that a worker holds."""

    @abstractmethod
    def _find(self, job_id: int, token: int) -> StoredJob | None:
        """The record of a running job, if it was claimed with that token."""

    def request_cancel(self, job_id: int, reason: str) -> StoredJob | None:
        """See `Adapter.request_cancel`."""

        def requested(record: StoredJob, now: datetime) -> StoredJob:
            return replace(record, last_error=reason, cancel_requested_at=now, updated_at=now)

        where = JobFilter(ids=(job_id,))
        with self._lock:
            found = self.cancel_each(where, reason)
            found = found or self._change(where, (JobState.RUNNING,), requested)
        return found[0] if found else None

    def cancel_requests(self, worker_id: str) -> dict[tuple[int, int], str]:
        """See `Adapter.cancel_requests`."""
        with self._lock:
            return {
                pair: record.last_error or ""
                for pair, record in self._claims_of(worker_id)
                if record.cancel_requested_at is not None
            }

    def update_args(self, job_id: int, args: str) -> bool:
        """See `Adapter.update_args`."""

        def updated(record: StoredJob, now: datetime) -> StoredJob:
            return replace(record, args=json.loads(args), updated_at=now)

        states = (JobState.READY, JobState.FAILED, JobState.CANCELLED)
        return bool(self._change(JobFilter(ids=(job_id,)), states, updated, args))

    def set_progress(self, job_id: int, progress: str) -> bool:
        """See `Adapter.set_progress`."""

        def reported(record: StoredJob, now: datetime) -> StoredJob:
            return replace(record, progress=json.loads(progress), updated_at=now)

        return bool(self._change(JobFilter(ids=(job_id,)), UNFINISHED_STATES, reported))

    def report_progress(self, reports: Mapping[tuple[int, int], str]) -> None:
        """See `Adapter.report_progress`."""
        with self._lock:
            for (job_id, token), progress in reports.items():
                if self._find(job_id, token) is not None:
                    self.set_progress(job_id, progress)
