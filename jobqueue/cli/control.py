"""`jobqueue retry`, `jobqueue cancel` and `jobqueue clear`: they change jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import typer

from jobqueue.adapters import Adapter
from jobqueue.bulk import delete_all
from jobqueue.cli.errors import WORK_FAILED, say_error
from jobqueue.cli.lists import job_filter
from jobqueue.cli.options import (
    App,
    ByQuery,
    DatabaseUrl,
    OnlyHandlers,
    OnlyQueues,
    OnlyStates,
    Schema,
)
from jobqueue.cli.output import counted
from jobqueue.cli.session import OTHER_DATABASE, note_broken_app, opened
from jobqueue.ends import usual_ends
from jobqueue.errors import ConfigurationError, JobNotFound, StateConflict
from jobqueue.records import JobFilter, JobState
from jobqueue.stored import StoredJob, not_found

CANCEL_REASON = "cancelled from the command line"
CLEAR_REASON = "cleared from the command line"

JobIds = Annotated[list[int], typer.Argument(metavar="ID...", help="The ids of the jobs.")]


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
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Make jobs due now: waiting, failed and cancelled ones.

    A job whose attempts are used up is allowed one more. Running and succeeded jobs are refused.

    \b
    Examples:
      jobs retry 42
      jobs retry --failed
      jobs retry --failed --queue email --job SendWelcomeEmail
      jobs retry --failed --query 'args.user_id:42 since:2h'
    """
    if bool(job_ids) == failed:
        raise ConfigurationError("give either the ids of jobs or --failed")
    if job_ids and (queue or handler or query):
        raise ConfigurationError(
            "--queue, --job and --query narrow down --failed; ids need none of them"
        )
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, OTHER_DATABASE)
        if job_ids:
            _each(session.adapter, job_ids, _retry_one)
        else:
            where = job_filter(session, ["failed"], queue, handler, query=query)
            number = session.adapter.retry(where)
            typer.echo(f"{counted(number, 'failed job')} made due now.")


def cancel(
    job_ids: JobIds, app: App = None, database_url: DatabaseUrl = None, schema: Schema = None
) -> None:
    """End jobs before they start, or tell running ones to end.

    A running async job is cancelled within two seconds. A sync one sees `self.context.cancelled`,
    and is interrupted if its class has `interrupt_on_cancel`. Finished jobs are refused.

    \b
    Examples:
      jobs cancel 42
      jobs cancel 42 43 44
    """
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, OTHER_DATABASE)
        _each(session.adapter, job_ids, _cancel_one)


def clear(
    state: OnlyStates = None,
    queue: OnlyQueues = None,
    handler: OnlyHandlers = None,
    query: ByQuery = None,
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
        number = delete_all(
            session.adapter, where, CLEAR_REASON, usual_ends(), include_running=force
        )
        typer.echo(f"Removed {counted(number, 'job')}.{_left_running(session.adapter, where)}")


def _each(
    adapter: Adapter, job_ids: Sequence[int], change_one: Callable[[Adapter, int], str]
) -> None:
    """Change every job that can be changed; exit with 1 if one could not."""
    refused = False
    for job_id in dict.fromkeys(job_ids):
        try:
            typer.echo(change_one(adapter, job_id))
        except (JobNotFound, StateConflict) as error:
            refused = True
            say_error(str(error))
    if refused:
        raise typer.Exit(WORK_FAILED)


def _retry_one(adapter: Adapter, job_id: int) -> str:
    _found(adapter, job_id).retry()
    return f"Job {job_id} is due now."


def _cancel_one(adapter: Adapter, job_id: int) -> str:
    job = _found(adapter, job_id)
    if job.cancel(CANCEL_REASON) is JobState.RUNNING:
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
