"""`python -m benchmarks`: measures, prints a table and writes JSON, Markdown and plots."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.bench import Bench
from benchmarks.commands import Commands
from benchmarks.databases import databases, file_system_of
from benchmarks.machine import machine
from benchmarks.measure import Result, count_measurements, measure, measure_together
from benchmarks.peers.rows import install_peers
from benchmarks.plots import write_plots
from benchmarks.report import Report
from benchmarks.rows import ROWS
from benchmarks.rows.row import Row
from benchmarks.sizes import Sizes

RESULTS = Path(__file__).parent / "results" / "latest.json"
NARROWEST_TABLE = 150
QUICK_ROUNDS = 1
NAMES = ", ".join(row.name for row in ROWS) + "; with --peers, peer-NAME and peer-NAME-later."


class Kind(StrEnum):
    """The adapters that there are."""

    MEMORY = "memory"
    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


def main(
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="ROW", help="Only this row. Repeatable. " + NAMES),
    ] = None,
    adapter: Annotated[
        list[Kind] | None, typer.Option(help="Only this adapter. Repeatable.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=50, help="Jobs to a drain, which all other sizes follow. [100,000]"),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="How often each row is measured. [3]")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Everything once and tiny, to see that it works.")
    ] = False,
    peers: Annotated[
        bool,
        typer.Option(
            "--peers",
            help="Other job queues as well, installed with pip into a temporary environment.",
        ),
    ] = False,
    json_file: Annotated[
        Path, typer.Option("--json", metavar="FILE", help="Where the figures go.")
    ] = RESULTS,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write the table as Markdown.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to write the plots, as SVG.")
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            help="A PostgreSQL database to make scratch schemas in. Without it: a private "
            "server with its default settings, fsync on."
        ),
    ] = None,
) -> None:
    """Measure jobqueue beside bare psycopg and sqlite3 scripts that do the same work."""
    # So that databases and processes are cleared away as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sizes = Sizes.quick() if quick else Sizes()
    sizes = sizes if jobs is None else replace(sizes, jobs=jobs)
    rounds = rounds or (QUICK_ROUNDS if quick else 3)
    conditions: dict[str, Any] = {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv[1:],
        "machine": machine(),
    }
    kinds = tuple(str(kind) for kind in adapter or Kind)
    with (
        tempfile.TemporaryDirectory(prefix="jobqueue-benchmark-") as name,
        databases(kinds, database_url, Path(name)) as found,
    ):
        _warn_of_memory_disk(Path(name))
        rows = list(ROWS)
        if peers:
            _tell("installing the peers with pip")
            installed = install_peers(Path(name))
            rows += installed.rows
            conditions["peers"] = installed.notes
        benches = [Bench(each, Commands(Path(name)), sizes) for each in found]
        results = _measure_with_progress(
            benches, _chosen(rows, only), rounds, measure_together if quick else measure
        )
    report = Report(results, found, sizes, rounds, conditions)
    _write(report, json_file, markdown, plots)
    _print(report, json_file)


def _chosen(rows: Sequence[Row], only: Sequence[str] | None) -> list[Row]:
    unknown = sorted(set(only or ()) - {row.name for row in rows})
    if unknown:
        names = ", ".join(row.name for row in rows)
        raise typer.BadParameter(f"{unknown[0]!r} is no row; there are {names}")
    return [row for row in rows if not only or row.name in only]


def _measure_with_progress(
    benches: list[Bench], rows: list[Row], rounds: int, run: Callable[..., list[Result]]
) -> list[Result]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        total = count_measurements(benches, rows, rounds)
        task = progress.add_task("starting", total=total, completed=-1)

        def tell(what: str) -> None:
            progress.update(task, description=what, advance=1)

        results = run(benches, rows, rounds, tell)
        progress.update(task, description="done", advance=1)
    return results


def _warn_of_memory_disk(folder: Path) -> None:
    if file_system_of(folder) == "tmpfs":
        _tell(
            f"{folder} is in memory, where syncing to the disk costs nothing: set TMPDIR to a "
            "folder on a disk for figures that mean something"
        )


def _tell(line: str) -> None:
    Console(stderr=True).print(line, highlight=False)


def _write(report: Report, json_file: Path, markdown: Path | None, plots: Path | None) -> None:
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
    if markdown is not None:
        markdown.write_text(report.markdown(), encoding="utf-8")
    if plots is not None:
        write_plots(report.results, report.sizes, plots)


def _print(report: Report, json_file: Path) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, NARROWEST_TABLE))
    console.print(report.table())
    for line in (*report.condition_lines(), f"written to {json_file}"):
        console.print(line, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
