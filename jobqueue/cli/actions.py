"""`jobqueue actions`: what people did, and stopping and resuming bulk actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated

import typer

from jobqueue.bulk import found_action, new_runner_id
from jobqueue.cli.bulk import go_on_here
from jobqueue.cli.command_group import command_group
from jobqueue.cli.errors import WORK_FAILED, examples_as_typed, say, say_error, say_note
from jobqueue.cli.options import App, AsJson, DatabaseUrl, Schema
from jobqueue.cli.output import Column, counted, print_json, print_pairs, print_table
from jobqueue.cli.session import SECRETS_UNKNOWN, note_broken_app, opened
from jobqueue.durations import from_now
from jobqueue.errors import ConfigurationError
from jobqueue.records import (
    LARGEST_ID,
    ActionFilter,
    ActionKind,
    ActionRecord,
    ActionState,
)
from jobqueue.spelling import did_you_mean
from jobqueue.views.actions import ActionView, action_view

MOST_LISTED = 1_000
NAMES = {"before": "goes on below id"}
"""The names of facts that say too little to people."""
COLUMNS = (
    Column("ID", right=True),
    Column("WHEN"),
    Column("WHO"),
    Column("WHAT"),
    Column("TARGET", flexible=True),
    Column("NUMBER", right=True),
    Column("STATE"),
    Column("REASON", flexible=True),
)

ActionId = Annotated[
    int, typer.Argument(metavar="ID", min=1, max=LARGEST_ID, help="The action's id.")
]
OnlyKinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        help="Only these kinds, such as retry or 'pause queue'; commas, or the option again, for "
        "more.",
    ),
]
OnlyBy = Annotated[
    str | None, typer.Option("--by", metavar="WHO", help="Only what this one did, as in WHO.")
]
OnlyRunning = Annotated[
    bool, typer.Option("--running", help="Only bulk actions that are not at their end.")
]
Limit = Annotated[
    int, typer.Option(min=1, max=MOST_LISTED, metavar="NUMBER", help="How many at most.")
]
Before = Annotated[
    int | None,
    typer.Option(min=1, max=LARGEST_ID, metavar="ID", help="Only actions with a smaller id."),
]


def show(
    action_id: ActionId,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """Show everything about one action.

    Times are in UTC.

    \b
    Examples:
      jobs actions show 7
      jobs actions show 7 --json
    """
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, SECRETS_UNKNOWN)
        now = session.adapter.now()
        view = action_view(found_action(session.adapter, action_id), now)
    if json_:
        print_json(view.facts())
        return
    facts = view.facts() | {"target": view.target, "state": view.course}
    facts = {NAMES.get(name, name): value for name, value in facts.items() if name != "course"}
    print_pairs([(name, _shown(v, now)) for name, v in facts.items() if v is not None])
    if view.canary is not None and view.canary.came_back:
        say_note(f"the same error came back in job {view.canary.came_back}, so it was stopped")
    if view.course not in {ActionState.DONE, "running"}:
        say_note(
            f"`jobqueue actions resume {action_id}` goes on with it here; so does a worker, unless "
            "it is stopped"
        )


def stop(action_id: ActionId, database_url: DatabaseUrl = None, schema: Schema = None) -> None:
    """Stop a bulk action, wherever it runs, when the batch under way is done.

    Jobs that it has changed stay changed.

    \b
    Examples:
      jobs actions stop 7
    """
    with opened({"database_url": database_url, "schema": schema}, app="unwanted") as session:
        found_action(session.adapter, action_id)
        is_stopped = session.adapter.stop_action(action_id)
        action = found_action(session.adapter, action_id)
    if not is_stopped:
        say_error(f"action {action_id} is {action.state}, and does not run")
        raise typer.Exit(WORK_FAILED)
    say(
        f"Action {action_id} is stopped after {counted(action.number, 'job')}; "
        f"`jobqueue actions resume {action_id}` goes on."
    )


def resume(
    action_id: ActionId,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Go on here with a bulk action that was stopped, or that nobody runs any more.

    \b
    Examples:
      jobs actions resume 7
    """
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, SECRETS_UNKNOWN)
        adapter = session.adapter
        found_action(adapter, action_id)
        adapter.resume_action(action_id)
        if found_action(adapter, action_id).kind == ActionKind.CANARY:
            say(f"Action {action_id} is a canary, with which the workers go on.")
            return
        taken_over = adapter.take_over_action(new_runner_id(), action_id=action_id)
        if taken_over is None:
            say_error(_why_not_resumed(found_action(adapter, action_id)))
            raise typer.Exit(WORK_FAILED)
        ended = go_on_here(adapter, taken_over)
        say(f"Action {action_id} is done: {ended.kind}, {counted(ended.number, 'job')}.")


def _why_not_resumed(action: ActionRecord) -> str:
    if action.ended_at is not None:
        return f"action {action.id} is {action.state}, so nothing of it is left"
    return (
        f"action {action.id} is run by {action.run_by or 'a worker'} now; stop it first: `jobqueue "
        f"actions stop {action.id}`"
    )


HELP = """List what people did, by commands and over HTTP.

The latest come first.

A retry, a cancellation or a deletion of many jobs is done in batches. If whoever runs it is killed,
a worker goes on with it after some seconds. Actions are kept for 90 days (keep_actions).

\b
Examples:
  jobs actions                       list them
  jobs actions --kind 'pause queue'  who paused a queue, and why?
  jobs actions --running             bulk actions that are not at their end
  jobs actions show 7                all about one
  jobs actions stop 7                stop a bulk action
  jobs actions resume 7              go on with it
"""

COMMANDS: dict[str, Callable[..., None]] = {"show": show, "stop": stop, "resume": resume}
actions = command_group("actions", HELP, COMMANDS, invoke_without_command=True)


@actions.callback(help=examples_as_typed(HELP))
def list_unless_told_otherwise(
    context: typer.Context,
    kind: OnlyKinds = None,
    by: OnlyBy = None,
    running: OnlyRunning = False,
    limit: Limit = 50,
    before: Before = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """List the actions, when no command is given."""
    given = (kind, by, before, app, database_url, schema)
    if context.invoked_subcommand is None:
        states = (ActionState.RUNNING,) if running else None
        where = ActionFilter(_kinds(kind), states, by, before)
        _list(where, limit, {"app": app, "database_url": database_url, "schema": schema}, json_)
    elif any(one is not None for one in given) or json_ or running:
        raise ConfigurationError(
            f"write the options after the command: `jobqueue actions {context.invoked_subcommand} "
            "… --json`"
        )


def _list(where: ActionFilter, limit: int, options: dict[str, str | None], as_json: bool) -> None:
    with opened(options) as session:
        note_broken_app(session, SECRETS_UNKNOWN)
        found, now = session.adapter.actions(where, limit + 1), session.adapter.now()
        views = [action_view(record, now) for record in found[:limit]]
    if as_json:
        print_json([view.facts() for view in views])
        return
    if not views:
        typer.echo("No actions." if where == ActionFilter() else "No such actions.")
        return
    print_table(COLUMNS, [_row(view, now) for view in views])
    if len(found) > limit:
        shown = views[-1].record.id
        say_note(f"there are more; `jobqueue actions --before {shown}` shows the next ones")


def _kinds(given: Sequence[str] | None) -> tuple[ActionKind, ...] | None:
    if given is None:
        return None
    words = [word.strip() for text in given for word in text.split(",")]
    for word in words:
        if word not in set(ActionKind):
            hint = did_you_mean(word, [kind.value for kind in ActionKind]) or ";"
            raise ConfigurationError(
                f"--kind is {word!r}{hint} expected one of {', '.join(ActionKind)}"
            )
    return tuple(ActionKind(word) for word in words)


def _row(view: ActionView, now: datetime) -> list[str]:
    record = view.record
    return [
        str(record.id),
        from_now(record.done_at, now),
        record.done_by,
        record.kind,
        view.target,
        f"{record.number:,}",
        view.course,
        record.reason or "",
    ]


def _shown(value: object, now: datetime) -> str:
    if isinstance(value, datetime):
        return f"{value.isoformat()} ({from_now(value, now)})"
    return f"{value:,}" if type(value) is int else str(value)
