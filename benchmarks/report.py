"""The results as a table for people, as Markdown, and as JSON for everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.databases import Databases
from benchmarks.machine import versions
from benchmarks.measure import Result, Verdict, verdicts
from benchmarks.sizes import Sizes

COLUMNS = ("", "adapter", "ours", "range", "beside it", "ratio", "range", "promised")
LEFT_COLUMNS = 2
KEPT = {True: " ✓", False: " ✗", None: ""}


@dataclass(frozen=True)
class Report:
    """Everything about a run.

    Args:
        conditions: the machine, when it began, and the options.
    """

    results: Sequence[Result]
    databases: Sequence[Databases]
    sizes: Sizes
    rounds: int
    conditions: Mapping[str, Any]

    @property
    def verdicts(self) -> list[Verdict]:
        """The lines of the table."""
        return verdicts(self.results, lambda row: row.lines(self.sizes))

    def table(self) -> Table:
        """For a terminal."""
        table = Table(box=box.SIMPLE_HEAD)
        for number, name in enumerate(COLUMNS):
            justify: Any = "left" if number < LEFT_COLUMNS else "right"
            table.add_column(name, justify=justify, no_wrap=number > 0)
        for verdict in self.verdicts:
            table.add_row(*_cells(verdict))
        return table

    def markdown(self) -> str:
        """For a page: the table, and under it what it was measured on."""
        lines = [_markdown_row(COLUMNS), "|---|---|" + "--:|" * (len(COLUMNS) - LEFT_COLUMNS)]
        lines += [_markdown_row(_cells(verdict)) for verdict in self.verdicts]
        return "\n".join([*lines, "", *(f"- {line}" for line in self.condition_lines()), ""])

    def condition_lines(self) -> list[str]:
        """The machine, the versions, and the settings that decide what a commit costs."""
        machine = self.conditions["machine"]
        said_versions = ", ".join(f"{name} {number}" for name, number in versions().items())
        settings = [
            f"{d.version}: " + ", ".join(f"{name} {value}" for name, value in d.settings.items())
            for d in self.databases
            if d.settings
        ]
        where = (
            f"{self.conditions['started_at']}: {machine['cores']} cores, {machine['cpu']}, "
            f"{machine['memory_mb']:,} MB, {machine['system']}, load {machine['load_at_start']}"
        )
        how = (
            f"medians and ranges of {self.rounds} rounds with {self.sizes.jobs:,} jobs; "
            "where there is no range, it is one round"
        )
        return [where, said_versions, *settings, *self.conditions.get("peers", ()), how]

    def as_json(self) -> dict[str, Any]:
        """Everything that was measured, on what, and every raw figure."""
        return {
            **self.conditions,
            "jobs": self.sizes.jobs,
            "rounds": self.rounds,
            "versions": versions(),
            "databases": {
                d.adapter: {"version": d.version, "settings": d.settings} for d in self.databases
            },
            "rows": [_result_as_json(result) for result in self.results],
            "lines": [_verdict_as_json(verdict) for verdict in self.verdicts],
        }


def _cells(verdict: Verdict) -> tuple[str, ...]:
    line = verdict.line
    beside = ""
    if verdict.beside:
        beside = f"{said(median(verdict.beside))} {line.unit}, {line.beside_title}"
    return (
        line.title,
        verdict.adapter,
        f"{said(verdict.value)} {line.unit}".rstrip(),
        _range(verdict.values, said),
        beside,
        "" if verdict.ratio is None else f"{verdict.ratio:.2f}",
        _range(verdict.ratios, lambda ratio: f"{ratio:.2f}"),
        verdict.promise + KEPT[verdict.is_kept],
    )


def said(value: float) -> str:
    """A figure with as many digits as mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _range(values: Sequence[float], say: Any) -> str:
    return f"{say(min(values))} to {say(max(values))}" if len(values) > 1 else ""


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _result_as_json(result: Result) -> dict[str, Any]:
    names = dict.fromkeys(name for figures in result.rounds for name in figures)
    return {
        "row": result.row.name,
        "title": result.row.title,
        "adapter": result.adapter,
        "measuring_seconds": round(result.seconds, 1),
        "figures": {name: result.values(name) for name in names},
    }


def _verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    line = verdict.line
    return {
        "title": line.title,
        "adapter": verdict.adapter,
        "unit": line.unit,
        "ours": verdict.value,
        "beside": median(verdict.beside) if verdict.beside else None,
        "beside_title": line.beside_title if verdict.beside else None,
        "ratio": verdict.ratio,
        "ratios": verdict.ratios,
        "promised": verdict.promise or None,
        "kept": verdict.is_kept,
    }
