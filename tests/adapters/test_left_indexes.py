"""The index that a migration of a large table leaves to be made after it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.postgres.left_indexes import concurrently, left_indexes
from jobqueue.records import NewJob
from tests.adapters.test_migrations import run_script

INDEX = "background_jobs_error_idx"
FILL = """
INSERT INTO background_jobs (handler, run_at, created_at, updated_at)
SELECT 'Work', now(), now(), now() FROM generate_series(1, 20000)
"""
IS_BEING_MADE = "SELECT EXISTS (SELECT FROM pg_stat_progress_create_index)"
STATE = """
SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('background_jobs_error_idx')
"""
WAIT_SECONDS = 30
JOB = NewJob("Work", "{}", "default", 50, 5)


@pytest.fixture
def url(empty_postgres_url: str) -> str:
    return empty_postgres_url


@pytest.fixture
def adapter(url: str) -> Iterator[PostgresAdapter]:
    """Many jobs, in tables as the release before made them."""
    made = PostgresAdapter(url)
    made.migrate("0002")
    with psycopg.connect(url) as connection:
        connection.execute(FILL)
    yield made
    made.close()


def state(url: str) -> bool | None:
    """Whether the index is valid; None when there is none."""
    with psycopg.connect(url) as connection:
        row = connection.execute(STATE).fetchone()
        return None if row is None else bool(row[0])


def await_making(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        tick = threading.Event()
        for _ in range(WAIT_SECONDS * 100):
            row = connection.execute(IS_BEING_MADE).fetchone()
            if row is not None and row[0]:
                return
            tick.wait(0.01)
    raise TimeoutError("nobody makes an index")


def test_who_writes_jobs_waits_for_no_index(adapter: PostgresAdapter, url: str) -> None:
    """Somebody's old transaction holds up the index, and nobody else."""
    others = PostgresAdapter(url)
    with psycopg.connect(url) as somebody, ThreadPoolExecutor(1) as pool:
        somebody.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        somebody.execute("SELECT txid_current()")
        migrating = pool.submit(adapter.migrate)
        try:
            await_making(url)
            (job,) = others.enqueue([JOB])
            assert others.get(job.id) is not None
            assert not state(url)
            assert not migrating.done()
        finally:
            somebody.rollback()
        migrating.result(WAIT_SECONDS)
    others.close()
    assert state(url) is True


def test_one_that_was_killed_goes_on_when_it_is_run_again(
    adapter: PostgresAdapter, url: str
) -> None:
    adapter.migrate()
    with psycopg.connect(url, autocommit=True) as killed, psycopg.connect(url) as somebody:
        killed.execute(f"DROP INDEX {INDEX}".encode())
        somebody.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        somebody.execute("SELECT txid_current()")
        (index,) = left_indexes()
        statement = concurrently(index, None).encode()
        with ThreadPoolExecutor(1) as pool:
            making = pool.submit(killed.execute, statement)
            await_making(url)
            somebody.execute("SELECT pg_terminate_backend(%s)", (killed.info.backend_pid,))
            with pytest.raises(psycopg.OperationalError):
                making.result(WAIT_SECONDS)
    assert state(url) is False
    kinds = [ailment.kind for ailment in adapter.health().ailments if INDEX in ailment.what]
    assert kinds == ["invalid_index"]
    adapter.migrate()
    assert state(url) is True


def test_one_that_was_killed_before_the_index_was_begun(adapter: PostgresAdapter, url: str) -> None:
    adapter.migrate()
    with psycopg.connect(url) as connection:
        connection.execute(f"DROP INDEX {INDEX}".encode())
    adapter.migrate()
    assert state(url) is True


def test_an_index_that_another_makes_is_waited_for(adapter: PostgresAdapter, url: str) -> None:
    with psycopg.connect(url) as somebody, ThreadPoolExecutor(2) as pool:
        somebody.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        somebody.execute("SELECT txid_current()")
        others = PostgresAdapter(url)
        first = pool.submit(adapter.migrate)
        await_making(url)
        second = pool.submit(others.migrate)
        somebody.rollback()
        first.result(WAIT_SECONDS)
        second.result(WAIT_SECONDS)
        others.close()
    assert state(url) is True


def test_going_back_to_the_release_before_without_the_index(
    adapter: PostgresAdapter, url: str
) -> None:
    adapter.migrate()
    with psycopg.connect(url) as connection:
        connection.execute(f"DROP INDEX {INDEX}".encode())
    adapter.downgrade("0002")
    adapter.migrate()
    assert state(url) is True


def test_printed_statements_make_it_outside_the_transaction(
    adapter: PostgresAdapter, url: str
) -> None:
    script = adapter.migration_sql("0002")
    transaction, after = script.split("COMMIT;")
    assert INDEX not in transaction
    assert f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {INDEX}" in after
    run_script(url, script)
    assert state(url) is True
    assert "CONCURRENTLY" not in adapter.migration_sql()
    assert "CONCURRENTLY" not in adapter.migration_sql("0003")
