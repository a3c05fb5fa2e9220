"""`jobqueue schedules`: it lists, shows, runs, pauses and resumes recurring jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from jobqueue.adapters import Adapter
from jobqueue.cli.command_group import command_group
from jobqueue.cli.enqueue import enqueued_text
from jobqueue.cli.errors import WORK_FAILED, examples_as_typed, one_line, say, say_note
from jobqueue.cli.options import App, AsJson, DatabaseUrl, Reason, Schema
from jobqueue.cli.output import Column, as_json, print_json, print_pairs, print_table
from jobqueue.cli.session import OTHER_DATABASE, SECRETS_UNKNOWN, Session, note_broken_app, opened
from jobqueue.cli.who import note_action
from jobqueue.defaults import default_configuration
from jobqueue.durations import from_now
from jobqueue.enqueue import store
from jobqueue.errors import ConfigurationError
from jobqueue.job import registry
from jobqueue.log.phrases import duration_text
from jobqueue.records import ActionKind, ScheduleRecord
from jobqueue.views.schedules import (
    ScheduleView,
    TickJobView,
    all_schedules,
    found_schedule,
    schedule_view,
)

COLUMNS = (
    Column("NAME", flexible=True),
    Column("JOB", flexible=True),
    Column("SCHEDULE"),
    Column("ZONE"),
    Column("STATE"),
    Column("NEXT"),
    Column("LAST"),
    Column("APP"),
)
JOB_COLUMNS = (
    Column("TICK"),
    Column("ID", right=True),
    Column("STATE"),
    Column("TOOK", right=True),
    Column("ERROR", flexible=True),
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name, or the end of it.")]


def list_schedules(
    app: App = None, database_url: DatabaseUrl = None, schema: Schema = None, json_: AsJson = False
) -> None:
    """List the recurring jobs of all applications in the database.

    A schedule is inactive while no living worker has it in its code. It stays in the database,
    and goes on when a worker has it again.

    \b
    Examples:
      jobs schedules list
      jobs schedules list --json
    """
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        listed, now = all_schedules(session.adapter), session.adapter.now()
        note_broken_app(session, SECRETS_UNKNOWN)
        undeclared = _undeclared(session)
    if json_:
        print_json([schedule.facts() for schedule in listed])
        return
    _print_list(listed, now)
    if undeclared:
        say_note(
            f"{', '.join(undeclared)}: in the code, and not yet in the database; a worker that "
            "starts (`jobqueue work`) puts it there"
        )


def show(
    name: Name,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """Show everything about a recurring job: what became of its last ticks, and the next ones.

    A job whose state is "gone" succeeded and was not kept, or somebody removed it.

    \b
    Examples:
      jobs schedules show NightlyReport
      jobs schedules show NightlyReport --json
    """
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, SECRETS_UNKNOWN)
        view = schedule_view(session.adapter, _found(session, name))
        now = session.adapter.now()
    if json_:
        print_json(view.facts())
        return
    left_out = ("next_tick", "next_ticks", "last_jobs")
    facts = {name: value for name, value in view.facts().items() if name not in left_out}
    print_pairs([(n, _shown(value, now)) for n, value in facts.items() if value is not None])
    if view.next_ticks:
        typer.echo("next")
        for tick in view.next_ticks:
            typer.echo(f"  {_in_zone(tick, view.zone)} ({from_now(tick, now)})")
    if view.last_jobs:
        typer.echo("last jobs")
        print_table(JOB_COLUMNS, [_job_row(job, view.zone) for job in view.last_jobs])


def _shown(value: Any, now: datetime) -> str:
    if isinstance(value, datetime):
        return f"{value.isoformat()} ({from_now(value, now)})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def _in_zone(moment: datetime, zone: str) -> str:
    """A moment by the clock of a schedule's zone; in UTC, if this machine does not know it."""
    try:
        there = moment.astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        there = moment
    return f"{there:%Y-%m-%d %H:%M:%S %Z}"


def _job_row(job: TickJobView, zone: str) -> list[str]:
    facts = job.facts()
    seconds = facts["run_seconds"]
    took = "-" if seconds is None else duration_text(seconds)
    return [_in_zone(job.tick, zone), str(job.job_id), job.state, took, facts["error"] or ""]


def run(
    name: Name,
    reason: Reason = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """Enqueue a recurring job now, beside its schedule.

    \b
    Examples:
      jobs schedules run NightlyReport
    """
    from jobqueue.maintenance.ticker import job_of

    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, OTHER_DATABASE)
        schedule = _found(session, name)
        [record] = store(
            [job_of(schedule)],
            session.adapter,
            observers=default_configuration.observers,
            logger=default_configuration.logger,
        )
        target = {"schedule": schedule.name, "app": schedule.app, "job": record.id}
        note_action(session.adapter, ActionKind.RUN_SCHEDULE, target, reason=reason)
    if json_:
        print_json(as_json(record))
        return
    typer.echo(one_line(enqueued_text(record)))


def pause(
    name: Name,
    reason: Reason = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Stop enqueueing a recurring job, until it is resumed.

    \b
    Examples:
      jobs schedules pause NightlyReport --reason "the bank is down"
    """
    _change(
        name,
        {"app": app, "database_url": database_url, "schema": schema},
        ActionKind.PAUSE_SCHEDULE,
        reason,
        lambda adapter, record: adapter.pause_schedule(record.app, record.name),
        ("is paused; `jobqueue schedules resume` lets it go on.", "was paused already."),
    )


def resume(
    name: Name,
    reason: Reason = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Resume a paused recurring job, from now on.

    Ticks that it missed meanwhile are left out.

    \b
    Examples:
      jobs schedules resume NightlyReport
    """
    _change(
        name,
        {"app": app, "database_url": database_url, "schema": schema},
        ActionKind.RESUME_SCHEDULE,
        reason,
        lambda adapter, record: adapter.resume_schedule(record.app, record.name),
        ("goes on.", "was not paused."),
    )


HELP = """List, show, run, pause and resume recurring jobs.

\b
Examples:
  jobs schedules                        list them
  jobs schedules show NightlyReport     its last jobs, and when it is due next
  jobs schedules run NightlyReport      enqueue one now
  jobs schedules pause NightlyReport
  jobs schedules resume NightlyReport
"""

COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_schedules,
    "show": show,
    "run": run,
    "pause": pause,
    "resume": resume,
}
schedules = command_group("schedules", HELP, COMMANDS, invoke_without_command=True)


@schedules.callback(help=examples_as_typed(HELP))
def list_unless_told_otherwise(
    context: typer.Context,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """List the recurring jobs, when no command is given."""
    if context.invoked_subcommand is None:
        list_schedules(app, database_url, schema, json_)
    elif any(given is not None for given in (app, database_url, schema)) or json_:
        raise ConfigurationError(
            f"write the options after the command: `jobqueue schedules {context.invoked_subcommand}"
            " … --json`"
        )


def _change(
    name: str,
    options: dict[str, Any],
    kind: ActionKind,
    reason: str | None,
    change: Callable[[Adapter, ScheduleRecord], bool],
    said: tuple[str, str],
) -> None:
    with opened(options) as session:
        note_broken_app(session, OTHER_DATABASE)
        record = _found(session, name)
        changed = change(session.adapter, record)
        if changed:
            target = {"schedule": record.name, "app": record.app}
            note_action(session.adapter, kind, target, reason=reason)
    say(f"{record.name} {said[0] if changed else said[1]}")
    if not changed:
        raise typer.Exit(WORK_FAILED)


def _found(session: Session, name: str) -> ScheduleRecord:
    """Return the schedule of this application that a name means."""
    from jobqueue.maintenance.ticker import app_key

    return found_schedule(session.adapter.schedules(), name, app_key(session.settings.app))


def _undeclared(session: Session) -> list[str]:
    from jobqueue.maintenance.ticker import app_key

    in_code = {name for job_class in registry.classes() for name in job_class.schedules()}
    there = {record.name for record in session.adapter.schedules(app_key(session.settings.app))}
    return sorted(in_code - there)


def _print_list(listed: list[ScheduleView], now: datetime) -> None:
    if not listed:
        typer.echo("No schedules.")
        return
    several = len({schedule.record.app for schedule in listed}) > 1
    columns = COLUMNS if several else COLUMNS[:-1]
    print_table(columns, [_row(schedule, now)[: len(columns)] for schedule in listed])


def _row(schedule: ScheduleView, now: datetime) -> list[str]:
    record = schedule.record
    return [
        record.name,
        record.handler,
        schedule.expression,
        schedule.zone,
        schedule.state,
        "-" if schedule.next_tick is None else from_now(schedule.next_tick, now),
        "-" if record.last_tick is None else from_now(record.last_tick, now),
        record.app,
    ]
