"""`jobqueue flows`: it lists batches, chains and flows, shows, cancels and retries them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import typer

from jobqueue.cli.command_group import command_group
from jobqueue.cli.errors import examples_as_typed, one_line, say
from jobqueue.cli.options import App, AsJson, DatabaseUrl, Reason, Schema
from jobqueue.cli.output import Column, print_json, print_pairs, print_table
from jobqueue.cli.session import OTHER_DATABASE, note_broken_app, opened
from jobqueue.cli.who import checked_reason, note_action, user_at_host
from jobqueue.durations import from_now
from jobqueue.errors import ConfigurationError
from jobqueue.records import ActionKind, FlowRecord, JobFilter
from jobqueue.views.flows import FlowView, found_flow

COLUMNS = (
    Column("ID", right=True),
    Column("KIND"),
    Column("NAME", flexible=True),
    Column("STATE"),
    Column("ENDED", right=True),
    Column("JOBS", right=True),
    Column("STARTED"),
)
JOB_COLUMNS = (
    Column("ID", right=True),
    Column("JOB", flexible=True),
    Column("STATE"),
    Column("WAITS FOR", flexible=True),
)
MOST_FLOWS = 50
MOST_JOBS = 50

FlowId = Annotated[int, typer.Argument(min=1, metavar="ID", help="The number of the flow.")]
All = Annotated[bool, typer.Option("--all", help="Those that have succeeded, too.")]


def list_flows(
    every: All = False,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """List batches, chains and flows that have not succeeded yet, the newest first.

    \b
    Examples:
      jobs flows list
      jobs flows list --all
    """
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, OTHER_DATABASE)
        views = [FlowView(r) for r in session.adapter.flows(MOST_FLOWS, going_on=not every)]
        now = session.adapter.now()
    if json_:
        print_json([view.facts() for view in views])
    elif views:
        print_table(COLUMNS, [_row(view, now) for view in views])
    elif every:
        say("There is no batch, no chain and no flow.")
    else:
        say("No batch, chain or flow is going on; `jobqueue flows list --all` lists older ones.")


def show(
    flow_id: FlowId,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """Show a batch, a chain or a flow: how far it is, and what its jobs wait for.

    \b
    Examples:
      jobs flows show 12
    """
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, OTHER_DATABASE)
        view = found_flow(session.adapter, flow_id)
        page = session.adapter.page_jobs(JobFilter(flows=(flow_id,)), MOST_JOBS)
        jobs = sorted(page.jobs, key=lambda job: (job.flow_place or 0, job.id))
        before = {job.id: _before_text(session.adapter, job) for job in jobs}
        now = session.adapter.now()
    if json_:
        facts = view.facts()
        facts["members"] = [{"id": job.id, "state": job.state.value} for job in jobs]
        print_json(facts)
        return
    print_pairs([(label, one_line(str(value))) for label, value in _pairs(view.record, view, now)])
    if jobs:
        rows = [[str(job.id), job.handler, job.state.value, before[job.id]] for job in jobs]
        print_table(JOB_COLUMNS, rows)
    if page.next_before_id is not None:
        say(f"… and more; `jobqueue list flow:{flow_id}` lists them")


def cancel(
    flow_id: FlowId,
    reason: Reason = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Cancel the jobs of a flow that have not ended, and ask those that run to end.

    What follows its end is performed; what follows its success is not.

    \b
    Examples:
      jobs flows cancel 12 --reason "the file was the wrong one"
    """
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, OTHER_DATABASE)
        found_flow(session.adapter, flow_id)
        why = checked_reason(reason) or f"its flow was cancelled by {user_at_host()}"
        number = session.adapter.cancel_flow(flow_id, why)
        target = {"flow": flow_id, "jobs": number}
        note_action(session.adapter, ActionKind.CANCEL_FLOW, target, reason=reason)
    typer.echo(f"Cancelled {_jobs(number)} of flow {flow_id}.")


def retry(
    flow_id: FlowId,
    reason: Reason = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Retry the jobs of a flow that have failed or were cancelled, in their order.

    \b
    Examples:
      jobs flows retry 12
    """
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        note_broken_app(session, OTHER_DATABASE)
        found_flow(session.adapter, flow_id)
        checked_reason(reason)
        number = session.adapter.retry_flow(flow_id)
        target = {"flow": flow_id, "jobs": number}
        note_action(session.adapter, ActionKind.RETRY_FLOW, target, reason=reason)
    typer.echo(f"Retried {_jobs(number)} of flow {flow_id}.")


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number:,} jobs"


def _row(view: FlowView, now: datetime) -> list[str]:
    record = view.record
    return [
        str(record.id),
        record.kind.value,
        one_line(record.name or "-"),
        view.state,
        f"{view.ended:,}",
        f"{view.number:,}{'+' if record.more else ''}",
        from_now(record.created_at, now),
    ]


def _pairs(record: FlowRecord, view: FlowView, now: datetime) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = [("id", record.id), ("kind", record.kind.value)]
    if record.name:
        pairs.append(("name", record.name))
    pairs += [("state", view.state), ("progress", view.progress)]
    for label in ("created_at", "finished_at", "succeeded_at", "cancelled_at"):
        moment = getattr(record, label)
        if moment is not None:
            pairs.append((label.removesuffix("_at"), from_now(moment, now)))
    return pairs


def _before_text(adapter: Any, job: Any) -> str:
    if (job.flow_place or 0) < 0:
        return "all others"
    before = adapter.steps_before(job.id)
    return ", ".join(str(step.job_id) for step in before) or "-"


HELP = """List, show, cancel and retry batches, chains and flows.

\b
Examples:
  jobs flows                                    list those that are going on
  jobs flows show 12                            how far one is, and what its jobs wait for
  jobs flows cancel 12                          cancel what has not ended
  jobs flows retry 12                           retry what has not succeeded, in order
"""
COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_flows,
    "show": show,
    "cancel": cancel,
    "retry": retry,
}
flows = command_group("flows", HELP, COMMANDS, invoke_without_command=True)


@flows.callback(help=examples_as_typed(HELP))
def list_unless_told_otherwise(
    context: typer.Context,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """List the flows that are going on, when no command is given."""
    if context.invoked_subcommand is None:
        list_flows(False, app, database_url, schema, json_)
    elif any(given is not None for given in (app, database_url, schema)) or json_:
        raise ConfigurationError(
            f"write the options after the command: `jobqueue flows {context.invoked_subcommand}"
            " … --json`"
        )
