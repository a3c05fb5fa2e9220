"""Measuring: every row on every adapter, round after round."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median

from benchmarks.bench import Bench
from benchmarks.rows.row import Figures, Line, Row

Tell = Callable[[str], None]


@dataclass
class Result:
    """All the figures of one row on one adapter, round by round."""

    row: Row
    adapter: str
    rounds: list[Figures] = field(default_factory=list)
    seconds: float = 0.0
    """The whole time that measuring took."""

    def values(self, figure: str | None) -> list[float]:
        """A figure in each round; none if it is not measured on this adapter."""
        return [figures[figure] for figures in self.rounds if figure and figure in figures]


@dataclass(frozen=True)
class Verdict:
    """A line of the table, filled in."""

    line: Line
    adapter: str
    values: tuple[float, ...]
    beside: tuple[float, ...]

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return median(self.values)

    @property
    def ratio(self) -> float | None:
        """The median figure to the median of what it is beside."""
        return self.value / median(self.beside) if self.beside else None

    @property
    def ratios(self) -> list[float]:
        """The same, round by round."""
        return [value / beside for value, beside in zip(self.values, self.beside, strict=False)]

    @property
    def promise(self) -> str:
        """The promise, in a few characters."""
        if self.adapter in self.line.at_least:
            return f"≥ {self.line.at_least[self.adapter]:g}"
        if self.adapter in self.line.at_most:
            return f"≤ {self.line.at_most[self.adapter]:.4g} {self.line.unit}".rstrip()
        return ""

    @property
    def is_kept(self) -> bool | None:
        """Whether the promise is kept; None where nothing is promised."""
        if self.adapter in self.line.at_least and self.ratio is not None:
            return self.ratio >= self.line.at_least[self.adapter]
        if self.adapter in self.line.at_most:
            return self.value <= self.line.at_most[self.adapter]
        return None


def measure(benches: Sequence[Bench], rows: Sequence[Row], rounds: int, tell: Tell) -> list[Result]:
    """Measure rows on adapters.

    Args:
        rounds: how often each; some rows are long and are measured once.
        tell: told what is measured next.
    """
    results = _planned(benches, rows)
    for round_number in range(rounds):
        for bench, result in results:
            if round_number < rounds_of(result.row, rounds):
                tell(f"round {round_number + 1} of {rounds}: {result.row.title}, {bench.adapter}")
                _measure_once(bench, result, round_number)
    return [result for _, result in results]


def measure_together(
    benches: Sequence[Bench], rows: Sequence[Row], rounds: int, tell: Tell
) -> list[Result]:
    """As `measure`, all adapters at the same time: for when it does not matter how fast."""
    with ThreadPoolExecutor(len(benches)) as threads:
        runs = [threads.submit(measure, [bench], rows, rounds, tell) for bench in benches]
    return [result for run in runs for result in run.result()]


def _measure_once(bench: Bench, result: Result, round_number: int) -> None:
    started = time.monotonic()
    bench.round_number = round_number
    result.rounds.append(result.row.measure(bench))
    result.seconds += time.monotonic() - started


def count_measurements(benches: Sequence[Bench], rows: Sequence[Row], rounds: int) -> int:
    """The number of times that `measure` will report progress."""
    return sum(rounds_of(result.row, rounds) for _, result in _planned(benches, rows))


def rounds_of(row: Row, rounds: int) -> int:
    """The number of times that a row is measured."""
    return rounds if row.rounds is None else min(rounds, row.rounds)


def verdicts(results: Sequence[Result], lines_of: Callable[[Row], Sequence[Line]]) -> list[Verdict]:
    """The lines of the table for which there are figures."""
    found = (
        Verdict(
            line,
            result.adapter,
            tuple(result.values(line.figure)),
            tuple(result.values(line.beside)),
        )
        for result in results
        for line in lines_of(result.row)
    )
    return [verdict for verdict in found if verdict.values]


def _planned(benches: Sequence[Bench], rows: Sequence[Row]) -> list[tuple[Bench, Result]]:
    return [
        (bench, Result(row, bench.adapter))
        for row in rows
        for bench in benches
        if bench.adapter in row.adapters
    ]
