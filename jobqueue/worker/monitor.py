"""What passes between the jobs that a worker performs and those who watch them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.records import ClaimedJob
from jobqueue.worker.handoff import Handoff, Taken

INTERVAL_SECONDS = 1.0
LONG_SECONDS = 0.5


class Steward:
    """A thread that stores the progress of jobs, and learns which of them are to end.

    It does either once a second at most, and has no work where no job reports progress and none
    takes longer than half a second. The progress that a job ends with is part of its outcome.

    Args:
        adapter: where the jobs are.
        worker_id: the worker whose jobs they are.
        handoff: where they are being performed.
        logger: for what concerns the worker.
        logger_of: the logger for what concerns a job, by its handler.
    """

    def __init__(
        self,
        adapter: Adapter,
        worker_id: str,
        handoff: Handoff,
        logger: logging.Logger,
        logger_of: Callable[[str], logging.Logger],
    ) -> None:
        self.cancelled: Mapping[tuple[int, int], str] = {}
        self._adapter = adapter
        self._worker_id = worker_id
        self._handoff = handoff
        self._logger = logger
        self._logger_of = logger_of
        self._changed = threading.Condition()
        self._reports: dict[tuple[int, int], str] = {}
        self._write_at = self._look_at = 0.0
        self._closed = False
        self._thread: threading.Thread | None = None

    def report(self, claimed: ClaimedJob, progress: str) -> None:
        """See `AttemptMonitor.report`. From any thread; it does not wait for the database."""
        with self._changed:
            if not self._reports:
                self._changed.notify()
            self._reports[claimed.id, claimed.token] = progress

    def start(self, cancel: Callable[[Taken], None]) -> None:
        """Begin.

        Args:
            cancel: called with each job that is to end, once.
        """
        self._thread = threading.Thread(
            target=self._run, args=(cancel,), name="jobqueue-steward", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self, cancel: Callable[[Taken], None]) -> None:
        while self._wait_until_due():
            now = time.monotonic()
            if now >= self._look_at:
                self._look_at = now + INTERVAL_SECONDS
                self._unless_unavailable(lambda: self._look_for_cancels(cancel))
            if now >= self._write_at and self._reports:
                self._write_at = now + INTERVAL_SECONDS
                self._unless_unavailable(self._write_progress)

    def _wait_until_due(self) -> bool:
        """Return when there is something to do; False when it is to end."""
        with self._changed:
            while not self._closed and (left := self._due_at() - time.monotonic()) > 0:
                self._changed.wait(left)
            return not self._closed

    def _due_at(self) -> float:
        return min(self._look_at, self._write_at) if self._reports else self._look_at

    def _unless_unavailable(self, work: Callable[[], None]) -> None:
        try:
            work()
        except DatabaseUnavailable:
            # The pump waits for the database as well, and is the one to say so.
            return
        except DatabaseError as error:
            log.steward_troubled(self._logger, self._worker_id, error)

    # --- progress --------------------------------------------------------------------------------

    def _write_progress(self) -> None:
        with self._changed:
            reports, self._reports = self._reports, {}
        try:
            self._adapter.report_progress(reports)
        except DatabaseUnavailable:
            self._put_back(reports)
            raise

    def _put_back(self, reports: Mapping[tuple[int, int], str]) -> None:
        with self._changed:
            self._reports = {**reports, **self._reports}

    # --- cancelling ------------------------------------------------------------------------------

    def _look_for_cancels(self, cancel: Callable[[Taken], None]) -> None:
        if not self._handoff.performing_longer_than(LONG_SECONDS):
            self.cancelled = {}
            return
        before = self.cancelled
        self.cancelled = self._adapter.cancel_requests(self._worker_id)
        for taken in self._handoff.taken():
            pair = (taken.job.id, taken.job.token)
            if pair in self.cancelled and pair not in before:
                log.cancel_heard(self._logger_of(taken.job.handler), taken.job)
                cancel(taken)
