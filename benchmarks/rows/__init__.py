"""The rows of the table: what each measures, and which figures it is judged by."""

from __future__ import annotations

from benchmarks.rows import (
    arguments,
    concurrency,
    draining,
    enqueueing,
    idle,
    latency,
    memory,
    queues,
    scale,
)
from benchmarks.rows.row import Row

ROWS: tuple[Row, ...] = (
    *draining.ROWS,
    *concurrency.ROWS,
    *enqueueing.ROWS,
    *latency.ROWS,
    *scale.ROWS,
    *queues.ROWS,
    *idle.ROWS,
    *arguments.ROWS,
    *memory.ROWS,
)
