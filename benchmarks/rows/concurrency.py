"""Jobs that wait for something else: ten on threads, hundreds in an event loop."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.loads import Load
from benchmarks.rows.row import POSTGRES_ONLY, Figures, Line, Row
from benchmarks.sizes import Sizes

THREADS = 10
COROUTINES = 500
IDEAL_PER_SLOT = 100  # of jobs that sleep 10 ms


def threads(bench: Bench) -> Figures:
    """Sync jobs that sleep 10 ms, ten at a time."""
    trace = bench.drain(Load(bench.sizes.sleeps, handler="Sleep"), "--concurrency", str(THREADS))
    return {"ours": trace.rate, "ideal": float(THREADS * IDEAL_PER_SLOT)}


def coroutines(bench: Bench) -> Figures:
    """Async jobs that sleep 10 ms, five hundred at a time, beside a bare asyncio script."""
    load = Load(bench.sizes.jobs, handler="AsyncSleep")
    return bench.in_turns(
        {
            "ours": lambda: bench.drain(load, "--concurrency", str(COROUTINES)).rate,
            "bare": lambda: bench.drain_bare(
                module="benchmarks.bare.postgres_async", concurrency=COROUTINES
            ),
        }
    )


def threads_lines(sizes: Sizes) -> tuple[Line, ...]:
    """A share of the ideal."""
    title = f"{sizes.sleeps:,} jobs that sleep 10 ms, concurrency={THREADS}"
    promise = {"postgresql": 0.9, "sqlite": 0.9}
    return (Line(title, "ours", "ideal", "ideal", at_least=promise),)


def coroutines_lines(sizes: Sizes) -> tuple[Line, ...]:
    """Ours to bare."""
    title = f"{sizes.jobs:,} async jobs that sleep 10 ms, concurrency={COROUTINES}"
    promise = {"postgresql": 0.6}
    return (Line(title, "ours", "bare", "bare asyncio script", at_least=promise),)


ROWS = (
    Row("threads", "sync jobs that sleep", threads, threads_lines),
    Row("asyncio", "async jobs that sleep", coroutines, coroutines_lines, adapters=POSTGRES_ONLY),
)
