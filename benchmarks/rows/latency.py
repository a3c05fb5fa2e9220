"""The latency of an idle worker: woken by a notification, and by polling alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.bench import OURS, Bench
from benchmarks.rows.row import Figures, Line, Row
from benchmarks.sizes import Sizes

POLL_SECONDS = 1.0
GAPS: dict[str, Any] = {"shortest_gap": 0.05, "longest_gap": 0.15}
POLLED_GAPS: dict[str, Any] = {"shortest_gap": 0.05, "longest_gap": POLL_SECONDS}
QUANTILES = ("p50", "p99")


def woken(bench: Bench) -> Figures:
    """With the defaults, beside a bare LISTEN loop on PostgreSQL."""
    samples = bench.sizes.samples
    sides: dict[str, Callable[[], Mapping[str, Any]]] = {
        "ours": lambda: _ours(bench, samples, {}, GAPS)
    }
    if bench.adapter == "postgresql":
        sides["bare"] = lambda: _bare(bench, samples)
    measured = bench.in_turns(sides)
    return {f"{side}-{q}": measured[side][q] for side in measured for q in QUANTILES}


def polled(bench: Bench) -> Figures:
    """With `listen = false`."""
    samples = bench.sizes.polled_samples
    measured = _ours(bench, samples, {"JOBS_LISTEN": "false"}, POLLED_GAPS)
    return {q: measured[q] for q in QUANTILES} | {"interval": POLL_SECONDS * 1000}


def _ours(
    bench: Bench, samples: int, environment: Mapping[str, str], gaps: Mapping[str, Any]
) -> Mapping[str, Any]:
    scratch = bench.scratch
    scratch.empty()
    with bench.commands.working(scratch.url, environment=environment):
        return bench.commands.step(OURS, "latency", scratch.url, samples=samples, **gaps)


def _bare(bench: Bench, samples: int) -> Mapping[str, Any]:
    scratch = bench.scratch
    scratch.empty()
    assert scratch.bare is not None
    with bench.commands.step_beside(scratch.bare, "listen", scratch.bare_url):
        return bench.commands.step(
            scratch.bare, "latency", scratch.bare_url, samples=samples, **GAPS
        )


def woken_lines(sizes: Sizes) -> tuple[Line, ...]:  # noqa: ARG001 - a row's signature
    """p50 and p99, in ms."""
    promise = {"p50": {"postgresql": 2, "sqlite": 20}, "p99": {"postgresql": 5, "sqlite": 60}}
    return tuple(
        Line(
            f"idle worker begins a job, {q}",
            f"ours-{q}",
            f"bare-{q}",
            "bare LISTEN loop",
            unit="ms",
            at_most=promise[q],
        )
        for q in QUANTILES
    )


def polled_lines(sizes: Sizes) -> tuple[Line, ...]:  # noqa: ARG001 - a row's signature
    """p50 and p99, in ms, to the poll interval."""
    promise = {"postgresql": POLL_SECONDS * 1000, "sqlite": POLL_SECONDS * 1000}
    return tuple(
        Line(
            f"the same by polling alone, {q}",
            q,
            "interval",
            "poll interval",
            unit="ms",
            at_most=promise,
        )
        for q in QUANTILES
    )


ROWS = (
    Row("latency", "an idle worker, woken", woken, woken_lines),
    Row("polling", "an idle worker that polls", polled, polled_lines),
)
