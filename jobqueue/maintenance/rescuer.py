"""Frees the jobs of workers that died without unregistering.

A worker is taken for dead when its heartbeat has not changed for a whole lease by this process's
own clock, while the database answered all along. So nobody is taken for dead after an outage, when
all heartbeats are old. Where the adapter can see processes (SQLite, on one machine), a process that
is gone is known at once, and the jobs of one that lives are never freed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from jobqueue.adapters.roles.leases import LeasesRole
from jobqueue.records import Rescue, WorkerRecord

LOST = (
    "the worker {worker_id} that performed it is gone: its process was killed, or its machine was "
    "silent for longer than the lease"
)


class Rescuer:
    """Watches the heartbeats of all workers.

    Args:
        adapter: where they are.
        lease: how long running jobs may belong to a worker that is not registered.
        monotonic: seconds that only go up; for tests.
        is_awaited: whether this process watches a worker's process and frees its jobs itself once
            it has ended.
    """

    def __init__(
        self,
        adapter: LeasesRole,
        lease: timedelta,
        monotonic: Callable[[], float] = time.monotonic,
        is_awaited: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._adapter = adapter
        self._lease = lease
        self._monotonic = monotonic
        self._is_awaited = is_awaited
        self._seen: dict[str, tuple[datetime | None, float]] = {}

    def rescue(self) -> list[Rescue]:
        """Look at all heartbeats once, and free the jobs of workers whose heartbeat has stopped.

        Raises:
            DatabaseUnavailable: call `forget` and try again later.
        """
        workers = self._adapter.workers()
        found = [self._rescue_if_dead(worker) for worker in workers]
        orphans = self._adapter.orphaned_workers()
        found += [self._rescue_if_orphaned(worker_id) for worker_id in orphans]
        there = {worker.id for worker in workers}.union(orphans)
        self._seen = {known: seen for known, seen in self._seen.items() if known in there}
        return [rescue for rescue in found if rescue is not None]

    def forget(self) -> None:
        """Forget all heartbeats: the database was away, and no worker could beat."""
        self._seen.clear()

    def _rescue_if_dead(self, worker: WorkerRecord) -> Rescue | None:
        living = self._adapter.is_living(worker)
        if living is False and self._is_awaited(worker.id):
            return None
        still_for = self._still_for(worker.id, worker.heartbeat_at)
        if living or (living is None and still_for < worker.lease.total_seconds()):
            return None
        return self._adapter.rescue(worker, LOST.format(worker_id=worker.id))

    def _rescue_if_orphaned(self, worker_id: str) -> Rescue | None:
        if self._still_for(worker_id, None) < self._lease.total_seconds():
            return None
        return self._adapter.rescue_orphans(worker_id, LOST.format(worker_id=worker_id))

    def _still_for(self, worker_id: str, heartbeat: datetime | None) -> float:
        now = self._monotonic()
        seen, since = self._seen.get(worker_id, (heartbeat, now))
        if seen != heartbeat:
            since = now
        self._seen[worker_id] = (heartbeat, since)
        return now - since
