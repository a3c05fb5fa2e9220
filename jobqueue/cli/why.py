"""`jobqueue why`: it shows why a queue or a job is late, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobqueue.adapters import Adapter
from jobqueue.cli.errors import WORK_FAILED, as_typed, one_line, program_name, say_error
from jobqueue.cli.options import App, AsJson, DatabaseUrl, Schema
from jobqueue.cli.output import print_json
from jobqueue.cli.session import OTHER_DATABASE, note_broken_app, opened
from jobqueue.config import QUEUE_NAME_RULE, is_queue_name
from jobqueue.errors import ConfigurationError
from jobqueue.records import LARGEST_ID
from jobqueue.stored import not_found

if TYPE_CHECKING:
    from jobqueue.views.lateness import Lateness
    from jobqueue.views.reasons import Reason


def why(
    target: Annotated[
        str, typer.Argument(metavar="QUEUE|ID", help="The name of a queue, or the id of a job.")
    ],
    queue: Annotated[
        bool, typer.Option("--queue", help="It is the name of a queue, though it is a number.")
    ] = False,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """Show why a queue or a job is late, and what to do about it.

    It looks, in this order, whether the queue is paused, whether a living worker takes from it,
    whether all slots are busy, whether more urgent jobs come first, whether more jobs come than
    end, whether the time has come, whether workers know the class, and what slows the database
    down. What holds comes first. Jobs are counted up to a limit, so that it is cheap.

    It exits with 1 when there is no such job, or no trace of such a queue.

    \b
    Examples:
      jobs why email
      jobs why 42
      jobs why email --json
    """
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, OTHER_DATABASE)
        found = _lateness(session.adapter, target, is_queue=queue)
    if json_:
        print_json(found.facts())
    elif found.is_known:
        _print(found)
    if not found.is_known:
        say_error(found.summary)
        raise typer.Exit(WORK_FAILED)


def _lateness(adapter: Adapter, target: str, *, is_queue: bool) -> Lateness:
    # Imported here, so that the help of other commands starts without it.
    from jobqueue.views.lateness import why_job_is_late, why_queue_is_late

    if not is_queue and target.isascii() and target.isdecimal() and int(target) <= LARGEST_ID:
        job = adapter.get(int(target))
        if job is None:
            raise not_found(int(target))
        return why_job_is_late(adapter, job)
    if not is_queue_name(target):
        raise ConfigurationError(
            f"{target!r} is neither the id of a job nor a name for a queue; expected "
            f"{QUEUE_NAME_RULE}"
        )
    return why_queue_is_late(adapter, target)


def _print(found: Lateness) -> None:
    typer.echo(one_line(found.summary))
    if not found.reasons:
        return
    for reason in found.holding:
        typer.echo(f"\n{one_line(reason.evidence)}")
        typer.echo(f"  looked at: {one_line(as_typed(reason.looked_at))}")
        if reason.mending:
            typer.echo(f"  {one_line(as_typed(reason.mending))}")
        if reason.command is not None:
            typer.echo(f"  $ {one_line(_typed(reason.command))}")
    others = [reason for reason in found.reasons if not reason.holds]
    typer.echo("\nLooked at too")
    for reason in others:
        typer.echo(f"  - {_line(reason)}")


def _line(reason: Reason) -> str:
    return one_line(f"{reason.evidence} ({as_typed(reason.looked_at)})")


def _typed(command: str) -> str:
    return command.replace("jobqueue", program_name(), 1)
