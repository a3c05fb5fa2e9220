"""Many queues, many priorities, a paused queue, and workers on some of the queues."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.bench import Bench
from benchmarks.loads import Load
from benchmarks.rows.row import Figures, Line, Row
from benchmarks.sizes import Sizes

PAUSED = "other-paused"
TEN = ",".join(f"q{number}" for number in range(10))


def shapes(bench: Bench) -> Figures:
    """The same number of jobs, spread in different ways, beside all of them in one queue."""
    jobs = bench.sizes.jobs
    ten = Load(jobs, queue="q", queues=10)

    def beside_a_paused_queue() -> float:
        rows = (Load(bench.sizes.paused, queue=PAUSED),)
        return bench.drain(scratch=bench.loaded("paused", rows, paused=PAUSED)).rate

    measurements: dict[str, Callable[[], float]] = {
        "one": lambda: bench.drain().rate,
        "queues": lambda: bench.drain(Load(jobs, queue="q", queues=1000)).rate,
        "priorities": lambda: bench.drain(Load(jobs, priorities=100)).rate,
        "paused": beside_a_paused_queue,
        "on-one": lambda: bench.drain(None, "--queues", "default").rate,
        "on-ten": lambda: bench.drain(ten, "--queues", TEN).rate,
        "on-all": lambda: bench.drain(ten).rate,
    }
    return bench.in_turns(measurements)


def shapes_lines(sizes: Sizes) -> tuple[Line, ...]:
    """Each to one queue."""
    titles = {
        "queues": "jobs in 1,000 queues",
        "priorities": "jobs of 100 priorities",
        "paused": f"beside a paused queue with {sizes.paused:,} due",
        "on-one": "a worker on one queue",
        "on-ten": "a worker on ten queues, by name",
        "on-all": "a worker on all of ten queues",
    }
    promise = {"postgresql": 0.8}
    return tuple(
        Line(f"drain, {title}", name, "one", "one queue", at_least=promise)
        for name, title in titles.items()
    )


ROWS = (Row("queues", "queues and priorities", shapes, shapes_lines),)
