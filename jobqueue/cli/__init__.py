"""The command line, `jobs`. A command parses its options, calls the library, and prints."""

from __future__ import annotations

from typing import Annotated

import typer

from jobqueue import __version__
from jobqueue.cli import (
    actions,
    bench,
    control,
    daemon,
    doctor,
    enqueue,
    error_groups,
    flows,
    limits,
    lists,
    new,
    queues,
    schedules,
    setup,
    stacks,
    stats,
    status,
    tokens,
    web,
    why,
    work,
)
from jobqueue.cli.errors import clean_exit, examples_as_typed, program_name
from jobqueue.cli.options import StartsWorkers
from jobqueue.runner.command_line import hide_passwords

app = typer.Typer(
    name="jobs",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
for command in (
    setup.setup,
    new.new,
    work.work,
    work.workoff,
    daemon.start,
    daemon.stop,
    daemon.restart,
    status.status,
    stats.stats,
    stacks.stacks,
    enqueue.enqueue,
    lists.list_jobs,
    lists.show,
    why.why,
    control.retry,
    control.cancel,
    control.clear,
    queues.pause,
    queues.resume,
    setup.migrate,
    doctor.doctor,
    bench.bench,
    web.web,
):
    name = "list" if command is lists.list_jobs else command.__name__
    cls = StartsWorkers if command in (work.work, work.workoff, daemon.start) else None
    app.command(name, cls=cls, help=examples_as_typed(command.__doc__))(command)
app.add_typer(schedules.schedules)
app.add_typer(error_groups.errors)
app.add_typer(limits.limits)
app.add_typer(flows.flows)
app.add_typer(actions.actions)
app.add_typer(tokens.token)


HELP = """Background jobs in the database that you already have.

\b
Examples:
  jobs setup                            create the tables and jobqueue.toml
  jobs new SendWelcomeEmail             write a job and its test
  jobs enqueue SendWelcomeEmail '{"name": "Ada"}'
  jobs workoff                          perform what is due, and exit
  jobs work                             perform jobs until Ctrl-C
  jobs start -n default:2,email:1       perform them in the background
  jobs status                           see who does what
  jobs stats --since 1h                 see how long jobs took and waited
  jobs list --state failed              see what went wrong
  jobs why email                        see why a queue or a job is late
  jobs errors                           see what fails most, and since when
  jobs limits                           see which limits jobs wait for, and set them
  jobs flows                            see how far batches, chains and flows are
  jobs actions                          see who paused, retried and deleted what
  jobs web                              serve the REST API
  jobs doctor                           see what is set up and what is not

\b
Exit codes: 0 done, 1 the work failed, 2 wrong usage or arguments,
3 no database or its tables are missing.
"""


def main() -> None:
    """Run the command that the process was started with, and exit with its code."""
    hide_passwords()
    with clean_exit():
        app(prog_name=program_name())


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"jobqueue {__version__}")
        raise typer.Exit


@app.callback(help=examples_as_typed(HELP))
def jobs(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_print_version),
    ] = False,
) -> None:
    """Background jobs in the database that you already have."""
