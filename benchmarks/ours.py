"""Our side: the public API as an application uses it, with every default as it is in production.

Draining is not here: that is the command `jobs workoff` itself (`commands.py`).
"""

from __future__ import annotations

import os
import random
import secrets
import socket
import string
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jobqueue
from benchmarks.jobs import NoOp, Payload, Stamp
from benchmarks.side import check, percentile, run_step
from benchmarks.watched import Recorder
from jobqueue.adapters import Adapter, connect
from jobqueue.log import set_up_logging
from jobqueue.records import Claim, JobFilter, Succeeded
from jobqueue.runner.attached import run_attached

Figures = Mapping[str, Any]
LOST_SECONDS = 60


def enqueue_one(url: str, jobs: int) -> Figures:
    """`perform_later`, each committed before it returns."""
    adapter = _configured(url)
    started = time.perf_counter()
    for number in range(jobs):
        NoOp.perform_later(number)
    seconds = time.perf_counter() - started
    check(adapter.count_jobs(JobFilter()), jobs, "stored")
    return {"jobs": jobs, "seconds": seconds}


def enqueue_bulk(url: str, jobs: int) -> Figures:
    """One `perform_all_later`."""
    adapter = _configured(url)
    started = time.perf_counter()
    NoOp.perform_all_later([(number,) for number in range(jobs)])
    seconds = time.perf_counter() - started
    check(adapter.count_jobs(JobFilter()), jobs, "stored")
    return {"jobs": jobs, "seconds": seconds}


def enqueue_payloads(url: str, jobs: int, size: int) -> Figures:
    """`perform_all_later` of text that does not compress to nothing, 1,000 jobs or 10 MB a call."""
    adapter = _configured(url)
    text = "".join(random.choices(string.ascii_letters, k=size))
    at_once = max(1, min(1000, 10_000_000 // size))
    started = time.perf_counter()
    for first in range(0, jobs, at_once):
        Payload.perform_all_later([(text,)] * min(at_once, jobs - first))
    seconds = time.perf_counter() - started
    check(adapter.count_jobs(JobFilter()), jobs, "stored")
    return {"jobs": jobs, "seconds": seconds}


def fill_and_drain(url: str, jobs: int) -> Figures:
    """Drain memory: its jobs are known to this process only, so that no command can."""
    adapter = _configured(url)
    NoOp.perform_all_later([(number,) for number in range(jobs)])
    queue = jobqueue.JobQueue(adapter)
    set_up_logging(queue.settings.log_level, queue.settings.log_format)
    recorder = Recorder()
    recorder.watch(type(adapter))
    run_attached(queue.worker(until_idle=True))
    check(recorder.succeeded, jobs, "performed")
    return {"jobs": jobs, "seconds": recorder.marks[-1][0] - recorder.started}


def adapter_alone(url: str, jobs: int, batch: int) -> Figures:
    """Turns of the adapter, one after the other, so many jobs to each, and nothing performed."""
    adapter = _configured(url)
    outcomes: list[Succeeded] = []
    settled = 0
    started = time.perf_counter()
    while True:
        claim = Claim("benchmark", secrets.randbits(63), batch, batch)
        claimed = adapter.turn(outcomes, claim).claimed
        settled += len(outcomes)
        if not claimed:
            break
        outcomes = [Succeeded(job) for job in claimed]
    seconds = time.perf_counter() - started
    check(settled, jobs, "settled")
    check(adapter.count_jobs(JobFilter()), 0, "left")
    return {"jobs": jobs, "seconds": seconds}


def latency(url: str, samples: int, shortest_gap: float, longest_gap: float) -> Figures:
    """From before `perform_later` to the first line of `perform`, the worker idle before each.

    The first finds out when the worker is there; it is not counted.
    """
    _configured(url)
    seconds = []
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        path = str(Path(folder) / "s")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.bind(path)
            channel.settimeout(LOST_SECONDS)
            for _ in range(samples + 1):
                time.sleep(random.uniform(shortest_gap, longest_gap))
                sent = time.monotonic()
                Stamp.perform_later(path)
                seconds.append(float(channel.recv(64)) - sent)
    counted = seconds[1:]
    return {"p50": percentile(counted, 0.5) * 1000, "p99": percentile(counted, 0.99) * 1000}


def bare_import(url: str) -> Figures:
    """The memory of a process that has imported what a worker needs, and has connected."""
    import psutil

    adapter = connect(url)
    adapter.ping()
    from jobqueue.worker.worker import Worker

    assert Worker.__name__, "imported"
    return {"megabytes": psutil.Process(os.getpid()).memory_info().rss / 2**20}


def _configured(url: str) -> Adapter:
    """The default adapter, connected, as the bare script's connection is before its clock runs."""
    adapter = connect(url)
    jobqueue.configure(adapter=adapter)
    adapter.ping()
    return adapter


if __name__ == "__main__":
    run_step(
        {
            "enqueue-one": enqueue_one,
            "enqueue-bulk": enqueue_bulk,
            "enqueue-payloads": enqueue_payloads,
            "fill-and-drain": fill_and_drain,
            "adapter-alone": adapter_alone,
            "latency": latency,
            "bare-import": bare_import,
        }
    )
