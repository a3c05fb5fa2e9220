"""The listener for new jobs, so that an idle worker need not wait for its next poll.

Nothing depends on it. Without a connection it wakes nobody, and workers find jobs when they poll.

The thread that passes on wake-ups waits for nothing else. What has to be asked of the database is
asked on another thread: when the next job is due, and whether wake-ups still arrive.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from functools import partial

from jobqueue import log
from jobqueue.adapters.roles.wakeups import Listener, WakeupsRole
from jobqueue.background import Service
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.records import ECHO_SECONDS, LOOK_ANYWHERE, NO_DELAY, Wakeup

LISTEN_SECONDS = 30.0
FIRST_RECONNECT_SECONDS = 0.2
LONGEST_RECONNECT_SECONDS = 60.0
# Wake-ups that come closer together than this are passed on as one.
GATHER_SECONDS = 0.002
# After so much silence it is verified that wake-ups arrive. Others hear the one that is sent for
# this as well, and send none, so that many listeners cost no more than one.
VERIFY_SECONDS = 60.0
LATE_SECONDS = 5.0
STOP_SECONDS = 5.0


class ListenerService:
    """A service that listens for new jobs, and connects again when the connection is lost.

    Args:
        adapter: where the jobs are.
        url: of the connection to listen on; the adapter's own when None.
        hear: is called with each wake-up, and when a job has come due; from two threads.
        logger: where it is logged that it cannot listen, and that it can again.
        look_every: how often to poll for jobs that have come due, for workers that rely on it;
            None for never.
        on_listening: is called with whether it listens, on the thread that passes on wake-ups.
    """

    def __init__(
        self,
        adapter: WakeupsRole,
        url: str | None,
        hear: Callable[[Wakeup], None],
        logger: logging.Logger,
        *,
        look_every: timedelta | None = None,
        on_listening: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._adapter, self._url = adapter, url
        self._hear, self._logger = hear, logger
        self._look_every = look_every
        self._on_listening = on_listening
        self._listener: Listener | None = None
        self._deaf: DatabaseError | None = None
        self._is_lost = False
        self._verify_at = self._asks_again_by = 0.0
        self._longest_silence = _seconds_of_silence()
        self._pause_seconds = FIRST_RECONNECT_SECONDS
        self._service = Service("jobqueue-listener", self._step, logger)
        self._asking = Service(
            "jobqueue-listener-asks",
            self._ask,
            logger,
            on_trouble=partial(log.next_job_unknown, logger),
        )

    def start(self) -> None:
        """Begin to listen. If a thread cannot be started, call it again later, or `stop`."""
        self._asking.start()
        self._service.start()

    def stop(self) -> None:
        """Listen no more, and return when the connection is closed.

        A database that does not answer is not waited for.
        """
        self._service.stop(0.0)
        self._asking.stop(0.0)
        listener = self._listener
        if listener is not None:
            listener.close()
        self._service.stop()
        self._asking.stop(STOP_SECONDS)

    def look_every(self, interval: timedelta) -> None:
        """Poll every `interval`, from the next poll on, for jobs that have come due."""
        self._look_every = interval

    @property
    def is_reliable(self) -> bool:
        """Whether the service listens, and has asked lately when the next job is due."""
        is_late = self._look_every is not None and time.monotonic() > self._asks_again_by
        return self._listener is not None and not is_late

    # --- passing on ------------------------------------------------------------------------------

    def _step(self) -> float:
        """Listen on one connection until it is lost, and return when to try another.

        Any `DatabaseError` is logged here: nobody else notices that listening fails.
        """
        try:
            self._listen()
        except DatabaseError as error:
            self._note_lost(error)
        finally:
            self._listener = None
            self._on_listening(False)
        seconds = self._pause_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
        self._pause_seconds = min(self._pause_seconds * 2, LONGEST_RECONNECT_SECONDS)
        return seconds

    def _listen(self) -> None:
        with closing(self._adapter.listen(self._url)) as listener:
            self._note_listening(listener)
            # Jobs that came before this were not heard of.
            self._hear(LOOK_ANYWHERE)
            while not self._service.is_stopping:
                wakeup = listener.wait(LISTEN_SECONDS)
                if self._deaf is not None:
                    raise self._deaf
                if wakeup is not None:
                    self._pass_on(wakeup)

    def _pass_on(self, wakeup: Wakeup) -> None:
        self._hear(wakeup)
        if wakeup.more:
            self._service.pause(ECHO_SECONDS)
            self._hear(Wakeup(wakeup.queues))
        else:
            self._service.pause(GATHER_SECONDS)

    def _note_listening(self, listener: Listener) -> None:
        self._deaf, self._listener = None, listener
        self._pause_seconds = FIRST_RECONNECT_SECONDS
        self._verify_at = time.monotonic() + self._longest_silence
        self._asks_again_by = time.monotonic() + LATE_SECONDS
        self._asking.wake()
        self._on_listening(True)
        if self._is_lost:
            self._is_lost = False
            log.listening_again(self._logger)

    def _note_lost(self, error: DatabaseError) -> None:
        """Log that nothing can be listened to, once, however long it lasts."""
        if not self._is_lost and not self._service.is_stopping:
            self._is_lost = True
            log.not_listening(self._logger, error)

    # --- asking the database ---------------------------------------------------------------------

    def _ask(self) -> float | None:
        """Ask for due jobs, and verify the connection, if it is time. Return when to ask again."""
        listener = self._listener
        if listener is None:
            return None
        seconds = min(self._look(), self._verify(listener))
        self._asks_again_by = time.monotonic() + seconds + LATE_SECONDS
        return seconds

    def _look(self) -> float:
        """Wake the workers if a job is due. Return the seconds until the next poll."""
        if self._look_every is None:
            return VERIFY_SECONDS
        due_in = self._adapter.due_in()
        pause = self._look_every.total_seconds() * random.uniform(1.0, 1.2)  # noqa: S311 - as above
        if due_in is None:
            return pause
        if due_in <= NO_DELAY:
            self._hear(LOOK_ANYWHERE)
            return pause
        return min(pause, due_in.total_seconds())

    def _verify(self, listener: Listener) -> float:
        """After a long silence, verify that wake-ups arrive. Return when to look at that again."""
        now = time.monotonic()
        if now >= self._verify_at:
            silence = listener.silent_seconds()
            if silence >= self._longest_silence:
                self._verify_now(listener)
                silence = 0.0
            self._longest_silence = _seconds_of_silence()
            self._verify_at = now + self._longest_silence - silence
        return self._verify_at - now

    def _verify_now(self, listener: Listener) -> None:
        try:
            listener.verify()
        except DatabaseUnavailable:
            raise
        except DatabaseError as error:
            self._deaf = error
            listener.close()


def _seconds_of_silence() -> float:
    """The seconds without any arrival after which it is verified that wake-ups arrive."""
    return VERIFY_SECONDS * random.uniform(0.8, 1.0)  # noqa: S311 - so that few send one
