"""Measuring a database: how fast jobs are enqueued and drained, and how soon one is performed.

Everything goes the way that an application's jobs go: the public API, and a worker in this
process, with the log lines of production written to nowhere.
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
from typing import Any, ClassVar, cast

from jobqueue.adapters import Adapter
from jobqueue.app import JobQueue
from jobqueue.cli.bench import Benchmark
from jobqueue.config import Settings
from jobqueue.defaults import default_configuration
from jobqueue.job import Job, registry
from jobqueue.log import set_up_logging
from jobqueue.records import Claim, Outcome, Turn
from jobqueue.runner.alarm import SignalAlarm
from jobqueue.runner.attached import run_attached
from jobqueue.worker.worker import Worker

MOST_IN_ONE_CALL = 20_000
SHARE_OF_SINGLES = 10
SHARE_OF_PINGS = 100
PINGING_SECONDS = 10.0
PAUSE_SECONDS = (0.02, 0.08)
MILLISECONDS = 1000.0

Tell = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured.

    Args:
        name: `enqueue`, `enqueue_bulk`, `drain` or `latency`.
        title: the same for people.
        jobs: how many it was measured on.
        jobs_per_second: the rate; None for latency.
        p50_ms: what half of the jobs stayed under, in milliseconds; None where only all of them
            together were measured.
        p99_ms: what 99 of 100 stayed under.
    """

    name: str
    title: str
    jobs: int
    jobs_per_second: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None


class NoOp(Job):
    """What is enqueued and drained. Its argument is checked, stored and decoded as any."""

    def perform(self, number: int) -> None:
        """Do nothing."""


class Ping(Job):
    """What latency is measured with."""

    begun: ClassVar[SimpleQueue[float | None]]

    def perform(self, number: int) -> None:  # noqa: ARG002 - it has an argument as NoOp has
        """Say when it was begun."""
        self.begun.put(time.perf_counter())


@dataclass(frozen=True, slots=True)
class Trial:
    """What something is measured on.

    Args:
        adapter: without any jobs.
        settings: those that the worker is to have.
        jobs: how many jobs were asked for.
        tell: told how far it is.
    """

    adapter: Adapter
    settings: Settings
    jobs: int
    tell: Tell


@contextmanager
def logged_to_nowhere(settings: Settings) -> Iterator[None]:
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


def measurements(benchmark: Benchmark) -> Sequence[Callable[[Trial], Figure]]:
    """What a benchmark is made of."""
    return {
        Benchmark.ENQUEUE: (enqueue_one_by_one, enqueue_in_bulk),
        Benchmark.DRAIN: (drain,),
        Benchmark.LATENCY: (latency,),
    }[benchmark]


def enqueue_one_by_one(trial: Trial) -> Figure:
    """`perform_later`, each committed before it returns; a tenth of the jobs."""
    number, queue = max(trial.jobs // SHARE_OF_SINGLES, 1), JobQueue(trial.adapter)
    title, durations = "enqueue, one by one", []
    started = before = time.perf_counter()
    for done in range(number):
        queue.enqueue(NoOp, done)
        now = time.perf_counter()
        durations.append(now - before)
        before = now
        trial.tell(title, done + 1, number)
    rate = number / (before - started)
    return Figure("enqueue", title, number, rate, *_percentiles(durations))


def enqueue_in_bulk(trial: Trial) -> Figure:
    """`perform_all_later`."""
    title, started = "enqueue, in bulk", time.perf_counter()
    _fill(trial, title)
    return Figure("enqueue_bulk", title, trial.jobs, trial.jobs / (time.perf_counter() - started))


def drain(trial: Trial) -> Figure:
    """One worker, from its first claim until the last job is settled."""
    _fill(trial, "drain, filling")
    watched = _WatchedTurns(trial.adapter, lambda done: trial.tell("drain", done, trial.jobs))
    tally = run_attached(_worker(cast("Adapter", watched), trial.settings, until_idle=True))
    if tally.succeeded < trial.jobs:
        raise KeyboardInterrupt
    return Figure("drain", "drain", trial.jobs, trial.jobs / watched.seconds)


def latency(trial: Trial) -> Figure:
    """From the call of `perform_later` to the first line of `perform`, in an idle worker."""
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
    return Figure("latency", "latency", len(durations), None, *_percentiles(durations))


def _fill(trial: Trial, title: str) -> None:
    for first in range(0, trial.jobs, MOST_IN_ONE_CALL):
        trial.tell(title, first, trial.jobs)
        numbers = range(first, min(first + MOST_IN_ONE_CALL, trial.jobs))
        NoOp().enqueue_calls([(number,) for number in numbers], trial.adapter)


def _worker(adapter: Adapter, settings: Settings, *, until_idle: bool = False) -> Worker:
    """As `jobqueue workoff` has it, but for the queues, whose names are not those of these jobs."""
    return Worker(
        adapter,
        registry,
        replace(settings, queues=None),
        default_configuration.logger,
        until_idle=until_idle,
        alarm=SignalAlarm(),
    )


class _WatchedTurns:
    """An adapter whose turns are timed, and the jobs that they settle counted."""

    def __init__(self, adapter: Adapter, tell: Callable[[int], None]) -> None:
        self._adapter, self._tell = adapter, tell
        self._settled = 0
        self._first = self._last = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    def turn(self, outcomes: Sequence[Outcome], claim: Claim | None) -> Turn:
        """See `Adapter.turn`."""
        self._first = self._first or time.perf_counter()
        turn = self._adapter.turn(outcomes, claim)
        if outcomes:
            self._last = time.perf_counter()
            self._settled += len(outcomes)
            self._tell(self._settled)
        return turn

    @property
    def seconds(self) -> float:
        """From the beginning of the first turn to the end of the last that settled something."""
        return self._last - self._first


def _ping_and_stop(trial: Trial, worker: Worker, number: int, over: threading.Event) -> list[float]:
    """Enqueue a job at a time, each into an idle worker; how long each took, if not interrupted."""
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
            trial.tell("latency", len(durations), number)
        return durations
    finally:
        worker.stop()


def _ping(queue: JobQueue) -> float | None:
    started = time.perf_counter()
    queue.enqueue(Ping, 1)
    begun = Ping.begun.get()
    return None if begun is None else begun - started


def _percentiles(durations: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile, in milliseconds."""
    ordered = sorted(durations)
    middle, high = (ordered[int((len(ordered) - 1) * share)] for share in (0.5, 0.99))
    return middle * MILLISECONDS, high * MILLISECONDS
