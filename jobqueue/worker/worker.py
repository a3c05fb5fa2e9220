"""A worker: performs what its pump brings from the database."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from asyncio import AbstractEventLoop
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.config import Settings
from jobqueue.defaults import default_configuration
from jobqueue.ends import EndTeller, logger_of
from jobqueue.errors import DatabaseUnavailable
from jobqueue.hooks import Observers
from jobqueue.job import Job, Registry
from jobqueue.maintenance.pruner import Pruner, PruningThread, prune_quietly
from jobqueue.maintenance.rescue_reports import HooksHere, RescueTeller
from jobqueue.maintenance.ticker import Ticker, schedules_in
from jobqueue.perform.executor import Executor
from jobqueue.records import LOOK_ANYWHERE, ClaimedJob, NewSchedule, NewWorker, Wakeup
from jobqueue.unknown_handlers import Strangers
from jobqueue.worker.handoff import Handoff
from jobqueue.worker.heartbeat import LeaseKeeper
from jobqueue.worker.interruption import Alarm, WatchedAlarm, Watcher
from jobqueue.worker.listener import RARELY, ListeningThread
from jobqueue.worker.monitor import Steward
from jobqueue.worker.performers import Attendant, Concurrently, OnMainThread, Performer
from jobqueue.worker.pump import Pump
from jobqueue.worker.reporter import Tally, Teller
from jobqueue.worker.slots import Slots
from jobqueue.worker.stats import Stats
from jobqueue.worker.threads import ApplicationLoop

LAST_TELLING_SECONDS = 10.0


class Worker:
    """Claims, performs and settles jobs until it is told to stop.

    Args:
        adapter: where the jobs are.
        registry: the job classes that it can perform.
        settings: `queues`, `concurrency`, `poll_interval`, `lease`, `kill_after`, and defaults
            for the classes.
        logger: where it says what it does.
        until_idle: stop when nothing is due any more.
        slots: where to publish what is being performed, for a supervisor; as many as
            `concurrency`.
        alarm: what interrupts a sync job whose time is over, where `run` is called on the main
            thread and `concurrency` is 1. Without one, a blocking call has to return first.
        supervised_as: the id under which a supervisor registers it and keeps its lease. Without
            one it does both itself.
        max_jobs: stop after so many; None for no limit.
        most_attempts: fail a job here after so many attempts, whatever it was enqueued with, unless
            its class says itself how often; None for no limit.
        observers: the hooks for all jobs; those that are configured by default.
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
    ) -> None:
        self.id = supervised_as or new_worker_id()
        self._keeps_lease = supervised_as is None
        self._adapter = adapter
        self._registry = registry
        self._settings = settings
        self._logger = logger
        self._observers = observers or default_configuration.observers
        self._handoff = Handoff(settings.concurrency)
        self._watcher = Watcher()
        # One that works off ends when nothing is due: it puts off what it cannot perform.
        self._strangers = None if until_idle else Strangers(self._is_known)
        self._steward = Steward(adapter, self.id, self._handoff, logger, self._logger_of)
        self._attendant = self._new_attendant(slots)
        self._performer = self._new_performer(alarm)
        self._stats = Stats(adapter, self.id, logger)
        self._ends = EndTeller(logger, self._observers, registry)
        self._teller = Teller(
            logger, self._logger_of, self._ends, self._observers, self._stats.note
        )
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
            teller=self._teller,
            on_stopping=partial(self._tell, "worker_stopping"),
            limited=None if most_attempts is None else partial(self._limited, most_attempts),
            strangers=self._strangers,
        )
        self._pump_error: BaseException | None = None
        listens = settings.listen and self._keeps_lease and not until_idle
        self._listening = self._new_listening_thread() if listens else None
        self._ticks = self._keeps_lease and not until_idle
        self._until_idle = until_idle

    def run(self) -> Tally:
        """Work until `stop` is called, or until nothing is due if it is `until_idle`.

        Raises:
            InvalidArguments: those of a class's `schedule` do not fit its `perform`.
            DatabaseError: the database cannot be worked with. One that only does not answer for
                a while is waited for.
        """
        schedules = schedules_in(self._registry, self._adapter) if self._ticks else []
        with ExitStack() as started:
            self._start_services(started, schedules)
            log.worker_ready(self._logger, self.id, self._settings.queues)
            self._tell("worker_ready")
            self._start_pump(started)
            self._performer.run()
        if self._pump_error is not None:
            raise self._pump_error
        return self._teller.tally

    def _start_services(self, started: ExitStack, schedules: Sequence[NewSchedule]) -> None:
        """Start what goes with working. What has been started is stopped again, the last first,
        when another cannot be: nothing claims or beats for a worker that performs nothing.
        """
        rescues = RescueTeller(self._ends, HooksHere(self._adapter, self._ends))
        lease = LeaseKeeper(self._adapter, self._new_worker(), self._logger, rescues.note)
        if self._keeps_lease:
            log.worker_started(self._logger, self.id, os.getpid())
            lease.register()
        started.callback(self._sign_off)
        started.callback(rescues.stop, LAST_TELLING_SECONDS)
        if self._keeps_lease:
            lease.start()
            started.callback(lease.stop)
        started.callback(self._tidy_up_if_idle)
        started.callback(self._watcher.close)
        started.callback(self._performer.close)
        self._steward.start(self._performer.cancel)
        started.callback(self._steward.stop)
        if not self._until_idle:
            self._stats.start()
            started.callback(self._stats.stop)
            self._start_pruning(started)
        if self._listening is not None:
            self._listening.start()
            started.callback(self._listening.stop)
        ticker = Ticker(self._adapter, self._settings.app, self._logger)
        ticker.mind(schedules)
        started.callback(ticker.stop)

    def _start_pruning(self, started: ExitStack) -> None:
        pruning = PruningThread(*self._for_pruning(), self._logger, frugal=not self._keeps_lease)
        pruning.start()
        started.callback(pruning.stop)

    def _start_pump(self, started: ExitStack) -> None:
        pump = threading.Thread(target=self._run_pump, name="jobqueue-pump", daemon=True)
        pump.start()
        started.callback(pump.join)
        started.callback(self._handoff.close)

    def _tidy_up_if_idle(self) -> None:
        if self._until_idle and self._pump_error is None:
            self._stats.flush()
            prune_quietly(Pruner(*self._for_pruning()), self._logger)

    def stop(self, why: str = "it was asked to") -> None:
        """Take no more jobs, finish what runs, and return from `run`.

        May be called from a signal handler, and from any thread.
        """
        if not self._handoff.closed:
            log.worker_stopping(self._logger, self.id, why)
            self._handoff.close()

    def stop_now(self) -> None:
        """As `stop`, but give what runs back unfinished, its attempt refunded.

        With a `concurrency` above 1, what does not end within a second is left behind: the
        process is meant to exit when `run` has returned.

        May be called from a signal handler on the thread of `run`, and from any other thread.

        Raises:
            StopNow: into the running job, where that is on the thread that calls.
        """
        self._handoff.close()
        self._pump.stop_insisting()
        self._performer.stop_now()

    def rest(self, resting: bool) -> None:
        """Claim nothing until told otherwise; what runs is finished, what does not goes back.

        May be called from a signal handler, and from any thread.
        """
        self._pump.rest(resting)

    @property
    def is_resting(self) -> bool:
        """Whether it was told to claim nothing for now."""
        return self._pump.is_resting

    def wake(self, wakeup: Wakeup) -> None:
        """Look for jobs now. May be called from any thread."""
        if wakeup.concerns(self._settings.queues):
            self._pump.wake(wakeup)

    def rely_on_wakeups(self, relying: bool) -> None:
        """Look without being woken only rarely, or, as without this, every `poll_interval`.

        May be called from any thread.
        """
        usual = self._settings.poll_interval
        self._pump.poll_interval = max(usual, RARELY) if relying else usual
        if not relying:
            self._pump.wake(LOOK_ANYWHERE)

    def sign_off(self) -> None:
        """Take this worker off the list, and free what it holds. May be called from any thread.

        Raises:
            DatabaseError: it could not be; the end of its lease does it.
        """
        self._teller.tell_freed(self._adapter.unregister_worker(self.id))

    def performing(self) -> list[ClaimedJob]:
        """The jobs that are being performed now, the longest first."""
        return self._handoff.performing()

    def perform_on(self, loop: AbstractEventLoop) -> None:
        """Perform async jobs on an event loop that is running, on another thread than `run`.

        To be called before `run`. The loop has to go on until that has returned.
        """
        self._performer = Concurrently(
            self._handoff,
            self._attendant,
            lambda: WatchedAlarm(self._watcher),
            ApplicationLoop(loop),
        )

    def _new_performer(self, alarm: Alarm | None) -> Performer:
        if self._settings.concurrency == 1:
            return OnMainThread(
                self._handoff, self._attendant, alarm or WatchedAlarm(self._watcher)
            )
        return Concurrently(self._handoff, self._attendant, lambda: WatchedAlarm(self._watcher))

    def _new_attendant(self, slots: Slots | None) -> Attendant:
        return Attendant(
            Executor(
                self._registry,
                self._settings,
                self._observers,
                self._steward,
                self._adapter,
                self._strangers,
            ),
            self._watcher,
            slots,
            self._settings.kill_after,
            self._logger_of,
        )

    def _new_listening_thread(self) -> ListeningThread:
        return ListeningThread(self._adapter, self._settings.listen_url, self.wake, self._logger)

    def _run_pump(self) -> None:
        try:
            self._pump.run()
        except BaseException as error:  # noqa: BLE001 - raised again by `run`, on its own thread
            self._pump_error = error

    def _sign_off(self) -> None:
        """Leave nothing behind; what a lost database keeps, the end of the lease brings back."""
        try:
            self.sign_off()
        except DatabaseUnavailable as error:
            self._pump_error = self._pump_error or error
        log.worker_stopped(self._logger, self.id, self._teller.tally.performed)
        self._tell("worker_stopped")

    def _for_pruning(self) -> tuple[Adapter, str, Registry, Settings]:
        return self._adapter, self.id, self._registry, self._settings

    def _tell(self, event: str) -> None:
        self._observers.tell(self._logger, event, self._new_worker())

    def _new_worker(self) -> NewWorker:
        return NewWorker(
            id=self.id,
            name="worker",
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=self._settings.queues,
            concurrency=self._settings.concurrency,
            lease=self._settings.lease,
        )

    def _limited(self, most_attempts: int, claimed: ClaimedJob) -> ClaimedJob:
        """A job with no more attempts than this worker allows, unless its class sets their number.

        What it was enqueued with may come from the same setting, of whoever enqueued it.
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
    """A name for this incarnation of this process that no other has or will have."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
