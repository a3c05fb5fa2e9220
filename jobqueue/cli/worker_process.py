"""One worker process, as a supervisor runs it: `python -m jobqueue.cli.worker_process PLAN`."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from functools import partial

from jobqueue import log
from jobqueue.cli.errors import WORK_FAILED, clean_exit, exit_code_of
from jobqueue.cli.session import Session, opened, refuse_memory
from jobqueue.defaults import default_configuration
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.job import registry
from jobqueue.log import set_up_logging
from jobqueue.maintenance.ticker import schedules_in
from jobqueue.runner.alarm import SignalAlarm
from jobqueue.runner.child import die_with_supervisor, run_child, say_ready
from jobqueue.runner.database_wait import ping_until_it_answers
from jobqueue.runner.groups import most_attempts
from jobqueue.runner.output_streams import never_fail_to_write
from jobqueue.runner.process import DATABASE_AWAY, WorkerPlan
from jobqueue.runner.relay import hear_from_supervisor
from jobqueue.runner.suspended_lease import SuspendedLease
from jobqueue.worker.reporter import Tally
from jobqueue.worker.slots import Slots
from jobqueue.worker.worker import Worker


def main() -> None:
    """Work as the plan on the command line says."""
    die_with_supervisor()
    plan = WorkerPlan.from_json(sys.argv[1])
    with clean_exit():
        # Before the application is imported, which may set up logging on these streams.
        never_fail_to_write()
        with opened(plan.options, app="required") as session:
            _work_and_end(plan, session)


def _work_and_end(plan: WorkerPlan, session: Session) -> None:
    refuse_memory(session.adapter)
    set_up_logging(session.settings.log_level, session.settings.log_format)
    try:
        tally = _work(plan, session)
    except DatabaseError as error:
        log.worker_failed(default_configuration.logger, plan.name, error)
        is_away = isinstance(error, DatabaseUnavailable)
        raise SystemExit(DATABASE_AWAY if is_away else exit_code_of(error)) from None
    if plan.until_idle and tally.failed:
        raise SystemExit(WORK_FAILED)


def _work(plan: WorkerPlan, session: Session) -> Tally:
    _reach_database(plan, session)
    worker = _worker(plan, session)
    lease_seconds = session.settings.lease.total_seconds()
    logger = default_configuration.logger
    lease = SuspendedLease(session.adapter, plan.worker_id, lease_seconds, logger)
    hear_from_supervisor(plan.wake_fd, worker, lease.keep)
    schedules = schedules_in(registry, session.adapter)
    on_ready = partial(say_ready, plan.ready_fd, schedules)
    return run_child(worker, f"jobs worker {plan.name}", on_ready)


def _reach_database(plan: WorkerPlan, session: Session) -> None:
    """Wait for the database, which its supervisor has reached, as a worker that runs does."""
    if not plan.waits_for_database:
        session.adapter.ping()
        return
    logger, began_at = default_configuration.logger, time.monotonic()
    if ping_until_it_answers(session.adapter, partial(log.database_lost, logger, plan.name)):
        log.database_back(logger, plan.name, time.monotonic() - began_at)


def _worker(plan: WorkerPlan, session: Session) -> Worker:
    settings = replace(session.settings, queues=plan.queues, concurrency=plan.concurrency)
    return Worker(
        session.adapter,
        registry,
        settings,
        default_configuration.logger,
        until_idle=plan.until_idle,
        slots=Slots.attach(plan.slots_fd, plan.concurrency),
        alarm=SignalAlarm(),
        supervised_as=plan.worker_id,
        max_jobs=plan.max_jobs,
        most_attempts=most_attempts(settings, plan.options),
    )


if __name__ == "__main__":
    main()
