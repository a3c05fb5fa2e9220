"""`jobqueue limits`: it lists the limits of jobs, shows who waits for them, and sets them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import typer

from jobqueue.cli.command_group import command_group
from jobqueue.cli.errors import examples_as_typed, one_line, say, say_note
from jobqueue.cli.options import App, AsJson, DatabaseUrl, Reason, Schema
from jobqueue.cli.output import Column, print_json, print_pairs, print_table
from jobqueue.cli.session import OTHER_DATABASE, note_broken_app, opened
from jobqueue.cli.who import checked_reason, note_action, user_at_host
from jobqueue.durations import exact_duration, from_now
from jobqueue.errors import ConfigurationError
from jobqueue.records import ActionKind, Count, LimitRecord, NewLimit
from jobqueue.views.limits import LimitView, all_limits, found_limit, limit_view

COLUMNS = (
    Column("LIMIT", flexible=True),
    Column("NUMBER", right=True),
    Column("PER"),
    Column("WAITING", right=True),
    Column("SET BY"),
)
KEY_COLUMNS = (
    Column("KEY", flexible=True),
    Column("HELD", right=True),
    Column("WAITING", right=True),
)
MOST_KEYS = 20
LARGEST_NUMBER = 2**31 - 1

Name = Annotated[str, typer.Argument(metavar="NAME", help="The limit's name, or the end of it.")]


def list_limits(
    app: App = None, database_url: DatabaseUrl = None, schema: Schema = None, json_: AsJson = False
) -> None:
    """List the limits of jobs: how many may run at once, or start within a period.

    Workers store the limits of their classes when they start.

    \b
    Examples:
      jobs limits list
      jobs limits list --json
    """
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, OTHER_DATABASE)
        views = all_limits(session.adapter)
    if json_:
        print_json([view.facts() for view in views])
    elif views:
        print_table(COLUMNS, [_row(view) for view in views])
    else:
        say("No worker has declared a limit. A class declares them: limits = (Limit(5),)")


def show(
    name: Name,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """Show everything about a limit: its number, who set it, and which keys jobs wait for.

    \b
    Examples:
      jobs limits show Charge/account
    """
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, OTHER_DATABASE)
        view = limit_view(session.adapter, found_limit(session.adapter, name))
        now = session.adapter.now()
    if json_:
        print_json(view.facts())
        return
    record = view.record
    pairs: list[tuple[str, Any]] = [
        ("name", record.name),
        ("number", _number_text(record)),
        ("declared", f"{record.declared:,}, {from_now(record.declared_at, now)}"),
    ]
    if record.set_at is not None:
        pairs.append(("set", f"by {record.set_by}, {from_now(record.set_at, now)}"))
    if record.reason:
        pairs.append(("reason", record.reason))
    pairs.append(("waiting", _count_text(view.waiting)))
    print_pairs([(label, one_line(str(value))) for label, value in pairs])
    if view.gates:
        rows = [[g.key or "-", f"{g.held:,}", _count_text(g.waiting)] for g in view.gates]
        print_table(KEY_COLUMNS, rows[:MOST_KEYS])
        if len(rows) > MOST_KEYS:
            say_note(f"and {len(rows) - MOST_KEYS:,} keys more; --json lists them")


def set_number(
    name: Name,
    number: Annotated[
        int,
        typer.Argument(
            min=0, max=LARGEST_NUMBER, metavar="NUMBER", help="How many; 0 lets none start."
        ),
    ],
    reason: Reason = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Set the number of a limit, for all workers, until it is set again or reset.

    Jobs that run are not interrupted. Workers that start do not change it back.

    \b
    Examples:
      jobs limits set Charge/account 10 --reason "the bank asked for it"
    """
    _set(name, number, reason, {"app": app, "database_url": database_url, "schema": schema})


def reset(
    name: Name,
    reason: Reason = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Let a limit have the number again that its class declares.

    \b
    Examples:
      jobs limits reset Charge/account
    """
    _set(name, None, reason, {"app": app, "database_url": database_url, "schema": schema})


def _set(name: str, number: int | None, reason: str | None, options: dict[str, Any]) -> None:
    with opened(options) as session:
        note_broken_app(session, OTHER_DATABASE)
        record = found_limit(session.adapter, name)
        new = NewLimit(record.name, number, user_at_host(), checked_reason(reason))
        session.adapter.set_limit(new)
        after = found_limit(session.adapter, record.name)
        target = {"limit": record.name, "number": after.number, "before": record.number}
        note_action(session.adapter, ActionKind.SET_LIMIT, target, reason=reason)
    typer.echo(one_line(f"{record.name}: {_number_text(after)}; it was {record.number:,}."))


def _row(view: LimitView) -> list[str]:
    record = view.record
    return [
        record.name,
        f"{record.number:,}",
        "at once" if record.per is None else _period_text(record.per),
        _count_text(view.waiting),
        record.set_by or "-",
    ]


def _number_text(record: LimitRecord) -> str:
    if record.per is None:
        return f"{record.number:,} at once"
    return f"{record.number:,} in {_period_text(record.per)}"


def _period_text(period: timedelta) -> str:
    return exact_duration(period.total_seconds())


def _count_text(count: Count) -> str:
    return f"{count.number:,}{'+' if count.more else ''}"


HELP = """List, show and set the limits of jobs.

\b
Examples:
  jobs limits                                   list them
  jobs limits show Charge/account               the keys that jobs wait for
  jobs limits set Charge/account 10             another number, for all workers
  jobs limits reset Charge/account              the number that the class declares
"""
COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_limits,
    "show": show,
    "set": set_number,
    "reset": reset,
}
limits = command_group("limits", HELP, COMMANDS, invoke_without_command=True)


@limits.callback(help=examples_as_typed(HELP))
def list_unless_told_otherwise(
    context: typer.Context,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """List the limits, when no command is given."""
    if context.invoked_subcommand is None:
        list_limits(app, database_url, schema, json_)
    elif any(given is not None for given in (app, database_url, schema)) or json_:
        raise ConfigurationError(
            f"write the options after the command: `jobqueue limits {context.invoked_subcommand}"
            " … --json`"
        )
