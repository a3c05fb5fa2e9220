"""The heartbeats of all workers of a supervisor, and the burials of those that died.

It is a thread of its own, apart from the loop that watches processes: a database that takes its
time must keep nobody from noticing a signal or a dead child.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.maintenance.rescue import Rescuer
from jobqueue.records import CrashedJob, NewWorker, Rescue

BEATS_PER_LEASE = 4
RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Death:
    """A worker whose process has ended, and what it was performing."""

    worker_id: str
    performing: tuple[CrashedJob, ...] = ()


@dataclass(slots=True)
class Heart:
    """Beats for workers, rescues those of others, and frees the jobs of those that died here.

    Args:
        adapter: where workers and jobs are.
        lease_seconds: how long a worker may go without a beat.
        alive: the workers to beat for, asked at each beat: neither ended nor standing still.
        logger: where rescues are told.
        on_rescue: is called with each in which jobs were freed.
        on_buried: is called with the id of each worker that was buried.
    """

    adapter: Adapter
    rescuer: Rescuer
    lease_seconds: float
    alive: Callable[[], Sequence[NewWorker]]
    logger: logging.Logger
    on_rescue: Callable[[Rescue], None] = lambda _: None
    on_buried: Callable[[str], None] = lambda _: None
    _deaths: queue.SimpleQueue[Death] = field(default_factory=queue.SimpleQueue)
    _wake: threading.Event = field(default_factory=threading.Event)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to beat."""
        self._thread = threading.Thread(target=self._run, name="jobqueue-heart", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Bury who is left to be buried, and end; at most so long, if the database is away."""
        self._stopped.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def beat_now(self) -> None:
        """Do not wait for the next beat: there is a new worker."""
        self._wake.set()

    def bury(self, death: Death) -> None:
        """Free the jobs of a dead worker, as soon as the database lets it."""
        self._deaths.put(death)
        self._wake.set()

    def _run(self) -> None:
        unburied: list[Death] = []
        while True:
            pause = self.lease_seconds / BEATS_PER_LEASE
            while not self._deaths.empty():
                unburied.append(self._deaths.get())
            try:
                while unburied:
                    self._free_jobs_of(unburied[0])
                    self.on_buried(unburied.pop(0).worker_id)
                self._beat()
            except DatabaseError as error:
                self.rescuer.forget()
                pause = min(pause, RETRY_SECONDS)
                if not isinstance(error, DatabaseUnavailable):
                    log.lease_troubled(self.logger, "supervisor", error)
            if self._stopped.is_set() and not unburied and self._deaths.empty():
                return
            self._wake.wait(RETRY_SECONDS if unburied else pause)
            self._wake.clear()

    def _free_jobs_of(self, death: Death) -> None:
        rescue = self.adapter.rescue_crashed(death.worker_id, death.performing)
        if rescue:
            log.jobs_rescued(self.logger, rescue)
            self.on_rescue(rescue)

    def _beat(self) -> None:
        workers = self.alive()
        known = self.adapter.beat([worker.id for worker in workers]) if workers else set()
        for worker in workers:
            if worker.id not in known:
                self.adapter.register_worker(worker)
        for rescue in self.rescuer.rescue():
            log.jobs_rescued(self.logger, rescue)
            self.on_rescue(rescue)
