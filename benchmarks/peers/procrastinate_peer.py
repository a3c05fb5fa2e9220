"""Procrastinate: async tasks on a psycopg pool, succeeded jobs deleted."""

# It is installed into an environment of its own, which the type checker does not see.
# mypy: disable-error-code="import-not-found, untyped-decorator"

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from benchmarks.peers.counting import Counter
from benchmarks.side import run_step

CONCURRENCY = 10
LATER = """
INSERT INTO procrastinate_jobs (queue_name, task_name, args, scheduled_at)
SELECT 'default', 'no_op', jsonb_build_object('number', n), now() + interval '1 day'
FROM generate_series(1, {later}) AS n
"""


def enqueue_one(url: str, jobs: int) -> Mapping[str, Any]:
    app = App(connector=SyncPsycopgConnector(conninfo=url))

    @app.task(name="no_op", queue="default")
    def no_op(number: int) -> None:
        pass

    with app.open():
        app.schema_manager.apply_schema()
        no_op.defer(number=-1)
        started = time.perf_counter()
        for number in range(jobs):
            no_op.defer(number=number)
        return {"jobs": jobs, "seconds": time.perf_counter() - started}


def drain(url: str, jobs: int, later: int) -> Mapping[str, Any]:
    return asyncio.run(_drain(url, jobs, later))


async def _drain(url: str, jobs: int, later: int) -> Mapping[str, Any]:
    app = App(connector=PsycopgConnector(conninfo=url, max_size=CONCURRENCY + 2))
    counter = Counter(jobs)

    @app.task(name="no_op", queue="default")
    async def no_op(number: int) -> None:  # noqa: ARG001 - a job's argument
        counter()

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await no_op.batch_defer_async(*({"number": number} for number in range(jobs)))
        _add_later(url, later)
        counter.start()
        await app.run_worker_async(
            concurrency=CONCURRENCY,
            wait=False,
            delete_jobs="successful",
            install_signal_handlers=False,
        )
    return counter.figures()


def _add_later(url: str, later: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        if later:
            connection.execute(LATER.format(later=later).encode())
        connection.execute("ANALYZE procrastinate_jobs")
        connection.execute("ANALYZE procrastinate_events")


if __name__ == "__main__":
    run_step({"enqueue-one": enqueue_one, "drain": drain})
