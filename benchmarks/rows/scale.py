"""Tables that have grown, and a snapshot that somebody holds open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import psycopg

from benchmarks.bench import Bench
from benchmarks.loads import Load, elsewhere, grown, kept, later
from benchmarks.rows.row import POSTGRES_ONLY, Curve, Figures, Line, Row
from benchmarks.scratch import Scratch
from benchmarks.sizes import Sizes

Grown = Callable[[int], Sequence[Load]]

ON_ONE_QUEUE = ("--queues", "default")
KINDS: dict[str, tuple[Grown, tuple[str, ...], str]] = {
    "later": (later, (), "jobs for tomorrow"),
    "elsewhere": (elsewhere, ON_ONE_QUEUE, "due jobs in other queues"),
    "kept": (kept, (), "finished rows kept"),
}
PROMISE = {"postgresql": 0.9, "sqlite": 0.8}


def table_size(bench: Bench) -> Figures:
    """A worker on one queue, with all three kinds of rows in the table, more and more of each."""
    plain: dict[str, Callable[[], float]] = {"0": lambda: bench.drain(None, *ON_ONE_QUEUE).rate}
    return bench.in_turns(
        plain
        | {str(n): partial(_beside, bench, grown, n, ON_ONE_QUEUE) for n in _sizes(bench.sizes)}
    )


def each_kind(bench: Bench) -> Figures:
    """Each kind of rows by itself."""
    plain: dict[str, Callable[[], float]] = {
        "0": lambda: bench.drain().rate,
        "0-one-queue": lambda: bench.drain(None, *ON_ONE_QUEUE).rate,
    }
    return bench.in_turns(
        plain
        | {
            name: partial(_beside, bench, kind, bench.sizes.load, options)
            for name, (kind, options, _) in KINDS.items()
        }
    )


def _beside(bench: Bench, kind: Grown, rows: int, options: Sequence[str]) -> float:
    scratch = bench.loaded(f"{kind.__name__}-{rows}", kind(rows))
    return bench.drain(None, *options, scratch=scratch).rate


def _sizes(sizes: Sizes) -> list[int]:
    return [max(1, int(sizes.load * share) // 10) for share in sizes.load_shares] + [sizes.load]


def held_snapshot(bench: Bench) -> Figures:
    """Drained while another transaction keeps vacuum from removing what is finished."""
    scratch = bench.scratch
    scratch.fill(Load(bench.sizes.long_drain))
    with _snapshot(scratch):
        trace = bench.commands.workoff(scratch.url)
    bench.checked(trace, scratch, bench.sizes.long_drain)
    return {
        "all": trace.rate,
        "first": trace.rate_of_first(bench.sizes.window),
        "fastest": trace.rate_of_fastest(bench.sizes.window),
        "last": trace.rate_of_last(bench.sizes.window),
    }


@contextmanager
def _snapshot(scratch: Scratch) -> Iterator[None]:
    with psycopg.connect(scratch.url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT count(*) FROM background_jobs")
        yield


def table_size_lines(sizes: Sizes) -> tuple[Line, ...]:
    """With the rows to without them."""
    return tuple(
        Line(
            f"drain beside {rows:,} for tomorrow, {rows:,} in other queues, {rows:,} finished",
            str(rows),
            "0",
            "without them",
            at_least=PROMISE if rows == sizes.load else {},
        )
        for rows in _sizes(sizes)
    )


def each_kind_lines(sizes: Sizes) -> tuple[Line, ...]:
    """With the rows to without them."""
    return tuple(
        Line(
            f"drain beside {sizes.load:,} {title}",
            name,
            "0-one-queue" if options else "0",
            "without them",
            at_least=PROMISE,
        )
        for name, (_, options, title) in KINDS.items()
    )


def held_snapshot_lines(sizes: Sizes) -> tuple[Line, ...]:
    """The end to the beginning."""
    jobs, window = f"{sizes.long_drain:,}", f"{sizes.window:,}"
    return (
        Line(
            f"drain {jobs} beside a held snapshot, last {window}",
            "last",
            "first",
            f"first {window}",
            at_least={"postgresql": 0.9},
        ),
        Line(
            f"drain {jobs} beside a held snapshot, last {window}",
            "last",
            "fastest",
            f"fastest {window}",
        ),
        Line(f"drain {jobs} beside a held snapshot, all", "all"),
    )


def table_size_curves(sizes: Sizes) -> tuple[Curve, ...]:
    """Rate over rows."""
    points = {float(n): str(n) for n in (0, *_sizes(sizes))}
    x_title = "rows of each kind: for tomorrow, in other queues, finished"
    return (Curve("table-size", "Draining no-ops, one worker", x_title, {"ours": points}),)


ROWS = (
    Row("table-size", "a table that has grown", table_size, table_size_lines, table_size_curves),
    Row("table-kinds", "a table that has grown, each kind", each_kind, each_kind_lines),
    Row(
        "snapshot",
        "a held snapshot",
        held_snapshot,
        held_snapshot_lines,
        adapters=POSTGRES_ONLY,
    ),
)
