"""Arguments of some size, on their way in and on their way out."""

from __future__ import annotations

from functools import partial

from benchmarks.bench import Bench
from benchmarks.rows.row import Curve, Figures, Line, Row, rate
from benchmarks.sizes import Sizes

SIZES = {100: "100 B", 10_000: "10 kB", 999_000: "1 MB"}


def payloads(bench: Bench) -> Figures:
    """Enqueued by `perform_all_later`, and drained, at each size."""
    pairs = bench.in_turns({str(size): partial(_in_and_out, bench, size) for size in SIZES})
    return {
        f"{way}-{size}": value
        for size, ways in pairs.items()
        for way, value in zip(("in", "out"), ways, strict=True)
    }


def _in_and_out(bench: Bench, size: int) -> tuple[float, float]:
    jobs = bench.sizes.payloads(size)
    enqueued = rate(bench.step("enqueue-payloads", jobs=jobs, size=size))
    bench.scratch.tidy()
    trace = bench.commands.workoff(bench.scratch.url)
    return enqueued, bench.checked(trace, bench.scratch, jobs).rate


def payloads_lines(sizes: Sizes) -> tuple[Line, ...]:
    """Both ways."""
    ways = {"in": "perform_all_later", "out": "drain"}
    return tuple(
        Line(f"{title} of {sizes.payloads(size):,} jobs with {said} of arguments", f"{way}-{size}")
        for way, title in ways.items()
        for size, said in SIZES.items()
    )


def payloads_curves(sizes: Sizes) -> tuple[Curve, ...]:  # noqa: ARG001 - a row's signature
    """Rate over size."""
    lines = {
        title: {float(size): f"{way}-{size}" for size in SIZES}
        for way, title in {"in": "enqueue in bulk", "out": "drain"}.items()
    }
    return (Curve("arguments", "Jobs with large arguments", "bytes of arguments", lines),)


ROWS = (Row("arguments", "arguments by their size", payloads, payloads_lines, payloads_curves),)
