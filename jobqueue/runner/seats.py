"""The seats of a supervisor's workers: which process is in each, and when the next may start."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from jobqueue.runner.groups import WorkerGroup
from jobqueue.runner.process import DATABASE_AWAY, WorkerProcess
from jobqueue.runner.steps import growing_pause_seconds

HEALTHY_AFTER_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 30.0
DATABASE_AWAY_PAUSE_SECONDS = 1.0
OF_ITS_OWN_DOING = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS}
)

Place = tuple[str, int]


@dataclass(slots=True)
class Seat:
    """The place of one worker, taken by one process after another.

    Args:
        group: the group of the worker.
        index: its number in the group.
        coming: its group after a rolling restart; `group` when none is under way.
        is_new: whether a rolling restart adds the seat, and it has had no process yet.
        is_surplus: whether a rolling restart removes the seat.
        finished: whether no other process is to be started in it.
    """

    group: WorkerGroup
    index: int
    coming: WorkerGroup
    is_new: bool = False
    is_surplus: bool = False
    process: WorkerProcess | None = None
    deaths_in_a_row: int = 0
    restart_at: float = 0.0
    finished: bool = False

    @property
    def place(self) -> Place:
        """The group's name and the number in it, which no other seat has."""
        return self.group.name, self.index

    @property
    def name(self) -> str:
        """The name of the worker in it."""
        return f"{self.group.name}.{self.index}"

    @property
    def coming_name(self) -> str:
        """The name of the worker that a rolling restart brings."""
        return f"{self.coming.name}.{self.index}"

    def is_to_be_filled(self) -> bool:
        """Whether the seat is empty, and the pause before its next process is over."""
        is_free = self.process is None and not self.finished and not self.is_new
        return is_free and time.monotonic() >= self.restart_at

    def take(self, process: WorkerProcess) -> WorkerProcess | None:
        """Give the seat to a successor, and return the process that had it before."""
        before, self.process = self.process, process
        self.group, self.is_new = self.coming, False
        return before

    def pause_after(self, process: WorkerProcess, *, over_a_job: bool) -> float:
        """How many seconds to wait before the process that ended is replaced.

        The pause grows only while processes fail to start. It would not help workers that were fine
        until they were killed, and a job that kills its workers is failed at its third crash.
        """
        pause = 0.0
        if process.final_code == DATABASE_AWAY:
            pause = DATABASE_AWAY_PAUSE_SECONDS
        elif _was_fine(process, over_a_job=over_a_job):
            self.deaths_in_a_row = 0
        else:
            self.deaths_in_a_row += 1
            if self.deaths_in_a_row > 1:
                pause = growing_pause_seconds(self.deaths_in_a_row - 1, LONGEST_PAUSE_SECONDS)
        self.restart_at = time.monotonic() + pause
        return pause

    def pause_after_failed_start(self) -> float:
        """How many seconds to wait, since the system did not let a process start here."""
        self.deaths_in_a_row += 1
        pause = growing_pause_seconds(self.deaths_in_a_row, LONGEST_PAUSE_SECONDS)
        self.restart_at = time.monotonic() + pause
        return pause

    def forget_pauses(self) -> None:
        """Let the next process start at once: the fault that ended the last ones may be mended."""
        self.deaths_in_a_row, self.restart_at = 0, 0.0


def _was_fine(process: WorkerProcess, *, over_a_job: bool) -> bool:
    code = process.final_code or 0
    if code == 0 or over_a_job or process.was_overdue:
        return True
    if process.age_seconds > HEALTHY_AFTER_SECONDS:
        return True
    return process.is_ready and code < 0 and -code not in OF_ITS_OWN_DOING


def seats_of(groups: Sequence[WorkerGroup]) -> list[Seat]:
    """One seat for each worker of some groups."""
    return [Seat(group, index, group) for group in groups for index in range(group.count)]


def rearrange(seats: list[Seat], groups: Sequence[WorkerGroup]) -> None:
    """Mark which seats a rolling restart keeps, adds and removes."""
    wanted = {seat.place: seat.group for seat in seats_of(groups)}
    for seat in seats:
        seat.is_surplus = seat.place not in wanted
        seat.coming = wanted.pop(seat.place, seat.group)
        if seat.process is None and not seat.is_new:
            seat.group = seat.coming
    seats += [Seat(group, index, group, is_new=True) for (_, index), group in wanted.items()]


def settle_arrangement(seats: list[Seat], *, succeeded: bool) -> list[WorkerProcess]:
    """Carry out what `rearrange` marked, or undo it. Return the processes whose seat is gone."""
    gone = [seat for seat in seats if (seat.is_surplus if succeeded else seat.is_new)]
    seats[:] = [seat for seat in seats if seat not in gone]
    for seat in seats:
        seat.is_surplus, seat.coming = False, seat.group
    return [seat.process for seat in gone if seat.process is not None]
