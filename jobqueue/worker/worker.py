"""A worker: performs, on the thread that runs it, what its pump brings from the database."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.config import Settings
from jobqueue.errors import DatabaseUnavailable
from jobqueue.execution import Executor, StopNow
from jobqueue.job import Registry
from jobqueue.records import NewWorker
from jobqueue.worker.handoff import Handoff
from jobqueue.worker.lease import LeaseKeeper
from jobqueue.worker.pump import Pump, Tally


class Worker:
    """Claims, performs and settles jobs until it is told to stop.

    Args:
        adapter: where the jobs are.
        registry: the job classes that it can perform.
        settings: `queues`, `poll_interval`, `lease`, and defaults for the classes.
        logger: where it says what it does.
        until_idle: stop when nothing is due any more.
    """

    def __init__(
        self,
        adapter: Adapter,
        registry: Registry,
        settings: Settings,
        logger: logging.Logger,
        *,
        until_idle: bool = False,
    ) -> None:
        self.id = new_worker_id()
        self._adapter = adapter
        self._registry = registry
        self._settings = settings
        self._logger = logger
        self._handoff = Handoff()
        self._executor = Executor(registry, settings)
        self._pump = Pump(
            adapter=adapter,
            handoff=self._handoff,
            worker_id=self.id,
            queues=settings.queues,
            poll_interval=settings.poll_interval,
            until_idle=until_idle,
            logger=logger,
            logger_of=self._logger_of,
        )
        self._pump_error: BaseException | None = None

    def run(self) -> Tally:
        """Work until `stop` is called, or until nothing is due if it is `until_idle`.

        Raises:
            DatabaseError: the database cannot be worked with. One that only does not answer for
                a while is waited for.
        """
        lease = LeaseKeeper(self._adapter, self._new_worker(), self._logger)
        lease.start()
        log.worker_started(self._logger, self.id, self._settings.queues)
        pump = threading.Thread(target=self._run_pump, name="jobqueue-pump", daemon=True)
        pump.start()
        try:
            self._perform_all()
        finally:
            self._handoff.close()
            pump.join()
            self._executor.close()
            lease.stop()
        self._sign_off()
        if self._pump_error is not None:
            raise self._pump_error
        return self._pump.tally

    def stop(self, why: str = "it was asked to") -> None:
        """Take no more jobs, finish the one that runs, and return from `run`.

        May be called from a signal handler, and from any thread.
        """
        if not self._handoff.closed:
            log.worker_stopping(self._logger, self.id, why)
            self._handoff.close()

    def stop_now(self) -> None:
        """As `stop`, but give the running job back unfinished.

        Raises:
            StopNow: into the running job; so it has to be called on the thread that performs it,
                by a signal handler.
        """
        self._handoff.close()
        self._pump.stop_insisting()
        if self._executor.performing:
            raise StopNow

    def _perform_all(self) -> None:
        while (job := self._handoff.take()) is not None:
            self._handoff.finish(self._executor.execute(job))

    def _run_pump(self) -> None:
        try:
            self._pump.run()
        except BaseException as error:  # noqa: BLE001 - raised again by `run`, on its own thread
            self._pump_error = error

    def _sign_off(self) -> None:
        """Leave nothing behind; what a lost database keeps, the end of the lease brings back."""
        try:
            self._adapter.unregister_worker(self.id)
        except DatabaseUnavailable as error:
            self._pump_error = self._pump_error or error
        log.worker_stopped(self._logger, self.id, self._pump.tally.performed)

    def _new_worker(self) -> NewWorker:
        return NewWorker(
            id=self.id,
            name="worker",
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=self._settings.queues,
            concurrency=1,
            lease=self._settings.lease,
        )

    def _logger_of(self, handler: str) -> logging.Logger:
        job_class = self._registry.find(handler)
        return job_class.logger if job_class is not None else self._logger


def new_worker_id() -> str:
    """A name for this incarnation of this process that no other has or will have."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
