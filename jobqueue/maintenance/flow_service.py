"""The service that has flows go on where whoever was to see to that did not.

A worker that settles a job of a flow has the flow go on itself. A job can end otherwise: somebody
cancels or deletes it, or its worker is lost. And a worker can be killed in between.
"""

from __future__ import annotations

import logging
import random
from contextlib import suppress
from functools import partial
from typing import Protocol

from jobqueue import log
from jobqueue.adapters.roles.flows import FlowsRole
from jobqueue.adapters.roles.schema import SchemaRole
from jobqueue.background import Service
from jobqueue.errors import DatabaseError

LOOK_SECONDS = 2.0
STOP_SECONDS = 5.0
MOST_FLOWS = 100
"""How many flows a look goes through. The next one goes on behind them."""


class FlowServiceRoles(FlowsRole, SchemaRole, Protocol):
    """The roles of an adapter that the service needs."""


class FlowService:
    """A service that looks every other second for flows that have to go on.

    Args:
        adapter: where they are.
        logger: where it is logged that the database refuses it.
        frugal: whether to close spare connections after each look.
    """

    def __init__(
        self, adapter: FlowServiceRoles, logger: logging.Logger, *, frugal: bool = False
    ) -> None:
        self._adapter = adapter
        self._frugal = frugal
        self._service = Service(
            "jobqueue-flows",
            self._step,
            logger,
            on_trouble=partial(log.flows_troubled, logger),
            retry_seconds=LOOK_SECONDS,
        )

    def start(self) -> None:
        """Begin, with the first look now."""
        self._service.start()

    def stop(self) -> None:
        """End; others go on. The database is not waited for."""
        self._service.stop(STOP_SECONDS)

    def _step(self) -> float:
        try:
            self._adapter.advance_flows(MOST_FLOWS)
        finally:
            if self._frugal:
                with suppress(DatabaseError):  # one that is broken may say so when it is closed
                    self._adapter.close_spare_connections()
        return LOOK_SECONDS * random.uniform(0.7, 1.0)  # noqa: S311 - spreads load
