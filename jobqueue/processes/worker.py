"""Wiring of workers: one under a supervisor, and one that the terminal's signals control."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

from jobqueue import log
from jobqueue.adapters import Adapter
from jobqueue.config import Settings
from jobqueue.defaults import default_configuration
from jobqueue.job import registry
from jobqueue.maintenance.ticker import schedules_in
from jobqueue.runner.alarm import SignalAlarm
from jobqueue.runner.child import run_child
from jobqueue.runner.database_wait import ping_until_it_answers
from jobqueue.runner.groups import most_attempts
from jobqueue.runner.messages import Stage, SupervisorLine, WorkerMessage
from jobqueue.runner.process import WorkerPlan
from jobqueue.runner.relay import read_from_supervisor
from jobqueue.runner.suspended_lease import SuspendedLease
from jobqueue.worker.own_process import OwnProcess
from jobqueue.worker.reporter import Tally
from jobqueue.worker.slots import Slots
from jobqueue.worker.worker import Worker


def attached_worker(
    adapter: Adapter,
    settings: Settings,
    *,
    until_idle: bool = False,
    attempts: int | None = None,
) -> Worker:
    """A worker for `run_attached`, on the main thread of this process.

    Args:
        adapter: where its jobs are.
        settings: its settings.
        until_idle: stop when nothing is due any more.
        attempts: fail a job after so many, as `most_attempts` says; None for no limit.
    """
    logger = default_configuration.logger
    return Worker(
        adapter,
        registry,
        settings,
        logger,
        until_idle=until_idle,
        alarm=SignalAlarm(),
        most_attempts=attempts,
        own_process=OwnProcess("worker", logger, None),
    )


def run_supervised_worker(
    plan: WorkerPlan, adapter: Adapter, settings: Settings, line: SupervisorLine
) -> Tally:
    """Work by a supervisor's plan until told to stop. A message on `line` says when it is ready.

    Raises:
        DatabaseError: the database does not answer, or cannot be worked with.
    """
    _reach_database(plan, adapter)
    slots = Slots.attach(plan.slots_fd, plan.concurrency)
    worker = _supervised_worker(plan, adapter, settings, slots)
    lease_seconds, logger = settings.lease.total_seconds(), default_configuration.logger
    lease = SuspendedLease(adapter, plan.worker_id, lease_seconds, logger)
    read_from_supervisor(plan.wake_fd, worker, lease.keep, logger)
    # A supervisor has not imported the application, and enqueues recurring jobs without its hooks.
    left_to_supervisor = () if worker.has_hooks_of_ticks else schedules_in(registry, adapter)
    ready = WorkerMessage(Stage.READY, tuple(left_to_supervisor))
    on_ready = partial(line.say, ready)
    title = f"jobs worker {plan.name}"
    return run_child(worker, title, on_ready, lambda: slots.is_asked_to_end)


def _reach_database(plan: WorkerPlan, adapter: Adapter) -> None:
    """Wait for the database, unless the plan says that no answer is an error."""
    if not plan.waits_for_database:
        adapter.ping()
        return
    logger, began_at = default_configuration.logger, time.monotonic()
    if ping_until_it_answers(adapter, partial(log.database_lost, logger, plan.name)):
        log.database_back(logger, plan.name, time.monotonic() - began_at)


def _supervised_worker(
    plan: WorkerPlan, adapter: Adapter, settings: Settings, slots: Slots
) -> Worker:
    logger = default_configuration.logger
    return Worker(
        adapter,
        registry,
        replace(settings, queues=plan.queues, concurrency=plan.concurrency),
        logger,
        until_idle=plan.until_idle,
        slots=slots,
        alarm=SignalAlarm(),
        supervised_as=plan.worker_id,
        max_jobs=plan.max_jobs,
        most_attempts=most_attempts(settings, plan.options),
        own_process=OwnProcess(plan.name, logger, slots),
    )
