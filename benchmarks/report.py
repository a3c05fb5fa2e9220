"""The results as a table for people and as JSON for everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.databases import Scratch
from benchmarks.machine import versions
from benchmarks.measure import Figure, Result, median_rate

NOTES = (
    "Rates are medians in jobs/s; the ratio is ours to bare, its range that of the rounds. One by "
    "one: each job is committed before the next. Drain: one process, from its first claim to its "
    "last settle; its start (imports, connecting) and its exit are not in the rate, but below."
)


def results_table(results: Sequence[Result], rounds: int) -> Table:
    """One line for each row and adapter."""
    table = Table(box=box.SIMPLE_HEAD, caption=NOTES, caption_justify="left")
    for name in ("", "jobs", "adapter"):
        table.add_column(name, justify="right" if name == "jobs" else "left", no_wrap=True)
    for name in ("ours jobs/s", "bare jobs/s", "ratio", f"range of {rounds}"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            result.row.title,
            f"{result.ours[0].jobs:,}",
            result.adapter,
            f"{median_rate(result.ours):,.0f}",
            f"{median_rate(result.bare):,.0f}" if result.bare else "—",
            f"{result.ratio:.2f}" if result.ratio is not None else "—",
            _spread(result),
        )
    return table


def start_up_lines(results: Sequence[Result]) -> list[str]:
    """What the drain took with everything that belongs to a process."""
    return [
        f"drain on {result.adapter}: {median(f.seconds for f in result.ours):.2f} s measured, "
        f"{median(f.process_seconds for f in result.ours):.2f} s for the whole process"
        for result in results
        if result.row.step == "drain"
    ]


def setting_lines(scratches: Sequence[Scratch]) -> list[str]:
    """The databases and the settings that decide what a commit costs."""
    return [
        f"{scratch.version}: " + ", ".join(f"{k} {v}" for k, v in scratch.settings.items())
        for scratch in scratches
        if scratch.settings
    ]


def as_json(
    results: Sequence[Result],
    scratches: Sequence[Scratch],
    jobs: int,
    rounds: int,
    at_start: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that was measured, on what, and every raw figure."""
    return {
        **at_start,
        "jobs": jobs,
        "rounds": rounds,
        "versions": versions(),
        "databases": {s.adapter: {"version": s.version, "settings": s.settings} for s in scratches},
        "rows": [_row_as_json(result) for result in results],
    }


def _row_as_json(result: Result) -> dict[str, Any]:
    return {
        "row": result.row.step,
        "title": result.row.title,
        "adapter": result.adapter,
        "ours": _side_as_json(result.ours),
        "bare": _side_as_json(result.bare) if result.bare else None,
        "ratio": result.ratio,
        "ratios": result.ratios,
    }


def _side_as_json(figures: Sequence[Figure]) -> dict[str, Any]:
    return {
        "jobs_per_second": median_rate(figures),
        "rounds": [{**asdict(figure), "jobs_per_second": figure.rate} for figure in figures],
    }


def _spread(result: Result) -> str:
    if result.ratios:
        return f"{min(result.ratios):.2f} to {max(result.ratios):.2f}"
    rates = [figure.rate for figure in result.ours]
    return f"{min(rates) / 1000:.1f}k to {max(rates) / 1000:.1f}k"
