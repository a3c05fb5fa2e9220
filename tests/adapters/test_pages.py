"""Pages and capped counts on SQL databases: all of it is found, and little is looked at.

The windows are made small here, so that tables need not be large.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import event

from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.sql import database, depths, pages
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.errors import DatabaseUnavailable
from jobqueue.records import Count, JobFilter, JobState
from jobqueue.testing import AdapterContract
from tests.adapters.explaining import Plan
from tests.conftest import build_adapter, new_postgres_database

contract: Any = sys.modules[AdapterContract.__module__ + ".reads"]
WINDOW = 200
READY, RUNNING = JobState.READY, JobState.RUNNING
SUCCEEDED, FAILED, CANCELLED = JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED
HOUR = timedelta(hours=1)

FILTERS = {
    "everything": JobFilter(),
    "from the middle": JobFilter(before_id=8_000),
    "what failed, long ago": JobFilter(states=(FAILED,)),
    "what waits, below what was kept": JobFilter(states=(READY,)),
    "what runs": JobFilter(states=(RUNNING,)),
    "what succeeded": JobFilter(states=(SUCCEEDED,)),
    "the few cancelled": JobFilter(states=(CANCELLED,)),
    "what is finished": JobFilter(states=(SUCCEEDED, FAILED, CANCELLED)),
    "a queue": JobFilter(queues=("a",)),
    "a queue that waits": JobFilter(queues=("b",), states=(READY,)),
    "a rare queue": JobFilter(queues=("rare",)),
    "no such queue": JobFilter(queues=("none",)),
    "a class": JobFilter(handlers=("A",)),
    "a rare class": JobFilter(handlers=("Rare",)),
    "two classes": JobFilter(handlers=("A", "Rare")),
    "no such class": JobFilter(handlers=("None",)),
    "a class that failed in a queue": JobFilter(None, (FAILED,), ("b",), ("A",)),
    "due": JobFilter(due=True),
    "a group of errors": JobFilter(error_keys=("many",)),
    "what failed of a group": JobFilter(states=(FAILED,), error_keys=("many",)),
    "a rare group": JobFilter(error_keys=("few",), before_id=14_000),
    "two groups": JobFilter(error_keys=("few", "many"), queues=("a",)),
    "no such group": JobFilter(error_keys=("none",)),
    "by ids of a group": JobFilter(ids=tuple(range(1, 15_000, 250)), error_keys=("many",)),
    "by ids": JobFilter(ids=tuple(range(1, 15_000, 250))),
}
# What was enqueued first comes first. In each: class, queue, state, group of errors, how many.
KINDS = (
    ("Rare", "a", "cancelled", "NULL", 3),
    ("A", "a", "failed", "'many'", 5_000),
    ("Rare", "a", "failed", "'few'", 4),
    ("A", "b", "ready", "'many'", 5_000),
    ("Rare", "rare", "ready", "NULL", 5),
    ("A", "b", "running", "NULL", 5),
    ("B", "a", "succeeded", "NULL", 5_000),
)


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "WINDOW", WINDOW)
    monkeypatch.setattr(depths, "MOST_ROWS", WINDOW)


def fill(connection: Any, placeholder: str) -> None:
    """The kinds, written with a placeholder of the driver's; the same on both databases."""
    for handler, queue, state, error_key, number in KINDS:
        finished = "NULL" if state in {"ready", "running"} else "'2026-01-31 12:00:00.000000'"
        worker = "'w'" if state == "running" else "NULL"
        connection.execute(
            f"""
            WITH RECURSIVE numbers (n) AS (
                SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {placeholder})
            INSERT INTO background_jobs
                (handler, queue, state, finished_at, locked_by, error_key, run_at, created_at,
                 updated_at)
            SELECT '{handler}', '{queue}', '{state}', {finished}, {worker}, {error_key},
                   '2026-01-31 12:00:00.000000', '2026-01-31 12:00:00.000000',
                   '2026-01-31 12:00:00.000000'
            FROM numbers
            """,
            (number,),
        )


# --- PostgreSQL: what is looked at ---------------------------------------------------------------


@pytest.fixture(scope="module", params=["never analyzed", "analyzed"])
def table(request: pytest.FixtureRequest, postgres_server: str) -> Iterator[PostgresAdapter]:
    with new_postgres_database(postgres_server) as url:
        adapter = PostgresAdapter(url)
        adapter.migrate()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER TABLE background_jobs SET (autovacuum_enabled = off)")
            fill(connection, "%s::int")
            if request.param == "analyzed":
                connection.execute("ANALYZE background_jobs")
        yield adapter
        adapter.close()


def plans_of(adapter: PostgresAdapter, read: Callable[[], Any]) -> list[Plan]:
    """How each statement of a read on jobs is executed."""
    sent: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        sent.append((statement, values))

    event.listen(adapter.database.engine, "before_cursor_execute", note)
    try:
        read()
    finally:
        event.remove(adapter.database.engine, "before_cursor_execute", note)
    explain = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) "

    def explained(connection: Any) -> list[Any]:
        return [
            connection.exec_driver_sql(explain + statement, values).scalar_one()
            for statement, values in sent
            if "background_jobs" in statement
        ]

    return [Plan(one[0]["Plan"]) for one in adapter.database.look(explained)]


def assert_looks_at_little(plans: list[Plan]) -> None:
    assert plans
    for plan in plans:
        assert not plan.scans_whole_table(), plan.root
    # Five lanes, each counted, walked along and looked at where the walk ended.
    assert sum(plan.rows_touched for plan in plans) <= 5 * 3 * WINDOW + 500
    assert sum(plan.pages for plan in plans) <= 5 * 3 * WINDOW + 2_000


@pytest.mark.parametrize("where", FILTERS.values(), ids=FILTERS)
def test_pages_and_counts_look_at_little(table: PostgresAdapter, where: JobFilter) -> None:
    assert_looks_at_little(plans_of(table, lambda: table.page_jobs(where, 50)))
    assert_looks_at_little(plans_of(table, lambda: table.count_up_to(where, WINDOW)))


def test_depths_and_single_jobs_look_at_little(table: PostgresAdapter) -> None:
    assert_looks_at_little(plans_of(table, lambda: table.queue_depths(WINDOW)))
    assert_looks_at_little(plans_of(table, lambda: table.get(8_000)))
    assert_looks_at_little(plans_of(table, lambda: table.running_jobs(100)))
    assert_looks_at_little(plans_of(table, lambda: table.lane_depths(WINDOW)))
    assert_looks_at_little(plans_of(table, lambda: table.lane_depths(WINDOW, "b")))
    [last] = table.list_jobs(JobFilter(queues=("b",), states=(READY,)), 1)
    assert table.due_before(last, WINDOW) == Count(WINDOW, more=True)
    assert_looks_at_little(plans_of(table, lambda: table.due_before(last, WINDOW)))
    # What becomes of attempts is read beside the jobs.
    assert plans_of(table, lambda: table.stats(HOUR)) == []
    assert plans_of(table, lambda: table.class_stats(HOUR)) == []
    assert plans_of(table, lambda: table.samples(HOUR)) == []


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("a rare group", 4),
        ("what failed, long ago", 50),
        ("the few cancelled", 3),
        ("what runs", 5),
    ],
)
def test_what_is_buried_is_found_at_once(table: PostgresAdapter, name: str, number: int) -> None:
    assert len(table.page_jobs(FILTERS[name], 50).jobs) == number


def test_counts_stop_at_the_limit(table: PostgresAdapter) -> None:
    assert table.count_up_to(JobFilter(states=(FAILED,)), WINDOW) == Count(WINDOW, more=True)
    assert table.count_up_to(JobFilter(states=(RUNNING,)), WINDOW) == Count(5)
    by_name = {depth.queue: depth for depth in table.queue_depths(WINDOW)}
    assert (by_name["b"].due, by_name["b"].more, by_name["b"].running) == (100, True, 5)
    assert (by_name["rare"].due, by_name["rare"].more) == (5, False)
    assert by_name["b"].oldest_age > HOUR


def test_a_read_that_takes_too_long_is_given_up(
    table: PostgresAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue.adapters.postgres.database.LONGEST_LOOK_MS", 20)
    with pytest.raises(DatabaseUnavailable, match="statement timeout"):
        table.database.look(lambda c: c.exec_driver_sql("SELECT pg_sleep(5)"))
    assert table.database.look(lambda c: c.exec_driver_sql("SELECT 1").scalar_one()) == 1


# --- both: nothing is missed ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled_sqlite(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Any
) -> Iterator[SqlAdapter]:
    from jobqueue.adapters.sqlite.adapter import SqliteAdapter

    path = tmp_path_factory.mktemp("pages") / "jobs.sqlite3"
    path.write_bytes(migrated_sqlite.read_bytes())
    adapter = SqliteAdapter(f"sqlite:///{path}")
    adapter.database.write(lambda c: fill(c.connection.driver_connection, "?"))
    yield adapter
    adapter.close()


def all_ids(adapter: SqlAdapter, where: JobFilter) -> list[int]:
    found: list[int] = []
    before = where.before_id
    while True:
        page = adapter.page_jobs(replace(where, before_id=before), 200)
        found += [job.id for job in page.jobs]
        assert before is None or page.next_before_id is None or page.next_before_id < before
        before = page.next_before_id
        if before is None:
            return found


MISSING_NOTHING = {
    name: FILTERS[name]
    for name in (
        "a rare group",
        "two groups",
        "no such group",
        "what failed of a group",
        "a rare queue",
        "a rare class",
        "no such class",
        "a class that failed in a queue",
    )
}


@pytest.mark.parametrize("where", MISSING_NOTHING.values(), ids=MISSING_NOTHING)
def test_short_pages_lead_to_all_of_it(
    filled_sqlite: SqlAdapter, table: PostgresAdapter, where: JobFilter
) -> None:
    for adapter in (filled_sqlite, table):
        wanted = [job.id for job in adapter.list_jobs(where, 100_000)]
        assert all_ids(adapter, where) == wanted


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        *(("sqlite", where) for where in contract.FILTERS),
        *(("postgresql", where) for where in contract.FILTERS[5:11]),
    ],
    ids=str,
)
def test_nothing_is_missed_between_small_windows(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kind: str, where: JobFilter
) -> None:
    adapter = build_adapter(request, kind)
    monkeypatch.setattr(pages, "WINDOW", 3)
    contract.ReadsContract().test_pages_have_all_that_a_list_has(adapter, where)
    adapter.close()


def test_sqlite_gives_up_too(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter: Any = build_adapter(request, "sqlite")
    monkeypatch.setattr("jobqueue.adapters.sqlite.database.LONGEST_LOOK_SECONDS", 0.02)
    forever = (
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    )
    with pytest.raises(DatabaseUnavailable, match="took too long"):
        adapter.database.look(lambda c: c.exec_driver_sql(forever).all())
    assert adapter.page_jobs(JobFilter(), 1).jobs == []
    assert database.LONGEST_LOOK_SECONDS == 2.0
    adapter.close()
