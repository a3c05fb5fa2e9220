"""One worker process, as a supervisor runs it: `python -m jobqueue.cli.worker_process PLAN`."""

from __future__ import annotations

import sys
from dataclasses import replace

from jobqueue.cli.errors import WORK_FAILED, clean_exit
from jobqueue.cli.session import Session, opened, refuse_memory
from jobqueue.defaults import default_configuration
from jobqueue.job import registry
from jobqueue.log import set_up_logging
from jobqueue.runner.alarm import SignalAlarm
from jobqueue.runner.child import die_with_supervisor, run_child, say_ready
from jobqueue.runner.process import WorkerPlan
from jobqueue.worker.slots import Slots
from jobqueue.worker.worker import Worker


def main() -> None:
    """Work as the plan on the command line says."""
    die_with_supervisor()
    plan = WorkerPlan.from_json(sys.argv[1])
    with clean_exit(), opened(plan.options, app="required") as session:
        refuse_memory(session.adapter)
        session.adapter.ping()
        worker = _worker(plan, session)
        say_ready(plan.ready_fd)
        tally = run_child(worker, f"jobs worker {plan.name}")
        if plan.until_idle and tally.failed:
            raise SystemExit(WORK_FAILED)


def _worker(plan: WorkerPlan, session: Session) -> Worker:
    settings = replace(session.settings, queues=plan.queues, concurrency=plan.concurrency)
    set_up_logging(settings.log_level, settings.log_format)
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
    )


if __name__ == "__main__":
    main()
