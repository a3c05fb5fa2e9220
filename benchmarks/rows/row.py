"""A row of the comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.bench import Bench
from benchmarks.sizes import Sizes

Figures = Mapping[str, float]
SQL = ("sqlite", "postgresql")
EVERYWHERE = ("memory", *SQL)
POSTGRES_ONLY = ("postgresql",)


@dataclass(frozen=True)
class Line:
    """A line of the table: one figure, and what it is set beside.

    Args:
        title: what was measured.
        figure: the name of the figure.
        beside: the name of the figure that it is divided by, if any.
        beside_title: what that is.
        unit: of the figure and of what it is beside.
        at_least: the ratio that is promised, by adapter.
        at_most: the figure that is promised not to be exceeded, by adapter.
    """

    title: str
    figure: str
    beside: str | None = None
    beside_title: str = "bare script"
    unit: str = "jobs/s"
    at_least: Mapping[str, float] = field(default_factory=dict)
    at_most: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Curve:
    """A plot: figures over a number.

    Args:
        name: the file's, without its ending.
        title: above it.
        x_title: what the number is.
        lines: for each line of the plot, the figure for each number.
    """

    name: str
    title: str
    x_title: str
    lines: Mapping[str, Mapping[float, str]]


@dataclass(frozen=True)
class Row:
    """Something that is measured in one go.

    Args:
        name: for `--only`.
        title: for the progress bar.
        measure: takes every figure of the row once.
        lines: what the table says of them, given the sizes.
        curves: what is plotted of them, given the sizes.
        adapters: where it is measured.
        rounds: how often at most; None for as often as the others.
    """

    name: str
    title: str
    measure: Callable[[Bench], Figures]
    lines: Callable[[Sizes], tuple[Line, ...]]
    curves: Callable[[Sizes], tuple[Curve, ...]] = lambda _: ()
    adapters: tuple[str, ...] = SQL
    rounds: int | None = None


def rate(figures: Mapping[str, float]) -> float:
    """Jobs a second, of a step's figures."""
    return figures["jobs"] / figures["seconds"]
