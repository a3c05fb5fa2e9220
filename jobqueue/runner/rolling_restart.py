"""A rolling restart: new workers get ready, and only then do the old ones finish and end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from jobqueue import log
from jobqueue.errors import JobqueueError
from jobqueue.runner.groups import WorkerGroup
from jobqueue.runner.process import WorkerProcess, how_it_ended
from jobqueue.runner.seats import Place, Seat, rearrange, settle_arrangement


class Start(Protocol):
    """Starts a worker process."""

    def __call__(self, group: WorkerGroup, index: int, *, waits: bool) -> WorkerProcess:
        """Start a worker of a group.

        Args:
            group: the group that it belongs to.
            index: its number in the group.
            waits: whether it waits for a database that does not answer, instead of ending.
        """
        ...


class RollingRestart:
    """Replaces the workers of a supervisor by new ones, which may be of other groups.

    Args:
        seats: the workers' seats. Seats are added and removed as the groups require.
        start: starts a worker process.
        let_go: is called with each old worker when it is to finish what it performs and end.
        logger: where it is logged why new workers could not start.
        regroup: returns the groups to have from now on; None for the same.
    """

    def __init__(
        self,
        seats: list[Seat],
        start: Start,
        let_go: Callable[[WorkerProcess], None],
        logger: logging.Logger,
        regroup: Callable[[], Sequence[WorkerGroup]] | None,
    ) -> None:
        self._seats = seats
        self._start = start
        self._let_go = let_go
        self._logger = logger
        self._regroup = regroup
        self._successors: dict[Place, WorkerProcess] = {}
        self._is_under_way = False
        self._error: str | None = None
        self.on_end: Callable[[str | None], None] = lambda _: None
        """Called at the end of a rolling restart, with the error if it failed."""

    @property
    def successors(self) -> list[WorkerProcess]:
        """The new workers that are not ready yet."""
        return list(self._successors.values())

    def begin(self) -> None:
        """Start the new workers. While these cannot start, the old ones go on."""
        self._is_under_way = True
        try:
            if self._regroup is not None:
                rearrange(self._seats, self._regroup())
        except JobqueueError as error:
            log.restart_refused(self._logger, error)
            self._error = str(error)
            return
        for seat in self._seats:
            is_wanted = (seat.process is not None or seat.is_new) and not seat.is_surplus
            if is_wanted and seat.place not in self._successors:
                # The old one goes on, so there is no need to wait for a database.
                successor = self._start(seat.coming, seat.index, waits=False)
                self._successors[seat.place] = successor

    def take_ended(self) -> list[WorkerProcess]:
        """The new workers that have ended before they were ready, each once."""
        ended = [(place, p) for place, p in self._successors.items() if p.exit_code is not None]
        for place, process in ended:
            del self._successors[place]
            how = how_it_ended(process.exit_code)
            self._error = f"{process.name}: {how}"
            log.restart_failed(self._logger, process.name, how)
        return [process for _, process in ended]

    def go_on(self) -> None:
        """Give the seats to new workers that are ready, and end when all have theirs."""
        for seat in self._seats:
            successor = self._successors.get(seat.place)
            if successor is not None and successor.is_ready:
                del self._successors[seat.place]
                before = seat.take(successor)
                if before is not None:
                    self._let_go(before)
        if self._is_under_way and not self._successors:
            self._end()

    def _end(self) -> None:
        error, self._error = self._error, None
        self._is_under_way = False
        for process in settle_arrangement(self._seats, succeeded=error is None):
            self._let_go(process)
        self.on_end(error)
