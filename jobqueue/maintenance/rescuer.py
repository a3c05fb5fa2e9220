"""The rescuer, which frees the jobs of workers that died without unregistering.

A worker is taken for dead when its heartbeat has not changed for a whole lease by this process's
own clock, while the database answered all along. So nobody is taken for dead after an outage, when
all heartbeats are old. Nor is a worker whose row somebody keeps locked, since it cannot beat then.
Where the adapter can see processes (SQLite, on one machine), a process that
is gone is known at once, and the jobs of one that lives are never freed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from jobqueue.adapters.roles.leases import LEASE_ENDED, LeasesRole
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.records import Rescue, WorkerRecord

LOST = (
    "the worker {worker_id} that performed it is gone: its process was killed, or its machine was "
    "silent for longer than the lease"
)
PROCESS_GONE = "its process is gone"


class Rescuer:
    """A rescuer, which watches the heartbeats of all workers, and frees the jobs of dead ones.

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
        self._half_rescued: set[str] = set()

    def rescue(self, note: Callable[[Rescue], None] = lambda _: None) -> list[Rescue]:
        """Look at all heartbeats once, and free the jobs of workers whose heartbeat has stopped.

        What cannot be freed now, since somebody keeps it locked, is freed by a later call. A worker
        whose jobs the database refuses to free does not stop the others.

        Args:
            note: is called with each rescue when it is done, whatever comes after it.

        Raises:
            DatabaseError: call `forget` and try again later.
        """
        workers, orphans = self._adapter.workers(), self._adapter.orphaned_workers()
        there = {worker.id for worker in workers}.union(orphans)
        self._seen = {known: seen for known, seen in self._seen.items() if known in there}
        self._half_rescued.intersection_update(orphans)
        ways = [partial(self._rescue_if_dead, worker) for worker in workers]
        ways += [partial(self._rescue_if_orphaned, worker_id) for worker_id in orphans]
        return self._rescue_each(ways, note)

    def _rescue_each(
        self, ways: Sequence[Callable[[], Rescue | None]], note: Callable[[Rescue], None]
    ) -> list[Rescue]:
        done, refused = list[Rescue](), list[DatabaseError]()
        for way in ways:
            try:
                rescue = way()
            except DatabaseUnavailable:
                raise
            except DatabaseError as error:
                refused.append(error)
                continue
            if rescue is not None:
                self._remember_what_is_left(rescue)
                done.append(rescue)
                note(rescue)
        if refused:
            raise refused[0]
        return done

    def _remember_what_is_left(self, rescue: Rescue) -> None:
        if rescue.worker_is_locked:
            self._seen.pop(rescue.worker_id, None)
        elif rescue.locked or rescue.refused:
            self._half_rescued.add(rescue.worker_id)

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
        why = PROCESS_GONE if living is False else LEASE_ENDED
        return self._adapter.rescue(worker, LOST.format(worker_id=worker.id), why)

    def _rescue_if_orphaned(self, worker_id: str) -> Rescue | None:
        is_known_to_be_dead = worker_id in self._half_rescued
        still_for = self._still_for(worker_id, None)
        if still_for < self._lease.total_seconds() and not is_known_to_be_dead:
            return None
        return self._adapter.rescue_orphans(worker_id, LOST.format(worker_id=worker_id))

    def _still_for(self, worker_id: str, heartbeat: datetime | None) -> float:
        now = self._monotonic()
        seen, since = self._seen.get(worker_id, (heartbeat, now))
        if seen != heartbeat:
            since = now
        self._seen[worker_id] = (heartbeat, since)
        return now - since
