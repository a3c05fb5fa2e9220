"""Heartbeats of workers, and the rescue of jobs from workers whose heartbeats have stopped.

A worker without a supervisor beats for itself. A supervisor beats for all its workers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from jobqueue import log
from jobqueue.adapters.roles.leases import LeasesRole
from jobqueue.background import RETRY_SECONDS, Service
from jobqueue.errors import DatabaseError
from jobqueue.maintenance.rescuer import Rescuer
from jobqueue.records import NewWorker, Rescue

BEATS_PER_LEASE = 4


class Heartbeat:
    """Beats several times a lease, and rescues jobs in between.

    A beat that failed is tried again half a second later, not at the next beat, since the lease
    goes on meanwhile. It is apart from the pump, so that a long turn does not make a worker look
    dead.

    Args:
        adapter: where the workers are.
        rescuer: frees the jobs of other workers that are gone.
        lease_seconds: how long a worker may go without a beat.
        alive: the workers to beat for, asked at each beat.
        logger: where rescues and troubles are logged.
        name: whose heartbeat it is, for the log.
        on_rescue: is called with each rescue that freed jobs; it must not take long.
        on_lost: is called with a worker that others took for dead, before it is registered again.
        after_beat: is called after each beat, and again when it or the beat has failed.
        is_done: whether `after_beat` has nothing left to do. `stop` waits for that, if it is given.
    """

    def __init__(
        self,
        adapter: LeasesRole,
        rescuer: Rescuer,
        lease_seconds: float,
        alive: Callable[[], Sequence[NewWorker]],
        logger: logging.Logger,
        name: str,
        *,
        on_rescue: Callable[[Rescue], None] = lambda _: None,
        on_lost: Callable[[NewWorker], None] = lambda _: None,
        after_beat: Callable[[], None] = lambda: None,
        is_done: Callable[[], bool] | None = None,
    ) -> None:
        self._adapter = adapter
        self._rescuer = rescuer
        self._alive = alive
        self._logger = logger
        self._on_rescue = on_rescue
        self._on_lost = on_lost
        self._after_beat = after_beat
        self._pause_seconds = lease_seconds / BEATS_PER_LEASE
        self._service = Service(
            "jobqueue-heartbeat",
            self._step,
            logger,
            on_trouble=partial(log.lease_troubled, logger, name),
            retry_seconds=min(self._pause_seconds, RETRY_SECONDS),
            until=is_done,
        )

    def start(self) -> None:
        """Begin to beat."""
        self._service.start()

    def stop(self, timeout_seconds: float | None = None) -> None:
        """End when all is done; wait for that so long at most, or as long as it takes."""
        self._service.stop(timeout_seconds)

    def beat_now(self) -> None:
        """Do not wait for the next beat."""
        self._service.wake()

    def note_rescue(self, rescue: Rescue) -> None:
        """Log a rescue and pass it on, if it freed jobs."""
        if rescue:
            log.jobs_rescued(self._logger, rescue)
            self._on_rescue(rescue)

    def _step(self) -> float:
        try:
            # The beat comes first: it waits for no row of a job that somebody else has locked.
            self._beat()
            self._after_beat()
            self._rescue()
        except DatabaseError:
            self._rescuer.forget()
            raise
        return self._pause_seconds

    def _beat(self) -> None:
        workers = self._alive()
        known = self._adapter.beat([worker.id for worker in workers]) if workers else set()
        for worker in workers:
            if worker.id not in known:
                self._on_lost(worker)
                self._adapter.register_worker(worker)

    def _rescue(self) -> None:
        for rescue in self._rescuer.rescue():
            self.note_rescue(rescue)


def heartbeat_of(
    adapter: LeasesRole,
    worker: NewWorker,
    logger: logging.Logger,
    on_rescue: Callable[[Rescue], None],
) -> Heartbeat:
    """The heartbeat of a worker without a supervisor, which is registered already."""
    return Heartbeat(
        adapter,
        Rescuer(adapter, worker.lease),
        worker.lease.total_seconds(),
        lambda: [worker],
        logger,
        worker.id,
        on_rescue=on_rescue,
        on_lost=lambda worker: log.lease_lost(logger, worker.id),
    )
