"""`jobqueue list` and `jobqueue show`: they show jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated

import typer

from jobqueue.cli.errors import say_note
from jobqueue.cli.options import (
    App,
    AsJson,
    DatabaseUrl,
    OnlyHandlers,
    OnlyQueues,
    OnlyStates,
    Query,
    Schema,
)
from jobqueue.cli.output import (
    Column,
    as_json,
    compact_json,
    print_json,
    print_pairs,
    print_table,
)
from jobqueue.cli.session import SECRETS_UNKNOWN, Session, note_broken_app, opened
from jobqueue.cli.watch import watch
from jobqueue.config import QUEUE_NAME_RULE, is_queue_name
from jobqueue.durations import duration, exact_duration, from_now
from jobqueue.errors import ConfigurationError, UnknownJob
from jobqueue.records import (
    FINISHED_STATES,
    LARGEST_ID,
    AfterFailure,
    AttemptRecord,
    Gate,
    JobFilter,
    JobRecord,
    JobState,
    Terms,
)
from jobqueue.redaction import printable, summary_of
from jobqueue.stored import not_found
from jobqueue.views.job_query import narrowed
from jobqueue.views.jobs import attempt_values, hides_unknown, names_of_the_one_meant, shown_args

COLUMNS = (
    Column("ID", right=True),
    Column("STATE"),
    Column("JOB"),
    Column("QUEUE"),
    Column("ATTEMPTS", right=True),
    Column("WHEN"),
    Column("ARGS", flexible=True),
    Column("ERROR", flexible=True),
)
HISTORY_COLUMNS = (
    Column("ATTEMPT", right=True),
    Column("OUTCOME"),
    Column("ENDED"),
    Column("AFTER", right=True),
    Column("WORKER"),
    Column("ERROR", flexible=True),
)
MASKED_NOTE = (
    "arguments of jobs that are not known here are shown as ***; `jobqueue show ID --reveal`"
)


def list_jobs(
    query: Query = None,
    state: OnlyStates = None,
    queue: OnlyQueues = None,
    handler: OnlyHandlers = None,
    limit: Annotated[
        int, typer.Option(min=1, max=LARGEST_ID, metavar="NUMBER", help="How many at most.")
    ] = 50,
    before: Annotated[
        int | None,
        typer.Option(max=LARGEST_ID, metavar="ID", help="Only jobs with lower ids: the next page."),
    ] = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """List jobs, the newest first.

    WHEN is when a ready job is due, when a running one began, and when any other ended. --job
    takes the names that `jobqueue enqueue` takes, and the full name of a job whose class is gone.
    A QUERY is words that a job has to match: state: queue: job: worker: flow: attempts: created:
    started: finished: since: until: args.NAME: meta.NAME: and text of its error.

    \b
    Examples:
      jobs list
      jobs list 'state:failed args.user_id:42 since:2h "no route"'
      jobs list --state failed,ready --queue email
      jobs list --job SendWelcomeEmail --limit 10 --json
    """
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        if handler:
            note_broken_app(session, "its jobs are not known then")
        where = job_filter(session, state, queue, handler, before, query)
        found, now = session.adapter.list_jobs(where, limit), session.adapter.now()
        if not handler and any(map(hides_unknown, found)):
            note_broken_app(session, SECRETS_UNKNOWN)
    if json_:
        print_json([as_json(record) for record in found])
        return
    _print_list(found, limit, now)


def show(
    job_id: Annotated[int, typer.Argument(metavar="ID", help="The job's id.")],
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show the arguments that are masked as ***.")
    ] = False,
    watched: Annotated[
        bool, typer.Option("--watch", help="Show its progress until it has ended.")
    ] = False,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """Show everything about one job.

    Its attempts that did not succeed come last: the first one, and the newest.

    \b
    Examples:
      jobs show 42
      jobs show 42 --json
      jobs show 42 --reveal
      jobs show 42 --watch
    """
    if watched and (json_ or reveal):
        raise ConfigurationError("--watch goes with neither --json nor --reveal")
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        record = session.adapter.get(job_id)
        if record is None:
            raise not_found(job_id)
        if watched:
            watch(record)
            return
        masked, now = not reveal and hides_unknown(record), session.adapter.now()
        if masked:
            note_broken_app(session, SECRETS_UNKNOWN)
        attempts = session.adapter.attempts(job_id)
    if json_:
        history = [attempt_values(attempt) for attempt in attempts]
        print_json(as_json(record, reveal=reveal) | {"history": history})
    else:
        _print_job(record, now, reveal=reveal)
        _print_history(attempts, now)
    if masked:
        say_note(
            f"{record.handler} is not known here, so all its arguments are masked; "
            "--reveal shows them"
        )


def job_filter(
    session: Session,
    states: Iterable[str] | None,
    queues: Iterable[str] | None,
    handlers: Iterable[str] | None,
    before: int | None = None,
    query: Sequence[str] | None = None,
) -> JobFilter:
    """Return the filter that the options of a command ask for, and its query.

    Raises:
        ConfigurationError: a state or a queue's name cannot be one, or the query is none.
        UnknownJob: a job's name means none, or several.
    """
    where = JobFilter(
        states=_states(states),
        queues=_queues(queues),
        handlers=_handlers(session, handlers),
        before_id=before,
    )
    if not query:
        return where
    written = " ".join(map(_as_written, query))
    return narrowed(where, written, session.adapter.now(), partial(_full_names, session))


def _as_written(argument: str) -> str:
    """An argument as a part of a query: the shell has taken the quotes of a text."""
    is_text = " " in argument.strip() and ":" not in argument and '"' not in argument
    return f'"{argument}"' if is_text else argument


def _states(given: Iterable[str] | None) -> tuple[JobState, ...] | None:
    words = _split(given)
    for word in words or ():
        if word not in set(JobState):
            raise ConfigurationError(
                f"--state is {word!r}; expected one of {', '.join(JobState)}, "
                "or several with commas"
            )
    return None if words is None else tuple(JobState(word) for word in words)


def _queues(given: Iterable[str] | None) -> tuple[str, ...] | None:
    names = _split(given)
    for name in names or ():
        if not is_queue_name(name):
            raise ConfigurationError(f"--queue is {name!r}; expected {QUEUE_NAME_RULE}")
    return names


def _handlers(session: Session, given: Iterable[str] | None) -> tuple[str, ...] | None:
    names = _split(given)
    if names is None:
        return None
    return tuple(dict.fromkeys(full for name in names for full in _full_names(session, name)))


def _full_names(session: Session, name: str) -> list[str]:
    """Return the names that rows of a job may carry.

    A name means the job that `jobqueue enqueue` takes it for. If the class is gone, it means the
    rows that carry it.
    """
    try:
        return names_of_the_one_meant(name)
    except UnknownJob:
        if not session.adapter.list_jobs(JobFilter(handlers=(name,)), 1):
            raise
        return [name]


def _split(given: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return the values of an option, given with commas or by repeating it."""
    words = [word.strip() for text in given or () for word in text.split(",")]
    return tuple(words) or None


def _print_list(found: Sequence[JobRecord], limit: int, now: datetime) -> None:
    if not found:
        typer.echo("No jobs.")
        return
    print_table(COLUMNS, [_row(record, now) for record in found])
    if any(map(hides_unknown, found)):
        say_note(f"{MASKED_NOTE} shows them")
    if len(found) == limit:
        say_note(f"there may be more; `jobqueue list --before {found[-1].id}` shows the next ones")


def _row(record: JobRecord, now: datetime) -> list[str]:
    return [
        str(record.id),
        record.state.value,
        record.handler,
        record.queue,
        f"{record.attempts}/{record.max_attempts}",
        _when(record, now),
        compact_json(shown_args(record)),
        summary_of(record.last_error),
    ]


def _when(record: JobRecord, now: datetime) -> str:
    if record.state in FINISHED_STATES:
        return from_now(record.finished_at or record.updated_at, now)
    return from_now(record.locked_at or record.run_at, now)


def _print_job(record: JobRecord, now: datetime, *, reveal: bool) -> None:
    values = as_json(record, reveal=reveal) | {"terms": _terms_text(record.terms)}
    error = values.pop("last_error")
    args = values.pop("args")
    times = {name for name in values if name.endswith("_at")}
    pairs = [
        (name, f"{value.isoformat()} ({from_now(value, now)})" if name in times else str(value))
        for name, value in values.items()
        if value not in (None, "") and name not in {"progress", "result", "meta"}
    ]
    extra = [
        (name, compact_json(values[name]))
        for name in ("meta", "progress", "result")
        if values[name] is not None
    ]
    print_pairs([*pairs, ("args", compact_json(args)), *extra])
    if error:
        typer.echo(f"last_error\n{printable(_indented(error))}")


def _terms_text(terms: Terms) -> str:
    """What has to hold before a job starts, in words; empty for nothing."""
    words = [_gate_text(gate) for gate in terms.gates]
    if terms.takes_turns:
        words.append("takes turns")
    if terms.ordered is not None:
        goes_on = terms.ordered is AfterFailure.GO_ON
        words.append(f"in order, and {'goes on after' if goes_on else 'stops at'} a failed one")
    return "; ".join(words)


def _gate_text(gate: Gate) -> str:
    if gate.per is None:
        return f"{gate.name}: {gate.number:,} at once"
    return f"{gate.name}: {gate.number:,} in {exact_duration(gate.per.total_seconds())}"


def _print_history(attempts: Sequence[AttemptRecord], now: datetime) -> None:
    """Print the attempts that did not succeed, the first one first."""
    if attempts:
        typer.echo("\nhistory")
        print_table(HISTORY_COLUMNS, [_attempt_row(attempt, now) for attempt in attempts])


def _attempt_row(attempt: AttemptRecord, now: datetime) -> list[str]:
    began = attempt.started_at or attempt.ended_at
    return [
        str(attempt.number),
        attempt.outcome.value,
        from_now(attempt.ended_at, now),
        duration((attempt.ended_at - began).total_seconds()),
        attempt.worker_id or "",
        summary_of(attempt.error),
    ]


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
