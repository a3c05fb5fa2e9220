"""`jobqueue work` and `jobqueue workoff`: they perform jobs in the foreground."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobqueue.cli.errors import WORK_FAILED, say
from jobqueue.cli.options import (
    App,
    AppVersion,
    BootTimeout,
    Concurrency,
    DatabaseUrl,
    Grace,
    KeepActions,
    KeepAttempts,
    KeepErrors,
    KeepFailed,
    KeepFlows,
    KeepSamples,
    KeepStats,
    KeepSucceeded,
    KeepWorkers,
    KillAfter,
    Lease,
    Listen,
    ListenUrl,
    LogFormat,
    LogLevel,
    MaxAttempts,
    MaxRuntime,
    PollInterval,
    Queues,
    Schema,
    WaitForDatabase,
    settings_among,
)
from jobqueue.cli.output import counted
from jobqueue.cli.session import Session, opened, refuse_memory
from jobqueue.defaults import default_configuration
from jobqueue.log import set_up_logging
from jobqueue.records import JobFilter, JobState
from jobqueue.runner.groups import AS_CONFIGURED, Undertaking, most_attempts
from jobqueue.runner.output_streams import never_fail_to_write, writing_without_fail

if TYPE_CHECKING:
    from jobqueue.worker.reporter import Tally

MEMORY_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}

Ttl = Annotated[
    float | None,
    typer.Option("--ttl", metavar="SECONDS", help="Stop after so long, as Ctrl-C would."),
]
Workers = Annotated[
    str | None,
    typer.Option(
        "-n",
        "--workers",
        metavar="WORKERS",
        help="How many worker processes: 4; default:2,email:1; default+email:2 (each of two on "
        "both queues); or *:1 (all queues).",
    ),
]
MaxJobs = Annotated[
    int | None,
    typer.Option(
        "--max-jobs", metavar="NUMBER", min=1, help="Replace a worker after so many jobs."
    ),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        "--max-memory",
        metavar="SIZE",
        help="Replace a worker that has grown larger, once it has finished what it performs: 512M.",
    ),
]
Health = Annotated[
    str | None,
    typer.Option(
        "--health",
        metavar="[ADDRESS:]PORT",
        help="Answer /healthz and /readyz over HTTP: 8080 for this machine alone, 0.0.0.0:8080 or "
        "[::]:8080 for others too.",
    ),
]


def work(
    workers: Workers = None,
    queues: Queues = None,
    concurrency: Concurrency = None,
    ttl: Ttl = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    wait_for_database: WaitForDatabase = None,
    poll_interval: PollInterval = None,
    listen: Listen = None,
    listen_url: ListenUrl = None,
    lease: Lease = None,
    grace: Grace = None,
    max_runtime: MaxRuntime = None,
    kill_after: KillAfter = None,
    boot_timeout: BootTimeout = None,
    max_jobs: MaxJobs = None,
    max_memory: MaxMemory = None,
    health: Health = None,
    max_attempts: MaxAttempts = None,
    keep_succeeded: KeepSucceeded = None,
    keep_failed: KeepFailed = None,
    keep_attempts: KeepAttempts = None,
    keep_flows: KeepFlows = None,
    keep_errors: KeepErrors = None,
    keep_stats: KeepStats = None,
    keep_samples: KeepSamples = None,
    keep_actions: KeepActions = None,
    keep_workers: KeepWorkers = None,
    app_version: AppVersion = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Perform jobs until Ctrl-C.

    A supervisor keeps the worker processes alive. Ctrl-C (or TERM) finishes the running jobs,
    within --grace, and exits; a second one gives them back at once. So does closing the terminal.
    After Ctrl-Z no more jobs are taken, until `fg`.

    \b
    Examples:
      jobs work
      jobs work -n 4
      jobs work -n default:2,email:1 --concurrency 10
      jobs work --queues default,email --ttl 60 --log-format json
    """
    options = settings_among(locals())
    undertaking = Undertaking(
        spec=workers or AS_CONFIGURED,
        options=options,
        ttl_seconds=possible_ttl(ttl),
        max_jobs=max_jobs,
        max_memory_bytes=memory_bytes(max_memory),
        health=possible_health(health),
    )
    from jobqueue.processes.supervisor import supervise

    never_fail_to_write()
    with opened(options, app="required") as session:
        exit_code = supervise(
            undertaking, session.settings, session.adapter, partial(ready_to_work, session)
        )
    raise typer.Exit(exit_code)


def workoff(
    workers: Workers = None,
    queues: Queues = None,
    concurrency: Concurrency = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    wait_for_database: WaitForDatabase = None,
    lease: Lease = None,
    max_runtime: MaxRuntime = None,
    max_attempts: MaxAttempts = None,
    keep_succeeded: KeepSucceeded = None,
    keep_failed: KeepFailed = None,
    keep_attempts: KeepAttempts = None,
    keep_flows: KeepFlows = None,
    keep_errors: KeepErrors = None,
    keep_stats: KeepStats = None,
    keep_samples: KeepSamples = None,
    keep_actions: KeepActions = None,
    keep_workers: KeepWorkers = None,
    app_version: AppVersion = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Perform the jobs that are due, and exit.

    It exits with 0 when no due job is left, and with 1 if a job failed for good. Paused queues and
    jobs whose time has not come are left alone.

    \b
    Examples:
      jobs workoff
      jobs workoff -n 4
      jobs workoff --queues email --log-level warning
    """
    options = settings_among(locals())
    with opened(options, app="required") as session:
        if workers is not None:
            from jobqueue.processes.supervisor import supervise

            never_fail_to_write()
            undertaking = Undertaking(workers, options, until_idle=True)
            exit_code = supervise(
                undertaking, session.settings, session.adapter, partial(ready_to_work, session)
            )
            raise typer.Exit(exit_code)
        if not ready_to_work(session):
            return
        tally = _work_off_here(session, most_attempts(session.settings, options))
        _print_tally(session, tally)
    if tally.failed:
        raise typer.Exit(WORK_FAILED)


def ready_to_work(session: Session) -> bool:
    """Set up the log, and check the database before anything is started.

    Returns:
        False if it was told to stop while it waited for the database, as `wait_for_database` says.

    Raises:
        ConfigurationError: the database is memory, which no other process sees.
        DatabaseError: it does not answer, or has no tables.
    """
    from jobqueue.runner.database_wait import wait_for_database

    settings = session.settings
    set_up_logging(settings.log_level, settings.log_format)
    refuse_memory(session.adapter)
    patience = settings.wait_for_database
    return wait_for_database(session.adapter, patience, default_configuration.logger)


def possible_ttl(ttl: float | None) -> float | None:
    """Return a time to live; raise `BadParameter` if it cannot be one."""
    if ttl is not None and not 0 < ttl <= threading.TIMEOUT_MAX:
        raise typer.BadParameter(
            f"{ttl} is no time to live; expected a number of seconds above 0", param_hint="--ttl"
        )
    return ttl


def possible_health(health: str | None) -> str | None:
    """Return an address for health probes; raise `ConfigurationError` if it cannot be one."""
    from jobqueue.runner.health import HealthAddress

    return None if health is None else str(HealthAddress.parse(health))


def memory_bytes(text: str | None) -> int | None:
    """Return a size such as 512M in bytes; raise `BadParameter` if it is none."""
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d*)([kmg]?)b?", text.strip().lower())
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no size; expected a number of bytes, or one with K, M or G: 512M",
            param_hint="--max-memory",
        )
    return int(found[1]) * MEMORY_UNITS[found[2]]


def _work_off_here(session: Session, attempts: int | None) -> Tally:
    from jobqueue.processes.worker import attached_worker
    from jobqueue.runner.attached import run_attached

    worker = attached_worker(session.adapter, session.settings, until_idle=True, attempts=attempts)
    with writing_without_fail():
        return run_attached(worker)


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
        say(f"{counted(later, 'job')} for later; `jobqueue list --state ready` shows when.")
    _print_gated(session)
    if tally.failed:
        say("`jobqueue list --state failed` shows what failed, `jobqueue retry` runs it again.")


def _print_gated(session: Session) -> None:
    gated = JobFilter(states=(JobState.GATED,), queues=session.settings.queues)
    later = session.adapter.count_jobs(replace(gated, due=False))
    if later:
        say(f"{counted(later, 'job')} for later; `jobqueue list --state gated` shows when.")
    due = session.adapter.count_jobs(replace(gated, due=True))
    if due:
        say(
            f"{counted(due, 'job')} behind a limit or an order; `jobqueue list --state gated` "
            "lists them, and `jobqueue why ID` says what one of them waits for."
        )
