"""`jobqueue bench`: what the configured database and this machine can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jobqueue.bench.figures import Benchmark, Figure
from jobqueue.cli.options import App, AsJson, Concurrency, DatabaseUrl
from jobqueue.cli.output import Column, print_json, print_table
from jobqueue.cli.session import OTHER_DATABASE, Session, note_broken_app, opened, refuse_memory

if TYPE_CHECKING:
    from jobqueue.bench.runs import Show

COLUMNS = (
    Column("BENCHMARK"),
    Column("JOBS", right=True),
    Column("JOBS/S", right=True),
    Column("P50 MS", right=True),
    Column("P99 MS", right=True),
)


def bench(
    benchmarks: Annotated[
        list[Benchmark] | None,
        typer.Argument(metavar="[enqueue|drain|latency]...", help="Only these; all by default."),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="NUMBER",
            help="How many jobs to enqueue in bulk and to drain; a tenth of them one by one, and "
            "a hundredth for the latency.",
        ),
    ] = 20_000,
    concurrency: Concurrency = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    json_: AsJson = False,
) -> None:
    """Measure how fast the configured database carries jobs.

    It works in tables of its own (a schema on PostgreSQL, a file beside it with SQLite) and removes
    them. enqueue: jobs stored one by one, each committed, and in bulk. drain: one worker process,
    from its first claim until the last job is settled. latency: from the call of perform_later to
    the first line of perform, in an idle worker, for ten seconds at most.

    \b
    Examples:
      jobs bench
      jobs bench drain --jobs 100000 --concurrency 10
      jobs bench latency --json
    """
    options = {"app": app, "database_url": database_url, "concurrency": concurrency}
    chosen = [one for one in Benchmark if not benchmarks or one in benchmarks]
    with opened(options) as session:
        note_broken_app(session, OTHER_DATABASE)
        refuse_memory(session.adapter)
        figures, server = _measure(session, chosen, jobs)
    if json_:
        facts = {"server": server, "concurrency": session.settings.concurrency}
        print_json({**facts, "figures": [asdict(figure) for figure in figures]})
        return
    print_table(COLUMNS, [_row(figure) for figure in figures])
    typer.echo(f"\n{server}, one worker process, concurrency {session.settings.concurrency}")


def _measure(
    session: Session, benchmarks: Sequence[Benchmark], jobs: int
) -> tuple[list[Figure], str]:
    """The figures, and what the database server is. A Ctrl-C that Python loses is noticed."""
    from jobqueue.bench.runs import measure
    from jobqueue.runner.attached import interruptible

    with interruptible() as end_if_interrupted, _progress(end_if_interrupted) as show:
        return measure(benchmarks, session.adapter, session.settings, jobs, show)


@contextmanager
def _progress(end_if_interrupted: Callable[[], None]) -> Iterator[Show]:
    """Show a bar on a terminal, which disappears at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("starting", total=None)

        def show(what: str, done: int, total: int) -> None:
            end_if_interrupted()
            progress.update(task, description=what, completed=done, total=total)

        yield show


def _row(figure: Figure) -> list[str]:
    return [
        figure.title,
        f"{figure.jobs:,}",
        "" if figure.jobs_per_second is None else f"{figure.jobs_per_second:,.0f}",
        "" if figure.p50_ms is None else f"{figure.p50_ms:.2f}",
        "" if figure.p99_ms is None else f"{figure.p99_ms:.2f}",
    ]
