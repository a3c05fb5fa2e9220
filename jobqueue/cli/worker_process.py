"""One worker process, as a supervisor runs it: `python -m jobqueue.cli.worker_process PLAN`."""

from __future__ import annotations

import sys

from jobqueue import log
from jobqueue.cli.errors import WORK_FAILED, clean_exit, exit_code_of
from jobqueue.cli.session import Session, opened, refuse_memory
from jobqueue.defaults import default_configuration
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.processes.worker import run_supervised_worker
from jobqueue.runner.child import die_with_supervisor, keep_to_this_process, outlast_signals
from jobqueue.runner.command_line import hide_passwords
from jobqueue.runner.messages import Stage, SupervisorLine, WorkerMessage, protocol_among
from jobqueue.runner.output_streams import never_fail_to_write
from jobqueue.runner.process import DATABASE_AWAY, WorkerPlan


def main() -> None:
    """Work as the plan on the command line says."""
    outlast_signals()
    hide_passwords()
    die_with_supervisor()
    plan = WorkerPlan.from_json(sys.argv[1])
    keep_to_this_process((plan.slots_fd, plan.ready_fd, plan.wake_fd))
    line = SupervisorLine(plan.ready_fd, protocol_among(sys.argv[2:]))
    line.say(WorkerMessage(Stage.STARTED))
    with clean_exit():
        # Before the application is imported, which may set up logging on these streams.
        never_fail_to_write()
        with opened(plan.options, app="required") as session:
            exit_code = _work(plan, session, line)
            line.say(WorkerMessage(Stage.FINISHED, exit_code=exit_code))
            raise SystemExit(exit_code)


def _work(plan: WorkerPlan, session: Session, line: SupervisorLine) -> int:
    """Work, and return the exit code."""
    refuse_memory(session.adapter)
    log.set_up_logging(session.settings.log_level, session.settings.log_format)
    try:
        tally = run_supervised_worker(plan, session.adapter, session.settings, line)
    except DatabaseError as error:
        log.worker_failed(default_configuration.logger, plan.name, error)
        is_away = isinstance(error, DatabaseUnavailable)
        return DATABASE_AWAY if is_away else exit_code_of(error)
    return WORK_FAILED if plan.until_idle and tally.failed else 0


if __name__ == "__main__":
    main()
