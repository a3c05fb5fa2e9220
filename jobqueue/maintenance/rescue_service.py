"""Rescues on a thread of their own, apart from the heartbeats.

A rescue may have to wait: for a row that somebody has locked, or for a slow database. No heartbeat
waits with it, or living workers would be taken for dead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from jobqueue import log
from jobqueue.background import RETRY_SECONDS, Service
from jobqueue.clock import reconnect_pauses
from jobqueue.errors import DatabaseError
from jobqueue.maintenance.rescuer import Rescuer
from jobqueue.records import Rescue

LOOKS_PER_LEASE = 4


class RescueService:
    """A service that looks several times a lease for workers that are gone, and frees their jobs.

    What somebody keeps locked, and what the database refuses, is logged once, and tried again.

    Args:
        rescuer: frees the jobs.
        lease_seconds: how long a worker may go without a beat.
        failed_beats: how many heartbeats of this process have failed so far. While they fail,
            nobody's heartbeat counts as stopped.
        logger: where rescues and troubles are logged.
        name: whose thread it is, for the log.
        on_rescue: is called with each rescue that freed jobs; it must not take long.
        first: is called before each look. Returns whether all is done that it does; if not, it is
            called again soon.
        is_done: whether `first` has nothing left to do. `stop` waits for that, if it is given.
    """

    def __init__(
        self,
        rescuer: Rescuer,
        lease_seconds: float,
        failed_beats: Callable[[], int],
        logger: logging.Logger,
        name: str,
        *,
        on_rescue: Callable[[Rescue], None] = lambda _: None,
        first: Callable[[], bool] = lambda: True,
        is_done: Callable[[], bool] | None = None,
    ) -> None:
        self._rescuer = rescuer
        self._failed_beats = failed_beats
        self._failed_before = 0
        self._logger = logger
        self._on_rescue = on_rescue
        self._first = first
        self._pause_seconds = lease_seconds / LOOKS_PER_LEASE
        self._pauses = reconnect_pauses()
        self._left: dict[str, Rescue] = {}
        self._service = Service(
            "jobqueue-rescuer",
            self._step,
            logger,
            on_trouble=partial(log.rescue_troubled, logger, name),
            retry_seconds=min(self._pause_seconds, RETRY_SECONDS),
            until=is_done,
        )

    def start(self) -> None:
        """Start the thread of the service."""
        self._service.start()

    def stop(self, timeout_seconds: float | None = None) -> None:
        """End when all is done; wait for that so long at most, or as long as it takes."""
        self._service.stop(timeout_seconds)

    def wake(self) -> None:
        """Look for workers that are gone now, without waiting for the next time."""
        self._service.wake()

    def note(self, rescue: Rescue) -> None:
        """Log a rescue and pass it on, if it freed jobs; log what it left, once."""
        if rescue:
            log.jobs_rescued(self._logger, rescue)
            self._on_rescue(rescue)
        before = self._left.pop(rescue.worker_id, Rescue(rescue.worker_id))
        if not rescue.has_freed_all:
            self._left[rescue.worker_id] = rescue
        if _is_more(rescue, before):
            log.rescue_waits(self._logger, rescue)
        if not dict(rescue.refused).keys() <= dict(before.refused).keys():
            log.rescue_refused(self._logger, rescue)

    def _step(self) -> float:
        try:
            is_done = self._first()
        finally:
            self._rescue()
        if is_done:
            self._pauses = reconnect_pauses()
            return self._pause_seconds
        return min(next(self._pauses), self._pause_seconds)

    def _rescue(self) -> None:
        failed = self._failed_beats()
        if failed != self._failed_before:
            self._rescuer.forget()
        self._failed_before = failed
        try:
            self._rescuer.rescue(self.note)
        except DatabaseError:
            self._rescuer.forget()
            raise


def _is_more(left: Rescue, before: Rescue) -> bool:
    """Whether something is locked that was not before."""
    if left.worker_is_locked and not before.worker_is_locked:
        return True
    return not set(left.locked) <= set(before.locked)
