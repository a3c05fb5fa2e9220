"""`jobs work` and `jobs workoff`: performing jobs in the foreground."""

from __future__ import annotations

import threading
from typing import Annotated, Any

import typer

from jobqueue.cli.errors import WORK_FAILED, say
from jobqueue.cli.options import (
    App,
    DatabaseUrl,
    KeepFailed,
    KeepSucceeded,
    Lease,
    LogFormat,
    LogLevel,
    MaxAttempts,
    PollInterval,
    Queues,
)
from jobqueue.cli.output import counted
from jobqueue.cli.session import Session, opened, refuse_memory
from jobqueue.defaults import default_configuration
from jobqueue.job import registry
from jobqueue.log import set_up_logging
from jobqueue.records import JobFilter, JobState
from jobqueue.runner.attached import run_attached
from jobqueue.worker.pump import Tally
from jobqueue.worker.worker import Worker

Ttl = Annotated[
    float | None,
    typer.Option("--ttl", metavar="SECONDS", help="Stop after so long, as Ctrl-C would."),
]


def work(
    queues: Queues = None,
    ttl: Ttl = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    poll_interval: PollInterval = None,
    lease: Lease = None,
    max_attempts: MaxAttempts = None,
    keep_succeeded: KeepSucceeded = None,
    keep_failed: KeepFailed = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Perform jobs until Ctrl-C.

    Ctrl-C (or TERM) finishes the job that runs and exits; a second one stops at once and gives
    the job back.

    \b
    Examples:
      jobs work
      jobs work --queues default,email
      jobs work --app shop.jobs --ttl 60 --log-format json
    """
    options = {
        "queues": queues,
        "app": app,
        "database_url": database_url,
        "poll_interval": poll_interval,
        "lease": lease,
        "max_attempts": max_attempts,
        "keep_succeeded": keep_succeeded,
        "keep_failed": keep_failed,
        "log_level": log_level,
        "log_format": log_format,
    }
    _refuse_impossible(ttl)
    with opened(options, app="required") as session:
        _run(session, until_idle=False, ttl=ttl)


def workoff(
    queues: Queues = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    lease: Lease = None,
    max_attempts: MaxAttempts = None,
    keep_succeeded: KeepSucceeded = None,
    keep_failed: KeepFailed = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Perform what is due, and exit.

    Exits with 0 when nothing due is left, and with 1 if a job ended failed. Paused queues and
    jobs whose time has not come are left alone.

    \b
    Examples:
      jobs workoff
      jobs workoff --queues email --log-level warning
    """
    options = {
        "queues": queues,
        "app": app,
        "database_url": database_url,
        "lease": lease,
        "max_attempts": max_attempts,
        "keep_succeeded": keep_succeeded,
        "keep_failed": keep_failed,
        "log_level": log_level,
        "log_format": log_format,
    }
    with opened(options, app="required") as session:
        tally = _run(session, until_idle=True)
        _print_tally(session, tally)
    if tally.failed:
        raise typer.Exit(WORK_FAILED)


def _run(session: Session, *, until_idle: bool, ttl: float | None = None) -> Tally:
    set_up_logging(session.settings.log_level, session.settings.log_format)
    refuse_memory(session.adapter)
    session.adapter.ping()
    logger = default_configuration.logger
    worker = Worker(session.adapter, registry, session.settings, logger, until_idle=until_idle)
    alarm = _stop_after(ttl, worker) if ttl is not None else None
    try:
        return run_attached(worker)
    finally:
        if alarm is not None:
            alarm.cancel()


def _refuse_impossible(ttl: float | None) -> None:
    if ttl is not None and not 0 < ttl <= threading.TIMEOUT_MAX:
        raise typer.BadParameter(
            f"{ttl} is no time to live; expected a number of seconds above 0", param_hint="--ttl"
        )


def _stop_after(ttl: float, worker: Worker) -> threading.Timer:
    alarm = threading.Timer(ttl, worker.stop, [f"its {ttl:g} s are over (--ttl)"])
    alarm.daemon = True
    alarm.start()
    return alarm


def _print_tally(session: Session, tally: Tally) -> None:
    ends: dict[str, Any] = {
        "succeeded": tally.succeeded,
        "to be retried": tally.retried,
        "failed": tally.failed,
        "discarded": tally.discarded,
        "given back": tally.released,
    }
    said = ", ".join(f"{number:,} {how}" for how, number in ends.items() if number)
    typer.echo(f"Worked off: {said}." if said else "Nothing was due.")
    later = session.adapter.count_jobs(
        JobFilter(states=(JobState.READY,), queues=session.settings.queues, due=False)
    )
    if later:
        say(f"{counted(later, 'job')} for later; `jobs list --state ready` shows when.")
    if tally.failed:
        say("`jobs list --state failed` shows what failed, `jobs retry` runs it again.")
