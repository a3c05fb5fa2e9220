"""Beating for workers, so that nobody takes them for dead, and looking after those of others.

There is one heart for a worker alone, and one for all workers of a supervisor.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.maintenance.rescuer import Rescuer
from jobqueue.records import NewWorker, Rescue

BEATS_PER_LEASE = 4
RETRY_SECONDS = 0.5


@dataclass(slots=True)
class Beating:
    """A thread that beats several times a lease, and rescues in between.

    When the database did not let it, it tries again half a second later, not at the next beat:
    the lease goes on meanwhile.

    Args:
        adapter: where the workers are.
        rescuer: looks after the workers of others.
        lease_seconds: how long a worker may go without a beat.
        alive: the workers to beat for, asked at each beat.
        logger: where rescues are told, and what went wrong.
        name: whose beats they are, for the log.
        on_rescue: is called with each in which jobs were freed; it must not take long.
        on_lost: is called with a worker that others took for dead, before it is registered again.
        before_beat: what else is to be done, in front of each beat and tried again like it.
        is_done: whether nothing of that is left, once it has been stopped.
    """

    adapter: Adapter
    rescuer: Rescuer
    lease_seconds: float
    alive: Callable[[], Sequence[NewWorker]]
    logger: logging.Logger
    name: str
    on_rescue: Callable[[Rescue], None] = lambda _: None
    on_lost: Callable[[NewWorker], None] = lambda _: None
    before_beat: Callable[[], None] = lambda: None
    is_done: Callable[[], bool] = lambda: True
    _is_troubled: bool = False
    _wake: threading.Event = field(default_factory=threading.Event)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to beat."""
        self._thread = threading.Thread(target=self._run, name="jobqueue-heart", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float | None = None) -> None:
        """End when all is done; wait for it so long at most, or as long as it takes."""
        self._stopped.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def beat_now(self) -> None:
        """Do not wait for the next beat."""
        self._wake.set()

    def _run(self) -> None:
        while True:
            pause = self._try_to_beat()
            if self._stopped.is_set() and self.is_done():
                return
            self._wake.wait(pause)
            self._wake.clear()

    def _try_to_beat(self) -> float:
        """Return how many seconds to wait before the next beat."""
        pause = self.lease_seconds / BEATS_PER_LEASE
        try:
            self.before_beat()
            self._beat()
        except DatabaseError as error:
            self.rescuer.forget()
            self._note_trouble(error)
            return min(pause, RETRY_SECONDS)
        self._is_troubled = False
        return pause

    def _beat(self) -> None:
        workers = self.alive()
        known = self.adapter.beat([worker.id for worker in workers]) if workers else set()
        for worker in workers:
            if worker.id not in known:
                self.on_lost(worker)
                self.adapter.register_worker(worker)
        for rescue in self.rescuer.rescue():
            self.tell(rescue)

    def tell(self, rescue: Rescue) -> None:
        """Tell of jobs that were freed."""
        if rescue:
            log.jobs_rescued(self.logger, rescue)
            self.on_rescue(rescue)

    def _note_trouble(self, error: DatabaseError) -> None:
        """Say it once, however long it lasts. Who waits for the database says so as well."""
        if not isinstance(error, DatabaseUnavailable) and not self._is_troubled:
            self._is_troubled = True
            log.lease_troubled(self.logger, self.name, error)


class LeaseKeeper:
    """Keeps the lease of a worker that no supervisor beats for.

    It is apart from the pump so that a long turn does not make the worker look dead.

    Args:
        adapter: where the workers are.
        worker: which is to be registered.
        logger: where rescues are told.
        on_rescue: is called with each in which jobs were freed; it must not take long.
    """

    def __init__(
        self,
        adapter: Adapter,
        worker: NewWorker,
        logger: logging.Logger,
        on_rescue: Callable[[Rescue], None] = lambda _: None,
    ) -> None:
        self._adapter, self._worker = adapter, worker
        self._beating = Beating(
            adapter=adapter,
            rescuer=Rescuer(adapter, worker.lease),
            lease_seconds=worker.lease.total_seconds(),
            alive=lambda: [worker],
            logger=logger,
            name=worker.id,
            on_rescue=on_rescue,
            on_lost=lambda worker: log.lease_lost(logger, worker.id),
        )

    def register(self) -> None:
        """Announce the worker, its lease beginning now.

        Raises:
            DatabaseError: it could not be registered.
        """
        self._adapter.register_worker(self._worker)

    def start(self) -> None:
        """Begin to beat."""
        self._beating.start()

    def stop(self) -> None:
        """Stop beating. The worker stays registered."""
        self._beating.stop()
