"""Bulk actions that nobody runs any more, which workers take over.

Whoever begins a bulk action runs it. Over HTTP it can also be left to the workers. If its runner
is killed, its lease ends after some seconds, and the first worker that looks goes on from the last
batch.
"""

from __future__ import annotations

import logging
import random
from contextlib import suppress
from functools import partial
from typing import Protocol

from jobqueue import log
from jobqueue.adapters.roles.schema import SchemaRole
from jobqueue.background import Service
from jobqueue.bulk import BulkRoles, run_action
from jobqueue.canary import take_step
from jobqueue.ends import EndReporter
from jobqueue.errors import ActionNotFound, DatabaseError, InvalidAction
from jobqueue.records import ActionKind, ActionRecord

LOOK_SECONDS = 5.0
STOP_SECONDS = 5.0


class BulkActionRoles(BulkRoles, SchemaRole, Protocol):
    """The roles of an adapter that this needs."""


class BulkActionService:
    """A service that looks every few seconds for a bulk action to go on with.

    Args:
        adapter: where they are.
        worker_id: the worker that runs them.
        ends: reports the jobs that they end.
        logger: where it is logged that one goes on, and is done.
        frugal: whether to close spare connections after each look.
    """

    def __init__(
        self,
        adapter: BulkActionRoles,
        worker_id: str,
        ends: EndReporter,
        logger: logging.Logger,
        *,
        frugal: bool = False,
    ) -> None:
        self._adapter = adapter
        self._worker_id = worker_id
        self._ends = ends
        self._logger = logger
        self._frugal = frugal
        self._service = Service(
            "jobqueue-bulk-actions",
            self._step,
            logger,
            on_trouble=partial(log.bulk_actions_troubled, logger),
            retry_seconds=LOOK_SECONDS,
        )

    def start(self) -> None:
        """Begin, with the first look now."""
        self._service.start()

    def stop(self) -> None:
        """End after the batch under way; others go on. The database is not waited for."""
        self._service.stop(STOP_SECONDS)

    def _step(self) -> float:
        try:
            action = self._adapter.take_over_action(self._worker_id)
            if action is None:
                return LOOK_SECONDS * random.uniform(0.7, 1.0)  # noqa: S311 - spreads load
            self._run(action)
            return 0
        finally:
            if self._frugal:
                with suppress(DatabaseError):  # one that is broken may say so when it is closed
                    self._adapter.close_spare_connections()

    def _run(self, action: ActionRecord) -> None:
        is_canary = action.kind == ActionKind.CANARY
        if not is_canary:  # which is taken over for each of its steps
            log.bulk_action_taken_over(self._logger, self._worker_id, action)
        try:
            ended = take_step(self._adapter, action) if is_canary else self._all_of(action)
        except InvalidAction as error:
            self._adapter.stop_action(action.id)
            log.bulk_actions_troubled(self._logger, error)
        except ActionNotFound:
            return  # somebody has removed its row
        else:
            if ended.ended_at is not None:
                log.bulk_action_ended(self._logger, self._worker_id, ended)

    def _all_of(self, action: ActionRecord) -> ActionRecord:
        return run_action(
            self._adapter, action, self._ends, lambda _: not self._service.is_stopping
        )
