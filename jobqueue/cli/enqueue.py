"""`jobqueue enqueue`: it stores a job by its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from jobqueue import app as application
from jobqueue.cli.errors import one_line
from jobqueue.cli.options import App, AsJson, DatabaseUrl, MaxAttempts, Schema
from jobqueue.cli.output import as_json, print_json
from jobqueue.cli.session import opened, refuse_memory
from jobqueue.durations import from_now
from jobqueue.errors import InvalidArguments, UnknownJob
from jobqueue.exact_json import exact_loads
from jobqueue.job import Job, registry
from jobqueue.meta import meta_text
from jobqueue.stored import StoredJob

EXPECTED_ARGS = """expected a JSON object by parameter name, such as '{"user_id": 42}'"""
EXPECTED_META = """expected a JSON object, such as '{"tenant": 42}'"""


def enqueue(
    name: Annotated[str, typer.Argument(help="The job's name, or the end of it.")],
    args: Annotated[
        str, typer.Argument(help="Its arguments, as a JSON object by parameter name.")
    ] = "{}",
    wait: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How long until it is due.")
    ] = None,
    wait_until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When it is due: ISO 8601 with a time zone."),
    ] = None,
    queue: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead of the job's own queue.")
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="Instead of the job's own; lower comes first."),
    ] = None,
    meta: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="What travels with it beside its arguments."),
    ] = None,
    unchecked: Annotated[
        bool,
        typer.Option(
            "--unchecked", help="Store it without its code at hand; needs the job's full name."
        ),
    ] = False,
    max_attempts: MaxAttempts = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """Store a job, to be performed by a worker.

    \b
    Examples:
      jobs enqueue SendWelcomeEmail '{"user_id": 42}'
      jobs enqueue shop.jobs.Report --wait 3600 --queue slow --priority 10
      jobs enqueue Report --wait-until 2030-01-31T08:00:00+01:00
      jobs enqueue Report --meta '{"tenant": 42}'
    """
    values = parsed_object(args, "the arguments", EXPECTED_ARGS)
    beside = None if meta is None else parsed_object(meta, "--meta", EXPECTED_META)
    if beside is not None:
        meta_text(beside, "--meta")
    moment = _parsed_moment(wait_until)
    _check_wait(wait, moment)
    options = {
        "max_attempts": max_attempts,
        "app": app,
        "database_url": database_url,
        "schema": schema,
    }
    with opened(options, app="unwanted" if unchecked else "required") as session:
        refuse_memory(session.adapter)
        with _naming_the_parameters(name):
            record = application.enqueue(
                name,
                values,
                wait=wait,
                wait_until=moment,
                queue=queue,
                priority=priority,
                meta=beside,
                unchecked=unchecked,
            )
    _print(record, json_)


def parsed_object(text: str, what: str, expected: str) -> dict[str, Any]:
    """Return the JSON object in a text that somebody has typed.

    Raises:
        InvalidArguments: it is none.
    """
    be = "is" if what.startswith("--") else "are"
    try:
        values = exact_loads(text)
    except RecursionError:
        raise InvalidArguments(f"{what} {be} nested too deeply; {expected}") from None
    except ValueError as error:
        raise InvalidArguments(f"{what} {be} no JSON ({error}); {expected}") from None
    if not isinstance(values, dict):
        raise InvalidArguments(f"{what} {be} {_kind(values)}; {expected}")
    return values


def _kind(value: Any) -> str:
    kinds = {list: "a JSON list", str: "a JSON string", type(None): "null", bool: "true or false"}
    return kinds.get(type(value), "a number")


@contextmanager
def _naming_the_parameters(name: str) -> Iterator[None]:
    """Add the parameters of the job to an error about its arguments."""
    try:
        yield
    except InvalidArguments as error:
        job_class = _class_of(name)
        told = "perform takes" in str(error)
        if told or job_class is None or not str(error).startswith(f"{job_class.name}: "):
            raise
        raise InvalidArguments(f"{error}; it takes {_taken_by(job_class)}") from None


def _class_of(name: str) -> type[Job] | None:
    try:
        return registry.resolve(name)
    except UnknownJob:
        return None


def _taken_by(job_class: type[Job]) -> str:
    """Return the parameters of a job as written, `(user_id: int, again: bool = False)`."""
    shown = job_class.parameters().shown()
    return "no arguments" if shown == "()" else shown


def _check_wait(wait: float | None, moment: datetime | None) -> None:
    """Refuse what the library would refuse as well, by the names of the options."""
    if wait is not None and moment is not None:
        raise InvalidArguments("--wait and --wait-until exclude each other; give one of them")
    if wait is not None and not 0 <= wait <= timedelta.max.total_seconds():
        raise InvalidArguments(f"--wait is {wait:g}, which is out of range; give 0 seconds or more")


def _parsed_moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidArguments(
            f"--wait-until is {text!r}; expected ISO 8601, such as 2030-01-31T08:00:00Z"
        ) from None
    if moment.utcoffset() is None:
        raise InvalidArguments(
            f"--wait-until is {text!r}, which has no time zone; add Z for UTC, or an offset such "
            "as +01:00"
        )
    return moment


def _print(record: StoredJob, json_: bool) -> None:
    if json_:
        print_json(as_json(record))
        return
    typer.echo(one_line(enqueued_text(record)))


def enqueued_text(record: StoredJob) -> str:
    """Return a sentence about a job that was enqueued, or that was there already."""
    if record.is_duplicate:
        return (
            f"Nothing was enqueued: job {record.id} of {record.handler} is there already and means "
            f"the same; it is {record.state}."
        )
    is_due = record.run_at <= record.created_at
    due = "now" if is_due else from_now(record.run_at, record.created_at)
    return f"Enqueued {record.handler} as job {record.id} on queue {record.queue}, due {due}."
