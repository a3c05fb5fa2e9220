"""`jobqueue retry`, `jobqueue cancel` and `jobqueue clear`: they change jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import typer

from jobqueue.adapters import Adapter
from jobqueue.bulk import bulk_action
from jobqueue.cli.bulk import run_here
from jobqueue.cli.enqueue import EXPECTED_ARGS, parsed_object
from jobqueue.cli.errors import WORK_FAILED, one_line, say_error
from jobqueue.cli.lists import job_filter
from jobqueue.cli.options import (
    App,
    ByQuery,
    DatabaseUrl,
    OnlyHandlers,
    OnlyQueues,
    OnlyStates,
    Reason,
    Schema,
)
from jobqueue.cli.output import counted
from jobqueue.cli.session import OTHER_DATABASE, Session, note_broken_app, opened
from jobqueue.cli.who import checked_reason, note_action, user_at_host
from jobqueue.errors import ConfigurationError, JobNotFound, StateConflict
from jobqueue.job import registry
from jobqueue.records import UNFINISHED_STATES, ActionKind, ActionRecord, JobFilter, JobState
from jobqueue.redaction import MASK
from jobqueue.stored import StoredJob, not_found

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count the jobs.")]


def retry(
    job_ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ID...]", help="The ids of the jobs.")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="All failed jobs, instead of ids.")
    ] = False,
    queue: OnlyQueues = None,
    handler: OnlyHandlers = None,
    query: ByQuery = None,
    args: Annotated[
        str | None,
        typer.Option(
            metavar="JSON",
            help="Arguments that a job gets instead of those of the same names, as a JSON object.",
        ),
    ] = None,
    dry_run: DryRun = False,
    reason: Reason = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Make jobs due now: waiting, failed and cancelled ones.

    A job whose attempts are used up is allowed one more. Running and succeeded jobs are refused.
    --args changes some of the arguments of a job, in the same transaction.
    Many jobs are changed in batches. Ctrl-C stops that, and `jobqueue actions` shows how far it is.
    If this process is killed, a worker goes on.

    \b
    Examples:
      jobs retry 42
      jobs retry 42 --args '{"user_id": 7}'
      jobs retry --failed
      jobs retry --failed --queue email --job SendWelcomeEmail
      jobs retry --failed --query 'args.user_id:42 since:2h'
    """
    if bool(job_ids) == failed:
        raise ConfigurationError("give either the ids of jobs or --failed")
    if job_ids and (queue or handler or query or dry_run):
        raise ConfigurationError(
            "--queue, --job, --query and --dry-run go with --failed; ids need none of them"
        )
    if args is not None and len(job_ids or ()) != 1:
        raise ConfigurationError("--args goes with the id of one job")
    values = None if args is None else parsed_object(args, "--args", EXPECTED_ARGS)
    if values == {}:
        raise ConfigurationError("--args has no arguments; leave it out to keep all of them")
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, OTHER_DATABASE)
        if job_ids:
            _refuse_unknown(session, job_ids, values)
            retry_one = partial(_retry_one, values)
            _each(session.adapter, job_ids, retry_one, ActionKind.RETRY, reason, values)
            return
        where = job_filter(session, ["failed"], queue, handler, query=query)
        if dry_run:
            number = session.adapter.count_jobs(where)
            typer.echo(f"{counted(number, 'failed job')} would be made due now.")
            return
        done = _run(session.adapter, ActionKind.RETRY, where, reason)
        typer.echo(f"{counted(done.number, 'failed job')} made due now.")


def _refuse_unknown(
    session: Session, job_ids: Sequence[int], args: Mapping[str, Any] | None
) -> None:
    """Refuse arguments that could not be checked, and the masks of `jobqueue show`."""
    job = None if args is None else session.adapter.get(job_ids[0])
    if job is None or args is None:
        return
    job_class = registry.find(job.handler)
    for name in () if job_class is None else job_class.redact:
        if args.get(name) == MASK:
            raise ConfigurationError(
                f"{name} is redacted, and {MASK} is not its value; leave it out"
            )
    if job_class is None:
        raise ConfigurationError(
            f"{job.handler} is not known here, so its arguments cannot be checked; name the module "
            "of its class with --app"
        )


def cancel(
    job_ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ID...]", help="The ids of the jobs.")
    ] = None,
    query: ByQuery = None,
    dry_run: DryRun = False,
    reason: Reason = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """End jobs before they start, or tell running ones to end.

    A running async job is cancelled within two seconds. A sync one sees `self.context.cancelled`,
    and is interrupted if its class has `interrupt_on_cancel`. Finished jobs are refused. The reason
    becomes the `last_error` of the jobs.

    With --query, all jobs that match and wait or run are meant. They are changed in batches. Ctrl-C
    stops that, and `jobqueue actions` shows how far it is. If this process is killed, a worker goes
    on.

    \b
    Examples:
      jobs cancel 42
      jobs cancel 42 43 44 --reason "the customer has left"
      jobs cancel --query 'queue:email args.user_id:42' --dry-run
    """
    if bool(job_ids) == bool(query):
        raise ConfigurationError("give either the ids of jobs or --query")
    if job_ids and dry_run:
        raise ConfigurationError("--dry-run goes with --query; ids need none")
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, OTHER_DATABASE)
        if job_ids:
            end = partial(_cancel_one, checked_reason(reason) or f"cancelled by {user_at_host()}")
            _each(session.adapter, job_ids, end, ActionKind.CANCEL, reason)
            return
        where = _unfinished(job_filter(session, None, None, None, query=query))
        if dry_run:
            number = session.adapter.count_jobs(where)
            typer.echo(f"{counted(number, 'job')} would be cancelled or asked to end.")
            return
        done = _run(session.adapter, ActionKind.CANCEL, where, reason)
        typer.echo(f"{counted(done.number, 'job')} cancelled or asked to end.")


def _unfinished(where: JobFilter) -> JobFilter:
    """The filter, of jobs that can be cancelled."""
    finished = [state for state in where.states or () if state not in UNFINISHED_STATES]
    if finished:
        raise ConfigurationError(f"{finished[0]} jobs have ended, and cannot be cancelled")
    return replace(where, states=where.states or UNFINISHED_STATES)


def clear(
    state: OnlyStates = None,
    queue: OnlyQueues = None,
    handler: OnlyHandlers = None,
    query: ByQuery = None,
    reason: Reason = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Remove running jobs too; their workers go on.")
    ] = False,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Remove jobs for good.

    Without --state it removes jobs of every state but running. On a terminal it asks first,
    unless --yes is given. Without a terminal, as in a script, it does not ask; it then needs
    --state, --queue, --job or --query to say which jobs are meant, or --yes for all of them.
    Many jobs are removed in batches. Ctrl-C stops that, and `jobqueue actions` shows how far it is.
    If this process is killed, a worker goes on.

    \b
    Examples:
      jobs clear --state failed
      jobs clear --queue email --yes
      jobs clear --job SendWelcomeEmail --state succeeded,cancelled
      jobs clear --yes
    """
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, OTHER_DATABASE)
        where = job_filter(session, state, queue, handler, query=query)
        if where.states is not None and JobState.RUNNING in where.states and not force:
            raise ConfigurationError("--state running needs --force: somebody performs these jobs")
        if not yes:
            _ask(session.adapter, where, force=force)
        done = _run(session.adapter, ActionKind.DELETE, _removable(where, force=force), reason)
        number = counted(done.number, "job")
        typer.echo(f"Removed {number}.{_left_running(session.adapter, where)}")


def _removable(where: JobFilter, *, force: bool) -> JobFilter:
    """The filter, of jobs that may be removed."""
    spared = () if force else (JobState.RUNNING,)
    states = [state for state in where.states or JobState if state not in spared]
    return replace(where, states=tuple(states))


def _run(adapter: Adapter, kind: ActionKind, where: JobFilter, reason: str | None) -> ActionRecord:
    by = user_at_host()
    return run_here(adapter, bulk_action(kind, where, by, reason=checked_reason(reason)))


def _each(
    adapter: Adapter,
    job_ids: Sequence[int],
    change_one: Callable[[Adapter, int], str],
    kind: ActionKind,
    reason: str | None,
    args: Mapping[str, Any] | None = None,
) -> None:
    """Change every job that can be changed; exit with 1 if one could not."""
    named = {} if args is None else {"args": sorted(args)}
    changed: list[int] = []
    wanted = dict.fromkeys(job_ids)
    try:
        for job_id in wanted:
            try:
                typer.echo(change_one(adapter, job_id))
                changed.append(job_id)
            except (JobNotFound, StateConflict) as error:
                say_error(str(error))
    finally:  # those before an outage stay changed
        if changed:
            number = len(changed)
            note_action(adapter, kind, {"ids": changed, **named}, reason=reason, number=number)
    if len(changed) < len(wanted):
        raise typer.Exit(WORK_FAILED)


def _retry_one(args: Mapping[str, Any] | None, adapter: Adapter, job_id: int) -> str:
    _found(adapter, job_id).retry(args=args)
    how = "" if args is None else f", with other arguments: {', '.join(sorted(args))}"
    return one_line(f"Job {job_id} is due now{how}.")


def _cancel_one(reason: str, adapter: Adapter, job_id: int) -> str:
    job = _found(adapter, job_id)
    if job.cancel(reason) is JobState.RUNNING:
        return f"Job {job_id} is running, and is told to end."
    return f"Job {job_id} is cancelled."


def _found(adapter: Adapter, job_id: int) -> StoredJob:
    job = adapter.get(job_id)
    if job is None:
        raise not_found(job_id)
    return job


def _ask(adapter: Adapter, where: JobFilter, *, force: bool) -> None:
    """Ask whether these jobs are to be removed; without a terminal, a filter is the answer.

    Raises:
        ConfigurationError: there is no terminal, and all jobs are meant.
    """
    can_be_asked = sys.stdin.isatty()
    if not can_be_asked and where != JobFilter():
        return
    numbers = _numbers(adapter, where, force=force)
    which = f"{counted(sum(numbers.values()), 'job')}{_by_state(numbers)}"
    if not can_be_asked:
        raise ConfigurationError(
            f"this removes {which} for good, and there is no terminal to ask on; give --yes, or "
            "say which jobs by --state, --queue, --job or --query"
        )
    if numbers and not typer.confirm(f"Remove {which} for good?", err=True):
        typer.echo("Nothing was removed.")
        raise typer.Exit(WORK_FAILED)


def _numbers(adapter: Adapter, where: JobFilter, *, force: bool) -> dict[JobState, int]:
    """Return how many jobs of each state would be removed."""
    usual = [state for state in JobState if force or state is not JobState.RUNNING]
    found = {
        state: adapter.count_jobs(replace(where, states=(state,)))
        for state in where.states or usual
    }
    return {state: number for state, number in found.items() if number}


def _by_state(numbers: Mapping[JobState, int]) -> str:
    shown = ", ".join(f"{number:,} {state}" for state, number in numbers.items())
    return f" ({shown})" if shown else ""


def _left_running(adapter: Adapter, where: JobFilter) -> str:
    number = _running(adapter, where) if where.states is None else 0
    if not number:
        return ""
    return f" {counted(number, 'running job')} left; --force removes them too."


def _running(adapter: Adapter, where: JobFilter) -> int:
    return adapter.count_jobs(replace(where, states=(JobState.RUNNING,)))
