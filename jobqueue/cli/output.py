"""Tables and JSON as commands print them, with the secrets of jobs masked."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from jobqueue.cli.errors import one_line
from jobqueue.json_text import writable
from jobqueue.records import JobRecord
from jobqueue.redaction import printable
from jobqueue.views.jobs import job_view

GAP = 2
NARROWEST = 12
STATE_STYLES = {
    "ready": "cyan",
    "gated": "cyan",
    "blocked": "dim",
    "going on": "yellow",
    "being filled": "cyan",
    "running": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "dim",
    "active": "green",
    "paused": "yellow",
    "inactive": "dim",
}


# --- JSON ----------------------------------------------------------------------------------------


def as_json(record: JobRecord, *, reveal: bool = False) -> dict[str, Any]:
    """Return a job with all its fields, as the JSON of commands has it."""
    return job_view(record, reveal=reveal).values()


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(_json(value, indent=2, ensure_ascii=True))


def _json(value: Any, **options: Any) -> str:
    """JSON, with texts in the place of what it cannot write: a row may hold anything."""
    try:
        return json.dumps(value, allow_nan=False, default=_plain, **options)
    except (ValueError, RecursionError):
        return json.dumps(writable(value), default=_plain, **options)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


# --- text ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. A `flexible` one is cut if the terminal is too narrow."""

    title: str
    right: bool = False
    flexible: bool = False


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns: as wide as the terminal, or in full if there is none."""
    cleaned = [[one_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(columns, cleaned)
    else:
        _print_plain(columns, cleaned)


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Print names and values, one pair a line: a line break in a value is written as `\\n`."""
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        on_one_line = printable(value).replace("\n", "\\n")
        print(f"{name.ljust(width)}  {on_one_line}".rstrip())


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 job`, `1,200 jobs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def compact_json(value: Any) -> str:
    """Return a value as JSON on one line, for people."""
    return _json(value, ensure_ascii=False)


def _print_plain(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    lines = [[column.title for column in columns], *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        cells = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        print("  ".join(cells).rstrip())


def _print_rich(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    widths = _fitted_widths(columns, rows, console.width)
    console.width = max(console.width, sum(widths) + GAP * len(widths))
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        justify: Any = "right" if column.right else "left"
        table.add_column(
            column.title, justify=justify, width=width, no_wrap=True, overflow="ellipsis"
        )
    for row in rows:
        table.add_row(*(Text(cell, style=STATE_STYLES.get(cell, "")) for cell in row))
    console.print(table)


def _fitted_widths(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], available: int
) -> list[int]:
    """Return the widths that columns need; the flexible ones share what is left."""
    titles = [column.title for column in columns]
    widths = [max(map(len, cells)) for cells in zip(titles, *rows, strict=True)]
    flexible = [i for i, column in enumerate(columns) if column.flexible]
    left = available - GAP * len(widths) - sum(w for i, w in enumerate(widths) if i not in flexible)
    for share, i in zip(range(len(flexible), 0, -1), flexible, strict=True):
        widths[i] = min(widths[i], max(left // share, NARROWEST))
        left -= widths[i]
    return widths
