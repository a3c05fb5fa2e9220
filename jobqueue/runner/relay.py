"""The relay: it listens for all workers of a supervisor, and wakes each through a pipe.

The pipe carries lines of JSON: a wake-up, whether the supervisor listens at all, whether to take no
more jobs for now, or that somebody asks for stacks. A worker whose supervisor listens polls only
rarely. It relies on that for some seconds, so the supervisor says it again every second, as a sign
of life.
"""

from __future__ import annotations

import json
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.background import Service
from jobqueue.descriptors import Descriptor
from jobqueue.records import Wakeup
from jobqueue.runner.groups import RESTING
from jobqueue.worker.listener import ListenerService
from jobqueue.worker.worker import Worker

LISTENING = "listening"
STACKS = "stacks"
SIGN_SECONDS = 1.0
CHUNK_BYTES = 65536
# A process that ends closes its descriptors a moment before it is seen to have ended.
BROKEN_SECONDS = 2.0


class Wakeable(Protocol):
    """A worker that a relay can wake."""

    pipe: WakePipe

    @property
    def queues(self) -> tuple[str, ...] | None:
        """The queues that it claims from; None for all queues."""
        ...

    @property
    def has_free_slots(self) -> bool:
        """Whether the worker could perform another job now."""
        ...


class WakePipe:
    """The supervisor's end of the pipe to one worker. Any thread may use it.

    `child_fd` is the worker's end, which is passed to its process and closed here.
    """

    def __init__(self) -> None:
        self.child_fd, self._fd = os.pipe()
        os.set_blocking(self._fd, False)
        self._lock = threading.Lock()
        self._sent_listening = False
        self._sent_resting = (False, False)
        self._is_closed = False
        self._broken_at = float("inf")
        self.last_used = 0.0

    @property
    def is_broken(self) -> bool:
        """Whether the worker has closed its end a while ago, so that nothing reaches it."""
        return time.monotonic() - self._broken_at > BROKEN_SECONDS

    def wake(self, wakeup: Wakeup) -> None:
        """Pass a wake-up on to the worker."""
        self.last_used = time.monotonic()
        self._send(wakeup.to_json())

    def send_listening(self, listening: bool) -> None:
        """Tell the worker whether it can rely on being woken for now.

        A worker that was told nothing, or nothing for some seconds, does not rely on it.
        """
        if (listening or self._sent_listening) and self._send(json.dumps({LISTENING: listening})):
            self._sent_listening = listening

    def send_resting(self, resting: bool, *, alone: bool = False) -> None:
        """Have the worker take no more jobs, or take them again, unless it knows.

        Args:
            resting: whether it takes none.
            alone: whether the supervisor is suspended, so that it has to keep its lease itself.
        """
        wanted = (resting, alone)
        if self._sent_resting != wanted and self._send(json.dumps({RESTING: wanted})):
            self._sent_resting = wanted

    def ask_for_stacks(self) -> None:
        """Have the worker store its stacks. One of a former release only looks for jobs."""
        self._send(json.dumps({STACKS: True}))

    def close(self) -> None:
        """Close the supervisor's end of the pipe, when the worker has ended."""
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
            except BlockingIOError:
                return False
            except BrokenPipeError:
                self._broken_at = min(self._broken_at, time.monotonic())
                return False
            return True


class Relay:
    """A listener for all workers of a supervisor, which wakes those that a wake-up concerns.

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
        self._signs = Service("jobqueue-relay", self._give_sign, logger)

    def start(self) -> None:
        """Begin to listen. If a thread cannot be started, call it again later."""
        self._signs.start()
        self._listener.start()

    def stop(self) -> None:
        """Listen no more."""
        self._signs.stop()
        self._listener.stop()

    def look_every(self, poll_interval: timedelta) -> None:
        """Poll every `poll_interval`, from now on, for jobs that have come due."""
        self._listener.look_every(poll_interval)

    def _wake(self, wakeup: Wakeup) -> None:
        concerned = [worker for worker in self._workers() if wakeup.concerns(worker.queues)]
        for worker in enough_for(wakeup, concerned):
            worker.pipe.wake(wakeup)

    def _give_sign(self) -> float:
        self._tell(self._listener.is_reliable)
        return SIGN_SECONDS

    def _tell(self, listening: bool) -> None:
        for worker in self._workers():
            worker.pipe.send_listening(listening)


def enough_for(wakeup: Wakeup, workers: Sequence[Wakeable]) -> Sequence[Wakeable]:
    """The workers to wake: as many idle ones as there are jobs, or else all."""
    if wakeup.jobs is None or wakeup.jobs >= len(workers):
        return workers
    idle = [worker for worker in workers if worker.has_free_slots]
    if wakeup.jobs >= len(idle):
        return workers
    return sorted(idle, key=lambda worker: worker.pipe.last_used)[: wakeup.jobs]


def read_from_supervisor(
    fd: int, worker: Worker, when_alone: Callable[[bool], None], logger: logging.Logger
) -> None:
    """Wake a worker by the lines that come through the pipe, for as long as the process lives.

    What has come already is heeded before this returns: the worker may have to rest from the start.

    Args:
        fd: the worker's end.
        worker: the worker.
        when_alone: is called with whether it has to keep its lease itself.
        logger: where it is logged that nothing comes through the pipe any more.
    """
    reader = PipeReader(Descriptor(fd), worker, when_alone, logger)
    reader.heed_so_far()
    threading.Thread(target=reader.run, name="jobqueue-wake-pipe", daemon=True).start()


class PipeReader:
    """A reader of the pipe from the supervisor, which has the worker do what the lines say.

    Args:
        pipe: the worker's end.
        worker: the worker.
        when_alone: is called with whether it has to keep its lease itself.
        logger: where it is logged that this has ended.
    """

    def __init__(
        self,
        pipe: Descriptor,
        worker: Worker,
        when_alone: Callable[[bool], None],
        logger: logging.Logger,
    ) -> None:
        self._pipe = pipe
        self._worker = worker
        self._when_alone = when_alone
        self._logger = logger
        self._begun = b""
        self._poll = select.poll()
        self._poll.register(pipe.number, select.POLLIN)

    def heed_so_far(self) -> None:
        """Do what the lines say that have come already, without waiting for more."""
        while self._poll.poll(0) and self._heed_some():
            pass

    def run(self) -> None:
        """Do what each line says, until the supervisor closes its end.

        Whatever ends this, the worker polls for itself from then on.
        """
        try:
            while self._heed_some():
                pass
        except Exception as error:  # noqa: BLE001 - a thread that ends for any reason says so
            log.wakeups_lost(self._logger, self._worker.id, error)
        finally:
            self._worker.rely_on_wakeups(False)
            # The supervisor sees that, and replaces this process.
            self._pipe.close()

    def _heed_some(self) -> bool:
        """Wait for lines, and do what they say; False when the supervisor has closed its end.

        Raises:
            OSError: a job has closed this end.
        """
        self._poll.poll()
        self._pipe.check()
        chunk = os.read(self._pipe.number, CHUNK_BYTES)
        *lines, self._begun = (self._begun + chunk).split(b"\n")
        for line in lines:
            self._heed(line)
        return bool(chunk)

    def _heed(self, line: bytes) -> None:
        """Do what a line says. A supervisor of a later release may say more in it."""
        facts = json.loads(line)
        if LISTENING in facts:
            self._worker.rely_on_wakeups(facts[LISTENING])
        elif RESTING in facts:
            resting, alone, *_ = facts[RESTING]
            self._worker.rest(resting)
            self._when_alone(alone)
        elif STACKS in facts:
            self._worker.show_stacks()
        else:
            self._worker.wake(Wakeup.from_facts(facts))
