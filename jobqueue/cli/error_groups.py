"""`jobqueue errors`: what fails, in groups of errors that are alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from jobqueue.bulk import bulk_action
from jobqueue.canary import LONGEST_SPREAD, MOST_FIRST, canary_action
from jobqueue.cli.bulk import run_here
from jobqueue.cli.command_group import command_group
from jobqueue.cli.error_charts import bars, sparkline
from jobqueue.cli.errors import WORK_FAILED, examples_as_typed, say, say_error, say_note
from jobqueue.cli.lists import job_filter
from jobqueue.cli.options import App, AsJson, DatabaseUrl, OnlyHandlers, Reason, Schema
from jobqueue.cli.output import Column, as_json, counted, print_json, print_pairs, print_table
from jobqueue.cli.session import OTHER_DATABASE, SECRETS_UNKNOWN, Session, note_broken_app, opened
from jobqueue.cli.who import checked_reason, note_action, user_at_host
from jobqueue.durations import from_now
from jobqueue.errors import ConfigurationError, ErrorGroupNotFound, UnknownJob
from jobqueue.records import (
    ActionKind,
    ErrorFilter,
    ErrorPosition,
    ErrorState,
    JobRecord,
    JobState,
)
from jobqueue.redaction import printable
from jobqueue.retention import AGE_EXPECTED, parse_age
from jobqueue.views.errors import (
    ACTION_OF_STATE,
    CANCELLED_STATES,
    RETRIED_STATES,
    ErrorGroupView,
    error_group_view,
    found_error_group,
    jobs_of_group,
    position_in,
    text_of,
)

LAST_JOBS = 10
MOST_LISTED = 1_000
ALL_STATES = "all"
COLUMNS = (
    Column("KEY"),
    Column("STATE"),
    Column("JOB"),
    Column("TYPE"),
    Column("PLACE", flexible=True),
    Column("MESSAGE", flexible=True),
    Column("24 H", right=True),
    Column("BY HOUR"),
    Column("LAST"),
)
JOB_COLUMNS = (
    Column("ID", right=True),
    Column("STATE"),
    Column("QUEUE"),
    Column("ATTEMPTS", right=True),
    Column("CREATED"),
)

Key = Annotated[str, typer.Argument(metavar="KEY", help="The key of the group.")]
Keys = Annotated[list[str], typer.Argument(metavar="KEY...", help="The keys of the groups.")]
InState = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help="Only these states: open, muted, resolved; or all. Without it: open.",
    ),
]
Since = Annotated[
    str | None,
    typer.Option(metavar="AGE", help="Only groups that were seen since then: 90s, 30m, 12h, 7d."),
]
Limit = Annotated[
    int, typer.Option(min=1, max=MOST_LISTED, metavar="NUMBER", help="How many at most.")
]
Before = Annotated[
    str | None, typer.Option(metavar="PLACE", help="The next page, as the page before says.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count the jobs.")]
First = Annotated[
    int | None,
    typer.Option(
        "--canary",
        min=1,
        max=MOST_FIRST,
        metavar="NUMBER",
        help="Retry so many first, and the rest if the error does not come back.",
    ),
]
Spread = Annotated[
    str | None,
    typer.Option(
        metavar="AGE", help="Over how long --canary spreads the rest: 90s, 10m, 2h. [10m]"
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def show(
    key: Key,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """Show everything about a group of errors: when, how often, and the last jobs.

    Times are in UTC.

    \b
    Examples:
      jobs errors show 9ba3c588714f
      jobs errors show 9ba3c588714f --json
    """
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, SECRETS_UNKNOWN)
        adapter = session.adapter
        now = adapter.now()
        view = error_group_view(found_error_group(adapter, key), now)
        jobs = adapter.page_jobs(jobs_of_group(key), LAST_JOBS).jobs
    if json_:
        print_json({**view.all_facts(), "jobs": [as_json(job) for job in jobs]})
    else:
        _print_group(view, jobs, now)


def mute(
    keys: Keys,
    reason: Reason = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Leave groups of errors out of the list, until they are reopened.

    Their errors are counted as before.

    \b
    Examples:
      jobs errors mute 9ba3c588714f --reason "known since release 3.1"
    """
    _set_state(keys, ErrorState.MUTED, reason, app, database_url, schema)


def resolve(
    keys: Keys,
    reason: Reason = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Say that groups of errors are mended. One that comes back is open again.

    \b
    Examples:
      jobs errors resolve 9ba3c588714f
    """
    _set_state(keys, ErrorState.RESOLVED, reason, app, database_url, schema)


def reopen(
    keys: Keys,
    reason: Reason = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Put muted or resolved groups of errors back into the list.

    \b
    Examples:
      jobs errors reopen 9ba3c588714f
    """
    _set_state(keys, ErrorState.OPEN, reason, app, database_url, schema)


def retry(
    key: Key,
    canary: First = None,
    spread: Spread = None,
    dry_run: DryRun = False,
    reason: Reason = None,
    yes: Yes = False,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Make all jobs of a group of errors due now: those that failed, and that wait for a retry.

    A job whose attempts are used up is allowed one more.

    On a terminal it asks first, unless --yes is given. The jobs are changed in batches. Ctrl-C
    stops that, and `jobqueue actions` shows how far it is. If this process is killed, a worker goes
    on.

    With --canary some are retried first. If the same error does not come back in them, the rest
    follows, spread over time; if it does, that stops. Workers carry it out, whatever happens here.

    \b
    Examples:
      jobs errors retry 9ba3c588714f --dry-run
      jobs errors retry 9ba3c588714f --canary 10 --spread 10m
      jobs errors retry 9ba3c588714f --reason "the mail server is back"
    """
    change = _Change(ActionKind.RETRY, "made due now", RETRIED_STATES)
    if canary is None and spread is not None:
        raise typer.BadParameter("it needs --canary", param_hint="--spread")
    if canary is not None:
        change = replace(change, first=canary, spread=_spread_of(spread))
    _change_all(key, change, dry_run, reason, yes, app, database_url, schema)


def cancel(
    key: Key,
    dry_run: DryRun = False,
    reason: Reason = None,
    yes: Yes = False,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Cancel all jobs of a group of errors that wait for a retry, and ask running ones to end.

    The reason becomes the `last_error` of the jobs.

    On a terminal it asks first, unless --yes is given. The jobs are changed in batches. Ctrl-C
    stops that, and `jobqueue actions` shows how far it is. If this process is killed, a worker goes
    on.

    \b
    Examples:
      jobs errors cancel 9ba3c588714f --dry-run
      jobs errors cancel 9ba3c588714f --yes
    """
    change = _Change(ActionKind.CANCEL, "cancelled", CANCELLED_STATES)
    _change_all(key, change, dry_run, reason, yes, app, database_url, schema)


HELP = """List what fails, in groups of errors.

The latest come first. Errors are alike if they are of the same job, type and place, and if their
messages differ only in numbers, ids, quoted text and addresses. Workers store them about once a
minute.

\b
Examples:
  jobs errors                           list the open groups
  jobs errors --since 1h --job SendInvoice
  jobs errors --state all --json
  jobs errors show 9ba3c588714f         all about one, with its last jobs
  jobs errors resolve 9ba3c588714f      it is mended; open again if it comes back
  jobs errors retry 9ba3c588714f        retry all of its jobs
"""

COMMANDS: dict[str, Callable[..., None]] = {
    "show": show,
    "mute": mute,
    "resolve": resolve,
    "reopen": reopen,
    "retry": retry,
    "cancel": cancel,
}
errors = command_group("errors", HELP, COMMANDS, invoke_without_command=True)


@errors.callback(help=examples_as_typed(HELP))
def list_unless_told_otherwise(
    context: typer.Context,
    state: InState = None,
    handler: OnlyHandlers = None,
    since: Since = None,
    limit: Limit = 50,
    before: Before = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """List the groups of errors, when no command is given."""
    given = (state, handler, since, before, app, database_url, schema)
    if context.invoked_subcommand is None:
        _list(state, handler, since, limit, before, app, database_url, schema, json_)
    elif any(one is not None for one in given) or json_:
        raise ConfigurationError(
            f"write the options after the command: `jobqueue errors {context.invoked_subcommand} "
            "… --json`"
        )


# --- listing -------------------------------------------------------------------------------------


def _list(
    state: list[str] | None,
    handler: list[str] | None,
    since: str | None,
    limit: int,
    before: str | None,
    app: str | None,
    database_url: str | None,
    schema: str | None,
    as_json_: bool,
) -> None:
    where = ErrorFilter(_states(state), None, _period(since), _position(before))
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, OTHER_DATABASE)
        adapter = session.adapter
        if handler:
            where = replace(where, handlers=_handlers(session, handler))
        page, now = adapter.error_groups(where, limit), adapter.now()
    views = [error_group_view(record, now) for record in page.groups]
    if as_json_:
        print_json([view.facts() for view in views])
        return
    if not views:
        typer.echo("No errors." if where.states is None else f"No {_or(where.states)} errors.")
        return
    print_table(COLUMNS, [_row(view, now) for view in views])
    if page.next_before is not None:
        shown = text_of(page.next_before)
        say_note(f"there are more; `jobqueue errors --before {shown}` shows the next ones")


def _or(states: Sequence[ErrorState]) -> str:
    return " or ".join(states)


def _states(given: Sequence[str] | None) -> tuple[ErrorState, ...] | None:
    words = [word.strip() for text in given or (ErrorState.OPEN,) for word in text.split(",")]
    if words == [ALL_STATES]:
        return None
    for word in words:
        if word not in set(ErrorState):
            raise ConfigurationError(
                f"--state is {word!r}; expected one of {', '.join(ErrorState)}, several with "
                f"commas, or {ALL_STATES}"
            )
    return tuple(ErrorState(word) for word in words)


def _period(given: str | None) -> timedelta | None:
    try:
        return None if given is None else parse_age(given)
    except (ValueError, OverflowError):
        raise ConfigurationError(f"--since is {given!r}; expected {AGE_EXPECTED}") from None


def _position(given: str | None) -> ErrorPosition | None:
    position = None if given is None else position_in(given)
    if given is not None and position is None:
        raise ConfigurationError(
            f"--before is {given!r}; expected the place that the page before says"
        )
    return position


def _handlers(session: Session, given: Sequence[str]) -> tuple[str, ...] | None:
    """Return the names that rows may carry, also of a class that only errors are left of."""
    try:
        return job_filter(session, None, None, given).handlers
    except UnknownJob:
        names = tuple(name.strip() for text in given for name in text.split(","))
        if not session.adapter.error_groups(ErrorFilter(handlers=names), 1).groups:
            raise
        return names


def _row(view: ErrorGroupView, now: datetime) -> list[str]:
    group = view.record.group
    return [
        group.key,
        view.state,
        group.handler,
        group.kind,
        group.place or "-",
        group.message,
        f"{view.number_of_day:,}",
        sparkline(list(view.hours.values())),
        from_now(view.record.last_seen_at, now),
    ]


# --- one group -----------------------------------------------------------------------------------


def _print_group(view: ErrorGroupView, jobs: Sequence[JobRecord], now: datetime) -> None:
    facts = view.facts() | {"state": view.state}
    pairs = [
        (name, _shown(value, now))
        for name, value in facts.items()
        if value is not None and name != "hours"
    ]
    print_pairs(pairs)
    for title, numbers, form in (
        ("by hour", view.hours, "%Y-%m-%d %H:00"),
        ("by day", view.days, "%Y-%m-%d"),
    ):
        lines = list(bars(numbers, form))
        if lines:
            typer.echo("\n".join([title, *(f"  {line}" for line in lines)]))
    indented = "\n".join(f"  {line}" for line in view.record.sample.splitlines())
    typer.echo(f"sample\n{printable(indented)}")
    if jobs:
        typer.echo("last jobs")
        print_table(JOB_COLUMNS, [_job_row(job, now) for job in jobs])


def _shown(value: Any, now: datetime) -> str:
    if isinstance(value, datetime):
        return f"{value.isoformat()} ({from_now(value, now)})"
    return str(value)


def _job_row(job: JobRecord, now: datetime) -> list[str]:
    attempts = f"{job.attempts}/{job.max_attempts}"
    return [str(job.id), job.state.value, job.queue, attempts, from_now(job.created_at, now)]


# --- changing ------------------------------------------------------------------------------------


def _set_state(
    keys: Sequence[str],
    state: ErrorState,
    reason: str | None,
    app: str | None,
    database_url: str | None,
    schema: str | None,
) -> None:
    """Change the state of every group that there is; exit with 1 if one is not there."""
    is_missing = False
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, OTHER_DATABASE)
        for key in dict.fromkeys(keys):
            try:
                record = found_error_group(session.adapter, key)
            except ErrorGroupNotFound as error:
                is_missing = True
                say_error(str(error))
                continue
            session.adapter.set_error_state(record.key, state, user_at_host())
            kind = ACTION_OF_STATE[state]
            note_action(session.adapter, kind, {"errors": key}, reason=reason)
            say(f"{key} is {state}: {record.group.kind} in {record.group.handler}.")
    if is_missing:
        raise typer.Exit(WORK_FAILED)


@dataclass(frozen=True, slots=True)
class _Change:
    """A change to all jobs of a group.

    Args:
        kind: what is done to them.
        done: the words for that.
        states: the states of the jobs that it changes.
        first: how many a canary retries first; None for all at once.
        spread: over how long it spreads the rest.
    """

    kind: ActionKind
    done: str
    states: tuple[JobState, ...]
    first: int | None = None
    spread: timedelta = timedelta(0)


def _spread_of(text: str | None) -> timedelta:
    try:
        spread = parse_age(text or "10m")
    except ValueError:
        raise typer.BadParameter(f"expected {AGE_EXPECTED}", param_hint="--spread") from None
    if spread > LONGEST_SPREAD:
        raise typer.BadParameter(f"{LONGEST_SPREAD.days} days at most", param_hint="--spread")
    return spread


def _change_all(
    key: str,
    change: _Change,
    dry_run: bool,
    reason: str | None,
    yes: bool,
    app: str | None,
    database_url: str | None,
    schema: str | None,
) -> None:
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, OTHER_DATABASE)
        adapter = session.adapter
        found_error_group(adapter, key)
        where = jobs_of_group(key, change.states)
        if dry_run or _has_to_ask(yes):
            number = adapter.count_jobs(where)
            if dry_run:
                say(f"{counted(number, 'job')} would be {change.done}.")
                return
            if number and not typer.confirm(
                f"{counted(number, 'job')} to be {change.done}. Go on?"
            ):
                typer.echo("Nothing was changed.")
                raise typer.Exit(WORK_FAILED)
        by, why = user_at_host(), checked_reason(reason)
        if change.first is not None:
            action = canary_action(where, change.first, change.spread, by, reason=why)
            begun = adapter.begin_action(action)
            say(
                f"Action {begun.id} retries {counted(change.first, 'job')} first. Workers carry it "
                f"out; `jobqueue actions show {begun.id}` says how far they are."
            )
            return
        done = run_here(adapter, bulk_action(change.kind, where, by, reason=why))
        say(f"{counted(done.number, 'job')} {change.done}.")


def _has_to_ask(yes: bool) -> bool:
    return not yes and sys.stdin.isatty()
