"""Telling of the jobs of workers that are gone."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Protocol

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.bulk import BATCH
from jobqueue.ends import EndTeller
from jobqueue.errors import DatabaseError
from jobqueue.records import JobFilter, JobRecord, Rescue

EVENTS = ("job_rescued", "job_failed", "job_cancelled")


class RescueHooks(Protocol):
    """The hooks of jobs that were freed."""

    def are_wanted(self) -> bool:
        """Whether there may be any."""
        ...

    def call(self, rescues: Sequence[Rescue]) -> None:
        """Call them for all jobs of rescues, and return when that is done."""
        ...


class HooksHere:
    """Calls the hooks in this process.

    What they are told of ended jobs is what was read when these were freed; only those that are
    ready again are read anew.

    Args:
        adapter: where the jobs are.
        ends: tells of those that have ended.
    """

    def __init__(self, adapter: Adapter, ends: EndTeller) -> None:
        self._adapter = adapter
        self._ends = ends

    def are_wanted(self) -> bool:
        """See `RescueHooks.are_wanted`."""
        return any(map(self._ends.observers.hears, EVENTS))

    def call(self, rescues: Sequence[Rescue]) -> None:
        """See `RescueHooks.call`."""
        for rescue in rescues:
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


class RescueTeller:
    """Tells the log of jobs that were freed, and, on a thread of its own, the hooks.

    So no heartbeat waits for a hook.

    Args:
        ends: tells the log of those that have ended.
        hooks: calls the hooks.
    """

    def __init__(self, ends: EndTeller, hooks: RescueHooks) -> None:
        self._ends = ends
        self._hooks = hooks
        self._rescues: queue.SimpleQueue[Rescue | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def note(self, rescue: Rescue) -> None:
        """Tell of a rescue. Only one thread may call this, and it returns at once."""
        self._ends.log(rescue.ended)
        if rescue and self._hooks.are_wanted():
            self._rescues.put(rescue)
            self._start()

    def stop(self, timeout_seconds: float) -> None:
        """Return when all has been told, or after so long."""
        if self._thread is not None:
            self._rescues.put(None)
            self._thread.join(timeout_seconds)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="jobqueue-hooks", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        is_over = False
        while not is_over:
            noted = [self._rescues.get()]
            while not self._rescues.empty():
                noted.append(self._rescues.get())
            is_over = None in noted
            rescues = [rescue for rescue in noted if rescue is not None]
            if rescues:
                self._hooks.call(rescues)
