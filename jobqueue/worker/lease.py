"""Keeping this worker's lease, and looking after those of others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.maintenance.rescue import Rescuer
from jobqueue.records import NewWorker, Rescue

BEATS_PER_LEASE = 4


@dataclass(slots=True)
class LeaseKeeper:
    """A thread that beats for a worker several times a lease, and rescues in between.

    It is apart from the pump so that a long turn does not make the worker look dead.

    Args:
        adapter: where the workers are.
        worker: which is to be registered.
        logger: where rescues are told.
        on_rescue: is called with each; it must not take long.
    """

    adapter: Adapter
    worker: NewWorker
    logger: logging.Logger
    on_rescue: Callable[[Rescue], None] = lambda _: None
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Register the worker and begin to beat.

        Raises:
            DatabaseError: it could not be registered.
        """
        self.adapter.register_worker(self.worker)
        self._thread = threading.Thread(target=self._run, name="jobqueue-lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop beating. The worker stays registered."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        rescuer = Rescuer(self.adapter, self.worker.lease)
        interval = self.worker.lease.total_seconds() / BEATS_PER_LEASE
        while True:
            try:
                self._beat()
                for rescue in rescuer.rescue():
                    log.jobs_rescued(self.logger, rescue)
                    self.on_rescue(rescue)
            except DatabaseUnavailable:
                # The pump waits for the database as well, and is the one to say so.
                rescuer.forget()
            except DatabaseError as error:
                rescuer.forget()
                log.lease_troubled(self.logger, self.worker.id, error)
            if self._stopped.wait(interval):
                return

    def _beat(self) -> None:
        if not self.adapter.beat([self.worker.id]):
            log.lease_lost(self.logger, self.worker.id)
            self.adapter.register_worker(self.worker)
