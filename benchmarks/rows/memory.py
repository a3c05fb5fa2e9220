"""The memory of a worker that performs very many jobs."""

from __future__ import annotations

import time

import psutil

from benchmarks.bench import Bench
from benchmarks.loads import Load
from benchmarks.rows.row import Figures, Line, Row
from benchmarks.sizes import Sizes

MEGABYTE = 2**20


def resident(bench: Bench) -> Figures:
    """Resident memory after a tenth of the jobs and after all, and of a process that did none."""
    scratch, jobs = bench.scratch, bench.sizes.memory_jobs
    samples: list[tuple[float, float]] = []

    def watch(process: psutil.Process) -> None:
        samples.append((time.monotonic(), process.memory_info().rss / MEGABYTE))

    scratch.fill(Load(jobs))
    trace = bench.checked(bench.commands.workoff(scratch.url, watch=watch), scratch, jobs)
    early, ended = trace.moment_of(jobs // 10), trace.marks[-1][0]
    imported = bench.commands.step("benchmarks.ours", "bare-import", scratch.url)
    return {
        "early": next((size for moment, size in samples if moment >= early), samples[-1][1]),
        "end": [size for moment, size in samples if moment <= ended or size][-1],
        "most": max(size for _, size in samples),
        "imported": float(imported["megabytes"]),
    }


def resident_lines(sizes: Sizes) -> tuple[Line, ...]:
    """The end to the beginning, and to the import."""
    jobs = f"{sizes.memory_jobs:,}"
    early = f"after {sizes.memory_jobs // 10:,}"
    return (
        Line(f"memory of a worker after {jobs} jobs", "end", "early", early, unit="MB"),
        Line(f"memory of a worker, most in {jobs} jobs", "most", "imported", "imports", unit="MB"),
    )


ROWS = (Row("memory", "memory over many jobs", resident, resident_lines, rounds=1),)
