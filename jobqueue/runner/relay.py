"""One ear for many: a supervisor listens for its workers, and tells each through a pipe.

What goes through the pipe are lines of JSON: a wake-up, whether the supervisor listens at all, or
whether to take no more jobs for now.
A worker that is told that it does looks by itself only rarely.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from jobqueue.adapters.base import Adapter
from jobqueue.records import LOOK_ANYWHERE, Wakeup
from jobqueue.runner.groups import RESTING
from jobqueue.worker.listener import ListenerService
from jobqueue.worker.worker import Worker

LISTENING = "listening"


class Wakeable(Protocol):
    """A worker process as a relay needs it."""

    pipe: WakePipe

    @property
    def queues(self) -> tuple[str, ...] | None:
        """Where it takes jobs from; None for all queues."""
        ...

    @property
    def has_free_slots(self) -> bool:
        """Whether it could perform another job now."""
        ...


class WakePipe:
    """The supervisor's end of the pipe to one worker. Any thread may use it.

    `child_fd` is the worker's end, to be passed on and closed.
    """

    def __init__(self) -> None:
        self.child_fd, self._fd = os.pipe()
        os.set_blocking(self._fd, False)
        self._lock = threading.Lock()
        self._told: bool | None = None
        self._is_closed = False
        self.last_used = 0.0

    def wake(self, wakeup: Wakeup) -> None:
        """Tell the worker to look."""
        self.last_used = time.monotonic()
        self._send(wakeup.to_json())

    def tell(self, listening: bool) -> None:
        """Tell the worker whether it can rely on being woken, unless it knows."""
        if self._told is not listening and self._send(json.dumps({LISTENING: listening})):
            self._told = listening

    def tell_resting(self, resting: bool, *, alone: bool = False) -> None:
        """Have the worker take no more jobs, or take them again.

        Args:
            resting: whether it takes none.
            alone: whether the supervisor stands still, so that it has to keep its lease itself.
        """
        self._send(json.dumps({RESTING: [resting, alone]}))

    def close(self) -> None:
        """The worker has ended."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                os.close(self._fd)

    def _send(self, line: str) -> bool:
        """A line goes whole or not at all: it is short, and a full pipe has woken the worker."""
        with self._lock:
            if self._is_closed:
                return False
            try:
                os.write(self._fd, line.encode() + b"\n")
            except (BlockingIOError, BrokenPipeError):
                return False
            return True


class Relay:
    """Listens, and wakes those of some workers that are concerned.

    Args:
        adapter: where the jobs are.
        url: of the connection to listen on; the adapter's own when None.
        workers: those that there are, asked each time.
        poll_interval: how often to look for jobs that have come due.
        logger: where it says that it cannot listen.
    """

    def __init__(
        self,
        adapter: Adapter,
        url: str | None,
        workers: Callable[[], Sequence[Wakeable]],
        poll_interval: timedelta,
        logger: logging.Logger,
    ) -> None:
        self._workers = workers
        self._listener = ListenerService(
            adapter,
            url,
            self._wake,
            logger,
            look_every=poll_interval,
            on_listening=self._tell,
        )

    def start(self) -> None:
        """Begin to listen."""
        self._listener.start()

    def stop(self) -> None:
        """Listen no more."""
        self._listener.stop()

    def look_every(self, poll_interval: timedelta) -> None:
        """From now on, look so often for jobs that have come due."""
        self._listener.look_every(poll_interval)

    def _wake(self, wakeup: Wakeup) -> None:
        concerned = [worker for worker in self._workers() if wakeup.concerns(worker.queues)]
        for worker in enough_for(wakeup, concerned):
            worker.pipe.wake(wakeup)

    def _tell(self, listening: bool) -> None:
        for worker in self._workers():
            worker.pipe.tell(listening)


def enough_for(wakeup: Wakeup, workers: Sequence[Wakeable]) -> Sequence[Wakeable]:
    """As many idle workers as there are jobs, the longest left alone first; else all of them."""
    if wakeup.jobs is None or wakeup.jobs >= len(workers):
        return workers
    idle = [worker for worker in workers if worker.has_free_slots]
    if wakeup.jobs >= len(idle):
        return workers
    return sorted(idle, key=lambda worker: worker.pipe.last_used)[: wakeup.jobs]


def hear_from_supervisor(fd: int, worker: Worker, when_alone: Callable[[bool], None]) -> None:
    """Have a worker woken by what comes through the pipe, for as long as the process lives.

    Args:
        fd: the worker's end.
        worker: the worker.
        when_alone: is called with whether it has to keep its lease itself.
    """
    hearing = threading.Thread(
        target=_hear, args=(fd, worker, when_alone), name="jobqueue-wake-pipe", daemon=True
    )
    hearing.start()


def _hear(fd: int, worker: Worker, when_alone: Callable[[bool], None]) -> None:
    with os.fdopen(fd, encoding="utf-8") as lines:
        for line in lines:
            facts = json.loads(line)
            if LISTENING in facts:
                worker.rely_on_wakeups(facts[LISTENING])
            elif RESTING in facts:
                resting, alone = facts[RESTING]
                when_alone(alone)
                worker.rest(resting)
                # What it holds goes back at once; or what came meanwhile is seen, by nobody else.
                worker.wake(LOOK_ANYWHERE)
            else:
                worker.wake(Wakeup.from_facts(facts))
    worker.rely_on_wakeups(False)
