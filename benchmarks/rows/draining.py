"""Draining no-op jobs: one process, several, and by the size of the batch."""

from __future__ import annotations

from functools import partial

from benchmarks.bench import Bench
from benchmarks.loads import Load
from benchmarks.rows.row import EVERYWHERE, Curve, Figures, Line, Row, rate
from benchmarks.sizes import Sizes

TURNS_AT_MOST = 2000


def one_worker(bench: Bench) -> Figures:
    """One process, `concurrency` 1, beside the bare script."""
    if bench.scratch.bare is None:
        return {"ours": rate(bench.step("fill-and-drain", jobs=bench.sizes.jobs))}
    return bench.in_turns({"ours": lambda: bench.drain().rate, "bare": bench.drain_bare})


def workers(bench: Bench) -> Figures:
    """The same jobs, by one process and by several."""

    def ours(processes: int) -> float:
        return bench.drain(processes=processes).rate

    def bare(processes: int) -> float:
        return bench.drain_bare(processes=processes)

    counts = bench.sizes.worker_counts
    return bench.in_turns(
        {f"ours-{n}": partial(ours, n) for n in counts}
        | {f"bare-{n}": partial(bare, n) for n in counts}
    )


def batches(bench: Bench) -> Figures:
    """Turns of the adapter alone, beside the bare script, by how many jobs are in one."""

    def ours(batch: int, jobs: int) -> float:
        bench.scratch.fill(Load(jobs))
        figures = bench.commands.step(
            "benchmarks.ours", "adapter-alone", bench.scratch.url, jobs=jobs, batch=batch
        )
        return rate(figures)

    def bare(batch: int, jobs: int) -> float:
        return bench.drain_bare(jobs=jobs, batch=batch)

    jobs = {batch: min(bench.sizes.jobs, batch * TURNS_AT_MOST) for batch in bench.sizes.batches}
    return bench.in_turns(
        {f"ours-{batch}": partial(ours, batch, jobs[batch]) for batch in bench.sizes.batches}
        | {f"bare-{batch}": partial(bare, batch, jobs[batch]) for batch in bench.sizes.batches}
    )


def one_worker_lines(sizes: Sizes) -> tuple[Line, ...]:
    """Ours to bare."""
    promise = {"postgresql": 0.6, "sqlite": 0.4}
    return (Line(f"drain {sizes.jobs:,} no-ops, one worker", "ours", "bare", at_least=promise),)


def workers_lines(sizes: Sizes) -> tuple[Line, ...]:
    """Several processes to one, and to as many bare scripts."""
    promise = {"postgresql": 1.3, "sqlite": 1.0}
    to_one = tuple(
        Line(
            f"drain with {n} workers",
            f"ours-{n}",
            "ours-1",
            "ours, one worker",
            at_least=promise if n == 2 else {},
        )
        for n in sizes.worker_counts[1:]
    )
    to_bare = tuple(
        Line(f"drain with {n} workers", f"ours-{n}", f"bare-{n}", f"{n} bare scripts")
        for n in sizes.worker_counts[1:]
    )
    return to_one + to_bare


def batches_lines(sizes: Sizes) -> tuple[Line, ...]:
    """Ours to bare at each size."""
    return tuple(
        Line(f"adapter alone, batches of {batch:,}", f"ours-{batch}", f"bare-{batch}")
        for batch in sizes.batches
    )


def workers_curves(sizes: Sizes) -> tuple[Curve, ...]:
    """Rate over workers."""
    lines = {
        side: {float(n): f"{side}-{n}" for n in sizes.worker_counts} for side in ("ours", "bare")
    }
    return (Curve("workers", "Draining no-ops", "worker processes", lines),)


def batches_curves(sizes: Sizes) -> tuple[Curve, ...]:
    """Rate over the batch."""
    lines = {
        side: {float(batch): f"{side}-{batch}" for batch in sizes.batches}
        for side in ("ours", "bare")
    }
    return (Curve("batch", "Claiming and settling, no-ops", "jobs in a turn", lines),)


ROWS = (
    Row("drain", "drain, one worker", one_worker, one_worker_lines, adapters=EVERYWHERE),
    Row("workers", "drain, several workers", workers, workers_lines, workers_curves),
    Row("batch", "turns by the batch", batches, batches_lines, batches_curves),
)
