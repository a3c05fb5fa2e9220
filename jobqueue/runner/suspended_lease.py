"""The lease of a worker while its supervisor, which beats for it otherwise, is suspended."""

from __future__ import annotations

import logging
from functools import partial

from jobqueue import log
from jobqueue.adapters.roles.leases import LeasesRole
from jobqueue.background import RETRY_SECONDS, Service
from jobqueue.worker.heartbeat import BEATS_PER_LEASE


class SuspendedLease:
    """A heartbeat of one registered worker, for as long as its supervisor is suspended.

    A worker whose lease ended while the database was away is not registered again. Its supervisor
    does that when it goes on.

    Args:
        adapter: where the worker is.
        worker_id: its id.
        lease_seconds: how long it may go without a beat.
        logger: where it is logged that the database refuses the beats.
    """

    def __init__(
        self, adapter: LeasesRole, worker_id: str, lease_seconds: float, logger: logging.Logger
    ) -> None:
        self._adapter = adapter
        self._worker_id = worker_id
        self._pause_seconds = lease_seconds / BEATS_PER_LEASE
        self._is_alone = False
        self._service = Service(
            "jobqueue-suspended-lease",
            self._step,
            logger,
            on_trouble=partial(log.lease_troubled, logger, worker_id),
            retry_seconds=min(self._pause_seconds, RETRY_SECONDS),
        )

    def keep(self, alone: bool) -> None:
        """Begin to beat, or stop, and return at once. Always called from the same thread."""
        self._is_alone = alone
        if alone:
            self._service.start()
        self._service.wake()

    def _step(self) -> float | None:
        if not self._is_alone:
            return None
        self._adapter.beat([self._worker_id])
        return self._pause_seconds
