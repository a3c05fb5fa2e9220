"""How many connections a worker keeps."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import event

from jobqueue import JobQueue
from jobqueue.adapters import connect
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.config import Settings
from jobqueue.job import registry
from jobqueue.maintenance import pruner
from jobqueue.worker.worker import Worker, new_worker_id
from tests.sample_jobs import Note, calls

WaitFor = Callable[[Callable[[], bool], str], None]
NAME = "counted by the test"


def test_an_idle_worker_process_keeps_one(
    postgres_url: str, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pruner and pump begin at the same time, and each of them with a connection of its own."""
    monkeypatch.setattr(pruner, "PRUNE_SECONDS", 0.2)
    calls.clear()
    adapter = connect(f"{postgres_url}&application_name={NAME.replace(' ', '%20')}")
    assert isinstance(adapter, PostgresAdapter)
    worker = Worker(
        adapter,
        registry,
        Settings(poll_interval=timedelta(seconds=0.05)),
        logging.getLogger("jobqueue"),
        supervised_as=new_worker_id(),
    )
    with psycopg.connect(postgres_url, autocommit=True) as connection:

        def number() -> int:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
            row = connection.execute(query, (NAME,)).fetchone()
            assert row is not None
            return int(row[0])

        thread = threading.Thread(target=worker.run)
        thread.start()
        with _three_in_use(adapter):
            assert number() >= 3
        wait_for(lambda: number() == 1, "it to keep one connection only")
        JobQueue(adapter).enqueue(Note)
        wait_for(lambda: calls == ["done"], "a job")
        worker.stop()
        thread.join()
        adapter.close()


@contextmanager
def _three_in_use(adapter: PostgresAdapter) -> Iterator[None]:
    with ExitStack() as used:
        for _ in range(3):
            used.enter_context(adapter.database.engine.connect())
        yield


@pytest.mark.timeout(20)
def test_spare_connections_are_closed_and_that_is_all(postgres_url: str, wait_for: WaitFor) -> None:
    adapter = connect(f"{postgres_url}&application_name=spare")
    assert isinstance(adapter, PostgresAdapter)
    made: list[object] = []
    event.listen(adapter.database.engine, "connect", lambda *_: made.append(None))
    with _three_in_use(adapter):
        pass
    for _ in range(3):
        adapter.close_spare_connections()
        adapter.ping()
    assert len(made) == 3
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'spare'"
    wait_for(
        lambda: adapter.database.read(lambda c: c.exec_driver_sql(query).scalar_one()) == 1,
        "the server to see that one is left",
    )
    adapter.close()


@pytest.mark.timeout(20)
def test_spare_connections_that_were_in_use_are_closed_later(
    postgres_url: str, wait_for: WaitFor
) -> None:
    adapter = connect(f"{postgres_url}&application_name=later")
    assert isinstance(adapter, PostgresAdapter)
    with _three_in_use(adapter):
        adapter.close_spare_connections()
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'later'"

    def is_one_left() -> bool:
        adapter.close_spare_connections()
        return bool(adapter.database.read(lambda c: c.exec_driver_sql(query).scalar_one()) == 1)

    wait_for(is_one_left, "one to be left")
    adapter.close()
