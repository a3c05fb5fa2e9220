"""The heartbeats of all workers of a supervisor, and the burials of those that died.

It is a thread of its own, apart from the loop that watches processes: a database that takes its
time must keep nobody from noticing a signal or a dead child.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jobqueue.adapters.base import Adapter
from jobqueue.maintenance.rescuer import Rescuer
from jobqueue.records import CrashedJob, NewWorker, Rescue
from jobqueue.worker.heartbeat import Beating


@dataclass(frozen=True, slots=True)
class Death:
    """A worker whose process has ended, and what it was performing."""

    worker_id: str
    performing: tuple[CrashedJob, ...] = ()


class Heart:
    """Beats for workers, rescues those of others, and frees the jobs of those that died here.

    Args:
        adapter: where workers and jobs are.
        rescuer: looks after the workers of others.
        lease_seconds: how long a worker may go without a beat.
        alive: the workers to beat for, asked at each beat: neither ended nor standing still.
        logger: where rescues are told.
        on_rescue: is called with each in which jobs were freed.
        on_buried: is called with the id of each worker that was buried.
    """

    def __init__(
        self,
        adapter: Adapter,
        rescuer: Rescuer,
        lease_seconds: float,
        alive: Callable[[], Sequence[NewWorker]],
        logger: logging.Logger,
        on_rescue: Callable[[Rescue], None] = lambda _: None,
        on_buried: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._adapter = adapter
        self._on_buried = on_buried
        self._deaths: queue.SimpleQueue[Death] = queue.SimpleQueue()
        self._unburied: list[Death] = []
        self._beating = Beating(
            adapter=adapter,
            rescuer=rescuer,
            lease_seconds=lease_seconds,
            alive=alive,
            logger=logger,
            name="supervisor",
            on_rescue=on_rescue,
            before_beat=self._bury_all,
            is_done=lambda: not self._unburied and self._deaths.empty(),
        )

    def start(self) -> None:
        """Begin to beat."""
        self._beating.start()

    def stop(self, timeout_seconds: float) -> None:
        """Bury who is left to be buried, and end; at most so long, if the database is away."""
        self._beating.stop(timeout_seconds)

    def beat_now(self) -> None:
        """Do not wait for the next beat: there is a new worker."""
        self._beating.beat_now()

    def bury(self, death: Death) -> None:
        """Free the jobs of a dead worker, as soon as the database lets it."""
        self._deaths.put(death)
        self._beating.beat_now()

    def _bury_all(self) -> None:
        while not self._deaths.empty():
            self._unburied.append(self._deaths.get())
        while self._unburied:
            death = self._unburied[0]
            self._beating.tell(self._adapter.rescue_crashed(death.worker_id, death.performing))
            self._on_buried(self._unburied.pop(0).worker_id)
