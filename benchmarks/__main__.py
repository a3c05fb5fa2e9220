"""`python -m benchmarks`: measures, prints a table and writes JSON."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.databases import Scratch, file_system_of, scratch_databases
from benchmarks.machine import machine
from benchmarks.measure import ROWS, Result, Row, count_measurements, measure
from benchmarks.report import as_json, results_table, setting_lines, start_up_lines

RESULTS = Path(__file__).parent / "results" / "latest.json"
NARROWEST_TABLE = 100


class Step(StrEnum):
    """The rows that there are."""

    ENQUEUE_ONE = "enqueue-one"
    ENQUEUE_BULK = "enqueue-bulk"
    DRAIN = "drain"


class Kind(StrEnum):
    """The adapters that there are."""

    MEMORY = "memory"
    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


def main(
    jobs: Annotated[
        int, typer.Option(min=1, help="Jobs to a row; a tenth of it where each is committed alone.")
    ] = 20_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often each row is measured.")] = 3,
    only: Annotated[list[Step] | None, typer.Option(help="Only this row. Repeatable.")] = None,
    adapter: Annotated[
        list[Kind] | None, typer.Option(help="Only this adapter. Repeatable.")
    ] = None,
    json_file: Annotated[
        Path, typer.Option("--json", metavar="FILE", help="Where the figures go.")
    ] = RESULTS,
    database_url: Annotated[
        str | None,
        typer.Option(
            help="A PostgreSQL database to make a scratch schema in. Without it: a private "
            "server with its default settings, fsync on."
        ),
    ] = None,
) -> None:
    """Measure jobqueue beside bare psycopg and sqlite3 scripts that do the same work."""
    rows = [row for row in ROWS if not only or Step(row.step) in only]
    kinds = tuple(str(kind) for kind in adapter or Kind)
    at_start = {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
    }
    with (
        tempfile.TemporaryDirectory(prefix="jobqueue-benchmark-") as name,
        scratch_databases(kinds, database_url, Path(name)) as scratches,
    ):
        _warn_of_memory_disk(Path(name))
        results = _measure_with_progress(scratches, rows, jobs, rounds, Path(name))
    figures = as_json(results, scratches, jobs, rounds, at_start)
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    _print(results, scratches, rounds, json_file)


def _measure_with_progress(
    scratches: list[Scratch], rows: list[Row], jobs: int, rounds: int, folder: Path
) -> list[Result]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        total = count_measurements(len(scratches), len(rows), rounds)
        task = progress.add_task("starting", total=total, completed=-1)

        def tell(what: str) -> None:
            progress.update(task, description=what, advance=1)

        results = measure(scratches, rows, jobs, rounds, folder, tell)
        progress.update(task, description="done", advance=1)
    return results


def _warn_of_memory_disk(folder: Path) -> None:
    if file_system_of(folder) == "tmpfs":
        Console(stderr=True).print(
            f"{folder} is in memory, where syncing to the disk costs nothing: set TMPDIR to a "
            "folder on a disk for figures that mean something"
        )


def _print(results: list[Result], scratches: list[Scratch], rounds: int, json_file: Path) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, NARROWEST_TABLE))
    console.print(results_table(results, rounds))
    for line in (*start_up_lines(results), *setting_lines(scratches)):
        console.print(line, highlight=False)
    console.print(f"written to {json_file}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
