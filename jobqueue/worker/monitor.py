"""The monitor, which stores the progress of a worker's jobs and sees which were cancelled."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial

from jobqueue import log
from jobqueue.adapters.roles.control import ControlRole
from jobqueue.background import Service
from jobqueue.errors import DatabaseUnavailable
from jobqueue.forks import renewed_in_children
from jobqueue.records import ClaimedJob
from jobqueue.worker.handoff import Handoff, Taken
from jobqueue.worker.interruption import AlarmClock

INTERVAL_SECONDS = 1.0
LONG_SECONDS = 0.5
SHARE_OF_LEASE = 0.5
"""The share of its lease after which a worker that is cut off ends what runs under a limit."""


class Monitor:
    """A monitor, which stores progress and sees cancelled jobs, each once a second at most.

    It asks the database nothing where no job reports progress and none takes longer than half a
    second. The progress that a job ends with is part of its outcome.

    Args:
        adapter: where the jobs are.
        worker_id: the worker whose jobs they are.
        handoff: where they are being performed.
        logger: for what concerns the worker.
        logger_of: the logger for what concerns a job, by its handler.
        lease: how long others let the worker be silent before they take its jobs.
        alarm_clock: tells when the database has not answered for a part of that.
    """

    def __init__(
        self,
        adapter: ControlRole,
        worker_id: str,
        handoff: Handoff,
        logger: logging.Logger,
        logger_of: Callable[[str], logging.Logger],
        lease: timedelta,
        alarm_clock: AlarmClock,
    ) -> None:
        self.cancelled: Mapping[tuple[int, int], str] = {}
        """The reasons of the cancels that were asked for, by the job's id and the claim's token."""
        self._adapter = adapter
        self._worker_id = worker_id
        self._handoff = handoff
        self._logger_of = logger_of
        self._cancel: Callable[[Taken], None] = lambda _: None
        self._give_back: Callable[[Taken], None] = lambda _: None
        self._patience_seconds = lease.total_seconds() * SHARE_OF_LEASE
        self._answered_at = time.monotonic()
        self._alarm_clock = alarm_clock
        self._alarm: object | None = None
        self._renew_lock()
        renewed_in_children(self, Monitor._renew_lock)
        self._reports: dict[tuple[int, int], str] = {}
        self._write_at = self._look_at = 0.0
        self._service = Service(
            "jobqueue-monitor",
            self._step,
            logger,
            on_trouble=partial(log.steward_troubled, logger, worker_id),
            retry_seconds=INTERVAL_SECONDS,
        )

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def report(self, claimed: ClaimedJob, progress: str) -> None:
        """Store the progress of a job soon. From any thread; it does not wait for the database."""
        with self._lock:
            is_first = not self._reports
            self._reports[claimed.id, claimed.token] = progress
        if is_first:
            self._service.wake()

    def start(
        self, cancel: Callable[[Taken], None], give_back: Callable[[Taken], None] = lambda _: None
    ) -> None:
        """Start the thread of the monitor.

        Args:
            cancel: called with each job that is to be cancelled, once.
            give_back: called with each job that is to end, since others may start in its place.
        """
        self._cancel, self._give_back = cancel, give_back
        self._service.start()

    def stop(self) -> None:
        """End the monitor, after the step under way."""
        self._service.stop()

    def _step(self) -> float:
        now = time.monotonic()
        try:
            if now >= self._look_at:
                self._look_at = now + INTERVAL_SECONDS
                self._look_for_cancels()
        finally:
            if now >= self._write_at and self._reports:
                self._write_at = now + INTERVAL_SECONDS
                self._write_progress()
        return max(self._due_at() - time.monotonic(), 0.0)

    def _due_at(self) -> float:
        return min(self._look_at, self._write_at) if self._reports else self._look_at

    # --- progress --------------------------------------------------------------------------------

    def _write_progress(self) -> None:
        with self._lock:
            reports, self._reports = self._reports, {}
        try:
            self._adapter.report_progress(reports)
        except DatabaseUnavailable:
            self._put_back(reports)
            raise

    def _put_back(self, reports: Mapping[tuple[int, int], str]) -> None:
        with self._lock:
            self._reports = {**reports, **self._reports}

    # --- cancelling ------------------------------------------------------------------------------

    def _look_for_cancels(self) -> None:
        if not self._handoff.performing_longer_than(LONG_SECONDS):
            self.cancelled = {}
            self._note_answer()
            return
        before = self.cancelled
        self._set_alarm()
        self.cancelled = self._adapter.cancel_requests(self._worker_id)
        self._note_answer()
        for taken in self._handoff.taken():
            pair = (taken.job.id, taken.job.token)
            if pair in self.cancelled and pair not in before:
                log.cancel_heard(self._logger_of(taken.job.handler), taken.job)
                self._cancel(taken)

    # --- being cut off ---------------------------------------------------------------------------

    def _set_alarm(self) -> None:
        """Have limited jobs ended if the database does not answer, which may take long itself."""
        if self._alarm is None and any(t.job.terms.gates for t in self._handoff.taken()):
            left = self._answered_at + self._patience_seconds - time.monotonic()
            self._alarm = self._alarm_clock.call_after(max(left, 0.0), self._give_back_limited)

    def _note_answer(self) -> None:
        self._answered_at = time.monotonic()
        if self._alarm is not None:
            self._alarm_clock.cancel(self._alarm)
            self._alarm = None

    def _give_back_limited(self) -> None:
        """End what runs under a limit before this worker's lease ends, and others start instead.

        While the database does not answer, nobody here knows whether the lease is kept. Others that
        were prefetched may begin meanwhile.
        """
        self._alarm = self._alarm_clock.call_after(INTERVAL_SECONDS, self._give_back_limited)
        for taken in self._handoff.taken():
            if taken.job.terms.gates:
                log.limited_job_interrupted(self._logger_of(taken.job.handler), taken.job)
                self._give_back(taken)
