"""The supervisor: spawns worker processes, keeps them alive, and stops them cleanly."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.maintenance.rescue import Rescuer
from jobqueue.maintenance.rescued import RescueTeller
from jobqueue.maintenance.schedules import Ticker
from jobqueue.records import NewSchedule, NewWorker
from jobqueue.runner.bell import Bell
from jobqueue.runner.groups import WorkerGroup
from jobqueue.runner.heart import Death, Heart
from jobqueue.runner.process import WorkerProcess, how_it_ended
from jobqueue.runner.relay import Relay

WATCH_SECONDS = 0.2
HEALTHY_AFTER_SECONDS = 10.0
LONGEST_RESTART_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_OVER_A_JOB_SECONDS = 1.0
KILL_AFTER_SECONDS = 5.0
LAST_BURIAL_SECONDS = 10.0
MEMORY_CHECK_SECONDS = 5.0
STUCK_AFTER_SECONDS = 10.0
LAST_TELLING_SECONDS = 20.0
CANNOT_START = (2, 3)  # the exit codes of wrong settings, and of no database or no tables

Spawn = Callable[[WorkerGroup, int], WorkerProcess]
Place = tuple[str, int]


@dataclass(slots=True)
class _Seat:
    """The place of one worker: who sits there, and when the next may sit down."""

    group: WorkerGroup
    index: int
    process: WorkerProcess | None = None
    deaths_in_a_row: int = 0
    restart_at: float = 0.0
    finished: bool = False


class Supervisor:
    """Keeps worker processes running until it is told to stop.

    Args:
        groups: which workers.
        spawn: how a worker process is made.
        adapter: for heartbeats, and for the jobs of workers that died.
        lease: how long a worker may be silent.
        grace: how long a stopping worker may finish what it performs.
        logger: where it says what it does.
        until_idle: whether workers end by themselves when nothing is due, and are not replaced.
        relay: how its workers hear of jobs; None when they look for themselves.
        ticker: what enqueues the recurring jobs that its workers have; None for nothing.
        max_memory_bytes: a worker that has more is replaced, once it has finished what it performs.
        rescues: tells what became of the jobs of workers that are gone; None for nobody to tell.
    """

    def __init__(
        self,
        groups: Sequence[WorkerGroup],
        spawn: Spawn,
        adapter: Adapter,
        *,
        lease: timedelta,
        grace: timedelta,
        logger: logging.Logger,
        until_idle: bool = False,
        relay: Callable[[Callable[[], Sequence[WorkerProcess]]], Relay] | None = None,
        ticker: Ticker | None = None,
        max_memory_bytes: int | None = None,
        rescues: RescueTeller | None = None,
    ) -> None:
        self._spawn = spawn
        self._lease, self._grace = lease, grace
        self._logger = logger
        self._until_idle = until_idle
        self._max_memory_bytes = max_memory_bytes
        self.on_ready: Callable[[], None] = lambda: None
        """Called once, when all workers are ready for the first time."""
        self.on_restarted: Callable[[str | None], None] = lambda _: None
        """Called when a rolling restart has ended, with why it failed if it did."""
        self.on_new_code: Callable[[], None] = lambda: None
        """Called when a rolling restart begins: the application may be another."""
        self.on_turn: Callable[[], None] = lambda: None
        """Called at every turn of its loop, several times a second."""
        self._last_turn = time.monotonic()
        self._restart_error: str | None = None
        self._seats = [_Seat(group, index) for group in groups for index in range(group.count)]
        self._leaving: list[WorkerProcess] = []
        self._successors: dict[Place, WorkerProcess] = {}
        self._wake = Bell()
        self._stops = 0
        self._restart_asked = False
        self._stop_deadline: float | None = None
        self._memory_checked = 0.0
        self._has_begun = self._was_ready = False
        self.exit_code = 0
        self._rescues = rescues
        self._unburied: set[str] = set()
        self._heart = Heart(
            adapter=adapter,
            rescuer=Rescuer(adapter, lease, is_awaited=self._unburied.__contains__),
            lease_seconds=lease.total_seconds(),
            alive=self._beating,
            logger=logger,
            on_rescue=rescues.note if rescues is not None else lambda _: None,
            on_buried=self._unburied.discard,
        )
        self._relay = None if relay is None else relay(self._processes)
        self._ticker = ticker

    # --- what it can be told, by signal handlers too ---------------------------------------------

    def stop(self, why: str) -> None:
        """Stop claiming, finish what runs within the grace; asked again: now."""
        self._stops += 1
        if self._stops == 1:
            log.supervisor_stopping(self._logger, why)
        self._wake.ring()

    def stop_now(self) -> None:
        """Give back what runs, and end."""
        self._stops = max(self._stops, 1) + 1
        self._wake.ring()

    def restart(self) -> None:
        """Replace every worker by a new one; the old ones finish when the new ones are ready."""
        self._restart_asked = True
        self._wake.ring()

    def pass_on(self, number: signal.Signals) -> None:
        """Send a signal to every worker."""
        for process in self._processes():
            process.send(number)

    def wake(self) -> None:
        """Look at the workers now: a child has ended, perhaps."""
        self._wake.ring()

    # --- what it can be asked, from other threads too --------------------------------------------

    @property
    def is_alive(self) -> bool:
        """Whether its loop goes round."""
        return time.monotonic() - self._last_turn < STUCK_AFTER_SECONDS

    @property
    def is_ready(self) -> bool:
        """Whether all its workers are ready, and it is not stopping."""
        seated = [seat.process for seat in self._seats if not seat.finished]
        return not self._stops and all(p is not None and p.is_ready for p in seated)

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stops > 0

    # --- its loop --------------------------------------------------------------------------------

    def run(self) -> int:
        """Run until all workers have ended after `stop`, or by themselves if they are to.

        Returns:
            The exit code: 1 if a worker that was to end by itself ended with an error.
        """
        self._heart.start()
        if self._relay is not None:
            self._relay.start()
        try:
            while not self._is_over():
                self._look()
                self._mind_schedules()
                self._last_turn = time.monotonic()
                self.on_turn()
                self._wake.wait(WATCH_SECONDS)
        finally:
            for process in self._processes():
                process.send(signal.SIGKILL)
            if self._relay is not None:
                self._relay.stop()
            if self._ticker is not None:
                self._ticker.stop()
            self._heart.stop(LAST_BURIAL_SECONDS)
            if self._rescues is not None:
                self._rescues.stop(LAST_TELLING_SECONDS)
        return self.exit_code

    def _is_over(self) -> bool:
        over = all(seat.process is None and seat.finished for seat in self._seats)
        return (over or self._stops > 0) and not self._processes()

    def _look(self) -> None:
        self._reap()
        if self._stops:
            self._stop_processes()
            return
        if self._restart_asked:
            self._begin_restart()
        self._finish_restart()
        self._fill_seats()
        self._kill_overdue()
        self._replace_the_bloated()
        self._note_readiness()

    def _processes(self) -> list[WorkerProcess]:
        seated = [seat.process for seat in self._seats if seat.process is not None]
        return [*seated, *self._successors.values(), *self._leaving]

    def _beating(self) -> list[NewWorker]:
        return [p.record(self._lease) for p in list(self._processes()) if p.is_beating()]

    # --- those that ended ------------------------------------------------------------------------

    def _reap(self) -> None:
        for seat in self._seats:
            if seat.process is not None and seat.process.exit_code is not None:
                process, seat.process = seat.process, None
                death = self._bury(process)
                self._after_end(seat, process, over_a_job=bool(death.performing))
        for process in [p for p in self._leaving if p.exit_code is not None]:
            self._leaving.remove(process)
            self._bury(process)
        for place, process in list(self._successors.items()):
            if process.exit_code is not None:
                del self._successors[place]
                self._bury(process)
                self._restart_error = f"{process.name}: {how_it_ended(process.exit_code)}"
                log.restart_failed(self._logger, process.name, how_it_ended(process.exit_code))
                self._note_restarted()

    def _bury(self, process: WorkerProcess) -> Death:
        death = Death(process.worker_id, process.crashed_jobs())
        self._heart.bury(death)
        process.close()
        return death

    def _after_end(self, seat: _Seat, process: WorkerProcess, *, over_a_job: bool) -> None:
        code = process.exit_code or 0
        if code in CANNOT_START and not self._has_begun:
            self._give_up(code)
            return
        if self._until_idle and code >= 0:
            seat.finished = True
            self.exit_code = max(self.exit_code, code)
            return
        if self._stops:
            return
        if process.was_overdue:
            seat.restart_at = time.monotonic()
            return
        healthy = code == 0 or process.age_seconds > HEALTHY_AFTER_SECONDS
        seat.deaths_in_a_row = 0 if healthy else seat.deaths_in_a_row + 1
        pause = 0.0
        if seat.deaths_in_a_row > 1:
            pause = min(2.0 ** (seat.deaths_in_a_row - 2), LONGEST_RESTART_PAUSE_SECONDS)
        if over_a_job:
            # It can start and work; and a job that kills it is failed at its third crash.
            pause = min(pause, LONGEST_PAUSE_OVER_A_JOB_SECONDS)
        seat.restart_at = time.monotonic() + pause
        if code != 0:
            log.worker_died(self._logger, process.name, process.pid, how_it_ended(code), pause)

    def _give_up(self, code: int) -> None:
        """The first workers could not even start: the reason is theirs to say, and it will stay."""
        self.exit_code = code
        self._stops = max(self._stops, 1)

    def _fill_seats(self) -> None:
        now = time.monotonic()
        for seat in self._seats:
            if seat.process is None and not seat.finished and now >= seat.restart_at:
                seat.process = self._start(seat)
                self._heart.beat_now()

    def _start(self, seat: _Seat) -> WorkerProcess:
        process = self._spawn(seat.group, seat.index)
        self._unburied.add(process.worker_id)
        log.worker_started(self._logger, process.name, process.pid)
        return process

    # --- those that are in the way ---------------------------------------------------------------

    def _kill_overdue(self) -> None:
        for process in self._processes():
            if process.kill_if_overdue():
                log.worker_killed(
                    self._logger, process.name, process.pid, "a job ignored its max_runtime"
                )

    def _replace_the_bloated(self) -> None:
        now = time.monotonic()
        if self._max_memory_bytes is None or now - self._memory_checked < MEMORY_CHECK_SECONDS:
            return
        self._memory_checked = now
        for seat in self._seats:
            process = seat.process
            if process is not None and process.memory_bytes() > self._max_memory_bytes:
                log.worker_replaced(self._logger, process.name, "it has grown past --max-memory")
                process.stop()
                self._leaving.append(process)
                seat.process = None

    def _note_readiness(self) -> None:
        for process in self._processes():
            process.look_whether_ready()
            # One is enough: all of them are never ready at once where they keep being killed.
            self._has_begun = self._has_begun or process.is_ready
        if not self._was_ready and self.is_ready:
            self._was_ready = True
            self.on_ready()

    def _mind_schedules(self) -> None:
        """Tell the ticker which recurring jobs the living workers have; the newest code counts."""
        if self._ticker is not None:
            processes = [] if self._stops else sorted(self._processes(), key=lambda p: p.started)
            declared: dict[str, NewSchedule] = {}
            for process in processes:
                declared.update({schedule.name: schedule for schedule in process.schedules})
            self._ticker.mind(list(declared.values()))

    # --- a rolling restart -----------------------------------------------------------------------

    def _begin_restart(self) -> None:
        self._restart_asked = False
        self.on_new_code()
        for seat in self._seats:
            place = (seat.group.name, seat.index)
            if seat.process is not None and place not in self._successors:
                self._successors[place] = self._start(seat)
        self._heart.beat_now()

    def _finish_restart(self) -> None:
        for seat in self._seats:
            place = (seat.group.name, seat.index)
            successor = self._successors.get(place)
            if successor is None:
                continue
            successor.look_whether_ready()
            if successor.is_ready:
                del self._successors[place]
                if seat.process is not None:
                    log.worker_replaced(self._logger, seat.process.name, "a restart was asked for")
                    seat.process.stop()
                    self._leaving.append(seat.process)
                seat.process = successor
                self._note_restarted()

    def _note_restarted(self) -> None:
        if not self._successors:
            error, self._restart_error = self._restart_error, None
            self.on_restarted(error)

    def worker_pids(self) -> tuple[tuple[str, int], ...]:
        """The names and process ids of the workers that are there."""
        return tuple((process.name, process.pid) for process in self._processes())

    # --- the end ---------------------------------------------------------------------------------

    def _stop_processes(self) -> None:
        now = time.monotonic()
        if self._stop_deadline is None:
            self._stop_deadline = now + self._grace.total_seconds()
        for process in self._processes():
            if not process.asked_to_stop:
                process.stop()
        if self._stops > 1 or now > self._stop_deadline:
            self._stop_processes_now(now)

    def _stop_processes_now(self, now: float) -> None:
        """Have them give back what they perform; those that do not react are killed."""
        for process in self._processes():
            if not process.told_to_hurry:
                process.hurry(now + KILL_AFTER_SECONDS)
            elif now > process.kill_at:
                process.forgive()
                process.send(signal.SIGKILL)
                process.kill_at = now + KILL_AFTER_SECONDS
                log.worker_killed(self._logger, process.name, process.pid, "it did not end")
