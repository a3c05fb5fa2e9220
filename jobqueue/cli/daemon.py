"""`jobqueue start`, `stop` and `restart`: they manage workers in the background."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from jobqueue.runner.daemon import Daemon

from jobqueue.cli.errors import WORK_FAILED, say, say_error, say_note
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
from jobqueue.cli.session import opened
from jobqueue.cli.work import (
    Health,
    MaxJobs,
    MaxMemory,
    Workers,
    memory_bytes,
    possible_health,
    ready_to_work,
)
from jobqueue.config import Settings, load_settings
from jobqueue.errors import ConfigurationError, StateConflict
from jobqueue.redaction import printable
from jobqueue.runner.command_line import environment_for, options_on_command_line
from jobqueue.runner.groups import AS_CONFIGURED, Undertaking, groups_of

SHORT_SECONDS = 1.0
MARGIN_SECONDS = 20.0
LOG_TAIL_BYTES = 4000

SameWorkers = Annotated[
    str | None,
    typer.Option(
        "-n", "--workers", metavar="WORKERS", help="Only those that were started with this -n."
    ),
]


def start(
    workers: Workers = None,
    queues: Queues = None,
    concurrency: Concurrency = None,
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
    """Perform jobs in the background.

    It returns when the workers are ready, or says why they are not. They log to a file in .jobs of
    the working directory, where `jobqueue stop` finds them.

    \b
    Examples:
      jobs start
      jobs start -n default:2,email:1
      jobs start -n 4 --max-jobs 10000 --max-memory 512M
    """
    options = settings_among(locals())
    undertaking = Undertaking(
        spec=workers or AS_CONFIGURED,
        options={name: value for name, value in options.items() if value is not None},
        max_jobs=max_jobs,
        max_memory_bytes=memory_bytes(max_memory),
        health=possible_health(health),
    )
    with opened(options, app="required") as session:
        groups = groups_of(undertaking.spec, session.settings, options)
        if not ready_to_work(session):
            raise typer.Exit(WORK_FAILED)
    _start(undertaking, sum(group.count for group in groups))


def stop(workers: SameWorkers = None) -> None:
    """Stop the workers that `jobqueue start` started in this folder.

    They finish the jobs that they perform, within their --grace, and give back the rest. A
    `jobqueue work` of this folder is left alone; you are told how to stop it.

    \b
    Examples:
      jobs stop
      jobs stop -n default:2,email:1
    """
    from jobqueue.runner.daemon import running_daemons

    daemons = running_daemons(Path.cwd(), workers)
    if not daemons:
        typer.echo(_nothing_runs(workers))
    for daemon in daemons:
        daemon.stop()
    for daemon in daemons:
        _wait_for_end(daemon)
    _point_to_others("Ctrl-C in its terminal stops it, or `kill {pid}`")


def _point_to_others(how: str) -> None:
    """Print which supervisors of this folder are left alone, and how to stop them."""
    from jobqueue.runner.daemon import supervisors_elsewhere

    for pid in supervisors_elsewhere(Path.cwd()):
        say_note(
            f"`jobqueue work` runs in this folder, pid {pid}, which `jobqueue start` did not "
            f"start and which is left alone; {how.format(pid=pid)}"
        )


def _wait_for_end(daemon: Daemon) -> None:
    named, pid, grace = _named(daemon.state.spec), daemon.state.pid, daemon.state.grace_seconds
    patience = grace + MARGIN_SECONDS
    gone = daemon.wait_until_gone(SHORT_SECONDS)
    if not gone:
        say_note(f"the workers{named} finish what they perform, for at most {grace:g} s")
        gone = daemon.wait_until_gone(patience)
    if not gone:
        say_error(
            f"the workers{named} (pid {pid}) have not ended in {patience:g} s; look into "
            f"{daemon.files.log}"
        )
        raise typer.Exit(WORK_FAILED)
    typer.echo(f"Stopped the workers{named}, pid {pid}.")


def restart(workers: SameWorkers = None) -> None:
    """Replace the workers of this folder, for new code.

    The new ones are ready before the old ones finish their jobs and end. If the new ones cannot
    start, the old ones go on. Groups are read from the configuration anew.

    \b
    Examples:
      jobs restart
      jobs restart -n default:2,email:1
    """
    from jobqueue.runner.daemon import running_daemons

    daemons = running_daemons(Path.cwd(), workers)
    if not daemons:
        typer.echo(_nothing_runs(workers))
        say("`jobqueue start` starts them.")
        _point_to_others("`kill -HUP {pid}` renews its workers")
        raise typer.Exit(WORK_FAILED)
    for daemon in daemons:
        _refuse_suspended(daemon)
    beginnings = [_size(daemon.files.log) for daemon in daemons]
    for daemon in daemons:
        daemon.restart()
    patience = _boot_seconds() + MARGIN_SECONDS
    for daemon, beginning in zip(daemons, beginnings, strict=True):
        _wait_for_restart(daemon, beginning, patience)


def _refuse_suspended(daemon: Daemon) -> None:
    if daemon.is_suspended:
        pid, named = daemon.state.pid, _named(daemon.state.spec)
        raise StateConflict(
            f"the supervisor of the workers{named}, pid {pid}, is suspended; `kill -CONT {pid}` "
            "has it go on, and then they can be renewed"
        )


def _boot_seconds() -> float:
    """How long the supervisors wait for new workers, if it is set where they read it too."""
    try:
        return load_settings().boot_timeout.total_seconds()
    except ConfigurationError:  # they say themselves what is wrong with it
        return Settings().boot_timeout.total_seconds()


def _wait_for_restart(daemon: Daemon, log_beginning: int, patience_seconds: float) -> None:
    state = daemon.wait_until_restarted(patience_seconds)
    if state is None or state.restart_error is not None:
        why = _why_not(daemon, patience_seconds) if state is None else state.restart_error
        say_error(
            f"the workers{_named(daemon.state.spec)} were not renewed: {why}; look into "
            f"{daemon.files.log}"
        )
        _show_log(daemon.files.log, log_beginning)
        raise typer.Exit(WORK_FAILED)
    typer.echo(f"Renewed {counted(len(state.workers), 'worker')}{_named(daemon.state.spec)}.")


def _why_not(daemon: Daemon, seconds: float) -> str:
    """A text that says why the end of a restart was not seen."""
    if daemon.files.is_locked():
        return f"their supervisor, pid {daemon.state.pid}, has not said so in {seconds:g} s"
    return "they are gone"


def _named(spec: str) -> str:
    """Return the `-n` of these workers, if they have one."""
    return f" ({spec})" if spec else ""


def _nothing_runs(workers: str | None) -> str:
    which = f" with -n {workers}" if workers else ""
    return f"No workers{which} run that were started in this folder."


def _start(undertaking: Undertaking, number: int) -> None:
    """Spawn the supervisor of these workers, and wait until it is ready."""
    from jobqueue.runner.daemon import ALREADY_RUNNING, DaemonFiles

    files = DaemonFiles(Path.cwd(), undertaking.spec)
    files.prepare()
    if files.is_locked():
        raise StateConflict(ALREADY_RUNNING)
    beginning = _size(files.log)
    ready, child_ready = os.pipe()
    shown = options_on_command_line(undertaking.options)
    plan = json.dumps(asdict(undertaking) | {"options": shown, "ready_fd": child_ready})
    with open(files.open_log(), "ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            [sys.executable, "-m", "jobqueue.cli.daemon_process", plan],
            env=environment_for(undertaking.options),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(child_ready,),
            start_new_session=True,
        )
    os.close(child_ready)
    if os.read(ready, 1) == b"r":
        typer.echo(
            f"Started {counted(number, 'worker')}{_named(undertaking.spec)}, supervised by pid "
            f"{process.pid}; they log to {files.log.relative_to(Path.cwd())}."
        )
        return
    exit_code = process.wait()
    say_error("the workers could not start; this is what they said:")
    _show_log(files.log, beginning)
    raise typer.Exit(exit_code or WORK_FAILED)


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _show_log(path: Path, beginning: int) -> None:
    """Print the lines logged since then; only the last ones, if they are many."""
    start = max(_size(path) - LOG_TAIL_BYTES, beginning)
    with path.open("rb") as log:
        log.seek(start)
        text: Any = log.read().decode("utf-8", "replace")
    print(printable(text.rstrip()), file=sys.stderr)
