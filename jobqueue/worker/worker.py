"""A worker: performs the jobs that its pump claims."""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import threading
from asyncio import AbstractEventLoop
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.config import Settings
from jobqueue.defaults import default_configuration
from jobqueue.ends import EndReporter, logger_of
from jobqueue.errors import DatabaseUnavailable
from jobqueue.hooks import Observers
from jobqueue.job import Job, Registry
from jobqueue.maintenance.bulk_actions import BulkActionService
from jobqueue.maintenance.error_counts import ErrorCounts
from jobqueue.maintenance.flow_service import FlowService
from jobqueue.maintenance.pruner import PrunerService
from jobqueue.maintenance.requests import PresentWorker, RequestService
from jobqueue.maintenance.rescue_reports import HooksInProcess, RescueReports
from jobqueue.maintenance.rescue_service import RescueService
from jobqueue.maintenance.rescuer import Rescuer
from jobqueue.maintenance.sampler import SamplerService
from jobqueue.maintenance.ticker import Ticker, schedules_in
from jobqueue.perform.executor import Executor
from jobqueue.records import (
    LOOK_ANYWHERE,
    ClaimedJob,
    NewSchedule,
    NewWorker,
    Wakeup,
    WorkerState,
)
from jobqueue.redaction import error_line
from jobqueue.release import release_of_this_process
from jobqueue.unknown_handlers import UnknownHandlers
from jobqueue.worker.handoff import Handoff
from jobqueue.worker.heartbeat import Heartbeat, heartbeat_of
from jobqueue.worker.interruption import Alarm, AlarmClock, ThreadAlarm
from jobqueue.worker.listener import ListenerService
from jobqueue.worker.monitor import Monitor
from jobqueue.worker.own_process import OwnProcess
from jobqueue.worker.performers import (
    ConcurrentPerformer,
    Performer,
    SequentialPerformer,
    TimedExecutor,
)
from jobqueue.worker.pump import Pump
from jobqueue.worker.reporter import Reporter, Tally
from jobqueue.worker.slots import Slots
from jobqueue.worker.stacks import StacksAnswerer, Whereabouts
from jobqueue.worker.stats import Stats
from jobqueue.worker.threads import ApplicationLoop

ALL_DONE = "it had nothing left to do"
BROKE_OFF = "it broke off"
LAST_REPORT_SECONDS = 10.0
# A sign of life comes every second.
RELY_SECONDS = 4.0


LastingService = (
    Stats | PrunerService | SamplerService | BulkActionService | FlowService | ListenerService
)


class Worker:
    """A worker, which claims, performs and settles jobs until it is told to stop.

    Args:
        adapter: where the jobs are.
        registry: the job classes that it can perform.
        settings: `queues`, `concurrency`, `poll_interval`, `lease`, `kill_after`, and defaults
            for the classes.
        logger: where it logs what it does.
        until_idle: stop when nothing is due any more.
        slots: memory in which the jobs being performed are published for a supervisor; as many as
            `concurrency`.
        alarm: what interrupts a sync job whose time is over, where `run` is called on the main
            thread and `concurrency` is 1. Without one, a blocking call has to return first.
        supervised_as: the id under which a supervisor registers it and keeps its lease. Without
            it, the worker does both itself.
        max_jobs: stop after so many; None for no limit.
        most_attempts: fail a job here after so many attempts, whatever it was enqueued with, unless
            its class sets the number; None for no limit.
        observers: the hooks for all jobs; those that are configured by default.
        own_process: mends what jobs break of the process, where it is the worker's own.
    """

    def __init__(
        self,
        adapter: Adapter,
        registry: Registry,
        settings: Settings,
        logger: logging.Logger,
        *,
        until_idle: bool = False,
        slots: Slots | None = None,
        alarm: Alarm | None = None,
        supervised_as: str | None = None,
        max_jobs: int | None = None,
        most_attempts: int | None = None,
        observers: Observers | None = None,
        own_process: OwnProcess | None = None,
    ) -> None:
        self.id = supervised_as or new_worker_id()
        self._own_process = own_process
        self._keeps_lease = supervised_as is None
        self._adapter = adapter
        self._registry = registry
        self._settings = settings
        self._logger = logger
        self._observers = observers or default_configuration.observers
        self._handoff = Handoff(settings.concurrency)
        self._alarm_clock = AlarmClock(logger)
        # A worker that stops when idle puts jobs off that it cannot perform: those that it claims
        # before it passes over them.
        self._unknown_handlers = UnknownHandlers(self._is_known, puts_off=until_idle)
        self._monitor = Monitor(
            *(adapter, self.id, self._handoff, logger, self._logger_of),
            lease=settings.lease,
            alarm_clock=self._alarm_clock,
        )
        self._executor = self._new_executor(slots)
        self._performer = self._new_performer(alarm)
        self._stats = Stats(adapter, self.id, logger)
        self._errors = ErrorCounts(adapter, logger, release_of_this_process(settings.app_version))
        self._ends = EndReporter(logger, self._observers, registry)
        self._reporter = Reporter(
            logger, self._logger_of, self._ends, self._observers, self._stats.note
        )
        self._reporter.count_error = self._errors.note
        self._pump = Pump(
            adapter=adapter,
            handoff=self._handoff,
            worker_id=self.id,
            queues=settings.queues,
            poll_interval=settings.poll_interval,
            until_idle=until_idle,
            max_jobs=max_jobs,
            lease=settings.lease,
            logger=logger,
            reporter=self._reporter,
            on_stopping=partial(self._tell, "worker_stopping"),
            limited=None if most_attempts is None else partial(self._limited, most_attempts),
            unknown_handlers=self._unknown_handlers,
        )
        if own_process is not None:
            self._reporter.restore_log = own_process.restore_log
            self._pump.own_process = own_process
        self._pump_error: BaseException | None = None
        self._retention = PrunerService(
            adapter, self.id, registry, settings, logger, frugal=not self._keeps_lease
        )
        self._sampler = SamplerService(adapter, logger, frugal=not self._keeps_lease)
        self._bulk_actions = BulkActionService(
            adapter, self.id, self._ends, logger, frugal=not self._keeps_lease
        )
        self._flows = FlowService(adapter, logger, frugal=not self._keeps_lease)
        self._ticker = Ticker(adapter, settings.app, logger, self._observers)
        self._until_idle = until_idle
        self._release = release_of_this_process(settings.app_version)
        self._why_stopping: str | None = None
        self._stacks = StacksAnswerer(adapter, self.id, self._performing_where, logger)

    def run(self) -> Tally:
        """Work until `stop` is called, or until nothing is due if it is `until_idle`.

        Raises:
            InvalidArguments: those of a class's `schedule` do not fit its `perform`.
            DatabaseError: the database cannot be worked with. One that only does not answer for
                a while is waited for.
        """
        schedules = schedules_in(self._registry, self._adapter) if self._ticks else []
        self._adapter.declare_limits(self._registry.declared_limits())
        if self._until_idle:
            self._adapter.advance_flows()
        with ExitStack() as started:
            self._start_services(started, schedules)
            log.worker_ready(self._logger, self.id, self._settings.queues)
            self._tell("worker_ready")
            self._start_pump(started)
            self._performer.run()
        if self._pump_error is not None:
            raise self._pump_error
        return self._reporter.tally

    @property
    def _ticks(self) -> bool:
        """Whether this worker enqueues recurring jobs, and not its supervisor."""
        return not self._until_idle and (self._keeps_lease or self.has_hooks_of_ticks)

    @property
    def has_hooks_of_ticks(self) -> bool:
        """Whether the application has a hook for what is enqueued, which a supervisor has not."""
        return self._observers.has("before_enqueue")

    def _start_services(self, started: ExitStack, schedules: Sequence[NewSchedule]) -> None:
        """Start all services. They are stopped in reverse order, also when one cannot be started:
        nothing claims or beats for a worker that performs nothing.
        """
        self._start_lease(started)
        started.callback(self._tidy_up_if_idle)
        started.callback(self._alarm_clock.stop)
        started.callback(self._performer.close)
        self._monitor.start(self._performer.cancel, self._performer.give_back)
        started.callback(self._monitor.stop)
        for service in self._lasting_services():
            started.callback(service.stop)  # it may be several threads, of which one has started
            service.start()
        self._ticker.mind(schedules)
        started.callback(self._ticker.stop)

    def _start_lease(self, started: ExitStack) -> None:
        """Register this worker and keep its lease, unless a supervisor does so."""
        hooks = HooksInProcess(self._adapter, self._ends)
        rescues = RescueReports(self._ends, hooks, self._errors)
        worker = self._new_worker()
        if not self._until_idle:
            self._errors.start()  # they are stopped with the reports
        if self._keeps_lease:
            log.worker_started(self._logger, self.id, os.getpid(), self._release)
            self._adapter.register_worker(worker)
        started.callback(self._sign_off)
        started.callback(rescues.stop, LAST_REPORT_SECONDS)
        if self._keeps_lease:
            heartbeat = heartbeat_of(self._adapter, worker, self._logger)
            heartbeat.start()
            started.callback(heartbeat.stop)
            rescuing = self._new_rescue_service(worker, heartbeat, rescues)
            rescuing.start()
            started.callback(rescuing.stop)
            requests = self._new_request_service()
            requests.start()
            started.callback(requests.stop)
        started.callback(self._stacks.stop)

    def _new_rescue_service(
        self, worker: NewWorker, heartbeat: Heartbeat, rescues: RescueReports
    ) -> RescueService:
        return RescueService(
            Rescuer(self._adapter, worker.lease),
            worker.lease.total_seconds(),
            lambda: heartbeat.failed,
            self._logger,
            worker.id,
            on_rescue=rescues.note,
        )

    def _new_request_service(self) -> RequestService:
        return RequestService(
            self._adapter,
            lambda: [PresentWorker(self.id, os.getpid(), self._state)],
            lambda _: self.show_stacks(),
            self._logger,
        )

    def _performing_where(self) -> list[Whereabouts]:
        return self._performer.performing()

    @property
    def _state(self) -> WorkerState:
        if self._handoff.closed:
            return WorkerState.STOPPING
        return WorkerState.RESTING if self.is_resting else WorkerState.RUNNING

    def _lasting_services(
        self,
    ) -> Iterator[LastingService]:
        """The services of a worker that does not stop when it is idle."""
        if not self._until_idle:
            yield self._stats
            yield self._retention
            yield self._sampler
            yield self._bulk_actions
            yield self._flows
            if self._settings.listen and self._keeps_lease:
                url = self._settings.listen_url
                yield ListenerService(self._adapter, url, self.wake, self._logger)

    def _start_pump(self, started: ExitStack) -> None:
        pump = threading.Thread(target=self._run_pump, name="jobqueue-pump", daemon=True)
        pump.start()
        started.callback(pump.join)
        started.callback(self._handoff.close)

    def _tidy_up_if_idle(self) -> None:
        if self._until_idle and self._pump_error is None:
            self._stats.flush()
            self._errors.flush()
            self._retention.prune_once()

    def stop(self, why: str = "it was asked to") -> None:
        """Take no more jobs, finish what runs, and return from `run`.

        May be called from a signal handler, and from any thread.
        """
        if self._handoff.closed:
            return
        self._why_stopping = why
        # Closed first: a signal may come in the middle of a log line, which refuses another.
        self._handoff.close()
        with suppress(RuntimeError):
            log.worker_stopping(self._logger, self.id, why)

    def stop_now(self) -> None:
        """Stop at once: interrupt the jobs that run, and give them back with the attempt refunded.

        With a `concurrency` above 1, a job that does not end within a second is left behind: the
        process is meant to exit when `run` has returned.

        May be called from a signal handler on the thread of `run`, and from any other thread.

        Raises:
            StopNow: in the running job, when that is on the thread that calls.
        """
        self._handoff.close()
        self._pump.give_up_waiting()
        self._performer.stop_now()

    def rest(self, resting: bool) -> None:
        """Claim nothing until told otherwise. Jobs that run are finished, others are given back.

        May be called from a signal handler, and from any thread.
        """
        self._pump.rest(resting)

    @property
    def is_resting(self) -> bool:
        """Whether the worker was told to claim nothing for now."""
        return self._pump.is_resting

    def show_stacks(self) -> None:
        """Answer a question for the stacks of this worker, soon. May be called from any thread."""
        self._stacks.answer()

    def wake(self, wakeup: Wakeup) -> None:
        """Look for jobs now. May be called from any thread."""
        if wakeup.concerns(self._settings.queues):
            self._pump.wake(wakeup)

    def rely_on_wakeups(self, relying: bool) -> None:
        """Poll only rarely, relying on being woken, or poll every `poll_interval` as usual.

        It is relied on for some seconds. Who wakes this worker calls this again and again, as a
        sign of life. May be called from any thread.
        """
        if relying:
            self._pump.rely_on_wakeups(RELY_SECONDS * random.uniform(1.0, 1.5))  # noqa: S311
        else:
            self._pump.rely_on_wakeups(0.0)
            self._pump.wake(LOOK_ANYWHERE)

    def sign_off(self) -> None:
        """Unregister this worker, and free the jobs that it holds. May be called from any thread.

        Raises:
            DatabaseError: it could not be done; the end of its lease does it.
        """
        self._reporter.report_freed(self._adapter.unregister_worker(self.id, self._why_ended))

    @property
    def _why_ended(self) -> str:
        if self._pump_error is not None:
            return f"it failed: {error_line(self._pump_error)}"
        return self._why_stopping or (ALL_DONE if self._handoff.closed else BROKE_OFF)

    def performing(self) -> list[ClaimedJob]:
        """The jobs that are being performed now, the longest first."""
        return self._handoff.performing()

    def perform_on(self, loop: AbstractEventLoop) -> None:
        """Perform async jobs on an event loop that is running, on another thread than `run`.

        To be called before `run`. The loop has to go on until that has returned.
        """
        self._performer = ConcurrentPerformer(
            self._handoff, self._executor, self._new_alarm, ApplicationLoop(loop)
        )

    def _new_performer(self, alarm: Alarm | None) -> Performer:
        if self._settings.concurrency == 1:
            alarm = alarm or self._new_alarm()
            owns_process = self._own_process is not None
            return SequentialPerformer(
                self._handoff, self._executor, alarm, owns_process=owns_process
            )
        return ConcurrentPerformer(self._handoff, self._executor, self._new_alarm)

    def _new_alarm(self) -> Alarm:
        return ThreadAlarm(self._alarm_clock)

    def _new_executor(self, slots: Slots | None) -> TimedExecutor:
        return TimedExecutor(
            Executor(
                self._registry,
                self._settings,
                self._observers,
                self._monitor,
                self._adapter,
                self._unknown_handlers,
            ),
            self._alarm_clock,
            slots,
            self._settings.kill_after,
            self._logger_of,
        )

    def _run_pump(self) -> None:
        try:
            self._pump.run()
        except BaseException as error:  # noqa: BLE001 - raised again by `run`, on its own thread
            self._pump_error = error

    def _sign_off(self) -> None:
        """Unregister; jobs that a lost database keeps are freed at the end of the lease."""
        try:
            self.sign_off()
        except DatabaseUnavailable as error:
            self._pump_error = self._pump_error or error
        log.worker_stopped(self._logger, self.id, self._reporter.tally.performed)
        self._tell("worker_stopped")

    def _tell(self, event: str) -> None:
        self._observers.call(self._logger, event, self._new_worker())

    def _new_worker(self) -> NewWorker:
        return NewWorker(
            id=self.id,
            name="worker",
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=self._settings.queues,
            concurrency=self._settings.concurrency,
            lease=self._settings.lease,
            release=self._release,
        )

    def _limited(self, most_attempts: int, claimed: ClaimedJob) -> ClaimedJob:
        """A job with no more attempts than this worker allows, unless its class sets the number.

        The number that it was enqueued with may come from the same setting of another process.
        """
        job_class = self._registry.find(claimed.handler)
        if job_class is not None and _sets_its_attempts(job_class):
            return claimed
        return replace(claimed, max_attempts=min(claimed.max_attempts, most_attempts))

    def _is_known(self, handler: str) -> bool:
        return self._registry.find(handler) is not None

    def _logger_of(self, handler: str) -> logging.Logger:
        return logger_of(self._registry, self._logger, handler)


def _sets_its_attempts(job_class: type[Job]) -> bool:
    return bool(job_class.max_attempts or getattr(job_class.retry, "attempts", None))


def new_worker_id() -> str:
    """A worker id that no other worker, of this process or of any other, has or will have."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
