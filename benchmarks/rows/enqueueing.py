"""Enqueueing: one commit for each job, and one for all of them."""

from __future__ import annotations

from functools import partial

from benchmarks.bench import Bench
from benchmarks.rows.row import EVERYWHERE, Figures, Line, Row, rate
from benchmarks.sizes import Sizes


def one_by_one(bench: Bench) -> Figures:
    """`perform_later` in a loop."""
    return _both(bench, "enqueue-one", bench.sizes.singles)


def in_bulk(bench: Bench) -> Figures:
    """One `perform_all_later`."""
    return _both(bench, "enqueue-bulk", bench.sizes.jobs)


def _both(bench: Bench, step: str, jobs: int) -> Figures:
    sides = {"ours": partial(bench.step, step, jobs=jobs)}
    if bench.scratch.bare is not None:
        sides["bare"] = partial(bench.bare_step, step, jobs=jobs)
    return {side: rate(figures) for side, figures in bench.in_turns(sides).items()}


def one_by_one_lines(sizes: Sizes) -> tuple[Line, ...]:
    """Ours to bare."""
    promise = {"postgresql": 0.5, "sqlite": 0.25}
    title = f"perform_later, {sizes.singles:,} times, one commit each"
    return (Line(title, "ours", "bare", at_least=promise),)


def in_bulk_lines(sizes: Sizes) -> tuple[Line, ...]:
    """Ours to bare."""
    promise = {"postgresql": 0.5, "sqlite": 0.4}
    return (Line(f"perform_all_later of {sizes.jobs:,}", "ours", "bare", at_least=promise),)


ROWS = (
    Row("enqueue-one", "enqueue one by one", one_by_one, one_by_one_lines, adapters=EVERYWHERE),
    Row("enqueue-bulk", "enqueue in bulk", in_bulk, in_bulk_lines, adapters=EVERYWHERE),
)
