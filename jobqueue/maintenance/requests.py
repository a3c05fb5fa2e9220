"""The requests of operators, which somebody has to look for, and how workers are.

A supervisor does so for all its workers, a worker without one for itself.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from jobqueue import log
from jobqueue.adapters.roles.actions import ActionsRole
from jobqueue.adapters.roles.control import ControlRole
from jobqueue.adapters.roles.roster import RosterRole
from jobqueue.adapters.roles.schema import SchemaRole
from jobqueue.adapters.roles.stacks import StacksRole
from jobqueue.background import Service
from jobqueue.errors import DatabaseError
from jobqueue.process_identity import memory_of
from jobqueue.records import ActionKind, NewAction, WorkerNote, WorkerState

LOOK_SECONDS = 3.0
BY_ITSELF = "jobqueue"
TIME_HAS_COME = "the time until which it was paused has come"
NOTE_SECONDS = 60.0
STOP_SECONDS = 5.0


class RequestRoles(ControlRole, ActionsRole, RosterRole, StacksRole, SchemaRole, Protocol):
    """The roles of an adapter that this needs."""


@dataclass(frozen=True, slots=True)
class PresentWorker:
    """A worker of this process or of its children: its id, its process, and whether it works."""

    id: str
    pid: int
    state: WorkerState


class Requests:
    """The requests to the workers of a process, and the notes of how these are.

    Args:
        adapter: where both are.
        workers: the workers, asked each time.
        show_stacks: has the worker with this id answer a question for its stacks; it waits for
            nothing.
        on_resumed: is called with the names of queues that were resumed since their time had come.
        memory_of: the memory of a process in bytes, by its id.
        monotonic: seconds that only go up; for tests.
    """

    def __init__(
        self,
        adapter: RequestRoles,
        workers: Callable[[], Sequence[PresentWorker]],
        show_stacks: Callable[[str], None],
        on_resumed: Callable[[set[str]], None] = lambda _: None,
        memory_of: Callable[[int], int | None] = memory_of,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._adapter = adapter
        self._workers = workers
        self._show_stacks = show_stacks
        self._on_resumed = on_resumed
        self._memory_of = memory_of
        self._monotonic = monotonic
        self._states: Mapping[str, WorkerState] = {}
        self._note_at = 0.0

    def look(self) -> None:
        """Look once for all of it.

        Raises:
            DatabaseError: of the first part that failed; the others were done if they could be.
        """
        workers, failed = self._workers(), list[DatabaseError]()
        for part in (self._look_for_questions, self._resume_due_queues, self._note):
            try:
                part(workers)
            except DatabaseError as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def _look_for_questions(self, workers: Sequence[PresentWorker]) -> None:
        asked = self._adapter.workers_asked_for_stacks([worker.id for worker in workers])
        for worker_id in sorted(asked):
            self._show_stacks(worker_id)

    def _resume_due_queues(self, _: Sequence[PresentWorker]) -> None:
        resumed = self._adapter.resume_due_queues()
        if resumed:
            self._on_resumed(resumed)
        for queue in sorted(resumed):
            target = {"queue": queue}
            self._adapter.note_action(
                NewAction(ActionKind.RESUME_QUEUE, BY_ITSELF, target, TIME_HAS_COME)
            )

    def _note(self, workers: Sequence[PresentWorker]) -> None:
        """Store how the workers are, each minute and when one has begun to rest or to stop."""
        states = {worker.id: worker.state for worker in workers}
        now = self._monotonic()
        if not states or (now < self._note_at and states.items() <= self._states.items()):
            return
        self._adapter.note_workers(
            {w.id: WorkerNote(w.state, self._memory_of(w.pid)) for w in workers}
        )
        self._states, self._note_at = states, now + NOTE_SECONDS


class RequestService:
    """A service that looks every few seconds.

    Args:
        adapter: where requests and notes are.
        workers: the workers, asked each time.
        show_stacks: as in `Requests`.
        logger: where it is logged which queues were resumed, and that the database refuses it.
        frugal: whether to close spare connections after each look.
    """

    def __init__(
        self,
        adapter: RequestRoles,
        workers: Callable[[], Sequence[PresentWorker]],
        show_stacks: Callable[[str], None],
        logger: logging.Logger,
        *,
        frugal: bool = False,
    ) -> None:
        self._adapter = adapter
        self._frugal = frugal
        self._has_begun = False
        self._requests = Requests(
            adapter, workers, show_stacks, partial(log.queues_resumed, logger)
        )
        self._service = Service(
            "jobqueue-requests",
            self._step,
            logger,
            on_trouble=partial(log.requests_troubled, logger),
            retry_seconds=LOOK_SECONDS,
        )

    def start(self) -> None:
        """Begin, with the first look in a few seconds: a worker may have little to do."""
        self._service.start()

    def stop(self) -> None:
        """End after the look under way. A database that does not answer is not waited for."""
        self._service.stop(STOP_SECONDS)

    def _step(self) -> float:
        if self._has_begun:
            try:
                self._requests.look()
            finally:
                self._close_spare_connections()
        self._has_begun = True
        return LOOK_SECONDS * random.uniform(0.7, 1.0)  # noqa: S311 - spreads load

    def _close_spare_connections(self) -> None:
        if self._frugal:
            with suppress(DatabaseError):  # one that is broken may say so when it is closed
                self._adapter.close_spare_connections()
