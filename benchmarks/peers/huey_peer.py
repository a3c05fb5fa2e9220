"""Huey on SQLite: one thread, no results stored, every commit synced."""

# It is installed into an environment of its own, which the type checker does not see.
# mypy: disable-error-code="import-not-found, untyped-decorator"

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Mapping
from typing import Any

from huey import SqliteHuey

from benchmarks.peers.counting import Counter
from benchmarks.side import FOR_EVER_SECONDS, run_step

SHORTEST_POLL_SECONDS = 0.01
LONGEST_DRAIN_SECONDS = 3600
LATER = """
INSERT INTO schedule (queue, data, timestamp)
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {later})
SELECT (SELECT queue FROM task LIMIT 1), (SELECT data FROM task LIMIT 1), {tomorrow} FROM numbers
"""


def enqueue_one(url: str, jobs: int) -> Mapping[str, Any]:
    huey = _huey(url)
    no_op = huey.task()(_no_op)
    started = time.perf_counter()
    for number in range(jobs):
        no_op(number)
    return {"jobs": jobs, "seconds": time.perf_counter() - started}


def drain(url: str, jobs: int, later: int) -> Mapping[str, Any]:
    huey = _huey(url)
    ended = threading.Event()
    counter = Counter(jobs, ended.set)

    @huey.task()
    def no_op(number: int) -> None:  # noqa: ARG001 - a job's argument
        counter()

    for number in range(jobs):
        no_op(number)
    _add_later(url, later)
    consumer = huey.create_consumer(
        workers=1,
        worker_type="thread",
        periodic=False,
        initial_delay=SHORTEST_POLL_SECONDS,
    )
    counter.start()
    consumer.start()
    ended.wait(LONGEST_DRAIN_SECONDS)
    consumer.stop(graceful=True)
    return counter.figures()


def _no_op(number: int) -> None:
    pass


def _huey(url: str) -> SqliteHuey:
    path = url.removeprefix("sqlite:///")
    return SqliteHuey(filename=path, results=False, fsync=True, timeout=FOR_EVER_SECONDS)


def _add_later(url: str, later: int) -> None:
    if later:
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute(LATER.format(later=later, tomorrow=time.time() + 86_400))
        connection.close()


if __name__ == "__main__":
    run_step({"enqueue-one": enqueue_one, "drain": drain})
