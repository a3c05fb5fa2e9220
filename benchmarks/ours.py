"""Our side: the public API as an application uses it, with every default as it is in production."""

from __future__ import annotations

import time
from collections.abc import Sequence

import jobqueue
from benchmarks.noop import NoOp
from benchmarks.side import check, run_step
from jobqueue.adapters import Adapter, connect
from jobqueue.log import set_up_logging
from jobqueue.records import Claim, JobFilter, Outcome, Succeeded, Turn
from jobqueue.runner.attached import run_attached


def enqueue_one(url: str, jobs: int) -> float:
    """`perform_later`, each committed before it returns."""
    adapter = _configured(url)
    started = time.perf_counter()
    for number in range(jobs):
        NoOp.perform_later(number)
    seconds = time.perf_counter() - started
    check(adapter.count_jobs(JobFilter()), jobs, "stored")
    return seconds


def enqueue_bulk(url: str, jobs: int) -> float:
    """One `perform_all_later`."""
    adapter = _configured(url)
    started = time.perf_counter()
    NoOp.perform_all_later([(number,) for number in range(jobs)])
    seconds = time.perf_counter() - started
    check(adapter.count_jobs(JobFilter()), jobs, "stored")
    return seconds


def drain(url: str, jobs: int) -> float:
    """`jobs workoff`, the command itself, from its first claim to its last settle."""
    from jobqueue.cli import app as command

    stopwatch = Stopwatch(type(connect(url)))
    command(["workoff", "--app", "benchmarks.noop", "--database-url", url], standalone_mode=False)
    return _checked(stopwatch, connect(url), jobs)


def fill_and_drain(url: str, jobs: int) -> float:
    """As `drain`, in memory: its jobs are known to this process only, so that no command can."""
    adapter = _configured(url)
    NoOp.perform_all_later([(number,) for number in range(jobs)])
    queue = jobqueue.JobQueue(adapter)
    set_up_logging(queue.settings.log_level, queue.settings.log_format)
    stopwatch = Stopwatch(type(adapter))
    run_attached(queue.worker(until_idle=True))
    return _checked(stopwatch, adapter, jobs)


class Stopwatch:
    """Runs from the beginning of the first turn to the end of the last that settled something."""

    def __init__(self, adapter_class: type[Adapter]) -> None:
        self.succeeded = 0
        self._started = self._settled = 0.0
        turn = adapter_class.turn

        def watched(adapter: Adapter, outcomes: Sequence[Outcome], claim: Claim | None) -> Turn:
            self._started = self._started or time.perf_counter()
            done = turn(adapter, outcomes, claim)
            if outcomes:
                self._settled = time.perf_counter()
                self.succeeded += sum(isinstance(outcome, Succeeded) for outcome in outcomes)
            return done

        adapter_class.turn = watched  # type: ignore[method-assign, assignment]

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return self._settled - self._started


def _configured(url: str) -> Adapter:
    """The default adapter, connected, as the bare script's connection is before its clock runs."""
    adapter = connect(url)
    jobqueue.configure(adapter=adapter)
    adapter.ping()
    return adapter


def _checked(stopwatch: Stopwatch, adapter: Adapter, jobs: int) -> float:
    check(stopwatch.succeeded, jobs, "performed")
    check(adapter.count_jobs(JobFilter()), 0, "left")
    return stopwatch.seconds


if __name__ == "__main__":
    run_step(
        {
            "enqueue-one": enqueue_one,
            "enqueue-bulk": enqueue_bulk,
            "drain": drain,
            "fill-and-drain": fill_and_drain,
        }
    )
