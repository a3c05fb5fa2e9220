"""Listens for new jobs, so that an idle worker need not wait for its next poll.

Nothing depends on it. Without a connection it wakes nobody, and workers find jobs when they poll.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

from jobqueue import log
from jobqueue.adapters.roles.wakeups import Listener, WakeupsRole
from jobqueue.background import Service
from jobqueue.errors import DatabaseError
from jobqueue.records import ECHO_SECONDS, LOOK_ANYWHERE, NO_DELAY, Wakeup

RARELY = timedelta(minutes=5)
"""How often a worker polls while a listener that polls for it wakes it."""

LISTEN_SECONDS = 30.0
FIRST_RECONNECT_SECONDS = 0.2
LONGEST_RECONNECT_SECONDS = 60.0
# Wake-ups that come closer together than this are passed on as one.
GATHER_SECONDS = 0.002


class ListenerService:
    """Listens until it is stopped, and connects again when the connection is lost.

    Args:
        adapter: where the jobs are.
        url: of the connection to listen on; the adapter's own when None.
        hear: is called with each wake-up, on this thread.
        logger: where it is logged that it cannot listen, and that it can again.
        look_every: how often to poll for jobs that have come due, for workers that rely on it;
            None for never.
        on_listening: is called with whether it listens, on this thread, and again at every poll.
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
        self._is_lost = False
        self._pause_seconds = FIRST_RECONNECT_SECONDS
        self._service = Service("jobqueue-listener", self._step, logger)

    def start(self) -> None:
        """Begin to listen."""
        self._service.start()

    def stop(self) -> None:
        """Listen no more, and return when the connection is closed."""
        self._service.stop(0.0)
        listener = self._listener
        if listener is not None:
            listener.close()
        self._service.stop()

    def look_every(self, interval: timedelta) -> None:
        """From the next poll on, poll so often for jobs that have come due."""
        self._look_every = interval

    def _step(self) -> float:
        """Listen on one connection until it is lost, and return when to try another.

        Any `DatabaseError` is logged here: nobody else notices that listening fails.
        """
        try:
            self._listen()
        except DatabaseError as error:
            self._note_lost(error)
        finally:
            self._on_listening(False)
        seconds = self._pause_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
        self._pause_seconds = min(self._pause_seconds * 2, LONGEST_RECONNECT_SECONDS)
        return seconds

    def _listen(self) -> None:
        with closing(self._adapter.listen(self._url)) as listener:
            self._listener = listener
            self._note_listening()
            # Jobs that came before this were not heard of.
            self._hear(LOOK_ANYWHERE)
            look_at = time.monotonic() + self._seconds_to_next_look()
            while not self._service.is_stopping:
                wakeup = listener.wait(max(look_at - time.monotonic(), 0.0))
                if wakeup is not None:
                    self._pass_on(wakeup)
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + self._look()

    def _pass_on(self, wakeup: Wakeup) -> None:
        self._hear(wakeup)
        if wakeup.more:
            self._service.pause(ECHO_SECONDS)
            self._hear(Wakeup(wakeup.queues))
        else:
            self._service.pause(GATHER_SECONDS)

    def _look(self) -> float:
        """Wake all if a job is due, and return how long until the next poll."""
        if self._look_every is None:
            return LISTEN_SECONDS
        self._on_listening(True)
        due_in = self._adapter.due_in()
        pause = self._seconds_to_next_look()
        if due_in is None:
            return pause
        if due_in <= NO_DELAY:
            self._hear(LOOK_ANYWHERE)
            return pause
        return min(pause, due_in.total_seconds())

    def _seconds_to_next_look(self) -> float:
        if self._look_every is None:
            return LISTEN_SECONDS
        return self._look_every.total_seconds() * random.uniform(1.0, 1.2)  # noqa: S311 - as above

    def _note_listening(self) -> None:
        self._pause_seconds = FIRST_RECONNECT_SECONDS
        self._on_listening(True)
        if self._is_lost:
            self._is_lost = False
            log.listening_again(self._logger)

    def _note_lost(self, error: DatabaseError) -> None:
        """Log it once, however long it lasts."""
        if not self._is_lost and not self._service.is_stopping:
            self._is_lost = True
            log.not_listening(self._logger, error)
