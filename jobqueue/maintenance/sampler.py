"""The sampler, which stores the depths of all queues once a minute.

Every worker that stays has one. In each minute the first of them counts, and the others see that
somebody has begun. So the depths are counted once, however many workers there are.
"""

from __future__ import annotations

import logging
import random
import time
from contextlib import suppress
from functools import partial
from typing import Protocol

from jobqueue import log
from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.adapters.roles.samples import SamplesRole
from jobqueue.adapters.roles.schema import SchemaRole
from jobqueue.background import Service
from jobqueue.errors import DatabaseError

MOST_COUNTED = 200_000
"""How many due jobs are counted: enough to see how fast a long queue becomes shorter."""
MINUTE_SECONDS = 60.0
LATEST_SECONDS = 20.0
STOP_SECONDS = 5.0


class SamplerRoles(SamplesRole, ReadsRole, SchemaRole, Protocol):
    """The roles of an adapter that a sampler needs."""


def take_sample(adapter: SamplerRoles) -> bool:
    """Store the depths of all queues, if nobody has in this minute; return whether it was done."""
    minute = adapter.begin_sample()
    if minute is None:
        return False
    adapter.store_sample(minute, adapter.queue_depths(MOST_COUNTED))
    return True


class SamplerService:
    """A service that takes a sample each minute, unless somebody else does.

    Args:
        adapter: where the jobs are, and the samples.
        logger: where it is logged that the database refuses it.
        frugal: whether to close spare connections after each time.
    """

    def __init__(
        self, adapter: SamplerRoles, logger: logging.Logger, *, frugal: bool = False
    ) -> None:
        self._adapter = adapter
        self._frugal = frugal
        # Always as late in the minute, so that none is left out; not when all others are.
        self._late_seconds = random.uniform(0.0, LATEST_SECONDS)  # noqa: S311 - spreads load
        self._service = Service(
            "jobqueue-sampler",
            self._step,
            logger,
            on_trouble=partial(log.samples_troubled, logger),
            retry_seconds=MINUTE_SECONDS,
        )

    def start(self) -> None:
        """Begin, with a first sample now."""
        self._service.start()

    def stop(self) -> None:
        """End. A database that does not answer is not waited for."""
        self._service.stop(STOP_SECONDS)

    def _step(self) -> float:
        try:
            take_sample(self._adapter)
        finally:
            if self._frugal:
                with suppress(DatabaseError):  # one that is broken may say so when it is closed
                    self._adapter.close_spare_connections()
        return MINUTE_SECONDS - (time.time() - self._late_seconds) % MINUTE_SECONDS
