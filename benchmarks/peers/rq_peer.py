"""RQ: its SimpleWorker, which does not fork for each job, in burst mode, no results kept."""

# It is installed into an environment of its own, which the type checker does not see.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from redis import Redis
from rq import Queue, SimpleWorker

from benchmarks.peers import rq_jobs
from benchmarks.side import run_step

AT_ONCE = 10_000


def enqueue_one(url: str, jobs: int) -> Mapping[str, Any]:
    queue = _queue(url)
    started = time.perf_counter()
    for number in range(jobs):
        queue.enqueue(rq_jobs.no_op, number, result_ttl=0)
    return {"jobs": jobs, "seconds": time.perf_counter() - started}


def drain(url: str, jobs: int) -> Mapping[str, Any]:
    queue = _queue(url)
    for first in range(0, jobs, AT_ONCE):
        numbers = range(first, min(jobs, first + AT_ONCE))
        queue.enqueue_many(
            [Queue.prepare_data(rq_jobs.no_op, (number,), result_ttl=0) for number in numbers]
        )
    rq_jobs.counter.expected = jobs
    rq_jobs.counter.start()
    SimpleWorker([queue], connection=queue.connection).work(burst=True, logging_level="WARNING")
    return rq_jobs.counter.figures()


def _queue(path: str) -> Queue:
    return Queue(connection=Redis(unix_socket_path=path))


if __name__ == "__main__":
    run_step({"enqueue-one": enqueue_one, "drain": drain})
