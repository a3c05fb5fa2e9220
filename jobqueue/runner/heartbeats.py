"""The heartbeats of all workers of a supervisor, and the rescue of jobs from those that ended.

Both have threads of their own, apart from the loop that watches processes, so that a slow database
delays neither a signal nor the notice of a worker that has ended. And no heartbeat waits for a
rescue.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jobqueue.adapters.roles.leases import LeasesRole
from jobqueue.maintenance.rescue_service import RescueService
from jobqueue.maintenance.rescuer import Rescuer
from jobqueue.records import CrashedJob, NewWorker, Rescue
from jobqueue.worker.heartbeat import Heartbeat


@dataclass(frozen=True, slots=True)
class EndedWorker:
    """A worker whose process has ended, and the jobs that it was performing.

    Args:
        why: why it ended; None if it knew that better itself.
    """

    worker_id: str
    performing: tuple[CrashedJob, ...] = ()
    why: str | None = None


class WorkerHeartbeats:
    """The heartbeats of a supervisor's workers, and the rescue of jobs of those that ended.

    Args:
        adapter: where workers and jobs are.
        rescuer: frees the jobs of other workers that are gone.
        lease_seconds: how long a worker may go without a beat.
        alive: the workers to beat for, asked at each beat: neither ended nor suspended.
        logger: where rescues are logged.
        on_rescue: is called with each rescue that freed jobs.
        on_cleared: is called with the id of each ended worker whose jobs have been freed.
    """

    def __init__(
        self,
        adapter: LeasesRole,
        rescuer: Rescuer,
        lease_seconds: float,
        alive: Callable[[], Sequence[NewWorker]],
        logger: logging.Logger,
        on_rescue: Callable[[Rescue], None] = lambda _: None,
        on_cleared: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._adapter = adapter
        self._alive = alive
        self._on_cleared = on_cleared
        self._arriving: queue.SimpleQueue[EndedWorker] = queue.SimpleQueue()
        self._ended: list[EndedWorker] = []
        self._ended_since_look: dict[str, str | None] = {}
        self._heartbeat = Heartbeat(
            adapter,
            lease_seconds,
            self._look_who_is_alive,
            logger,
            "supervisor",
            on_registered=self._clear_if_ended,
        )
        self._rescuing = RescueService(
            rescuer,
            lease_seconds,
            lambda: self._heartbeat.failed,
            logger,
            "supervisor",
            on_rescue=on_rescue,
            first=self._clear_ended,
            is_done=lambda: not self._ended and self._arriving.empty(),
        )

    def start(self) -> None:
        """Begin to beat, and to rescue. If a thread cannot be started, call it again later."""
        self._rescuing.start()
        self._heartbeat.start()

    def stop(self, timeout_seconds: float) -> None:
        """Free the jobs of all ended workers, and end; after so many seconds in any case."""
        self._rescuing.stop(timeout_seconds)
        self._heartbeat.stop(timeout_seconds)

    def beat_now(self) -> None:
        """Beat now, without waiting for the next time: there is a new worker."""
        self._heartbeat.beat_now()

    def clear(self, worker: EndedWorker) -> None:
        """Free the jobs of a worker that has ended, as soon as the database lets it."""
        self._ended_since_look[worker.worker_id] = worker.why
        self._arriving.put(worker)
        self._rescuing.wake()

    def _look_who_is_alive(self) -> Sequence[NewWorker]:
        self._ended_since_look.clear()
        return self._alive()

    def _clear_if_ended(self, worker: NewWorker) -> None:
        """Remove a worker again that ended, and was cleared, while it was being registered."""
        if worker.id in self._ended_since_look:
            self.clear(EndedWorker(worker.id, why=self._ended_since_look[worker.id]))

    def _clear_ended(self) -> bool:
        """Free the jobs of ended workers; return whether none has a row left that is locked."""
        while not self._arriving.empty():
            self._ended.append(self._arriving.get())
        for _ in range(len(self._ended)):
            # To the end of the row first, so that one that cannot be cleared now holds up no other.
            worker = self._ended.pop(0)
            self._ended.append(worker)
            rescue = self._adapter.rescue_crashed(worker.worker_id, worker.performing, worker.why)
            self._rescuing.note(rescue)
            if rescue.has_freed_all:
                self._ended.remove(worker)
                self._on_cleared(worker.worker_id)
        return not self._ended
