"""Listens for all workers of a supervisor, and wakes each through a pipe.

The pipe carries lines of JSON: a wake-up, whether the supervisor listens at all, or whether to take
no more jobs for now. A worker whose supervisor listens polls only rarely.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Protocol

from jobqueue.adapters.base import Adapter
from jobqueue.records import Wakeup
from jobqueue.runner.groups import RESTING
from jobqueue.worker.listener import ListenerService
from jobqueue.worker.worker import Worker

LISTENING = "listening"
CHUNK_BYTES = 65536


class Wakeable(Protocol):
    """A worker that a relay can wake."""

    pipe: WakePipe

    @property
    def queues(self) -> tuple[str, ...] | None:
        """The queues that it claims from; None for all queues."""
        ...

    @property
    def has_free_slots(self) -> bool:
        """Whether it could perform another job now."""
        ...


class WakePipe:
    """The supervisor's end of the pipe to one worker. Any thread may use it.

    `child_fd` is the worker's end, which is passed to its process and closed here.
    """

    def __init__(self) -> None:
        self.child_fd, self._fd = os.pipe()
        os.set_blocking(self._fd, False)
        self._lock = threading.Lock()
        self._told: bool | None = None
        self._told_resting = (False, False)
        self._is_closed = False
        self.last_used = 0.0

    def wake(self, wakeup: Wakeup) -> None:
        """Tell the worker to poll."""
        self.last_used = time.monotonic()
        self._send(wakeup.to_json())

    def tell(self, listening: bool) -> None:
        """Tell the worker whether it can rely on being woken, unless it knows."""
        if self._told is not listening and self._send(json.dumps({LISTENING: listening})):
            self._told = listening

    def tell_resting(self, resting: bool, *, alone: bool = False) -> None:
        """Have the worker take no more jobs, or take them again, unless it knows.

        Args:
            resting: whether it takes none.
            alone: whether the supervisor is suspended, so that it has to keep its lease itself.
        """
        wanted = (resting, alone)
        if self._told_resting != wanted and self._send(json.dumps({RESTING: wanted})):
            self._told_resting = wanted

    def close(self) -> None:
        """Close it, when the worker has ended."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                os.close(self._fd)

    def _send(self, line: str) -> bool:
        """Send a line wholly or not at all: it is short, and a full pipe has woken the worker."""
        with self._lock:
            if self._is_closed:
                return False
            try:
                os.write(self._fd, line.encode() + b"\n")
            except (BlockingIOError, BrokenPipeError):
                return False
            return True


class Relay:
    """Listens, and wakes the workers that an event concerns.

    Args:
        adapter: where the jobs are.
        url: of the connection to listen on; the adapter's own when None.
        workers: the workers that there are, asked each time.
        poll_interval: how often to poll for jobs that have come due.
        logger: where it is logged that it cannot listen.
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
        """From now on, poll so often for jobs that have come due."""
        self._listener.look_every(poll_interval)

    def _wake(self, wakeup: Wakeup) -> None:
        concerned = [worker for worker in self._workers() if wakeup.concerns(worker.queues)]
        for worker in enough_for(wakeup, concerned):
            worker.pipe.wake(wakeup)

    def _tell(self, listening: bool) -> None:
        for worker in self._workers():
            worker.pipe.tell(listening)


def enough_for(wakeup: Wakeup, workers: Sequence[Wakeable]) -> Sequence[Wakeable]:
    """As many idle workers as there are jobs, the least recently woken first; or else all."""
    if wakeup.jobs is None or wakeup.jobs >= len(workers):
        return workers
    idle = [worker for worker in workers if worker.has_free_slots]
    if wakeup.jobs >= len(idle):
        return workers
    return sorted(idle, key=lambda worker: worker.pipe.last_used)[: wakeup.jobs]


def hear_from_supervisor(fd: int, worker: Worker, when_alone: Callable[[bool], None]) -> None:
    """Have a worker woken by what comes through the pipe, for as long as the process lives.

    What has come already is heeded before this returns: the worker may have to rest from the start.

    Args:
        fd: the worker's end.
        worker: the worker.
        when_alone: is called with whether it has to keep its lease itself.
    """
    for line in _lines_so_far(fd):
        _heed(line, worker, when_alone)
    hearing = threading.Thread(
        target=_hear, args=(fd, worker, when_alone), name="jobqueue-wake-pipe", daemon=True
    )
    hearing.start()


def _lines_so_far(fd: int) -> list[bytes]:
    """What is in the pipe already. Each line is sent as a whole."""
    os.set_blocking(fd, False)
    said = b""
    with suppress(BlockingIOError):
        while chunk := os.read(fd, CHUNK_BYTES):
            said += chunk
    os.set_blocking(fd, True)
    return said.splitlines()


def _hear(fd: int, worker: Worker, when_alone: Callable[[bool], None]) -> None:
    with os.fdopen(fd, "rb") as lines:
        for line in lines:
            _heed(line, worker, when_alone)
    worker.rely_on_wakeups(False)


def _heed(line: bytes, worker: Worker, when_alone: Callable[[bool], None]) -> None:
    """Do what a line says. A supervisor of a later release may say more in it."""
    facts = json.loads(line)
    if LISTENING in facts:
        worker.rely_on_wakeups(facts[LISTENING])
    elif RESTING in facts:
        resting, alone, *_ = facts[RESTING]
        worker.rest(resting)
        when_alone(alone)
    else:
        worker.wake(Wakeup.from_facts(facts))
