"""Celery with Redis: the solo pool, a long prefetch, no results, no gossip, no heartbeats."""

# It is installed into an environment of its own, which the type checker does not see.
# mypy: disable-error-code="import-not-found, untyped-decorator"

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from celery import Celery
from celery.worker import state

from benchmarks.peers.counting import Counter
from benchmarks.side import run_step

PREFETCH = 128
OPTIONS = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING")


def enqueue_one(url: str, jobs: int) -> Mapping[str, Any]:
    no_op = _no_op(_app(url), Counter())
    started = time.perf_counter()
    for number in range(jobs):
        no_op.delay(number)
    return {"jobs": jobs, "seconds": time.perf_counter() - started}


def drain(url: str, jobs: int) -> Mapping[str, Any]:
    app, counter = _app(url), Counter(jobs, _stop)
    no_op = _no_op(app, counter)
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(jobs):
            no_op.apply_async((number,), producer=producer)
    try:
        app.worker_main(["worker", "--pool=solo", "--concurrency=1", *OPTIONS])
    except SystemExit as ending:
        if ending.code:
            raise
    return counter.figures()


def _app(path: str) -> Celery:
    app = Celery("benchmark", broker=f"redis+socket://{path}")
    app.conf.update(
        task_ignore_result=True,
        worker_prefetch_multiplier=PREFETCH,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
    )
    return app


def _no_op(app: Celery, counter: Counter) -> Any:
    @app.task(name="no_op")
    def no_op(number: int) -> None:  # noqa: ARG001 - a job's argument
        counter()

    return no_op


def _stop() -> None:
    state.should_stop = 0


if __name__ == "__main__":
    run_step({"enqueue-one": enqueue_one, "drain": drain})
