"""Many coroutines at a time on PostgreSQL, as one would write it by hand.

A thread settles and claims, in one statement, as in `postgres.py`; the event loop performs.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from queue import SimpleQueue
from typing import Any

import psycopg

from benchmarks.bare.postgres import TURN, Batch
from benchmarks.side import run_step

SLEEP_SECONDS = 0.01
ENDS: list[tuple[int, str] | None] = [None]


def drain(url: str, concurrency: int) -> Mapping[str, Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        return asyncio.run(_drain(connection, concurrency))


async def _drain(connection: psycopg.Connection, concurrency: int) -> Mapping[str, Any]:
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[tuple[int, str] | None] = asyncio.Queue()
    performed: SimpleQueue[int] = SimpleQueue()
    count = 0

    async def perform_jobs() -> None:
        nonlocal count
        while job := await waiting.get():
            job_id, args = job
            await sleep(**json.loads(args))
            count += 1
            performed.put(job_id)

    def hand_over(jobs: Batch) -> None:
        for job in jobs or ENDS * concurrency:
            waiting.put_nowait(job)

    def pump() -> None:
        held = 0
        while True:
            done = _all_of(performed, wait=held >= 2 * concurrency)
            room = 2 * concurrency - held + len(done)
            jobs = sorted(connection.execute(TURN, (done, room)).fetchall())
            held += len(jobs) - len(done)
            if jobs or held == 0:
                loop.call_soon_threadsafe(hand_over, jobs)
            if held == 0:
                return

    started = time.monotonic()
    thread = threading.Thread(target=pump)
    thread.start()
    await asyncio.gather(*(perform_jobs() for _ in range(concurrency)))
    thread.join()
    return {"jobs": count, "started": started, "ended": time.monotonic()}


def _all_of(performed: SimpleQueue[int], *, wait: bool) -> list[int]:
    """What has been performed by now; at least one if it is to be waited for."""
    done = [performed.get()] if wait else []
    while not performed.empty():
        done.append(performed.get())
    return done


async def sleep(number: int) -> None:  # noqa: ARG001 - a job's argument
    await asyncio.sleep(SLEEP_SECONDS)


if __name__ == "__main__":
    run_step({"drain": drain})
