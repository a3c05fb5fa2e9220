"""The supervisor: spawns worker processes, keeps them alive, and stops them cleanly.

Whatever fails in its loop, it goes on, since its workers die with it. It ends only when it is told
to, or when its workers have ended for good, and then it has let them finish.
"""

from __future__ import annotations

import logging
import queue
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.maintenance.requests import PresentWorker, RequestService
from jobqueue.maintenance.rescue_reports import RescueReports
from jobqueue.maintenance.rescuer import Rescuer
from jobqueue.maintenance.ticker import Ticker
from jobqueue.records import NewSchedule, NewWorker, WorkerState
from jobqueue.runner.bell import Bell
from jobqueue.runner.groups import WorkerGroup
from jobqueue.runner.heartbeats import EndedWorker, WorkerHeartbeats
from jobqueue.runner.orphans import Orphans
from jobqueue.runner.process import DATABASE_AWAY, WorkerProcess, how_it_ended
from jobqueue.runner.relay import Relay
from jobqueue.runner.rolling_restart import RollingRestart, Start
from jobqueue.runner.seats import Seat, seats_of
from jobqueue.runner.steps import Steps

WATCH_SECONDS = 0.2
KILL_AFTER_SECONDS = 5.0
LAST_RESCUE_SECONDS = 10.0
MEMORY_CHECK_SECONDS = 5.0
SUSPENSION_CHECK_SECONDS = 5.0
SUSPENSION_CHECKS_PER_LEASE = 4
STUCK_AFTER_SECONDS = 10.0
BOOT_TIMEOUT = timedelta(minutes=2)
LAST_REPORT_SECONDS = 20.0
REST, SUSPEND, GO_ON = "rest", "suspend", "go on"
NO_DATABASE = 3
CANNOT_START = (2, NO_DATABASE)  # the exit codes of wrong settings, and of missing tables


class Supervisor:
    """A supervisor, which keeps worker processes running until it is told to stop.

    Args:
        groups: which workers.
        spawn: starts a worker process.
        adapter: where the workers are registered, and the jobs of workers that died.
        lease: how long a worker may be silent.
        grace: how long a stopping worker may finish what it performs.
        logger: where it logs what it does.
        until_idle: whether workers end when nothing is due. One that has ended by itself is not
            replaced.
        relay: wakes its workers when there are jobs; None when they poll for themselves.
        ticker: enqueues the recurring jobs that its workers have; None for none.
        max_memory_bytes: a worker that uses more is replaced, once it has finished its jobs.
        regroup: returns the groups to have after a rolling restart; None for the same.
        rescues: reports the jobs that were freed of workers that are gone; None for no reports.
        boot_timeout: how long the new workers of a rolling restart may take to get ready.
    """

    def __init__(
        self,
        groups: Sequence[WorkerGroup],
        spawn: Start,
        adapter: Adapter,
        *,
        lease: timedelta,
        grace: timedelta,
        logger: logging.Logger,
        until_idle: bool = False,
        relay: Callable[[Callable[[], Sequence[WorkerProcess]]], Relay] | None = None,
        ticker: Ticker | None = None,
        max_memory_bytes: int | None = None,
        regroup: Callable[[], Sequence[WorkerGroup]] | None = None,
        rescues: RescueReports | None = None,
        boot_timeout: timedelta = BOOT_TIMEOUT,
    ) -> None:
        self._spawn = spawn
        self._adapter = adapter
        self._lease, self._grace = lease, grace
        self._logger = logger
        self._until_idle = until_idle
        self._max_memory_bytes = max_memory_bytes
        self.on_ready: Callable[[], None] = lambda: None
        """Called once, when all workers are ready for the first time."""
        self.on_new_code: Callable[[], None] = lambda: None
        """Called when a rolling restart begins: the application may have changed."""
        self.on_turn: Callable[[], None] = lambda: None
        """Called at every turn of its loop, several times a second."""
        self.keep_state: Callable[[], None] = lambda: None
        """Called at every turn, to write down what has changed; it may fail."""
        self.on_suspend: Callable[[], None] = lambda: None
        """Called when the workers have been told to rest, to suspend this process."""
        self._last_turn = time.monotonic()
        self._steps = Steps(logger)
        self._orphans = Orphans()
        self._seats = seats_of(groups)
        self._leaving: list[WorkerProcess] = []
        boot_seconds = boot_timeout.total_seconds()
        self.restarting = RollingRestart(
            self._seats, self._start, self._let_go, logger, regroup, boot_seconds
        )
        self._wake = Bell()
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._why_stopping: str | None = None
        self._stops = 0
        self._restart_asked = self._is_resting = self._has_started_some = False
        self._rest_asked: str | None = None
        self._rests_until = ""
        self._stop_deadline: float | None = None
        self._memory_checked = self._suspension_checked = 0.0
        self._has_begun = self._was_ready = False
        self.exit_code = 0
        self._rescues = rescues
        self._to_clear: set[str] = set()
        self._heartbeats = WorkerHeartbeats(
            adapter=adapter,
            rescuer=Rescuer(adapter, lease, is_awaited=self._to_clear.__contains__),
            lease_seconds=lease.total_seconds(),
            alive=self._workers_to_beat_for,
            logger=logger,
            on_rescue=rescues.note if rescues is not None else lambda _: None,
            on_cleared=self._to_clear.discard,
        )
        self._requests = RequestService(
            adapter, self._present_workers, self._ask_for_stacks, logger, frugal=True
        )
        self.relay = None if relay is None else relay(self._processes)
        self._ticker = ticker

    # --- what it can be told, by signal handlers too ---------------------------------------------
    # Each only notes it, for the loop to do: a handler may come in the middle of anything.

    def ask(self, what: Callable[[], None]) -> None:
        """Have the supervisor's loop call a function soon."""
        self._asked.put(what)
        self._wake.ring()

    def stop(self, why: str) -> None:
        """Stop claiming, finish what runs within the grace; asked again: now."""
        self._stops += 1
        if self._stops == 1:
            self._why_stopping = why
        self._wake.ring()

    def stop_now(self) -> None:
        """Have the workers give back what they perform, and end."""
        self._stops = max(self._stops, 1) + 1
        self._wake.ring()

    def restart(self) -> None:
        """Replace every worker by a new one; the old ones finish when the new ones are ready."""
        self._restart_asked = True
        self._wake.ring()

    def rest(self, until: str = "CONT") -> None:
        """Have the workers take no more jobs, until `go_on`; `until` says what calls that."""
        self._rest_asked, self._rests_until = REST, until
        self._wake.ring()

    def suspend(self) -> None:
        """Have the workers take no more jobs, then call `on_suspend`, which suspends this process.

        The workers finish what they perform, and keep their leases themselves meanwhile.
        """
        self._rest_asked, self._rests_until = SUSPEND, "`fg`"
        self._wake.ring()

    def go_on(self) -> None:
        """Have the workers take jobs again."""
        self._rest_asked = GO_ON
        self._wake.ring()

    def show_stacks(self) -> None:
        """Have every worker write the stacks of its threads to its standard error."""
        self.ask(self._show_stacks)

    def wake(self) -> None:
        """Look at the workers now: one may have ended."""
        self._wake.ring()

    # --- what it can be asked, from other threads too --------------------------------------------

    @property
    def is_alive(self) -> bool:
        """Whether the supervisor's loop runs: its last turn is not long ago."""
        return time.monotonic() - self._last_turn < STUCK_AFTER_SECONDS

    @property
    def is_ready(self) -> bool:
        """Whether all workers are ready, none is suspended, and the supervisor is not stopping."""
        seats = [seat for seat in list(self._seats) if not seat.finished and not seat.is_new]
        return not self._stops and all(_is_at_work(seat.process) for seat in seats)

    @property
    def is_resting(self) -> bool:
        """Whether the workers were told to take no more jobs."""
        return self._is_resting

    @property
    def is_stopping(self) -> bool:
        """Whether the supervisor is stopping, for whatever reason."""
        return self._stops > 0

    def worker_pids(self) -> tuple[tuple[str, int], ...]:
        """The names and process ids of the workers, without those that are about to leave."""
        seated = [seat.process for seat in self._seats if seat.process is not None]
        return tuple((process.name, process.pid) for process in seated)

    def shown(self) -> str:
        """The groups and how many workers each has: `default:2,email:1`."""
        counts = Counter(seat.group.name for seat in self._seats)
        return ",".join(f"{name}:{count}" for name, count in counts.items())

    # --- its loop --------------------------------------------------------------------------------

    def run(self) -> int:
        """Run until all workers have ended after `stop`, or by themselves if they are to.

        Returns:
            The exit code: 1 if a worker that was to end by itself ended with an error.
        """
        with ExitStack() as at_end:
            self._stop_services(at_end)
            at_end.callback(self._let_all_finish)
            while not self._is_over():
                self._turn()
        return self.exit_code

    def _stop_services(self, at_end: ExitStack) -> None:
        """Register the services to be stopped, in reverse order."""
        if self._rescues is not None:
            at_end.callback(self._rescues.stop, LAST_REPORT_SECONDS)
        at_end.callback(self._heartbeats.stop, LAST_RESCUE_SECONDS)
        at_end.callback(self._requests.stop)
        if self._ticker is not None:
            at_end.callback(self._ticker.stop)
        if self.relay is not None:
            at_end.callback(self.relay.stop)

    def _let_all_finish(self) -> None:
        """Let all workers finish, whatever has ended the loop: they would die with this process."""
        self._stops = max(self._stops, 1)
        while self._processes():
            self._turn()

    def _is_over(self) -> bool:
        over = all(seat.process is None and seat.finished for seat in self._seats)
        return (over or self._stops > 0) and not self._processes()

    def _turn(self) -> None:
        self._look()
        self._last_turn = time.monotonic()
        self._steps.take("tell systemd", self.on_turn)
        self._steps.take("write its state file", self.keep_state)
        self._wake.wait(WATCH_SECONDS)

    def _look(self) -> None:
        take = self._steps.take
        take("hear its workers", self._hear_workers)
        take("do what it was asked to do", self._do_what_was_asked)
        take("see which workers have ended", self._reap)
        take("have its workers rest", self._mind_rest)
        take("end workers that have finished", self._kill_those_that_do_not_end)
        take("mind recurring jobs", self._mind_schedules)
        if self._stops:
            take("stop its workers", self._stop_processes)
        else:
            self._look_after_workers()
        take("see which other processes have ended", self._collect_orphans)

    def _look_after_workers(self) -> None:
        take = self._steps.take
        take("begin a restart", self._begin_restart)
        take("go on with a restart", self.restarting.go_on)
        take("start its threads and workers", self._start_all)
        take("note that it is ready", self._note_readiness)
        take("kill workers with jobs that are overdue", self._kill_overdue)
        take("replace workers that are suspended", self._replace_suspended)
        take("replace workers by their memory", self._replace_those_over_memory)
        take("replace workers that hear nothing", self._replace_those_out_of_reach)
        if self._has_started_some:
            self._has_started_some = False
            self._heartbeats.beat_now()

    def _do_what_was_asked(self) -> None:
        if self._why_stopping is not None:
            why, self._why_stopping = self._why_stopping, None
            log.supervisor_stopping(self._logger, why)
        while not self._asked.empty():
            self._asked.get()()

    def _show_stacks(self) -> None:
        for process in self._processes():
            process.show_stacks()

    def _hear_workers(self) -> None:
        for process in self._processes():
            process.note_messages()
            # One is enough: where workers keep being killed, all are never ready at once.
            self._has_begun = self._has_begun or process.is_ready

    def _begin_restart(self) -> None:
        if self._restart_asked:
            self._restart_asked = False
            self._steps.take("note that there is new code", self.on_new_code)
            self.restarting.begin()

    def _start_all(self) -> None:
        """Start the services and fill the seats: nothing claims before somebody beats for it."""
        self._heartbeats.start()
        self._requests.start()
        if self.relay is not None:
            self.relay.start()
        self._fill_seats()

    def _collect_orphans(self) -> None:
        self._orphans.collect({process.pid for process in self._processes()})

    def _processes(self) -> list[WorkerProcess]:
        seated = [seat.process for seat in self._seats if seat.process is not None]
        return [*seated, *self.restarting.successors, *self._leaving]

    def _workers_to_beat_for(self) -> list[NewWorker]:
        return [p.record(self._lease) for p in list(self._processes()) if p.is_beating()]

    def _present_workers(self) -> list[PresentWorker]:
        processes = [p for p in list(self._processes()) if not p.has_finished]
        return [PresentWorker(p.worker_id, p.pid, self._state_of(p)) for p in processes]

    def _state_of(self, process: WorkerProcess) -> WorkerState:
        if process.asked_to_stop:
            return WorkerState.STOPPING
        return WorkerState.RESTING if self._is_resting else WorkerState.RUNNING

    def _ask_for_stacks(self, worker_id: str) -> None:
        for process in list(self._processes()):
            if process.worker_id == worker_id:
                process.pipe.ask_for_stacks()

    # --- workers that ended -----------------------------------------------------------------------

    def _reap(self) -> None:
        for seat in self._seats:
            process = seat.process
            if process is not None and process.has_finished:
                process.note_messages()
                self._has_begun = self._has_begun or process.is_ready
                # It may have settled all and live on: another takes its seat at once.
                seat.process = None
                self._leaving.append(process)
                self._after_end(seat, process, over_a_job=bool(process.crashed_jobs()))
        for process in [p for p in self._leaving if p.exit_code is not None]:
            self._leaving.remove(process)
            self._clear(process)
        for process in self.restarting.take_ended():
            self._clear(process)

    def _clear(self, process: WorkerProcess) -> None:
        ended = EndedWorker(process.worker_id, process.crashed_jobs(), process.why_it_ended)
        self._heartbeats.clear(ended)
        process.close()

    def _after_end(self, seat: Seat, process: WorkerProcess, *, over_a_job: bool) -> None:
        code = process.final_code or 0
        if code in CANNOT_START and not self._has_begun:
            self._give_up(code)
            return
        if self._until_idle and code >= 0 and not over_a_job:
            seat.finished = True
            self.exit_code = max(self.exit_code, NO_DATABASE if code == DATABASE_AWAY else code)
            return
        if self._stops:
            return
        pause = seat.pause_after(process, over_a_job=over_a_job)
        if (code != 0 or over_a_job) and not process.was_overdue:
            log.worker_died(self._logger, process.name, process.pid, how_it_ended(code), pause)

    def _give_up(self, code: int) -> None:
        """End, since the first workers cannot start. They have logged why, and would fail again."""
        self.exit_code = code
        self._stops = max(self._stops, 1)

    def _fill_seats(self) -> None:
        for seat in self._seats:
            if seat.is_to_be_filled() and not self.restarting.is_filling(seat):
                self._fill(seat)

    def _fill(self, seat: Seat) -> None:
        try:
            seat.process = self._start(seat.group, seat.index, waits=True)
        except Exception as error:  # noqa: BLE001 - the other workers go on, whatever happens
            pause = seat.pause_after_failed_start()
            log.worker_not_started(self._logger, seat.name, error, pause)

    def _start(self, group: WorkerGroup, index: int, *, waits: bool) -> WorkerProcess:
        process = self._spawn(group, index, waits=waits)
        self._to_clear.add(process.worker_id)
        self._has_started_some = True
        # A step of its own: whatever happens, the process must become known to the caller.
        say = partial(log.worker_started, self._logger, process.name, process.pid, process.release)
        self._steps.take("log that a worker has started", say)
        self._steps.take("have its workers rest", partial(self._tell_resting, process))
        return process

    def _let_go(self, process: WorkerProcess, why: str) -> None:
        self._leaving.append(process)
        process.why_let_go = why
        process.stop()
        log.worker_replaced(self._logger, process.name, why)

    # --- workers to be replaced -------------------------------------------------------------------

    def _kill_overdue(self) -> None:
        for process in self._processes():
            if process.kill_if_overdue():
                log.worker_killed(
                    self._logger, process.name, process.pid, "a job ignored its max_runtime"
                )

    def _kill_those_that_do_not_end(self) -> None:
        for process in self._leaving:
            if process.kill_if_it_does_not_end(self._grace.total_seconds()):
                log.worker_killed(self._logger, process.name, process.pid, process.how_it_ended)

    def _replace_suspended(self) -> None:
        """Replace workers that are suspended for a lease, whose jobs are freed then.

        They are left as they are. Should they go on, what they settle is rejected, and they end.
        """
        lease_seconds = self._lease.total_seconds()
        every = min(SUSPENSION_CHECK_SECONDS, lease_seconds / SUSPENSION_CHECKS_PER_LEASE)
        now = time.monotonic()
        if now - self._suspension_checked < every:
            return
        self._suspension_checked = now
        for seat in self._seats:
            process = seat.process
            if process is not None and process.is_suspended_longer_than(lease_seconds):
                seat.process = None
                self._let_go(process, "it is suspended for longer than its lease")

    def _replace_those_over_memory(self) -> None:
        now = time.monotonic()
        if self._max_memory_bytes is None or now - self._memory_checked < MEMORY_CHECK_SECONDS:
            return
        self._memory_checked = now
        for seat in self._seats:
            process = seat.process
            if process is not None and process.memory_bytes() > self._max_memory_bytes:
                seat.process = None
                self._let_go(process, "it has grown past --max-memory")

    def _replace_those_out_of_reach(self) -> None:
        """Replace workers in which a job has closed the pipe through which they are woken."""
        if self.relay is None:
            return
        for seat in self._seats:
            process = seat.process
            if process is not None and process.pipe.is_broken and not self._until_idle:
                seat.process = None
                self._let_go(process, "nothing that it is told reaches it any more")

    def _note_readiness(self) -> None:
        if not self._was_ready and self.is_ready:
            self._was_ready = True
            self.on_ready()

    def _mind_rest(self) -> None:
        asked, self._rest_asked = self._rest_asked, None
        if asked == GO_ON:
            self._go_on()
        elif asked is not None:
            self._rest_now(alone=asked == SUSPEND)
        # Each time: a worker may have come since, or its pipe may have been full.
        for process in self._processes():
            self._tell_resting(process)

    def _rest_now(self, *, alone: bool) -> None:
        self._is_resting = True
        log.supervisor_resting(self._logger, self._rests_until, suspended=alone)
        if alone:
            for process in self._processes():
                process.pipe.send_resting(True, alone=True)
            with self._adapter.between_writes():
                self.on_suspend()

    def _tell_resting(self, process: WorkerProcess) -> None:
        process.pipe.send_resting(self._is_resting)

    def _go_on(self) -> None:
        for process in self._processes():
            process.send(signal.SIGCONT)
        self._heartbeats.beat_now()
        if self._is_resting:
            self._is_resting = False
            log.supervisor_going_on(self._logger)

    def _mind_schedules(self) -> None:
        """Tell the ticker which recurring jobs the living workers have, by the newest code."""
        if self._ticker is not None:
            processes = [] if self._stops else sorted(self._processes(), key=lambda p: p.started)
            declared: dict[str, NewSchedule] = {}
            for process in processes:
                declared.update({schedule.name: schedule for schedule in process.schedules})
            self._ticker.mind(list(declared.values()))

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
        """Have workers give back what they perform; kill those that do not react."""
        for process in self._processes():
            if not process.told_to_hurry:
                process.hurry(now + KILL_AFTER_SECONDS)
            elif now > process.kill_at:
                process.kill_at = now + KILL_AFTER_SECONDS
                process.forgive()
                process.kill("it did not end")
                log.worker_killed(self._logger, process.name, process.pid, "it did not end")


def _is_at_work(process: WorkerProcess | None) -> bool:
    return process is not None and process.is_ready and not process.is_suspended
