"""Heartbeats of workers.

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
from jobqueue.records import NewWorker

BEATS_PER_LEASE = 4


class Heartbeat:
    """A service that beats for workers, several times a lease.

    A beat that failed is tried again half a second later, not at the next beat, since the lease
    goes on meanwhile. It has a thread and a connection of its own: neither a long turn nor a rescue
    that waits makes a worker look dead.

    Args:
        adapter: where the workers are.
        lease_seconds: how long a worker may go without a beat.
        alive: the workers to beat for, asked at each beat.
        logger: where troubles are logged.
        name: whose heartbeat it is, for the log.
        on_lost: is called with a worker that is not registered, before it is registered again.
        on_registered: is called with it afterwards.
    """

    def __init__(
        self,
        adapter: LeasesRole,
        lease_seconds: float,
        alive: Callable[[], Sequence[NewWorker]],
        logger: logging.Logger,
        name: str,
        *,
        on_lost: Callable[[NewWorker], None] = lambda _: None,
        on_registered: Callable[[NewWorker], None] = lambda _: None,
    ) -> None:
        self.failed = 0
        """How many beats have failed."""
        self._adapter = adapter
        self._alive = alive
        self._on_lost = on_lost
        self._on_registered = on_registered
        self._pause_seconds = lease_seconds / BEATS_PER_LEASE
        self._service = Service(
            "jobqueue-heartbeat",
            self._step,
            logger,
            on_trouble=partial(log.lease_troubled, logger, name),
            retry_seconds=min(self._pause_seconds, RETRY_SECONDS),
        )

    def start(self) -> None:
        """Begin to beat."""
        self._service.start()

    def stop(self, timeout_seconds: float | None = None) -> None:
        """End after the beat under way. Wait so many seconds for that, or as long as it takes."""
        self._service.stop(timeout_seconds)

    def beat_now(self) -> None:
        """Beat now, without waiting for the next time."""
        self._service.wake()

    def _step(self) -> float:
        try:
            self._beat()
        except DatabaseError:
            self.failed += 1
            raise
        return self._pause_seconds

    def _beat(self) -> None:
        workers = self._alive()
        known = self._adapter.beat([worker.id for worker in workers]) if workers else set()
        for worker in workers:
            if worker.id not in known:
                self._on_lost(worker)
                self._adapter.register_worker(worker)
                self._on_registered(worker)


def heartbeat_of(adapter: LeasesRole, worker: NewWorker, logger: logging.Logger) -> Heartbeat:
    """The heartbeat of a worker without a supervisor, which is registered already."""
    return Heartbeat(
        adapter,
        worker.lease.total_seconds(),
        lambda: [worker],
        logger,
        worker.id,
        on_lost=lambda worker: log.lease_lost(logger, worker.id),
    )
