"""Sums that are added up in memory and stored about once a minute.

Whoever counts only adds to a sum. A service stores the sums, in a transaction of its own. What the
database does not take now is part of what it is given a minute later.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

from jobqueue.background import Service
from jobqueue.errors import DatabaseError, DatabaseUnavailable

FLUSH_SECONDS = 60.0
STOP_SECONDS = 5.0

Key = TypeVar("Key")
Sum = TypeVar("Sum")


class Sums(Generic[Key, Sum]):
    """A service that stores sums about once a minute, until it is stopped.

    `lock` has to be held by whoever adds to `kept`.

    Args:
        name: that of its thread.
        store: stores sums; returns the keys of those that have to be stored another time.
        add: adds a sum to those that are kept, when it could not be stored.
        logger: where an unexpected exception is logged.
        on_trouble: logs that the database refuses them; these are lost.
    """

    def __init__(
        self,
        name: str,
        store: Callable[[dict[Key, Sum]], Collection[Key]],
        add: Callable[[Key, Sum], None],
        logger: logging.Logger,
        on_trouble: Callable[[DatabaseError], None],
    ) -> None:
        self.lock = threading.Lock()
        self.kept: dict[Key, Sum] = {}
        self._store = store
        self._add = add
        self._service = Service(
            name,
            self._step,
            logger,
            on_trouble=on_trouble,
            retry_seconds=FLUSH_SECONDS,
            until=lambda: True,
        )

    def start(self) -> None:
        """Begin to store the sums about once a minute, unless that has begun.

        Raises:
            RuntimeError: the system allows no more threads.
        """
        self._service.start()

    def stop(self) -> None:
        """Store the sums that are left. A database that does not answer is not waited for."""
        self._service.stop(STOP_SECONDS)

    def flush(self) -> None:
        """Store the sums now. When the database is unavailable, they are kept for the next time."""
        self._service.run_step()

    def _step(self) -> float:
        with self.lock:
            taken, self.kept = self.kept, {}
        if taken:
            self._store_or_keep(taken)
        return FLUSH_SECONDS * random.uniform(0.9, 1.0)  # noqa: S311 - spreads load

    def _store_or_keep(self, taken: dict[Key, Sum]) -> None:
        try:
            left = self._store(taken)
        except DatabaseUnavailable:
            self._put_back(taken)
            raise
        self._put_back({key: taken[key] for key in taken if key in left})

    def _put_back(self, sums: dict[Key, Sum]) -> None:
        with self.lock:
            for key, before in sums.items():
                self._add(key, before)
