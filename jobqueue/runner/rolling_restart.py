"""A rolling restart: new workers get ready, and only then do the old ones finish and end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from jobqueue import log
from jobqueue.errors import JobqueueError
from jobqueue.runner.groups import WorkerGroup
from jobqueue.runner.process import WorkerProcess
from jobqueue.runner.seats import (
    LONGEST_PAUSE_SECONDS,
    Place,
    Seat,
    rearrange,
    settle_arrangement,
)
from jobqueue.runner.steps import growing_pause_seconds

NEWER_RESTART = "a newer restart was asked for before it was ready"


class Start(Protocol):
    """A function that starts a worker process."""

    def __call__(self, group: WorkerGroup, index: int, *, waits: bool) -> WorkerProcess:
        """Start a worker of a group.

        Args:
            group: the group that it belongs to.
            index: its number in the group.
            waits: whether it waits for a database that does not answer, instead of ending.
        """
        ...


class RollingRestart:
    """A replacement of a supervisor's workers by new ones, which may be of other groups.

    Args:
        seats: the workers' seats. Seats are added and removed as the groups require.
        start: starts a worker process.
        let_go: is called with each worker that is to finish what it performs and end, and why.
        logger: where it is logged why new workers could not start.
        regroup: returns the groups to have from now on; None for the same.
        boot_seconds: how long the new workers may take to get ready.
    """

    def __init__(
        self,
        seats: list[Seat],
        start: Start,
        let_go: Callable[[WorkerProcess, str], None],
        logger: logging.Logger,
        regroup: Callable[[], Sequence[WorkerGroup]] | None,
        boot_seconds: float,
    ) -> None:
        self._seats = seats
        self._start = start
        self._let_go = let_go
        self._logger = logger
        self._regroup = regroup
        self._boot_seconds = boot_seconds
        self._to_start: dict[Place, Seat] = {}
        self._failed_starts = 0
        self._start_again_at = 0.0
        self._successors: dict[Place, WorkerProcess] = {}
        self._stacks_shown: set[Place] = set()
        self._is_under_way = False
        self._ready_by = 0.0
        self._error: str | None = None
        self.on_end: Callable[[str | None], None] = lambda _: None
        """Called at the end of a rolling restart, with the error if it failed."""

    @property
    def successors(self) -> list[WorkerProcess]:
        """The new workers that are not ready yet."""
        return list(self._successors.values())

    def is_filling(self, seat: Seat) -> bool:
        """Whether a new worker for a seat gets ready, or is about to be started."""
        return seat.place in self._successors or seat.place in self._to_start

    def begin(self) -> None:
        """Have new workers started. While these cannot start, the old ones go on.

        A restart that is under way is replaced: its new workers may have older code.
        """
        self._forget_older()
        self._is_under_way = True
        self._ready_by = time.monotonic() + self._boot_seconds
        try:
            if self._regroup is not None:
                rearrange(self._seats, self._regroup())
        except (JobqueueError, OSError, ValueError) as error:
            self._error = str(error)
            log.restart_refused(self._logger, error)
            return
        for seat in self._seats:
            seat.forget_pauses()
        wanted = [seat for seat in self._seats if not seat.is_surplus and not seat.finished]
        self._to_start = {seat.place: seat for seat in wanted}

    def take_ended(self) -> list[WorkerProcess]:
        """The new workers that have ended before they were ready, each once."""
        ended = [
            (place, process)
            for place, process in self._successors.items()
            if process.exit_code is not None and not process.was_ready()
        ]
        for place, process in ended:
            del self._successors[place]
            self._note_error(process.name, process.how_it_ended)
        return [process for _, process in ended]

    def go_on(self) -> None:
        """Start new workers, seat those that are ready, and end when all have their seats."""
        if not self._is_under_way:
            return
        if time.monotonic() > self._ready_by:
            self._give_up_waiting()
        elif time.monotonic() >= self._start_again_at:
            self._start_them()
        self._seat_those_ready()
        if not self._successors and not self._to_start:
            self._end()

    def _forget_older(self) -> None:
        """Let the workers go that an older restart has started and that are not ready yet."""
        older, self._successors = self.successors, {}
        self._to_start, self._failed_starts, self._start_again_at = {}, 0, 0.0
        self._stacks_shown, self._error = set(), None
        for process in older:
            self._let_go(process, NEWER_RESTART)

    def _start_them(self) -> None:
        """Start the workers that are not started yet, for as long as the system lets it."""
        for place, seat in list(self._to_start.items()):
            try:
                # The old one goes on, so there is no need to wait for a database.
                self._successors[place] = self._start(seat.coming, seat.index, waits=False)
            except Exception as error:  # noqa: BLE001 - the old workers go on, whatever happens
                self._note_failed_start(seat, error)
                return
            del self._to_start[place]

    def _note_failed_start(self, seat: Seat, error: Exception) -> None:
        self._failed_starts += 1
        pause = growing_pause_seconds(self._failed_starts, LONGEST_PAUSE_SECONDS)
        # Once more before it is too late.
        self._start_again_at = min(time.monotonic() + pause, self._ready_by)
        log.worker_not_started(self._logger, seat.coming_name, error, pause)

    def _give_up_waiting(self) -> None:
        """Kill the new workers that are not ready in time, and start no more.

        They show first where they hang. They have claimed nothing.
        """
        why = f"it was not ready in {self._boot_seconds:g} s (`boot_timeout`)"
        for place, process in self._successors.items():
            if process.is_ready:
                continue
            if place not in self._stacks_shown:
                self._stacks_shown.add(place)
                process.show_stacks()
            else:
                process.kill(why)
        for seat in self._to_start.values():
            self._note_error(seat.coming_name, "the system did not let it start")
        self._to_start = {}

    def _seat_those_ready(self) -> None:
        for seat in self._seats:
            successor = self._successors.get(seat.place)
            if successor is not None and successor.is_ready:
                del self._successors[seat.place]
                before = seat.take(successor)
                if before is not None:
                    self._let_go(before, "a restart was asked for")

    def _note_error(self, name: str, how: str) -> None:
        self._error = f"{name}: {how}"
        log.restart_failed(self._logger, name, how)

    def _end(self) -> None:
        error, self._error = self._error, None
        self._is_under_way = False
        for process in settle_arrangement(self._seats, succeeded=error is None):
            self._let_go(process, "a restart was asked for")
        self.on_end(error)
