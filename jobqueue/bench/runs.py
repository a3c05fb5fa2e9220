"""Runs of a benchmark: how fast jobs are enqueued and drained, and how soon one is performed.

Jobs go the same way as an application's: through the public API and a worker in this process.
Log lines are formatted as in production, and written to nowhere.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, cast

from jobqueue.adapters import Adapter
from jobqueue.adapters.scratch import scratch_beside
from jobqueue.app import JobQueue
from jobqueue.bench.figures import Benchmark, Figure, percentiles
from jobqueue.bench.jobs import NoOp, Ping
from jobqueue.bench.timed_turns import TimedTurns
from jobqueue.config import Settings
from jobqueue.log import set_up_logging
from jobqueue.processes.worker import attached_worker
from jobqueue.runner.attached import run_attached

if TYPE_CHECKING:
    from jobqueue.worker.worker import Worker

MOST_IN_ONE_CALL = 20_000
SHARE_OF_SINGLES = 10
SHARE_OF_PINGS = 100
PINGING_SECONDS = 10.0
PAUSE_SECONDS = (0.02, 0.08)

Show = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The conditions of a run.

    Args:
        adapter: a database without any jobs.
        settings: the worker's settings.
        jobs: how many jobs were asked for.
        show: called with the progress. It may raise to end the run.
    """

    adapter: Adapter
    settings: Settings
    jobs: int
    show: Show


def measure(
    benchmarks: Sequence[Benchmark], adapter: Adapter, settings: Settings, jobs: int, show: Show
) -> tuple[list[Figure], str]:
    """Measure in scratch tables beside an adapter's own, each run in empty ones.

    Args:
        benchmarks: what to measure.
        adapter: the database to measure. Its jobs are not touched.
        settings: the worker's settings, except for its queues.
        jobs: how many jobs.
        show: called with the progress. It may raise to end the runs.

    Returns:
        The figures, and the name and version of the database server.
    """
    figures, server = [], ""
    with _logged_to_nowhere(settings):
        for run in [one for benchmark in benchmarks for one in _runs_of(benchmark)]:
            with scratch_beside(adapter) as scratch:
                server = scratch.schema_status().server
                show("starting", 0, jobs)
                figures.append(run(Trial(scratch, settings, jobs, show)))
    return figures, server


@contextmanager
def _logged_to_nowhere(settings: Settings) -> Iterator[None]:
    """Format every log line as in production, and show none of them."""
    root = logging.getLogger()
    root.handlers.clear()
    logging.getLogger("jobqueue").handlers.clear()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        set_up_logging(settings.log_level, settings.log_format, nowhere)
        try:
            yield
        finally:
            root.handlers.clear()


def _runs_of(benchmark: Benchmark) -> Sequence[Callable[[Trial], Figure]]:
    """The runs that a benchmark consists of."""
    return {
        Benchmark.ENQUEUE: (enqueue_one_by_one, enqueue_in_bulk),
        Benchmark.DRAIN: (drain,),
        Benchmark.LATENCY: (latency,),
    }[benchmark]


def enqueue_one_by_one(trial: Trial) -> Figure:
    """Measure `perform_later`, which commits before it returns, with a tenth of the jobs."""
    number, queue = max(trial.jobs // SHARE_OF_SINGLES, 1), JobQueue(trial.adapter)
    title, durations = "enqueue, one by one", []
    started = before = time.perf_counter()
    for done in range(number):
        queue.enqueue(NoOp, done)
        now = time.perf_counter()
        durations.append(now - before)
        before = now
        trial.show(title, done + 1, number)
    rate = number / (before - started)
    return Figure("enqueue", title, number, rate, *percentiles(durations))


def enqueue_in_bulk(trial: Trial) -> Figure:
    """Measure `perform_all_later`, with all jobs at once."""
    title, started = "enqueue, in bulk", time.perf_counter()
    _fill(trial, title)
    return Figure("enqueue_bulk", title, trial.jobs, trial.jobs / (time.perf_counter() - started))


def drain(trial: Trial) -> Figure:
    """Measure one worker, from its first claim until the last job is settled."""
    _fill(trial, "drain, filling")
    timed = TimedTurns(trial.adapter, lambda done: trial.show("drain", done, trial.jobs))
    tally = run_attached(_worker(cast("Adapter", timed), trial.settings, until_idle=True))
    if tally.succeeded < trial.jobs:
        raise KeyboardInterrupt
    return Figure("drain", "drain", trial.jobs, trial.jobs / timed.seconds)


def latency(trial: Trial) -> Figure:
    """Measure the time from `perform_later` to the first line of `perform`, in an idle worker."""
    number, Ping.begun = max(trial.jobs // SHARE_OF_PINGS, 1), SimpleQueue()
    worker, over = _worker(trial.adapter, trial.settings), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        try:
            pinging = pool.submit(_ping_and_stop, trial, worker, number, over)
            run_attached(worker)
        finally:
            over.set()
            Ping.begun.put(None)
        durations = pinging.result()
    if not durations:
        raise KeyboardInterrupt
    return Figure("latency", "latency", len(durations), None, *percentiles(durations))


def _fill(trial: Trial, title: str) -> None:
    for first in range(0, trial.jobs, MOST_IN_ONE_CALL):
        trial.show(title, first, trial.jobs)
        numbers = range(first, min(first + MOST_IN_ONE_CALL, trial.jobs))
        NoOp().enqueue_calls([(number,) for number in numbers], trial.adapter)


def _worker(adapter: Adapter, settings: Settings, *, until_idle: bool = False) -> Worker:
    """A worker on all queues: the configured ones are those of the application's jobs."""
    return attached_worker(adapter, replace(settings, queues=None), until_idle=until_idle)


def _ping_and_stop(trial: Trial, worker: Worker, number: int, over: threading.Event) -> list[float]:
    """Enqueue one job at a time for an idle worker, and return how long each took.

    Returns nothing if it was interrupted.
    """
    queue = JobQueue(trial.adapter)
    try:
        durations: list[float] = []
        if _ping(queue) is None:  # the first finds the worker starting, and does not count
            return durations
        deadline = time.perf_counter() + PINGING_SECONDS
        while len(durations) < number and (not durations or time.perf_counter() < deadline):
            over.wait(random.uniform(*PAUSE_SECONDS))  # noqa: S311 - not in step with anything
            duration = _ping(queue)
            if duration is None or over.is_set():
                return []
            durations.append(duration)
            trial.show("latency", len(durations), number)
        return durations
    finally:
        worker.stop()


def _ping(queue: JobQueue) -> float | None:
    started = time.perf_counter()
    queue.enqueue(Ping, 1)
    begun = Ping.begun.get()
    return None if begun is None else begun - started
