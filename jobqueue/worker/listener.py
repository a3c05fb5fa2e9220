"""Hearing of new jobs, so that a worker with nothing to do need not wait for its next look.

A thread listens to the database and passes on what it hears. Nothing depends on it: it may lose
its connection, or never have had one, and those it would wake look by themselves.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

from jobqueue import log
from jobqueue.adapters.base import Adapter, Listener
from jobqueue.errors import DatabaseError
from jobqueue.records import ECHO_SECONDS, LOOK_ANYWHERE, NO_DELAY, Wakeup

RARELY = timedelta(minutes=5)
"""How often a worker looks by itself that is woken by somebody who looks for it."""

LISTEN_SECONDS = 30.0
FIRST_RECONNECT_SECONDS = 0.2
LONGEST_RECONNECT_SECONDS = 60.0
# Wake-ups that come closer together than this are passed on as one.
GATHER_SECONDS = 0.002


class ListeningThread:
    """Listens until it is stopped, reconnecting when the connection is lost.

    Args:
        adapter: where the jobs are.
        url: of the connection to listen on; the adapter's own when None.
        hear: is called with each wake-up, on this thread.
        logger: where it says that it cannot listen, and that it can again.
        look_every: also look by itself for jobs whose time has come, this often, for those that
            rely on it; None for never.
        on_listening: is called with whether it listens, on this thread, and again at every look.
    """

    def __init__(
        self,
        adapter: Adapter,
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
        self._stopped = threading.Event()
        self._listener: Listener | None = None
        self._is_lost = False
        self._pause = FIRST_RECONNECT_SECONDS
        self._thread = threading.Thread(target=self._run, name="jobqueue-ear", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more, and return when the connection is closed."""
        self._stopped.set()
        listener = self._listener
        if listener is not None:
            listener.close()
        self._thread.join()

    def look_every(self, interval: timedelta) -> None:
        """From the next look on, look for jobs that have come due so often."""
        self._look_every = interval

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except DatabaseError as error:
                self._note_lost(error)
            finally:
                self._on_listening(False)
            self._stopped.wait(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load
            self._pause = min(self._pause * 2, LONGEST_RECONNECT_SECONDS)

    def _listen(self) -> None:
        with closing(self._adapter.listen(self._url)) as listener:
            self._listener = listener
            self._note_listening()
            # What came before the listening began was not heard.
            self._hear(LOOK_ANYWHERE)
            look_at = time.monotonic() + self._seconds_to_next_look()
            while not self._stopped.is_set():
                wakeup = listener.wait(max(look_at - time.monotonic(), 0.0))
                if wakeup is not None:
                    self._pass_on(wakeup)
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + self._look()

    def _pass_on(self, wakeup: Wakeup) -> None:
        self._hear(wakeup)
        if wakeup.more:
            self._stopped.wait(ECHO_SECONDS)
            self._hear(Wakeup(wakeup.queues))
        else:
            self._stopped.wait(GATHER_SECONDS)

    def _look(self) -> float:
        """Wake all if a job is due, and return how long until the next look."""
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
        self._pause = FIRST_RECONNECT_SECONDS
        self._on_listening(True)
        if self._is_lost:
            self._is_lost = False
            log.listening_again(self._logger)

    def _note_lost(self, error: DatabaseError) -> None:
        """Say it once, however long it lasts."""
        if not self._is_lost and not self._stopped.is_set():
            self._is_lost = True
            log.not_listening(self._logger, error)
