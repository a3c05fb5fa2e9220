"""PgQueuer: asyncpg, uvloop, and batches of 100."""

# It is installed into an environment of its own, which the type checker does not see.
# mypy: disable-error-code="import-not-found, no-any-return, untyped-decorator"

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

from benchmarks.peers.counting import Counter
from benchmarks.side import run_step

BATCH = 100
AT_ONCE = 10_000


def enqueue_one(url: str, jobs: int) -> Mapping[str, Any]:
    return uvloop.run(_enqueue_one(url, jobs))


async def _enqueue_one(url: str, jobs: int) -> Mapping[str, Any]:
    queries = await _queries(url)
    started = time.perf_counter()
    for number in range(jobs):
        await queries.enqueue("no_op", _payload(number))
    return {"jobs": jobs, "seconds": time.perf_counter() - started}


def drain(url: str, jobs: int, later: int) -> Mapping[str, Any]:
    return uvloop.run(_drain(url, jobs, later))


async def _drain(url: str, jobs: int, later: int) -> Mapping[str, Any]:
    queries = await _queries(url)
    await _enqueue(queries, jobs, None)
    await _enqueue(queries, later, timedelta(days=1))
    await queries.driver.execute("ANALYZE")
    counter = Counter(jobs)
    pgq = PgQueuer(queries.driver)
    # With jobs for later in the table it does not notice by itself that nothing is due.
    counter.done = pgq.shutdown.set

    @pgq.entrypoint("no_op")
    async def no_op(job: Job) -> None:
        json.loads(job.payload or b"")
        counter()

    counter.start()
    await pgq.run(
        batch_size=BATCH, dequeue_timeout=timedelta(seconds=1), mode=QueueExecutionMode.drain
    )
    return counter.figures()


async def _queries(url: str) -> Queries:
    queries = Queries(AsyncpgDriver(await asyncpg.connect(url)))
    await queries.install()
    return queries


async def _enqueue(queries: Queries, jobs: int, after: timedelta | None) -> None:
    for first in range(0, jobs, AT_ONCE):
        numbers = range(first, min(jobs, first + AT_ONCE))
        await queries.enqueue(
            ["no_op"] * len(numbers),
            [_payload(number) for number in numbers],
            [0] * len(numbers),
            [after] * len(numbers),
        )


def _payload(number: int) -> bytes:
    return json.dumps({"number": number}).encode()


if __name__ == "__main__":
    run_step({"enqueue-one": enqueue_one, "drain": drain})
