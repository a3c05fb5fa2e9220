"""Measuring: every figure is one step in a process of its own, ours and bare in turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.databases import Scratch

PROJECT = Path(__file__).parents[1]
STEP_TIMEOUT_SECONDS = 900
SHARE_OF_SINGLES = 10


@dataclass(frozen=True)
class Row:
    """A row of the table: what is done, and to how many of the jobs that were asked for."""

    step: str
    title: str
    share: int = 1
    needs_jobs: bool = False

    def count(self, jobs: int) -> int:
        """How many jobs this row takes."""
        return max(1, jobs // self.share)


ROWS = (
    Row("enqueue-one", "enqueue one by one", share=SHARE_OF_SINGLES),
    Row("enqueue-bulk", "enqueue in bulk"),
    Row("drain", "drain with one worker", needs_jobs=True),
)


@dataclass(frozen=True)
class Figure:
    """What one process measured. `process_seconds` has its start, imports and exit as well."""

    jobs: int
    seconds: float
    process_seconds: float

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.jobs / self.seconds


@dataclass
class Result:
    """All the figures of one row on one adapter."""

    row: Row
    adapter: str
    ours: list[Figure] = field(default_factory=list)
    bare: list[Figure] = field(default_factory=list)

    @property
    def ratio(self) -> float | None:
        """Our median rate to the bare one."""
        return median_rate(self.ours) / median_rate(self.bare) if self.bare else None

    @property
    def ratios(self) -> list[float]:
        """The same, round by round."""
        return [ours.rate / bare.rate for ours, bare in zip(self.ours, self.bare, strict=False)]


def median_rate(figures: Sequence[Figure]) -> float:
    """The middle one of the rates, in jobs a second."""
    return median(figure.rate for figure in figures)


def measure(
    scratches: Sequence[Scratch],
    rows: Sequence[Row],
    jobs: int,
    rounds: int,
    folder: Path,
    progress: Callable[[str], None],
) -> list[Result]:
    """Measure every row on every adapter, `rounds` times.

    Args:
        folder: where the logs of our processes go.
        progress: told what is measured next.
    """
    results = [Result(row, scratch.adapter) for row in rows for scratch in scratches]
    for scratch in scratches:
        _create_bare_table(scratch, folder)
    for round_number in range(rounds):
        for result in results:
            scratch = next(s for s in scratches if s.adapter == result.adapter)
            progress(f"round {round_number + 1} of {rounds}: {result.row.title}, {scratch.adapter}")
            _measure_both(result, scratch, jobs, folder, bare_first=round_number % 2 == 1)
    return results


def count_measurements(adapters: int, rows: int, rounds: int) -> int:
    """How often `measure` will report progress."""
    return adapters * rows * rounds


def _create_bare_table(scratch: Scratch, folder: Path) -> None:
    if scratch.bare is not None:
        _run(scratch.bare, "create", scratch.bare_url, 0, folder)


def _measure_both(
    result: Result, scratch: Scratch, jobs: int, folder: Path, *, bare_first: bool
) -> None:
    """One round of one row. Who is first alternates, in case it matters."""
    count = result.row.count(jobs)
    for is_bare in (True, False) if bare_first else (False, True):
        scratch.empty()
        if not is_bare:
            result.ours.append(_measure_ours(result.row, scratch, count, folder))
        elif scratch.bare is not None:
            result.bare.append(_measure_bare(result.row, scratch, scratch.bare, count, folder))


def _measure_ours(row: Row, scratch: Scratch, count: int, folder: Path) -> Figure:
    module = "benchmarks.ours"
    if not row.needs_jobs:
        return _run(module, row.step, scratch.url, count, folder)
    if scratch.bare is None:
        return _run(module, f"fill-and-{row.step}", scratch.url, count, folder)
    _run(module, "enqueue-bulk", scratch.url, count, folder)
    return _run(module, row.step, scratch.url, count, folder)


def _measure_bare(row: Row, scratch: Scratch, module: str, count: int, folder: Path) -> Figure:
    if row.needs_jobs:
        _run(module, "enqueue-bulk", scratch.bare_url, count, folder)
    return _run(module, row.step, scratch.bare_url, count, folder)


def _run(module: str, step: str, url: str, count: int, folder: Path) -> Figure:
    """Run one step in a fresh process, its log written to a file as a service's log would be."""
    log = folder / f"{module}.{step}.log"
    started = time.perf_counter()
    with log.open("w") as errors:
        done = subprocess.run(
            [sys.executable, "-m", module, step, url, str(count)],
            cwd=PROJECT,
            env=_plain_environment(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            timeout=STEP_TIMEOUT_SECONDS,
            check=False,
        )
    process_seconds = time.perf_counter() - started
    if done.returncode != 0:
        end = "\n".join(log.read_text().splitlines()[-20:])
        raise SystemExit(f"{module} {step} {count} failed with exit code {done.returncode}:\n{end}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return Figure(answer["jobs"], answer["seconds"], process_seconds)


def _plain_environment() -> dict[str, str]:
    """Without settings of jobqueue: its defaults are what is measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBS_")}
    kept.pop("DATABASE_URL", None)
    return kept
